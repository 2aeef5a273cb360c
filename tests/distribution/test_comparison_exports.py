"""What a pull request and a dashboard are shown of a comparison."""

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from tests.support.worlds import areas

from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.comparison_exports import as_junit, as_markdown
from unseen.distribution.gate import Gate

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.02}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    sides = [areas(300, REAL, seed=1), areas(300, REAL | {"person": 0.0}, seed=2, name="new")]
    return compare(
        areas(300, REAL, seed=0, name="photos"), sides, labels=("photos", "old", "n|*<b>\x1b")
    )


def judged(
    comparison: Comparison, power: str | None = None, on: str = "omitted", **options: bool
) -> Comparison:
    gate = Gate.parse([on], power, **options)
    return dataclasses.replace(comparison, gate=gate.judge(comparison))


def cases(text: str) -> dict[str, list[str]]:
    return {
        f"{case.get('classname')}/{case.get('name')}": [
            f"{part.tag} {part.get('type')}" for part in case
        ]
        for case in ET.fromstring(text).iter("testcase")
    }


def test_a_class_that_the_gate_names_is_a_failure_and_the_others_pass(
    comparison: Comparison,
) -> None:
    found = cases(as_junit(judged(comparison)))
    assert found["n|*<b>?/person"] == ["failure failed"]
    assert found["n|*<b>?/sky"] == []
    assert not any(name.startswith("old/") for name in found)  # the last side is judged


def test_what_was_not_shown_fails_too_and_every_judged_side_is_a_suite(
    comparison: Comparison,
) -> None:
    text = as_junit(judged(comparison, "presence>=35%,drop<=100%", "under", every_side=True))
    found = cases(text)
    assert found["old/tree"] == found["old/sky"] == []
    text = as_junit(judged(comparison, "presence>=1%,drop<=20%", "under", every_side=True))
    assert ["failure not shown"] in cases(text).values()
    for suite in ET.fromstring(text):
        inside = list(suite)
        assert int(suite.get("tests", -1)) == len(inside)
        assert int(suite.get("failures", -1)) == sum(c.find("failure") is not None for c in inside)


def test_junit_needs_a_gate(comparison: Comparison) -> None:
    with pytest.raises(ValueError, match="no gate"):
        as_junit(comparison)


def test_the_summary_names_what_is_wrong_and_the_gate_and_no_label_is_markup(
    comparison: Comparison,
) -> None:
    text = as_markdown(judged(comparison))
    first, gate = text.splitlines()[0], text.splitlines()[2]
    assert first == "### old against photos: no class is shown to be wrong"
    assert "failed" in gate
    assert "| person | omitted |" in text
    assert "<b>" not in text.replace("<details>", "").replace("<summary>", "")
    assert "\x1b" not in text
