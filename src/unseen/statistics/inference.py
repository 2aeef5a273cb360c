"""Fréchet distance with its error bars: floor, p-value, corrected value, interval, shares.

NumPy and SciPy alone. What each number means, and how well it does its work in simulation, is in
docs/statistics.md.
"""

import dataclasses
import math

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.statistics.frechet import (
    FrechetDistance,
    check_samples,
    fidelity,
    frechet_shares,
)
from unseen.statistics.grams import Gram, Rows

_FEWEST_FOR_HALVES = 16  # images on a side: below, halves are too small to extrapolate from


@dataclasses.dataclass(frozen=True, eq=False)
class FrechetInference:
    """A Fréchet distance and what this sample says about the true one, in percent².

    Attributes:
        plug_in: as published: biased upwards, the more the fewer images.
        floor: expectation of the plug-in had both sides one distribution, at this (n, m).
        p_value: of "no difference", by permutation of images between the sides.
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
    halved = min(n, m) >= _FEWEST_FOR_HALVES

    total = sides[0] + sides[1]
    null = []
    null_halves = []
    for trial in range(permutations):
        order = rng.permutation(n + m)
        if n <= m:
            first = rows.gram(order[:n])
            second = total - first
        else:
            second = rows.gram(order[n:])
            first = total - second
        null.append(_Terms.between(first, second))
        if halved and trial < splits:
            first_half = rows.gram(order[: n // 2])
            second_half = rows.gram(order[n : n + m // 2])
            null_halves.append(_Terms.between(first_half, second_half))
            null_halves.append(_Terms.between(first - first_half, second - second_half))
    null_values = np.asarray([terms.value for terms in null])
    floor = float(null_values.mean())
    p_value = (1 + int((null_values >= observed.value).sum())) / (1 + permutations)

    mean_bias = np.trace(sides[0].covariance) / n + np.trace(sides[1].covariance) / m
    covariance_floor = float(np.mean([terms.covariance for terms in null]))
    if halved:
        estimator = "calibrated-halving"
        quarters = [_halves(rows, sides, n, m, rng) for _ in range(splits)]
        at_half = float(np.mean([[terms.covariance for terms in four] for four in quarters]))
        floor_at_half = float(np.mean([terms.covariance for terms in null_halves]))
        # The bias falls with the number of images as the floor does; how large it is, the halves
        # of these very sides tell.
        growth = max(floor_at_half - covariance_floor, np.finfo(np.float64).tiny)
        covariance_bias = (at_half - observed.covariance) * covariance_floor / growth
        contrasts = [
            (aa.value - bb.value) ** 2 + (ab.value - ba.value) ** 2 for aa, bb, ab, ba in quarters
        ]
        linear_and_twice_null = float(np.mean(contrasts)) / 8.0
    else:
        estimator = "floor-subtracted"
        covariance_bias = covariance_floor
        linear_and_twice_null = 0.0
    corrected = observed.value - float(mean_bias) - covariance_bias
    error = math.sqrt(max(linear_and_twice_null, float(null_values.var(ddof=1))))
    reach = float(scipy.stats.norm.ppf(0.5 + level / 2)) * error
    lower = max(corrected - reach, 0.0) if p_value <= 1.0 - level else 0.0
    upper = max(corrected + reach, lower)
    shares = frechet_shares(real, generated)
    return FrechetInference(
        plug_in=FrechetDistance(observed.value, observed.mean, observed.covariance),
        floor=floor,
        p_value=p_value,
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


def _halves(
    rows: Rows, sides: tuple[Gram, Gram], n: int, m: int, rng: np.random.Generator
) -> tuple[_Terms, _Terms, _Terms, _Terms]:
    """Distances between random halves of the sides: first–first, second–second, and crossed."""
    a = rows.gram(rng.permutation(n)[: n // 2])
    c = rows.gram(n + rng.permutation(m)[: m // 2])
    b, d = sides[0] - a, sides[1] - c
    return (
        _Terms.between(a, c),
        _Terms.between(b, d),
        _Terms.between(a, d),
        _Terms.between(b, c),
    )
