"""Presence in pairs, against closed forms and SciPy."""

import numpy as np
import pytest
import scipy.stats

from unseen.core.errors import SampleError
from unseen.statistics import Design
from unseen.statistics.paired_presence import compare_pairs


def pairs(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """One class in pairs of these four kinds."""
    real = np.repeat([0.1, 0.1, 0.0, 0.0], [both, lost, gained, neither])[:, None]
    generated = np.repeat([0.1, 0.0, 0.1, 0.0], [both, lost, gained, neither])[:, None]
    return real, generated


@pytest.mark.parametrize("counts", [(30, 10, 3, 57), (0, 25, 0, 75), (40, 0, 1, 9)])
def test_shares_have_exact_limits_and_the_change_has_mcnemars_mid_p(
    counts: tuple[int, int, int, int],
) -> None:
    both, lost, gained, neither = counts
    row = compare_pairs(*pairs(*counts))[0]
    assert (row.held, row.kept, row.lacking, row.added) == (
        both + lost,
        both,
        gained + neither,
        gained,
    )
    for count, size, interval in (
        (both, both + lost, row.kept_interval),
        (gained, gained + neither, row.added_interval),
    ):
        exact = scipy.stats.binomtest(count, size).proportion_ci(method="exact")
        assert interval == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert row.difference == pytest.approx((gained - lost) / sum(counts))
    tail = scipy.stats.binom(lost + gained, 0.5)
    fewer = min(lost, gained)
    expected = 1.0 if lost == gained else 2 * (tail.cdf(fewer) - tail.pmf(fewer) / 2)
    assert row.p_value == pytest.approx(expected)
    assert row.p_holm == row.p_value  # of one class
    low, high = row.difference_interval or (0.0, 0.0)
    assert low < row.difference < high


def test_copies_of_a_caption_s_pair_are_worth_one() -> None:
    rng = np.random.default_rng(0)
    real = (rng.random((60, 3)) < 0.5) * 0.1
    generated = (rng.random((60, 3)) < 0.4) * 0.1
    copies = Design(groups=np.repeat(np.arange(60), 5))
    many = compare_pairs(real.repeat(5, axis=0), generated.repeat(5, axis=0), design=copies)
    alone = compare_pairs(real, generated)
    independent = compare_pairs(real.repeat(5, axis=0), generated.repeat(5, axis=0))
    for of_copies, of_one, taken in zip(many, alone, independent, strict=True):
        assert of_copies.held == 5 * of_one.held
        # exactly: the correlation is 1, and the photographs of a caption hold the class together
        assert of_copies.kept_interval == pytest.approx(of_one.kept_interval)
        assert of_copies.added_interval == pytest.approx(of_one.added_interval)
        assert taken.kept_interval[1] - taken.kept_interval[0] < 0.6 * (
            of_one.kept_interval[1] - of_one.kept_interval[0]
        )
        # the variance of 60 groups is that of 60 pairs, but for 60 / 59
        assert of_copies.difference_interval == pytest.approx(of_one.difference_interval, abs=0.02)


def test_a_class_that_chance_shows_in_no_drawn_image_is_not_surer_for_its_groups() -> None:
    rng = np.random.default_rng(1)
    real = np.full((200, 2), 0.1)
    generated = np.zeros((200, 2))
    captions = np.repeat(np.arange(20), 10)
    generated[:, 1] = 0.1 * (rng.random(20) < 0.5)[captions]  # a caption's images are alike
    row = compare_pairs(real, generated, design=Design(groups=captions))[0]
    # no image shows how alike those of a caption are in this class; the other class does
    assert row.kept_interval[1] == pytest.approx(1 - 0.025 ** (1 / 20), abs=1e-6)


def test_a_class_in_no_real_image_keeps_nothing_and_says_so() -> None:
    row = compare_pairs(*pairs(0, 0, 12, 88))[0]
    assert (row.held, row.kept, row.kept_interval) == (0, 0, (0.0, 1.0))
    assert row.tested
    assert compare_pairs(*pairs(1, 1, 1, 97))[0].p_value is None


def test_sides_of_other_numbers_are_no_pairs() -> None:
    with pytest.raises(SampleError, match="3 real and 4"):
        compare_pairs(np.zeros((3, 1)), np.zeros((4, 1)))
