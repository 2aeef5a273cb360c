"""The difference of two generators' distances to the same real images."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import Design, frechet_difference, frechet_distance


def areas(n: int, seed: int, *, spread: float = 1.0) -> np.ndarray:
    shares = np.array([4.0, 2.0, 1.0, 1.0]) / spread
    return 100.0 * np.random.default_rng(seed).dirichlet(shares, n)


def test_it_is_the_difference_of_the_true_distances() -> None:
    # Populations of 40,000 images; over 12 draws of 150 the standard error is a tenth.
    real, near, far = (areas(40_000, s, spread=x) for s, x in ((0, 1.0), (1, 1.3), (2, 2.0)))
    true = frechet_distance(real, far).value - frechet_distance(real, near).value
    rng = np.random.default_rng(0)
    draws = [
        frechet_difference(
            *(table[rng.integers(len(table), size=150)] for table in (real, near, far)),
            splits=5,
            permutations=4,
        )
        for _ in range(12)
    ]
    assert np.mean([draw.difference for draw in draws]) == pytest.approx(true, rel=0.3)
    covered = sum(draw.interval[0] <= true <= draw.interval[1] for draw in draws)
    assert covered >= 9  # 99.8 % of worlds, where each interval covers with 95 %


def test_a_generator_does_not_differ_from_itself() -> None:
    same = areas(60, 1)
    change = frechet_difference(areas(50, 0), same, same, paired=True, splits=4, permutations=4)
    assert change.difference == pytest.approx(0.0, abs=1e-9)
    assert change.interval == pytest.approx((0.0, 0.0), abs=1e-9)


def test_pairs_narrow_the_interval() -> None:
    real, previous = areas(200, 0), areas(200, 1, spread=1.5)
    new = previous.copy()
    new[::10] = areas(20, 2, spread=1.5)  # a tenth of the drawings changed
    paired, alone = (
        frechet_difference(real, previous, new, paired=paired, splits=10, permutations=4)
        for paired in (True, False)
    )
    assert np.ptp(paired.interval) < 0.6 * np.ptp(alone.interval)


def test_whole_groups_are_halved() -> None:
    design = Design(groups=np.repeat(np.arange(30), 8))
    real, previous, new = (np.repeat(areas(30, seed), 8, axis=0) for seed in range(3))
    grouped = frechet_difference(
        real,
        previous,
        new,
        real_design=design,
        previous_design=design,
        new_design=design,
        splits=10,
        permutations=4,
    )
    alone = frechet_difference(real, previous, new, splits=10, permutations=4)
    assert np.ptp(grouped.interval) > 1.5 * np.ptp(alone.interval)  # eight copies of each: √8


def test_too_few_images_give_no_number_and_a_reason() -> None:
    change = frechet_difference(areas(100, 0), areas(10, 1), areas(100, 2))
    assert change.difference is None
    assert change.interval is None
    assert "10 " in str(change.reason)


def test_pairs_must_be_as_many_and_grouped_alike() -> None:
    with pytest.raises(SampleError, match="20 images and the new one 30"):
        frechet_difference(areas(50, 0), areas(20, 1), areas(30, 2), paired=True)
    with pytest.raises(SampleError, match="grouped"):
        frechet_difference(
            areas(50, 0),
            areas(20, 1),
            areas(20, 2),
            paired=True,
            new_design=Design(groups=np.arange(20) // 2),
        )
