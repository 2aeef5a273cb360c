"""Intervals of correlations, against resampling by hand and against a known truth."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import agreement as module
from unseen.statistics.agreement import DEFINITIONS, agreement, order, resamples
from unseen.statistics.correlations import correlations


def noisy(rng: np.random.Generator, n: int, d: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Correlation 1 / √(1 + noise²) by dimension."""
    true = rng.standard_normal((n, d))
    return true, true + noise * rng.standard_normal((n, d))


def test_a_resample_is_the_correlation_of_the_samples_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 5)  # 12 dimensions in blocks of 5
    rng = np.random.default_rng(0)
    true, recovered = noisy(rng, 8, 12, 0.5)
    true[:, 3], recovered[:, 4] = 2.0, 1.0  # constant: left out, and counted as 0
    counts = resamples(8, draws=6, seed=1)
    assert (counts.sum(axis=1) == 8).all()
    found = agreement(true.reshape(8, 3, 4), recovered.reshape(8, 3, 4), counts)
    assert found.value == correlations(true, recovered)
    for k, each in enumerate(counts):
        rows = np.repeat(np.arange(8), each)
        expected = correlations(true[rows], recovered[rows])
        for name in DEFINITIONS:
            assert found.resampled[name][k] == pytest.approx(getattr(expected, name), abs=1e-9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = 1 / np.sqrt(1 + 0.6**2)
    covered = 0
    for seed in range(200):
        low, high = agreement(
            *noisy(rng, 60, 20, 0.6), resamples(60, draws=300, seed=seed)
        ).interval("per_dimension")
        covered += low <= truth <= high
    # 95 % asked for; the percentile interval of 60 samples is a little narrow: 88 to 98 % allowed
    assert 176 <= covered <= 196


def test_the_order_is_decided_by_pairs_on_the_same_samples() -> None:
    rng = np.random.default_rng(3)
    true = rng.standard_normal((40, 30))
    shared = 2 * rng.standard_normal((40, 30))
    counts = resamples(40, draws=500)
    found = {
        name: agreement(true, true + shared * scale + own * rng.standard_normal((40, 30)), counts)
        for name, scale, own in (("bad", 1, 0.1), ("also bad", 1, 0.1), ("good", 0.9, 0.1))
    }
    steps = order(found, [("bad", "good"), ("good", "bad"), ("bad", "also bad")], "pooled")
    assert [step.verdict for step in steps] == ["holds", "reversed", "undecided"]
    # apart, the two intervals overlap; in pairs the difference is plain
    assert found["bad"].interval("pooled")[1] > found["good"].interval("pooled")[0]
    assert steps[0].difference == pytest.approx(-steps[1].difference)
    assert steps[0].interval[0] == pytest.approx(-steps[1].interval[1])


def test_alike_recoveries_are_seldom_called_different() -> None:
    rng = np.random.default_rng(6)
    kept = 0
    for seed in range(100):
        true = rng.standard_normal((60, 10))
        counts = resamples(60, draws=200, seed=seed)
        found = {
            name: agreement(true, true + 0.6 * rng.standard_normal((60, 10)), counts)
            for name in "abcd"
        }
        steps = order(found, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], "per_dimension")
        kept += all(step.verdict == "undecided" for step in steps)
    # 95 of 100 asked for; a binomial of 0.95 falls below 88 once in 680 times
    assert kept >= 88


def test_more_steps_make_wider_intervals() -> None:
    rng = np.random.default_rng(4)
    true = rng.standard_normal((40, 5))
    counts = resamples(40, draws=500)
    found = {str(k): agreement(true, true + rng.standard_normal((40, 5)), counts) for k in range(6)}
    one = order(found, [("0", "1")], "pooled")[0].interval
    many = order(found, [("0", str(k)) for k in range(1, 6)], "pooled")[0].interval
    assert many[1] - many[0] > one[1] - one[0]


def test_equal_recoveries_are_undecided() -> None:
    rng = np.random.default_rng(5)
    found = agreement(*noisy(rng, 10, 4, 0.5), resamples(10, draws=50))
    step = order({"d": found, "f": found}, [("d", "f")], "per_dimension")[0]
    assert (step.difference, step.interval, step.verdict) == (0, (0, 0), "undecided")


def test_a_single_sample_has_no_interval() -> None:
    with pytest.raises(SampleError, match="1 sample; an interval needs 2 or more"):
        resamples(1)
