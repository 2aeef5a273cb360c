import numpy as np
import pytest
import scipy.stats

from unseen.core.errors import SampleError
from unseen.statistics.retention_ratio import Retained, RetentionRatio


def retained(values, groups=None, weights=None):
    values = np.asarray(values, np.float64)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    return Retained(values, groups, weights)


FIRST = np.array([0.1, 0.3, 0.2, 0.5, 0.0, 0.4])
SECOND = np.array([0.9, 0.7, 1.0, 0.8, 0.6, 0.9])


def with_image(values, kept):
    """The sample with half an image more."""
    return np.append(values, kept), np.append(np.ones(len(values)), 0.5)


def linearised(values, weights):
    """Mean of weighted values, and the squared error of a ratio of means over its groups."""
    n, mean = len(values), np.average(values, weights=weights)
    parts = weights * (values - mean) / weights.sum()
    return mean, n / (n - 1) * (parts**2).sum()


def test_unpaired_it_is_welchs_test_of_the_first_less_the_scaled_second():
    # written out with the images that speak against "below 0.5"
    (m, v), (c, w) = (
        linearised(*with_image(FIRST, SECOND.mean())),
        linearised(*with_image(SECOND, 0.0)),
    )
    w *= 0.25
    freedom = (v + w) ** 2 / (v**2 / 6 + w**2 / 6)
    expected = scipy.stats.t.cdf((m - 0.5 * c) / np.sqrt(v + w), freedom)
    found = RetentionRatio(retained(FIRST), retained(SECOND), shared=False)
    assert found.p_value(0.5, "below") == pytest.approx(expected, rel=1e-6)


def test_against_above_the_images_keep_nothing_of_the_first_and_all_of_the_second():
    (m, v), (c, w) = (
        linearised(*with_image(SECOND, 0.0)),
        linearised(*with_image(FIRST, 1.0)),
    )
    freedom = (v + w) ** 2 / (v**2 / 6 + w**2 / 6)
    expected = scipy.stats.t.sf((m - c) / np.sqrt(v + w), freedom)
    found = RetentionRatio(retained(SECOND), retained(FIRST), shared=False)
    assert found.p_value(1.0, "above") == pytest.approx(expected, rel=1e-6)


def test_what_moves_both_sides_of_a_photograph_alike_does_not_count_when_paired():
    half = 0.5 * SECOND
    paired, apart = (
        RetentionRatio(retained(half), retained(SECOND), shared=shared) for shared in (True, False)
    )
    assert paired.value == apart.value == pytest.approx(0.5)
    assert paired.p_value(0.8, "below") < apart.p_value(0.8, "below")
    assert paired.bound(0.025, "below") < apart.bound(0.025, "below")
    crossed = RetentionRatio(retained(half), retained(SECOND[::-1]), shared=True)
    assert paired.bound(0.025, "below") < crossed.bound(0.025, "below")


def test_photographs_of_one_side_alone_count_once():
    # a peer in a photograph that does not hold the class is chance of the second side only
    more = retained(np.append(SECOND, [0.2, 1.0]))
    both = RetentionRatio(retained(FIRST), more, shared=True)
    apart = RetentionRatio(retained(FIRST), retained(more.values, more.groups + 100), shared=True)
    assert apart.p_value(0.5, "below") == pytest.approx(
        RetentionRatio(retained(FIRST), more, shared=False).p_value(0.5, "below")
    )
    assert both.p_value(0.5, "below") != apart.p_value(0.5, "below")


def test_a_bound_is_the_margin_whose_p_value_is_its_level():
    ratio = RetentionRatio(retained(FIRST), retained(SECOND), shared=False)
    for claim in ("below", "above"):
        for level in (0.1, 0.025):
            bound = ratio.bound(level, claim)
            assert ratio.p_value(bound, claim) == pytest.approx(level, rel=1e-4)
    assert ratio.bound(0.002, "above") == 0  # even this is no contradiction
    assert ratio.bound(0.025, "above") < ratio.value < ratio.bound(0.025, "below")


def test_where_nothing_bounds_it_the_ratio_is_not_bounded():
    nothing = RetentionRatio(retained(FIRST), retained(np.zeros(6)), shared=False)
    assert nothing.value == nothing.bound(0.025, "below") == np.inf
    assert RetentionRatio(retained(np.zeros(6)), retained(SECOND), shared=False).value == 0
    assert np.isnan(
        RetentionRatio(retained(np.zeros(6)), retained(np.zeros(6)), shared=False).value
    )
    empty = RetentionRatio(retained(np.zeros(6)), retained(SECOND), shared=False)
    assert empty.bound(0.025, "above") == 0


def test_instances_of_one_group_count_as_one_observation():
    # 60 instances in 6 photographs say no more than 6
    many = retained(np.repeat(FIRST, 10), np.repeat(np.arange(6), 10))
    alone = RetentionRatio(retained(FIRST), retained(SECOND), shared=False)
    ratio = RetentionRatio(many, retained(SECOND), shared=False)
    assert ratio.bound(0.025, "below") == pytest.approx(alone.bound(0.025, "below"))


def test_weights_and_order_are_those_of_the_means():
    weights = np.array([1.0, 0.5, 0.25, 1.0, 1.0, 0.5])
    order = np.array([3, 1, 5, 0, 2, 4])
    ratio = RetentionRatio(retained(FIRST), retained(SECOND, None, weights), shared=False)
    again = RetentionRatio(
        retained(FIRST[order], np.arange(6)[order]),
        retained(SECOND[order], np.arange(6)[order], weights[order]),
        shared=False,
    )
    assert ratio.value == pytest.approx(FIRST.mean() / np.average(SECOND, weights=weights))
    assert again.bound(0.025, "below") == pytest.approx(ratio.bound(0.025, "below"))


def test_one_image_that_keeps_nothing_shows_nothing():
    one = RetentionRatio(retained([0.0]), retained(SECOND), shared=False)
    assert one.p_value(0.5, "below") > 0.1


def test_five_images_that_keep_nothing_show_less_than_forty():
    bounds = [
        RetentionRatio(retained(np.zeros(n)), retained(np.ones(40)), shared=False).bound(
            0.025, "below"
        )
        for n in (5, 10, 40)
    ]
    assert bounds == sorted(bounds, reverse=True)
    # where an image keeps all or nothing, five that keep nothing leave 1 - 0.025 ** (1 / 5) = 52 %,
    # and forty leave 9 %; of losses that are less extreme they say more
    assert 0.3 < bounds[0] < 0.52
    assert 0.02 < bounds[2] < 0.09


def test_without_an_instance_there_is_no_mean():
    with pytest.raises(SampleError, match="0 entries"):
        retained([])
