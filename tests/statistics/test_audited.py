"""Corrected ratios: the posterior against sums over a grid, and what verdicts follow."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats

from unseen.core.errors import SampleError
from unseen.statistics.audited import (
    AuditCounts,
    AuditPosterior,
    audited_interval,
    labels_to_decide,
)
from unseen.statistics.classes import verdict_of


def counts(images, labelled, present):
    """Of two cells: the segmenter says yes, or no."""
    tables = (np.array(table, float) for table in (images, labelled, present))
    return AuditCounts(np.array([True, False]), *tables)


def on_a_grid(side, level=0.95):
    """The interval of presence by brute force, in presence, sensitivity and false alarms.

    The prior is that of the module: p Beta(½, ½), and of two cells Dirichlet(½) is Beta(½, ½).
    """
    nodes = (np.arange(60) + 0.5) / 60
    # Nodes are quantiles of the prior Beta(½, ½), which is sin² of uniform angles.
    p = np.sin(0.5 * np.pi * (np.arange(600) + 0.5) / 600)[:, None, None] ** 2
    s = c = np.sin(0.5 * np.pi * nodes) ** 2
    s, c = s[None, :, None], c[None, None, :]
    yes = p * s + (1 - p) * c
    log = scipy.special.xlogy(side.images[0], yes) + scipy.special.xlogy(side.images[1], 1 - yes)
    rates = (p * s / yes, p * (1 - s) / (1 - yes))
    for k, rate in enumerate(rates):
        absent = side.labelled[k] - side.present[k]
        log = log + scipy.special.xlogy(side.present[k], rate)
        log = log + scipy.special.xlogy(absent, 1 - rate)
    mass = np.exp(log - log.max()).sum(axis=(1, 2))
    reached = np.cumsum(mass) / mass.sum()
    ends = np.searchsorted(reached, [(1 - level) / 2, (1 + level) / 2])
    return tuple(float(p[k, 0, 0]) for k in ends)


@pytest.mark.parametrize(
    "side",
    [
        counts([60, 240], [30, 70], [27, 2]),
        counts([20, 280], [20, 80], [3, 0]),
        counts([0, 300], [0, 60], [0, 0]),  # never seen
    ],
)
def test_presence_has_the_posterior_of_a_grid(side):
    low, high = AuditPosterior.of(side).presence_interval(0.95)
    expected = on_a_grid(side)
    # 4,096 draws know a tail of 2.5 % to 0.3 %, and the grid has steps of about a hundredth
    assert high == pytest.approx(expected[1], rel=0.08)
    if side.present.sum():
        assert low == pytest.approx(expected[0], rel=0.12)


def test_images_without_the_class_count_where_it_was_never_seen():
    called = np.array([True, True, False, False])  # yes; unsure, called or not; no
    few, many = (
        AuditPosterior.of(
            AuditCounts(called, *np.array([[0, 0, 0, n], [0, 0, 0, 100.0], [0.0] * 4]))
        ).presence_interval(0.95)[1]
        for n in (200, 10_000)
    )
    assert few > 0.005  # 100 labels alone leave 3.6 %
    assert many < 0.002


def test_labels_of_everything_leave_the_error_of_the_images_alone():
    """With every image labelled the segmenter says nothing more."""
    side = counts([100, 900], [100, 900], [80, 20])
    low, high = AuditPosterior.of(side).presence_interval(0.95)
    jeffreys = scipy.stats.beta(100.5, 900.5).ppf([0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(jeffreys), rel=0.02)


def test_a_ratio_of_equal_sides_is_its_own_inverse():
    side = AuditPosterior.of(counts([60, 240], [30, 70], [27, 2]))
    low, high = audited_interval(side, side, level=0.95)
    assert low * high == pytest.approx(1.0, rel=1e-3)
    assert side.ratio_below(side, 0.0) == pytest.approx(0.5, abs=0.002)


def test_nothing_found_bounds_one_end_alone():
    there, never = (
        AuditPosterior.of(counts([60, 240], [30, 70], present)) for present in ([27, 2], [0, 0])
    )
    assert audited_interval(there, never, level=0.95)[0] == 0.0
    assert audited_interval(never, there, level=0.95)[1] == math.inf


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.0, 0.09), "omitted"),
        ((0.0, 0.11), "under"),
        ((1.01, 3.0), "over"),
        ((0.85, 1.2), "matched"),
        ((0.7, 1.2), "undecided"),
    ],
)
def test_verdicts_are_those_of_the_intervals(interval, verdict):
    assert verdict_of(interval) == verdict


def test_a_match_needs_the_size_too():
    assert verdict_of((0.85, 1.2), alike=False) == "undecided"


def test_more_labels_decide_where_images_are_many():
    real, generated = (
        counts([600, 1400], [40, 60], [39, 3]),
        counts([420, 1580], [40, 60], [38, 4]),
    )
    sides = [AuditPosterior.of(side) for side in (real, generated)]
    assert verdict_of(audited_interval(*sides, level=0.95)) == "undecided"
    factor = labels_to_decide(real, generated, level=0.95)
    assert factor is not None
    assert 1.0 < factor < 20.0
    more = [AuditPosterior.of(side.times(factor)) for side in (real, generated)]
    assert verdict_of(audited_interval(*more, level=0.95)) != "undecided"


def test_no_labels_decide_where_images_are_too_few():
    side = counts([10, 30], [10, 20], [9, 1])
    assert labels_to_decide(side, side, level=0.95) is None


def test_more_present_images_than_labels_are_refused():
    with pytest.raises(SampleError):
        counts([10, 30], [5, 5], [6, 0])
