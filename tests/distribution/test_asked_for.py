"""Prompts that name a class: how often it is drawn, asked and unasked."""

import json
from pathlib import Path

import pytest
import scipy.stats
from tests.distribution.test_pairing import Painter
from tests.support.worlds import areas

from unseen.cli.main import run
from unseen.core.errors import SampleError, SpecError
from unseen.distribution.asked_for import RECORD_FILE, count_asked, named, read_words

CAPTIONS = [
    *[f"a dark square in town {k}" for k in range(20)],
    *[f"a square without any dark part in town {k}" for k in range(5)],
    *[f"the darkness of town {k}" for k in range(15)],
]


def painter() -> Painter:
    return Painter(CAPTIONS)


@pytest.mark.parametrize(
    ("prompt", "asks", "denies"),
    [
        ("A Car on a road", True, False),
        ("three cars", True, False),
        ("a carpet", False, False),
        ("no car", False, True),
        ("a road without any red cars", False, True),
        ("a car, and no other car", True, False),
        ("no dog sits beside the big red car", True, False),
    ],
)
def test_words_count_whole_in_both_numbers_and_not_behind_a_negation(
    prompt: str, asks: bool, denies: bool
) -> None:
    assert named([prompt], ["car"]) == ([asks], [denies])


def test_plurals_of_other_endings() -> None:
    assert (
        named(["two churches", "canopies", "buses"], ["church", "canopy", "bus"])[0] == [True] * 3
    )


def test_a_class_is_counted_where_prompts_name_it_deny_it_and_leave_it_out(tmp_path: Path) -> None:
    spec = "python:tests.distribution.test_asked_for:painter"
    halves = "python:tests.distribution.test_pairing:halves"
    out = tmp_path / "out"
    command = ["asked", spec, "--segmenter", halves, "-n", "40", "-o", str(out), "-q"]
    assert run(command) == 0
    (row,) = RECORD_FILE.read(out).classes  # no prompt names light
    assert (row.column, row.asked, row.drawn) == ("object/dark", 20, 10)  # of even towns
    exact = scipy.stats.binomtest(10, 20).proportion_ci(method="exact")
    assert row.drawn_interval == pytest.approx((exact.low, exact.high))
    assert (row.denied, row.drawn_though_denied) == (5, 0)
    assert (row.unasked, row.appears) == (15, 0)
    words = json.loads((out / "words.json").read_text())
    assert words == {"dark": ["dark"], "light": ["light"]}
    words["light"] = ["town"]
    (tmp_path / "mine.json").write_text(json.dumps(words))
    assert run([*command, "--words", str(tmp_path / "mine.json")]) == 0
    assert {row.column for row in RECORD_FILE.read(out).classes} == {"object/dark", "object/light"}


def test_images_without_prompts_and_words_of_no_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="metadata"):
        count_asked(areas(20, {"car": 0.5}, seed=0))
    path = tmp_path / "words.json"
    for text, value in (('{"lorry": ["truck"]}', "lorry"), ('{"car": "car"}', "words"), ("x", "x")):
        path.write_text(text)
        with pytest.raises(SpecError, match=value):
            read_words(path, ["car"])
