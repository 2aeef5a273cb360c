"""The simulation of pairs rarely together: its rules, and a planted pair of the churchyard."""

import csv
from pathlib import Path

import numpy as np
from lab.together_simulation import RULES, TogetherSimulation, called_pairs, simulate_together

from unseen.statistics.together import rarely_together


def test_the_chosen_rule_is_that_of_the_package() -> None:
    rng = np.random.default_rng(0)
    real = rng.random((800, 8)) < 0.4
    generated = rng.random((800, 8)) < 0.4
    generated[generated[:, 2], 5] = False
    found = rarely_together(real.astype(float), generated.astype(float))
    chosen = next(iter(RULES.values()))
    assert called_pairs(real, generated, *chosen) == {pair.columns for pair in found.pairs}
    assert found.pairs


def test_cars_only_without_fences_are_found_and_nothing_where_nothing_is(tmp_path: Path) -> None:
    """20 draws with the planted pair and 20 without, of 300 scenes: 18 and none are asked for."""
    task = TogetherSimulation(out=tmp_path, seeds=20, scenes=300, tables=("churchyard",))
    (path,) = simulate_together(task, say=lambda _: None)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    large = [row for row in rows if row["images a side"] == "2000"]
    for row in large:
        called = int(row["car and fence called"])
        if row["generated scenes"] == "as the real ones":
            assert called == int(row["another pair called"]) == 0
        else:
            assert called >= 18
    assert simulate_together(task, say=print) == [path]
