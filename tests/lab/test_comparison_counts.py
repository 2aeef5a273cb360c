"""Verdicts of comparisons over churchyards: what is counted, and what counts as an error."""

import csv
from pathlib import Path

from lab.comparison_counts import (
    ComparisonCounts,
    CountedClass,
    comparisons_markdown,
    count_comparisons,
)


def row(seed: int, name: str, verdict: str, generated: float) -> CountedClass:
    return CountedClass(
        generator="g",
        seed=seed,
        name=name,
        verdict=verdict,
        real_presence=0.4,
        generated_presence=generated,
        fsd=10.0 + seed,
    )


def test_a_class_that_is_drawn_and_called_omitted_is_named() -> None:
    rows = [
        row(0, "car", "omitted", 0.0),
        row(1, "car", "omitted", 0.02),
        row(0, "lamp", "omitted", 0.0),
        row(1, "lamp", "under", 0.2),
        row(0, "tree", "matched", 0.4),
    ]
    text = comparisons_markdown(rows, ["g"])
    assert "Omitted although drawn: lamp (1)" in text  # 0.25 times, and not a tenth
    assert "10.5 on average (10 to 11)" in text
    assert "| car | 40.0 % | 1.00 % | 0.025× | 2 of 2 | 0 of 2 |" in text
    assert "| lamp | 40.0 % | 10.0 % | 0.25× | 1 of 2 | 1 of 2 |" in text
    assert "| tree | 40.0 % | 40.0 % | 1.00× | 0 of 2 | 0 of 2 |" in text


def test_seeds_are_other_scenes_and_other_images(tmp_path: Path) -> None:
    task = ComparisonCounts(
        generators=("churchyard-planted",), out=tmp_path, count=20, seeds=2, first_seed=5
    )
    paths = list(count_comparisons(task))
    rows = list(csv.DictReader(paths[0].read_text(encoding="utf-8").splitlines()))
    sky = {(one["seed"], one["fsd"]) for one in rows if one["name"] == "sky"}
    assert {seed for seed, _ in sky} == {"5", "6"}
    assert len({fsd for _, fsd in sky}) == 2
    assert len(list(tmp_path.glob("*.parquet"))) == 4
