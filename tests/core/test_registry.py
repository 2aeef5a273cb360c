import pytest

from unseen.core.errors import SpecError
from unseen.core.registry import parse_spec, plugin


def test_a_spec_has_a_name_an_argument_and_options():
    spec = parse_spec("churchyard?seed=1&without=person,fence")
    assert (spec.name, spec.argument) == ("churchyard", None)
    assert spec.options == {"seed": "1", "without": "person,fence"}
    assert parse_spec("python:module:factory").argument == "module:factory"


@pytest.mark.parametrize("text", ["", "?a=b", "upp?novalue", "c:\\photos", "has space:x"])
def test_a_malformed_spec_is_refused(text):
    with pytest.raises(SpecError):
        parse_spec(text)


def test_an_unknown_plug_in_is_named_with_the_known_ones():
    with pytest.raises(SpecError, match=r"called 'nonsense'; known: .*churchyard"):
        plugin("images", parse_spec("nonsense:x"))


def test_options_are_checked():
    spec = parse_spec("churchyard?seed=x&mode=loud")
    with pytest.raises(SpecError, match="unknown option 'seed'"):
        spec.check_options("mode")
    with pytest.raises(SpecError, match="whole number of at least 0"):
        spec.integer("seed", 0)
    with pytest.raises(SpecError, match="known: quiet"):
        spec.choice("mode", "quiet", "quiet")
