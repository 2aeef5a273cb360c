"""Groups and weights of a side: what they must be, and what they become."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import effective_images, self_halves
from unseen.statistics.design import INDEPENDENT, Design


def test_without_groups_every_image_is_a_group_and_without_weights_all_count_alike() -> None:
    assert INDEPENDENT.units(3).tolist() == [0, 1, 2]
    assert INDEPENDENT.shares(4).tolist() == [0.25] * 4


def test_groups_are_numbered_without_gaps_and_weights_sum_to_one() -> None:
    design = Design(groups=np.array([9, -2, 9]), weights=np.array([1.0, 2.0, 5.0]))
    assert design.units(3).tolist() == [1, 0, 1]
    assert design.shares(3).tolist() == [0.125, 0.25, 0.625]


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_a_weight_that_is_no_positive_number_is_named(weight: float) -> None:
    with pytest.raises(SampleError, match="weight 1 "):
        Design(weights=np.array([1.0, weight])).shares(2)


@pytest.mark.parametrize("design", [Design(groups=np.arange(3)), Design(weights=np.ones(3))])
def test_another_number_of_images_is_refused(design: Design) -> None:
    with pytest.raises(SampleError, match=r"3 .* for 4 images"):
        design.units(4) if design.weights is None else design.shares(4)


def test_independent_images_are_worth_their_number() -> None:
    values = np.random.default_rng(0).random((50, 3))
    # the variance of a mean of independent images is s² / n, so that the ratio is n, but rounding
    assert effective_images(values, Design(groups=np.arange(50))) == pytest.approx(50, rel=1e-12)


def test_copies_are_worth_their_originals() -> None:
    values = np.repeat(np.random.default_rng(0).random((20, 40)), 10, axis=0)
    design = Design(groups=np.repeat(np.arange(20), 10))
    # s² of 200 images, 10 of each, is 190 / 199 of that of the 20 originals
    assert effective_images(values, design) == pytest.approx(20 * 190 / 199, rel=1e-12)


def test_weights_cost_what_kish_says() -> None:
    rng = np.random.default_rng(0)
    weights = np.repeat([1.0, 9.0], 50_000)
    effective = effective_images(rng.random((100_000, 2)), Design(weights=weights))
    # (Σ w)² / Σ w² where weights and values have nothing to do with each other; the error of the
    # variances is about 1 % with 100,000 images
    assert effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=0.03)


def test_halves_split_no_group() -> None:
    groups = np.repeat(np.arange(7), 3)
    first, second = self_halves(21, seed=2, design=Design(groups=groups))
    assert len(first) == len(second) == 9  # three groups of seven each; the odd one is left out
    assert not set(groups[first]) & set(groups[second])
    with pytest.raises(SampleError, match="3 groups"):
        self_halves(9, design=Design(groups=groups[:9]))
