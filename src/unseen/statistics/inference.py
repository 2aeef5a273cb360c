"""Fréchet distance with its error bars: floor, p-value, corrected value, interval, shares.

NumPy and SciPy alone. What each number means, and how well it does its work in simulation, is in
docs/statistics.md.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64

from unseen.statistics.frechet import (
    FrechetDistance,
    check_samples,
    fidelity,
    frechet_shares,
)
from unseen.statistics.grams import Gram, Rows

_FEWEST_FOR_HALVES = 16  # images on a side: below, halves are too small to extrapolate from
# Bias over what it grows by on halves: 1 where it falls as 1/n, 2.4 where it falls as n^-½. Few
# permutations of few images can stray further by chance.
_DECAY_WITHIN = (0.5, 2.5)


@dataclasses.dataclass(frozen=True, eq=False)
class FrechetInference:
    """A Fréchet distance and what this sample says about the true one, in percent².

    Attributes:
        plug_in: as published: biased upwards, the more the fewer images.
        floor: expectation of the plug-in had both sides one distribution, at this (n, m).
        p_value: of "no difference", by permutation of images between the sides.
        at_half: mean plug-in between random halves of the sides; None where they are too small.
        corrected: estimate of the true distance; may be below zero.
        interval: of the true distance, at `level`; starts at 0 where p_value > 1 − level.
        shares: what each class adds to the plug-in; not negative, sums to it.
        estimator: name of the rule behind `corrected`.
        level: of the interval.
        permutations: how many are behind floor and p_value.
        seed: of permutations and splits.
    """

    plug_in: FrechetDistance
    floor: float
    p_value: float
    at_half: float | None
    corrected: float
    interval: tuple[float, float]
    shares: Float64[np.ndarray, " k"]
    estimator: str
    level: float
    permutations: int
    seed: int


def frechet_inference(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    seed: int = 0,
    permutations: int = 199,
    splits: int = 40,
    level: float = 0.95,
) -> FrechetInference:
    """Fréchet distance between two samples, with floor, p-value, corrected value and interval.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.
        seed: of permutations and splits.
        permutations: of images between the sides.
        splits: random halvings of both sides, behind the corrected value and its error.
        level: of the interval.

    Returns:
        All numbers in percent².

    Raises:
        SampleError: fewer than two rows on either side, other columns, or a value not finite.
    """
    check_samples(real, generated)
    rng = np.random.default_rng(seed)
    n, m = len(real), len(generated)
    pooled = np.concatenate([real, generated])
    rows = Rows(pooled[:, pooled.any(axis=0)])
    sides = rows.gram(np.arange(n)), rows.gram(np.arange(n, n + m))
    observed = _Terms.between(*sides)
    at_half: float | None
    halved = min(n, m) >= _FEWEST_FOR_HALVES

    total = sides[0] + sides[1]
    orders = [rng.permutation(n + m) for _ in range(permutations)]
    null = [
        _Terms.between(first, total - first)
        for first in rows.grams([order[:n] for order in orders])
    ]
    null_values = np.asarray([terms.value for terms in null])
    floor = float(null_values.mean())
    p_value = (1 + int((null_values >= observed.value).sum())) / (1 + permutations)

    null_variance = float(null_values.var(ddof=1))
    mean_bias = np.trace(sides[0].covariance) / n + np.trace(sides[1].covariance) / m
    if halved:
        estimator = "calibrated-halving"
        quarters = [
            _quarters(sides, real_half, generated_half)
            for real_half, generated_half in _pairs(
                rows,
                [
                    (rng.permutation(n)[: n // 2], n + rng.permutation(m)[: m // 2])
                    for _ in range(splits)
                ],
            )
        ]
        # The same halving within permutations; each beside its own whole, so that what the two
        # share by chance does not count.
        null_quarters = [
            _quarters((first, total - first), real_half, generated_half)
            for first, (real_half, generated_half) in zip(
                rows.grams([order[:n] for order in orders[:splits]]),
                _pairs(
                    rows, [(order[: n // 2], order[n : n + m // 2]) for order in orders[:splits]]
                ),
                strict=True,
            )
        ]
        at_half = float(np.mean([[terms.value for terms in four] for four in quarters]))
        covariance_at_half = float(
            np.mean([[terms.covariance for terms in four] for four in quarters])
        )
        # The bias falls with the number of images as the floor does; how large it is, the halves
        # of these very sides tell.
        halved_null = np.mean([[terms.covariance for terms in four] for four in null_quarters])
        whole_null = np.mean([terms.covariance for terms in null[:splits]])
        growth = float(halved_null - whole_null)
        decay = float(whole_null) / growth if growth > 0.0 else math.inf
        covariance_bias = (covariance_at_half - observed.covariance) * min(
            max(decay, _DECAY_WITHIN[0]), _DECAY_WITHIN[1]
        )
        contrasts = [
            (aa.value - bb.value) ** 2 + (ab.value - ba.value) ** 2 for aa, bb, ab, ba in quarters
        ]
        # Each contrast has four times the variance of the distance's first-order error, and more
        # of the second-order one, of which the correction adds to the plug-in's own.
        variance = float(np.mean(contrasts)) / 8.0
        freedom = 2.0 * splits
    else:
        estimator, at_half = "floor-subtracted", None
        covariance_bias = float(np.mean([terms.covariance for terms in null]))
        variance, freedom = null_variance, math.inf
    corrected = observed.value - float(mean_bias) - covariance_bias
    error = math.sqrt(max(variance, null_variance))
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, freedom)) * error
    lower = max(corrected - reach, 0.0) if p_value <= 1.0 - level else 0.0
    upper = max(corrected + reach, lower)
    shares = frechet_shares(real, generated)
    return FrechetInference(
        plug_in=FrechetDistance(observed.value, observed.mean, observed.covariance),
        floor=floor,
        p_value=p_value,
        at_half=at_half,
        corrected=corrected,
        interval=(lower, upper),
        shares=shares,
        estimator=estimator,
        level=level,
        permutations=permutations,
        seed=seed,
    )


@dataclasses.dataclass(frozen=True)
class _Terms:
    mean: float
    covariance: float

    @property
    def value(self) -> float:
        return self.mean + self.covariance

    @classmethod
    def between(cls, first: Gram, second: Gram) -> "_Terms":
        sigma_t, sigma_g = first.covariance, second.covariance
        difference = first.mean - second.mean
        trace = float(np.trace(sigma_t) + np.trace(sigma_g))
        return cls(
            float(difference @ difference), max(trace - 2.0 * fidelity(sigma_t, sigma_g), 0.0)
        )


def _pairs(
    rows: Rows, subsets: Sequence[tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]]
) -> Iterator[tuple[Gram, Gram]]:
    """Sums over both subsets of every pair."""
    grams = rows.grams([subset for pair in subsets for subset in pair])
    return zip(grams, grams, strict=True)


def _quarters(
    sides: tuple[Gram, Gram], real_half: Gram, generated_half: Gram
) -> tuple[_Terms, _Terms, _Terms, _Terms]:
    """Distances between halves of the sides: first–first, second–second, and crossed."""
    real_rest, generated_rest = sides[0] - real_half, sides[1] - generated_half
    return (
        _Terms.between(real_half, generated_half),
        _Terms.between(real_rest, generated_rest),
        _Terms.between(real_half, generated_rest),
        _Terms.between(real_rest, generated_half),
    )
