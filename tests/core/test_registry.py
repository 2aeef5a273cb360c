from pathlib import Path

import pytest

from unseen.core.errors import SpecError
from unseen.core.registry import parse_spec, plugin, takes
from unseen.distribution.tally import read_tally
from unseen.images import open_images
from unseen.segmenters import load_segmenter


def test_a_spec_has_a_name_an_argument_and_options():
    spec = parse_spec("churchyard?seed=1&without=person,fence")
    assert (spec.name, spec.argument) == ("churchyard", None)
    assert spec.options == {"seed": "1", "without": "person,fence"}
    assert parse_spec("python:module:factory").argument == "module:factory"


def test_argument_and_values_are_taken_as_they_are_written():
    spec = parse_spec("npz:runs+aug/50%25 off.npz?key=a+b%20c&other=x=y?z")
    assert spec.argument == "runs+aug/50%25 off.npz"
    assert spec.options == {"key": "a+b%20c", "other": "x=y?z"}


def test_a_leading_tilde_is_the_home_folder():
    spec = parse_spec("progan:~/church.pth?file=~/x.npy&other=a~/b")
    assert spec.argument == str(Path.home() / "church.pth")
    assert spec.options == {"file": str(Path.home() / "x.npy"), "other": "a~/b"}


@pytest.mark.parametrize(
    "text",
    ["", "?a=b", "upp?novalue", "upp?=x", "upp?a=1&", "upp?a=1&a=2", "c:\\photos", "has space:x"],
)
def test_a_malformed_spec_is_refused(text):
    with pytest.raises(SpecError):
        parse_spec(text)


def test_an_unknown_plug_in_is_named_with_the_known_ones():
    with pytest.raises(SpecError, match=r"'nonsense'.*churchyard"):
        plugin("images", parse_spec("nonsense:x"))


def test_what_a_plug_in_does_not_declare_is_refused():
    @takes("mode")
    def with_argument(spec):
        return spec.argument

    @takes(argument=False)
    def without_argument(spec):
        return spec.argument

    assert with_argument(parse_spec("loud:x?mode=loud")) == "x"
    assert without_argument(parse_spec("loud")) is None
    with pytest.raises(SpecError, match="typo"):
        with_argument(parse_spec("loud:x?typo=1"))
    with pytest.raises(SpecError, match="foo"):
        without_argument(parse_spec("loud:foo"))


def test_values_are_checked():
    spec = parse_spec("churchyard?seed=x&mode=loud&size=99999999999")
    with pytest.raises(SpecError, match="'x'"):
        spec.integer("seed", 0)
    with pytest.raises(SpecError, match="99999999999"):
        spec.integer("size", 256)
    with pytest.raises(SpecError, match="loud"):
        spec.choice("mode", "quiet", "quiet")


@pytest.mark.parametrize("text", ["churchyard:foo", "churchyard?typo=1", "", " "])
def test_images_of_a_wrong_spec_are_refused(text):
    with pytest.raises(SpecError):
        open_images(text)


@pytest.mark.parametrize("text", ["churchyard?typo=1", "", " ", "upp?typo=1"])
def test_a_segmenter_of_a_wrong_spec_is_refused(text):
    with pytest.raises(SpecError):
        load_segmenter(text)


@pytest.mark.parametrize("option", ["typo=1", "size=99999999999"])
def test_a_tally_of_a_wrong_spec_is_refused(option):
    with pytest.raises(SpecError):
        read_tally(f"tally:church.npy?{option}")
