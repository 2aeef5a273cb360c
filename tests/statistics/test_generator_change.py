"""A new generator against the previous one: directions, each side's own variance, pairs, power."""

import numpy as np
import pytest
import scipy.stats
from tests.support.class_counts import with_counts

from unseen.core.errors import SampleError
from unseen.statistics import compare_generators, samples
from unseen.statistics.contrasts import jeffreys


def test_a_new_generator_that_loses_a_class_has_regressed() -> None:
    real = with_counts(2000, 400, 400, 400, 400)
    previous = with_counts(2000, 390, 100, 700, 390)
    new = with_counts(2000, 100, 390, 410, 405)
    changes = compare_generators(real, previous, new)
    verdicts = [change.verdict for change in changes[1:]]
    assert verdicts == ["regressed", "improved", "improved", "undecided"]
    lost = changes[1]
    assert lost.change == pytest.approx(-0.145)
    assert lost.distance_change > 0.0
    assert lost.interval is not None
    assert lost.interval[0] < -0.145 < lost.interval[1] < 0.0


def test_overshooting_by_more_than_before_is_a_regression() -> None:
    real, previous, new = (with_counts(2000, count) for count in (400, 380, 900))
    assert compare_generators(real, previous, new)[1].verdict == "regressed"


def test_each_generator_has_its_own_variance() -> None:
    # 10 and 15.2 % of 500 images differ by 2.5 of their own standard errors. Pooled with the 3.3 %
    # of 5,000 real images the error would be half as large, and 20 classes would call it.
    real = with_counts(5000, *[165] * 20)
    previous, new = with_counts(500, *[50] * 20), with_counts(500, *[76] * 20)
    change = compare_generators(real, previous, new)[1]
    assert change.verdict == "undecided"
    assert change.interval is not None
    assert change.interval[0] < 0.0 < 0.052 < change.interval[1]


def test_the_change_is_tested_by_the_conditional_test() -> None:
    real, previous, new = (with_counts(2000, count) for count in (1800, 60, 36))
    hypergeometric = scipy.stats.hypergeom(4000, 96, 2000)  # real is so far off that it is certain
    expected = 2 * (hypergeometric.cdf(36) - 0.5 * hypergeometric.pmf(36))
    change = compare_generators(real, previous, new)[1]
    assert change.p_value == pytest.approx(expected, rel=1e-6)
    assert change.verdict == "regressed"


def pairs(both: int, lost: int, gained: int, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Areas of one class by the previous and the new generator, in n pairs."""
    previous, new = np.zeros((2, n, 1))
    previous[: both + lost] = new[:both] = new[both + lost : both + lost + gained] = 0.1
    return previous, new


def test_pairs_are_tested_by_what_differs_within_them() -> None:
    previous, new = pairs(both=280, lost=20, gained=3)
    real = np.where(np.arange(4000) < 3000, 0.1, 0.0)[:, None]
    expected = 2 * (
        scipy.stats.binom.cdf(3, 23, 0.5) - 0.5 * scipy.stats.binom.pmf(3, 23, 0.5)
    )  # McNemar, mid-p
    paired = compare_generators(real, previous, new, paired=True)[0]
    assert paired.p_value == pytest.approx(expected, rel=1e-3)  # 20 bisections of its logarithm
    assert paired.verdict == "regressed"
    unpaired = compare_generators(real, previous, new)[0]
    assert unpaired.verdict == "undecided"
    assert paired.interval is not None
    assert unpaired.interval is not None
    assert np.diff(paired.interval)[0] < 0.6 * np.diff(unpaired.interval)[0]
    assert paired.interval[0] < -0.017 < paired.interval[1] < 0.0


def test_pairs_that_all_agree_leave_a_bounded_change() -> None:
    previous, new = pairs(both=300, lost=0, gained=0)
    change = compare_generators(previous, previous, new, paired=True)[0]
    assert change.p_value == 1.0
    assert change.interval is not None
    # Jeffreys' limit of none in 1,000 on either side
    limit = scipy.stats.beta.isf(0.025, 0.5, 1000.5)
    assert change.interval == pytest.approx((-limit, limit), rel=1e-6)


def test_a_class_that_is_nearer_but_no_longer_drawn_has_not_improved() -> None:
    # Real 1 %, previously 6 %: nothing at all is nearer than that, and is no improvement.
    real, previous = with_counts(4000, 40, 0, 40), with_counts(4000, 240, 240, 240)
    gone, ghost, fewer = compare_generators(real, previous, with_counts(4000, 0, 0, 50))[1:]
    assert (gone.verdict, fewer.verdict) == ("undecided", "improved")
    assert gone.distance_change < 0.0
    assert ghost.verdict == "improved"  # no real image holds this class


@pytest.mark.parametrize("paired", [False, True])
def test_the_printed_regression_is_found_four_times_in_five(paired: bool) -> None:
    rng = np.random.default_rng(0)
    classes = 400  # of one presence each: so many draws

    def draw(n: int, presence: float) -> np.ndarray:
        return rng.random((n, classes)) < presence

    real, previous = draw(2000, 0.3), draw(1500, 0.3)
    kept = rng.random((1500, classes)) < (0.8 if paired else 0.0)
    sides = [0.1 * side for side in (real, previous, np.where(kept, previous, draw(1500, 0.3)))]
    printed = [c.smallest_detectable_regression for c in compare_generators(*sides, paired=paired)]
    drop = float(np.median([drop for drop in printed if drop is not None]))
    lost = sides[2] * (rng.random((1500, classes)) >= drop)
    changes = compare_generators(sides[0], sides[1], lost, paired=paired)
    found = np.mean([change.verdict == "regressed" for change in changes])
    # 0.02 is the standard error of 400 draws; the lattice is right to about 0.01
    assert found == pytest.approx(0.8, abs=0.07)


def test_limits_of_a_proportion_are_those_of_the_beta_distribution() -> None:
    count, size = np.arange(41.0), np.full(41, 40.0)
    low, high = jeffreys(count, size, 0.001)
    exact = scipy.stats.beta(count + 0.5, size - count + 0.5)
    share = count / size
    # the closed form keeps the distance to the proportion to 1 %
    np.testing.assert_allclose(share[1:] - low[1:], share[1:] - exact.ppf(0.0005)[1:], rtol=0.01)
    np.testing.assert_allclose(high[:-1] - share[:-1], exact.isf(0.0005)[:-1] - share[:-1], 0.01)
    assert (low[0], high[-1]) == (0.0, 1.0)
    many = jeffreys(np.stack([count, count]), size, 0.001)[1][0]
    np.testing.assert_allclose(many[:-1] - share[:-1], high[:-1] - share[:-1], rtol=0.02)


def test_pairs_need_equal_numbers() -> None:
    with pytest.raises(SampleError, match="30 images and the new one 20"):
        compare_generators(*(with_counts(n, 9) for n in (30, 30, 20)), paired=True)


def test_the_printed_regression_of_areas_is_found_as_often() -> None:
    rng = np.random.default_rng(0)

    def draw() -> np.ndarray:  # log-normal, of mean 0.2; so many classes are so many draws
        return 0.2 * np.exp(0.25 * rng.standard_normal((800, 300)) - 0.03125)

    changes = compare_generators(draw(), draw(), draw())
    assert {change.statistic for change in changes} == {"area"}
    printed = np.array([change.smallest_detectable_regression for change in changes], dtype=float)
    lost = draw() * (1.0 - printed)
    found = np.mean([c.verdict == "regressed" for c in compare_generators(draw(), draw(), lost)])
    # 0.025 is the standard error of 300 draws; chance in the first sample costs some 8 %
    assert found == pytest.approx(0.72, abs=0.1)


def test_a_family_of_classes_is_compared_as_if_it_stood_alone():
    rng = np.random.default_rng(0)
    sides = [0.1 * (rng.random((300, 10)) < share) for share in (0.4, 0.4, 0.25)]
    family = compare_generators(*sides, family=[3, 1])
    assert family == compare_generators(*(side[:, [3, 1]] for side in sides))
    whole = compare_generators(*sides)[3]
    assert family[0].p_value == whole.p_value
    low, high = family[0].interval
    assert whole.interval[0] < low < high < whole.interval[1]


@pytest.mark.parametrize("paired", [False, True])
def test_pixels_in_blocks_of_columns_give_what_whole_shares_give(paired, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = [
        (rng.integers(4, 200, (300, 10)) * (rng.random((300, 10)) < share)).astype(np.uint32)
        for share in (0.4, 0.4, 0.25)
    ]
    whole = compare_generators(*(side / 400.0 for side in pixels), paired=paired)
    monkeypatch.setattr(samples, "_BLOCK", 3 * 300)  # three columns, and one in the last block
    blocks = compare_generators(*pixels, whole=400, paired=paired)
    assert [change.verdict for change in blocks] == [change.verdict for change in whole]
    for mine, other in zip(blocks, whole, strict=True):
        # means are summed in another order
        assert mine.change == pytest.approx(other.change, rel=1e-12)
        assert mine.interval == pytest.approx(other.interval, rel=1e-9)
