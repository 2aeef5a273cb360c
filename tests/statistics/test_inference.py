"""Floor, p-value, corrected value and interval, on samples small enough for every run."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import (
    INDEPENDENT,
    Design,
    exchange,
    frechet_distance,
    frechet_inference,
    frechet_shares,
    grams,
    self_halves,
)
from unseen.statistics.exchange import Sides
from unseen.statistics.grams import Rows


def areas(n: int, seed: int, *, without: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = rng.gamma(0.5, size=(n, 10)) * (rng.random((n, 10)) < 0.5)
    table[:, 0] += 1e-3
    if without is not None:
        table[:, without] = 0.0
    return 100.0 * table / table.sum(axis=1, keepdims=True)


def test_plug_in_is_the_published_distance_and_shares_sum_to_it() -> None:
    real, generated = areas(60, 0), areas(50, 1)
    inference = frechet_inference(real, generated, permutations=9, splits=4)
    distance = frechet_distance(real, generated)
    assert inference.plug_in.value == pytest.approx(distance.value)
    assert inference.plug_in.mean_term == pytest.approx(distance.mean_term)
    assert inference.shares.sum() == pytest.approx(distance.value)


def test_the_same_seed_gives_the_same_numbers() -> None:
    real, generated = areas(40, 0), areas(40, 1)
    first, second = (
        frechet_inference(real, generated, permutations=9, splits=4, seed=3) for _ in range(2)
    )
    assert first.interval == second.interval
    assert (first.floor, first.p_value, first.corrected) == (
        second.floor,
        second.p_value,
        second.corrected,
    )


def test_halves_of_one_set_show_no_difference() -> None:
    table = areas(600, 0)
    one, other = self_halves(len(table), seed=0)
    inference = frechet_inference(table[one], table[other], permutations=99)
    assert inference.p_value > 0.05
    assert inference.interval[0] == 0.0
    assert inference.plug_in.value == pytest.approx(inference.floor, rel=0.8)
    assert abs(inference.corrected) < inference.plug_in.value


def test_a_class_wholly_absent_is_a_difference_beyond_the_floor() -> None:
    real, generated = areas(400, 0), areas(400, 1, without=4)
    inference = frechet_inference(real, generated, permutations=99)
    assert inference.p_value == 0.01  # none of 99 permutations reaches it: 1 / 100
    assert inference.interval[0] > 0.0
    assert inference.interval[0] < inference.corrected < inference.interval[1]
    assert inference.corrected < inference.plug_in.value


def test_the_corrected_value_is_near_the_truth_where_the_plug_in_is_not() -> None:
    # One population, so the true distance is 0: over 20 draws the plug-in averages its floor, the
    # corrected value under a fifth of it (its standard error here is about a tenth).
    draws = [
        frechet_inference(areas(80, 2 * s), areas(80, 2 * s + 1), permutations=19, splits=10)
        for s in range(20)
    ]
    floor = np.mean([draw.floor for draw in draws])
    assert np.mean([draw.plug_in.value for draw in draws]) == pytest.approx(floor, rel=0.2)
    assert abs(np.mean([draw.corrected for draw in draws])) < 0.2 * floor


def test_few_images_give_floor_and_p_value_and_no_corrected_value() -> None:
    few = frechet_inference(areas(2, 0), areas(3, 1), permutations=9)
    assert np.isfinite([few.plug_in.value, few.floor, few.p_value]).all()
    assert few.corrected is None
    assert few.interval is None
    assert "2 " in str(few.reason)
    enough = frechet_inference(areas(16, 0), areas(16, 1), permutations=9, splits=2)
    assert enough.corrected is not None
    assert enough.reason is None
    with pytest.raises(SampleError, match="real has 1 image"):
        frechet_inference(areas(1, 0), areas(3, 1))


def test_a_collapsed_generator_is_not_corrected_by_the_floor_of_the_mixture() -> None:
    # Means equal and every deviation halved, so the true distance is tr Σ / 4. What chance adds is
    # half of what it adds without a difference; subtracting the floor takes off too much. Over 30
    # draws the standard error is about 3 % of the floor.
    population = areas(20_000, 0)
    mean = population.mean(axis=0)
    true = float(np.trace(np.cov(population.T))) / 4
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(30):
        real, drawn = (population[rng.integers(20_000, size=40)] for _ in range(2))
        generated = mean + 0.5 * (drawn - mean)
        draws.append(frechet_inference(real, generated, permutations=9, splits=4))
    floor = np.mean([draw.floor for draw in draws])
    assert abs(np.mean([draw.corrected for draw in draws]) - true) < 0.15 * floor
    assert np.mean([draw.plug_in.value - draw.floor for draw in draws]) < true - 0.2 * floor


def test_sides_without_any_variation_are_told_apart() -> None:
    real, generated = np.full((20, 2), 50.0), np.tile([60.0, 40.0], (20, 1))
    inference = frechet_inference(real, generated, permutations=19)
    assert inference.plug_in.value == 200.0  # 10² + 10²
    assert inference.p_value == 0.05


def clips(count: int, frames: int, seed: int) -> tuple[np.ndarray, Design]:
    """Clips whose frames are copies: as many independent images as there are clips."""
    return (
        np.repeat(areas(count, seed), frames, axis=0),
        Design(groups=np.repeat(np.arange(count), frames)),
    )


def test_groups_of_one_image_are_independent_images() -> None:
    real, generated = areas(60, 0), areas(50, 1)
    alone = Design(groups=np.arange(50)[::-1] * 3)
    first = frechet_inference(real, generated, permutations=9, splits=4)
    second = frechet_inference(real, generated, generated_design=alone, permutations=9, splits=4)
    assert (first.interval, first.floor, first.corrected) == (
        second.interval,
        second.floor,
        second.corrected,
    )


@pytest.mark.parametrize("frames", [(10, 10), (1, 10), (5, 20)], ids=["alike", "photos", "unlike"])
def test_whole_groups_are_exchanged(frames: tuple[int, int]) -> None:
    # One population: a right p-value exceeds 0.2 in 8 of 10 draws, and in at least 5 of 10 in 99 %
    # of all worlds. Taken for independent, copied frames give far smaller ones.
    grouped = ungrouped = 0
    plug_ins, floors = [], []
    for draw in range(10):
        real, real_design = clips(40, frames[0], 2 * draw)
        generated, generated_design = clips(40, frames[1], 2 * draw + 1)
        designs = {"real_design": real_design, "generated_design": generated_design}
        whole = frechet_inference(real, generated, **designs, permutations=9, splits=2)
        alone = frechet_inference(real, generated, permutations=9, splits=2)
        grouped += whole.p_value > 0.2
        ungrouped += alone.p_value > 0.2
        plug_ins.append(whole.plug_in.value)
        floors.append(whole.floor)
    assert grouped >= 5
    assert ungrouped <= 3
    # The standard error of either mean is about a tenth; without groups the floor is a third.
    assert np.mean(floors) == pytest.approx(np.mean(plug_ins), rel=0.35)


def test_the_number_of_groups_decides_whether_there_is_a_corrected_value() -> None:
    real, real_design = clips(10, 8, 0)
    grouped = frechet_inference(
        real, areas(80, 1), real_design=real_design, permutations=9, splits=4
    )
    assert grouped.corrected is None
    # one clip of 300 frames among 20 of one: 1.1 groups in effect
    lengths = np.array([300, *[1] * 20])
    long = np.repeat(areas(21, 0), lengths, axis=0)
    design = Design(groups=np.repeat(np.arange(21), lengths))
    grouped = frechet_inference(long, areas(320, 1), real_design=design, permutations=9, splits=4)
    assert grouped.corrected is None


def test_weights_undo_a_sample_stratified_on_purpose() -> None:
    table = areas(4000, 0)
    common = table[:, 1] > 0  # half of the population; the sample takes every tenth of them
    taken = ~common | (np.arange(4000) % 10 == 0)
    sample = table[taken]
    design = Design(weights=np.where(common[taken], 10.0, 1.0))
    other = areas(1000, 1)
    blind = frechet_inference(other, sample, permutations=19, splits=8)
    weighted = frechet_inference(other, sample, generated_design=design, permutations=19, splits=8)
    assert blind.p_value == 0.05  # the least of 19 permutations
    assert weighted.p_value > 0.05
    assert weighted.plug_in.mean_term == pytest.approx(
        ((other.mean(axis=0) - design.shares(len(sample)) @ sample) ** 2).sum()
    )
    shares = frechet_shares(other, sample, generated_design=design)
    np.testing.assert_allclose(shares.sum(), weighted.plug_in.value)
    assert abs(weighted.corrected) < weighted.floor


def test_one_group_alone_is_refused() -> None:
    real, design = clips(1, 30, 0)
    with pytest.raises(SampleError, match="all 30 images of real are one group"):
        frechet_inference(real, areas(30, 1), real_design=design, generated_design=INDEPENDENT)


@pytest.mark.parametrize("density", [0.02, 0.6], ids=["sparse", "dense"])
def test_sums_over_rows_give_numpy_moments_and_subtract(density: float) -> None:
    rng = np.random.default_rng(0)
    table = rng.random((40, 30)) * (rng.random((40, 30)) < density)
    rows = Rows(table)
    whole, some = rows.grams([np.arange(40), np.arange(15)])
    rest = whole - some
    np.testing.assert_allclose(rest.mean, table[15:].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(rest.covariance, np.cov(table[15:].T), atol=1e-12)
    np.testing.assert_allclose(some.covariance, rows.gram(np.arange(15)).covariance, atol=1e-12)


def test_halves_are_disjoint_and_seeded() -> None:
    one, other = self_halves(11, seed=5)
    assert len(one) == len(other) == 5
    assert not set(one) & set(other)
    np.testing.assert_array_equal(one, self_halves(11, seed=5)[0])
    with pytest.raises(SampleError, match="the set has 3 images; halves of at least 2 need 4"):
        self_halves(3)


def test_sums_over_groups_are_those_of_their_weighted_rows() -> None:
    rng = np.random.default_rng(0)
    table, weights = rng.random((12, 5)), rng.random(12)
    units = np.repeat(np.arange(4), 3)
    some = next(iter(Rows(table, units, weights).grams([np.array([0, 2])])))
    chosen = np.isin(units, [0, 2])
    np.testing.assert_allclose(some.mean, np.average(table[chosen], 0, weights[chosen]))
    np.testing.assert_allclose(some.covariance, np.cov(table[chosen].T, aweights=weights[chosen]))


def test_the_variance_of_a_mean_is_that_between_groups() -> None:
    # Copies in groups of equal size: the mean of n groups varies by tr Σ / n.
    copied, design = clips(40, 3, 0)
    alone = Sides(areas(40, 0), areas(40, 1), INDEPENDENT, INDEPENDENT)
    grouped = Sides(copied, areas(40, 1), design, INDEPENDENT)
    assert grouped.mean_bias() == pytest.approx(alone.mean_bias())


def pixels(n: int, seed: int) -> np.ndarray:
    counts = np.floor(655.36 * areas(n, seed)).astype(np.uint32)
    counts[:, 0] += (65536 - counts.sum(axis=1)).astype(np.uint32)
    return counts


def test_a_large_table_is_read_block_by_block_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, generated = pixels(70, 0), pixels(50, 1)
    design = Design(groups=np.arange(50) // 2, weights=np.linspace(1.0, 2.0, 50))
    given = {"percent": 100 / 65536, "permutations": 9, "splits": 4}
    for designs in ({}, {"generated_design": design}):
        whole = frechet_inference(real, generated, **given, **designs)
        with monkeypatch.context() as patch:
            patch.setattr(exchange, "_MOST_IN_MEMORY", 0)
            patch.setattr(grams, "_BLOCK", 16)
            patch.setattr(grams, "_SUMS_AT_ONCE", 8 * 10 * 10 * 3)  # three subsets at a time
            blocks = frechet_inference(real, generated, **given, **designs)
        assert blocks.corrected == pytest.approx(whole.corrected)
        assert blocks.interval == pytest.approx(whole.interval)
        np.testing.assert_allclose(blocks.shares, whole.shares)
    percent = frechet_inference(
        real * (100 / 65536), generated * (100 / 65536), permutations=9, splits=4
    )
    assert percent.corrected == pytest.approx(frechet_inference(real, generated, **given).corrected)


def test_very_many_groups_are_bundled_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_MOST_GROUPS", 1000)
    monkeypatch.setattr(exchange, "_BUNDLES", 200)
    monkeypatch.setattr(exchange, "_FEWEST_BUNDLES", 20)
    sides = Sides(areas(900, 0), areas(300, 1), INDEPENDENT, INDEPENDENT)
    assert sides.counts == (150, 50)  # six images in a bundle
    assert sides.grams[0].weight == 900.0
    assert sides.effective == [900.0, 300.0]
    uneven = Sides(areas(990, 0), areas(40, 1), INDEPENDENT, INDEPENDENT)
    assert uneven.counts == (495, 20)  # two images in a bundle, so that the smaller side has 20
