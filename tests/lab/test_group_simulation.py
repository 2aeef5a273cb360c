import csv
from pathlib import Path

import numpy as np
import pytest
from lab.group_simulation import Cell, GroupSimulation, World, simulate_groups

from unseen.statistics import Design, effective_images


@pytest.mark.parametrize(("correlation", "low", "high"), [(0.0, 1900, 2000), (0.9, 200, 500)])
def test_images_of_a_group_are_as_alike_as_asked_for(correlation, low, high):
    cell = Cell(groups=200, size=10, correlation=correlation)
    side = World(0).draw(cell, np.random.default_rng(0))
    # 200 wholly equal groups would be worth 200 images; independent images their number, up to the
    # chance of 200 groups
    groups = np.arange(2000) // 10
    assert low < effective_images(side.pixels, Design(groups=groups)) <= high
    assert (side.pixels.sum(axis=1) == side.label_map_pixels).all()


def test_a_planted_drop_is_found_and_the_tables_are_the_same_again(tmp_path: Path):
    cells = [
        Cell(groups=100, size=10, correlation=0.0, planted=True),
        Cell(groups=30, size=10, correlation=0.0, copied=True, draws=2, alone=1),
    ]
    tables = []
    for draws in (2, 3):  # the second run goes on where the first ended
        task = GroupSimulation(out=tmp_path / "run", draws=draws, cells=cells, seed=5)
        tables.append([path.read_text() for path in simulate_groups(task, say=lambda _: None)])
    task = GroupSimulation(out=tmp_path / "again", draws=3, cells=cells, seed=5)
    assert [path.read_text() for path in simulate_groups(task, say=lambda _: None)] == tables[1]
    planted, copied = csv.DictReader(tables[1][0].splitlines())
    assert (planted["draws"], copied["draws"]) == ("3", "2")
    assert float(planted["class found %"]) > 0
    assert copied["near-duplicates warned of"] == "2 of 2"
