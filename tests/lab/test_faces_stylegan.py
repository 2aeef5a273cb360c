"""The study of StyleGAN's faces: what it counts, and its small form on the real inputs."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from lab.case_studies.faces_stylegan import study
from lab.case_studies.readings import share
from tests.support.case_studies import run_study

from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare

_HERE = Path(study.__file__).parent


def _areas(hat: list[int], glasses: list[int]) -> Areas:
    """Faces of 100 pixels: these of hat and glasses, the rest skin."""
    table = np.array([hat, glasses, [0] * len(hat)], np.uint32).T
    rest = 100 - table.sum(1, keepdims=True)
    return Areas(
        names=[f"{index:02d}" for index in range(len(hat))],
        columns=("object/hat", "object/eyeglasses", "object/earring", "object/skin"),
        pixels=np.hstack([table, rest]).astype(np.uint32),
        label_map_pixels=100,
    )


def test_pairs_of_classes_are_counted_in_the_same_images() -> None:
    real = _areas([10, 10, 0, 0], [5, 0, 5, 0])
    generated = _areas([10, 10, 0, 0], [5, 5, 0, 0])
    row = study.together([real, generated])[0]
    assert row["pair"] == ["hat", "eyeglasses"]
    assert row["images"] == [1, 2]
    assert row["if_independent"] == [1.0, 1.0]  # half of four times half


def test_a_share_has_its_exact_interval() -> None:
    # None of 20: the upper end solves (1 − p)²⁰ = 0.025.
    found = share(0, 20)
    assert found["interval"][0] == 0
    assert found["interval"][1] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert share(0, 0)["share"] is None


def test_both_files_of_labels_name_the_same_400_images() -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (_HERE / name).open(newline="") as file:
            return list(csv.DictReader(file))

    audit, eye = rows("audit.csv"), rows("by_eye.csv")
    images = {(row["side"], row["name"]) for row in eye}
    assert len(images) == len(eye) == 400
    for name in study.AUDITED:
        assert sorted((r["side"], r["name"]) for r in audit if r["class"] == name) == sorted(images)
    assert {row["label"] for row in audit} == {"present", "absent", "?"}


def test_unsure_labels_count_as_absent_and_then_as_present() -> None:
    rows = [{"side": "real", "label": "present"}] * 4
    rows += [{"side": "generated-1", "label": label} for label in ("present", "?", "absent", "?")]
    found = study._counted(rows, "label")
    assert found["ratio"]["ratio"] == 0.25
    assert found["ratio_with_unsure"]["ratio"] == 0.75


def test_labels_correct_the_counts_of_a_parser_that_invents_hats() -> None:
    """The parser finds every hat, and calls one in as many images without."""
    areas = []
    for side in study.SIDES:
        rows = [row for row in study._read("audit.csv") if row["side"] == side]
        names = sorted({row["name"] for row in rows})
        hats = {r["name"] for r in rows if (r["class"], r["label"]) == ("hat", "present")}
        bare = [name for name in names if name not in hats][: len(hats)]
        table = _areas([10 * (n in hats or n in bare) for n in names], [10] * len(names))
        areas.append(dataclasses.replace(table, names=names))
    row = study.corrected(compare(areas[0], areas[1:]), areas)[0]
    assert row["class"] == "hat"
    assert row["segmenter"]["ratio"] == pytest.approx(10 / 52)
    assert row["presence"] == pytest.approx([26 / 200, 5 / 200], abs=0.01)
    few = [areas[0].part(np.arange(1, 200)), areas[1]]
    assert study.corrected(compare(few[0], few[1:]), few) == []


def test_committed_numbers_make_the_committed_tables() -> None:
    numbers = json.loads((_HERE / "numbers.json").read_text())
    assert study.tables(numbers) == (_HERE / "tables.md").read_text()


@pytest.mark.real
def test_the_small_form_makes_numbers_tables_and_charts(real_inputs: Path, tmp_path: Path) -> None:
    run_study("faces_stylegan", real_inputs, tmp_path, 100)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["images"] == [100, 100]
    assert {row["class"] for row in numbers["classes"]} >= set(study.AUDITED)
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        "faces_stylegan-eye.svg",
        "faces_stylegan-spread.svg",
        "faces_stylegan-thresholds.svg",
    ]
