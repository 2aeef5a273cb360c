"""Prompts that name a class: how often it is drawn, asked and unasked."""

import json
from pathlib import Path

import pytest
import scipy.stats
import torch
from tests.distribution.test_pairing import Painter
from tests.support.pipelines import stable_diffusion
from tests.support.worlds import areas

from unseen.cli.main import run
from unseen.core.errors import SampleError, SpecError
from unseen.distribution.asked_for import RECORD_FILE, count_asked, named, read_words
from unseen.generators import load_generator

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


def test_a_text_pipeline_is_asked_by_its_spec(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stable_diffusion(tmp_path).save_pretrained(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("a dark church\na tree\nno dark tree\n")
    spec = f"diffusers:{tmp_path / 'model'}?steps=1&guidance=1&prompts={tmp_path / 'prompts.txt'}"
    halves = "python:tests.distribution.test_pairing:halves"
    out = tmp_path / "out"
    command = ["asked", spec, "--segmenter", halves, "-n", "12", "-o", str(out), "--device", "cpu"]
    assert run([*command, "-q"]) == 0
    (row,) = RECORD_FILE.read(out).classes
    images = load_generator(spec, device="cpu").draw(range(12)).mean(dim=1)
    # Halves sees dark below the middle, of an image that is enlarged; 1 % of it is presence
    dark = [bool((image < 0).float().mean() > 0.03) for image in images]
    assert (row.asked, row.denied, row.unasked) == (4, 4, 4)
    assert (row.drawn, row.drawn_though_denied, row.appears) == tuple(
        sum(dark[place::3]) for place in (0, 2, 1)
    )


def test_images_without_prompts_and_words_of_no_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="metadata"):
        count_asked(areas(20, {"car": 0.5}, seed=0))
    path = tmp_path / "words.json"
    for text, value in (('{"lorry": ["truck"]}', "lorry"), ('{"car": "car"}', "words"), ("x", "x")):
        path.write_text(text)
        with pytest.raises(SpecError, match=value):
            read_words(path, ["car"])
