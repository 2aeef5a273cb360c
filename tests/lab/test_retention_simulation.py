import csv
from pathlib import Path

import numpy as np
import pytest
from lab.retention_simulation import (
    Design,
    RetentionSimulation,
    draw_instances,
    simulate_retention,
)


def test_a_class_that_is_not_drawn_keeps_its_share_of_the_retention():
    drawn, undrawn = (
        draw_instances(np.random.default_rng(0), 50, drawn=factor) for factor in (1.0, 0.2)
    )
    assert undrawn.retention["f"] == pytest.approx(0.2 * drawn.retention["f"])
    assert np.array_equal(drawn.area, undrawn.area)


def test_the_reference_has_the_law_of_what_is_drawn_and_part_of_its_chance():
    drawn = draw_instances(np.random.default_rng(0), 20_000, drawn=0.5, reference=True)
    ours, theirs = 2 * drawn.retention["f"], drawn.retention["reference"]
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)
    assert 0.5 < np.corrcoef(ours, theirs)[0, 1] < 0.8


def test_instances_of_one_image_go_together_as_much_as_asked_for():
    # independent, the mean of k instances has the variance of one over k
    for dependence, low, high in ((0.0, 0.9, 1.1), (0.9, 3.0, 6.0)):
        one = draw_instances(np.random.default_rng(1), 4000, instances=6.0, dependence=dependence)
        values = one.retention["f"]
        counts = np.bincount(one.images)
        means = np.bincount(one.images, values) / counts
        alone = values.var() * (1 / counts).mean()
        assert low < means.var() / alone < high  # 6 at most: the mean number of instances


def test_the_tables_are_written_and_the_same_again(tmp_path: Path):
    designs = [
        Design(photographs=8, controls=12),
        Design(photographs=8, controls=12, reference=True),
    ]
    tables = []
    for folder in ("one", "two"):
        task = RetentionSimulation(out=tmp_path / folder, draws=3, designs=designs)
        tables.append([path.read_text() for path in simulate_retention(task)])
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(tables[0][0].splitlines()))
    assert [row["reference"] for row in rows] == ["False", "True"]
    assert all(row["draws"] == "3" for row in rows)
    assert all(int(row["sought found"]) <= 3 for row in rows)


@pytest.mark.parametrize("law", ["graded", "all or nothing", "one in ten", "crowded"])
def test_a_class_keeps_the_share_that_it_should_whatever_the_law(law):
    drawn, less = (
        draw_instances(np.random.default_rng(3), 20_000, drawn=share, law=law)
        for share in (1.0, 0.25)
    )
    ratio = less.retention["f"].mean() / drawn.retention["f"].mean()
    assert ratio == pytest.approx(0.25, abs=0.01)  # three standard errors of "all or nothing"
    within = less.retention["d"].mean() / less.retention["f"].mean()
    assert within == pytest.approx(0.5, abs=0.03)


def test_crops_of_one_photograph_are_like_each_other():
    crops = draw_instances(np.random.default_rng(4), 4000, instances=1.0, crops=2, dependence=1.0)
    first = [crops.retention["f"][crops.images == image].mean() for image in range(0, 400, 2)]
    second = [crops.retention["f"][crops.images == image].mean() for image in range(1, 400, 2)]
    assert np.array_equal(np.unique(crops.groups), np.arange(4000))
    assert np.corrcoef(first, second)[0, 1] > 0.5
