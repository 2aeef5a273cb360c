"""The study of a ProGAN of streets: its division, what it reads, its small form on real inputs."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab.case_studies.streets_progan import study
from lab.case_studies.streets_progan.charts import CLASSES, draw_charts
from lab.case_studies.streets_progan.photographs import (
    StreetPhotographs,
    divide_photographs,
    is_held_out,
)
from PIL import Image
from tests.support.case_studies import run_study

from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import write_comparison

_HERE = Path(study.__file__).parent
PARTS = ("weakness", "matched", "training", "curve", "last", "domains", "evidence")
CHARTS = [f"streets_progan-{name}.svg" for name in ("domains", "segmenter", "training")]


def _areas(people: list[int], ending: str = "png") -> Areas:
    """Streets of 100 pixels: these of people, a fifth road, the rest building."""
    table = np.array([people, [20] * len(people)], np.uint32).T
    rest = 100 - table.sum(1, keepdims=True)
    return Areas(
        names=[f"{index:02d}.{ending}" for index in range(len(people))],
        columns=("object/person", "object/road", "object/building"),
        pixels=np.hstack([table, rest]).astype(np.uint32),
        label_map_pixels=100,
    )


def test_a_name_decides_whether_a_photograph_is_held_out() -> None:
    names = [f"street/train-{index:04}.jpg" for index in range(2000)]
    assert 100 < sum(map(is_held_out, names)) < 220  # 160 expected, five deviations of 12
    # by `printf NAME | sha256sum`, whose first byte must be below 0.08 × 256 = 20.48
    assert [is_held_out(f"{letter}.jpg") for letter in "efgh"] == [False, False, False, True]


def test_photographs_are_divided_once_and_byte_for_byte(tmp_path: Path) -> None:
    names = [f"street/{index:03}.jpg" for index in range(40)]
    with zipfile.ZipFile(tmp_path / "streets.zip", "w") as archive:
        for index, name in enumerate(names):
            path = tmp_path / "one.jpg"
            Image.new("RGB", (100, 100), (6 * index, 0, 0)).save(path)
            archive.write(path, name)
    task = StreetPhotographs(photographs=tmp_path / "streets.zip", folder=tmp_path / "divided")
    train, held_out, small = divide_photographs(task)
    there = {
        folder: sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
        for folder in (train, held_out, small)
    }
    assert there[train] == [name for name in names if not is_held_out(name)]
    assert there[held_out] == [name for name in names if is_held_out(name)]
    assert there[held_out]
    assert there[small] == [name.replace(".jpg", ".png") for name in there[train]]
    with zipfile.ZipFile(tmp_path / "streets.zip") as archive:
        first = there[train][0]
        assert (train / first).read_bytes() == archive.read(first)
    with Image.open(small / there[small][0]) as picture:
        assert picture.size == (64, 64)
    before = (small / there[small][0]).stat().st_mtime_ns
    list(divide_photographs(task))
    assert (small / there[small][0]).stat().st_mtime_ns == before


def test_what_64_pixels_take_away_is_counted_pair_by_pair(tmp_path: Path) -> None:
    full = _areas([10, 10, 10, 10, 0, 0], "jpg")
    small = _areas([10, 0, 0, 10, 0, 10])
    path = tmp_path / "comparison.json"
    write_comparison(path, compare(full, [small], paired=True))
    numbers = study.weakness_numbers(path)
    assert numbers["pairs"] == 6
    rows = {row["class"]: row for row in numbers["classes"]}
    person = rows["person"]
    assert [person[key] for key in ("held", "kept", "lacking", "added")] == [4, 2, 2, 1]
    assert list(rows)[-1] == "person"  # fewest photographs hold it
    assert "| person | 4 of 6 | 0.50 [" in study.tables({**_nothing(), "weakness": numbers})


def test_the_curve_has_a_point_a_snapshot(tmp_path: Path) -> None:
    real = _areas([10] * 20 + [0] * 20)
    sides = [_areas([10] * held + [0] * (40 - held)) for held in (5, 10)]
    record = compare(real, sides, labels=["Photographs", "20000 images", "500000 images"])
    write_comparison(tmp_path / "comparison.json", record)
    numbers = study.curve_numbers(tmp_path / "comparison.json")
    people = [
        next(row for row in snapshot["classes"] if row["class"] == "person")["ratio"]
        for snapshot in numbers["snapshots"]
    ]
    assert [snapshot["shown"] for snapshot in numbers["snapshots"]] == [20_000, 500_000]
    assert people == pytest.approx([0.25, 0.5])
    # half of the images hold 10 % of people, whose variance is 25 so; buildings vary with them
    assert numbers["snapshots"][0]["variance"] == pytest.approx(2 * 25)
    lines = study.tables({**_nothing(), "curve": numbers}).splitlines()
    assert any(line.startswith("| person | 0.25 [") for line in lines)


def test_groups_of_images_keep_every_correlation(tmp_path: Path) -> None:
    images = [{"name": "a", "loss": 1.0, "pixel": 0.1, "correlation": c} for c in (0.4, 0.6)]
    group = {"name": "held out", "generator": "g", "spec": "s", "failed": 0, "images": images}
    record = {"method": "f", "groups": [group], "training_minus_held_out": []}
    path = tmp_path / "cross-domain.json"
    path.write_text(json.dumps(record))
    (found,) = study.domain_numbers(path)["groups"]
    assert found["correlations"] == [0.4, 0.6]
    # Student's t of two values: the mean ± 12.706 × half of their difference
    assert found["correlation"] == pytest.approx(
        (0.5, 0.5 - 12.706 * 0.1, 0.5 + 12.706 * 0.1), 1e-4
    )


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(PARTS)


def test_what_has_not_been_measured_is_called_so(tmp_path: Path) -> None:
    task = study.StreetsStudy(folder=tmp_path, written=tmp_path / "out", charts=tmp_path / "out")
    list(study.study_streets(task))
    assert json.loads((tmp_path / "out" / "numbers.json").read_text()) == _nothing()
    assert (tmp_path / "out" / "tables.md").read_text().count(study.NOT_YET) == 5
    assert not list((tmp_path / "out").glob("*.svg"))


def test_charts_are_drawn_of_extreme_numbers(tmp_path: Path) -> None:
    point = {"ratio": 0.0, "interval": [0.0, None]}
    snapshot = {"shown": 20_000, "classes": [{"class": name, **point} for name in CLASSES]}
    never = {"held": 12, "kept": 0, "kept_interval": [0.0, 0.3], "class": "person"}
    always = {"lacking": 0, "added": 0, "added_interval": [None, None]}
    group = {"group": "held out", "correlations": [0.1, 0.9], "correlation": (0.5, -4.6, 5.6)}
    numbers = {
        **_nothing(),
        "weakness": {"classes": [{**never, **always}]},
        "curve": {"snapshots": [snapshot]},
        "domains": {"groups": [group]},
    }
    assert sorted(path.name for path in draw_charts(numbers, tmp_path)) == CHARTS


def test_committed_numbers_make_the_committed_tables() -> None:
    numbers = json.loads((_HERE / "numbers.json").read_text())
    assert study.tables(numbers) == (_HERE / "tables.md").read_text()


@pytest.mark.real
def test_the_small_form_makes_numbers_tables_and_charts(real_inputs: Path, tmp_path: Path) -> None:
    run_study("streets_progan", real_inputs, tmp_path, 100)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert all(numbers[part] is not None for part in PARTS)
    assert [snapshot["shown"] for snapshot in numbers["curve"]["snapshots"]] == [8, 16]
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == CHARTS
