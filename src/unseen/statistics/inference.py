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

from unseen.statistics.frechet import FrechetDistance, fidelity, frechet_shares
from unseen.statistics.grams import Gram, Rows
from unseen.statistics.samples import check_areas, check_level, check_number, check_samples

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
        permutations: of images between the sides; 199 show p-values down to 1 / 200.
        splits: random halvings of both sides, behind the corrected value and its error; with 40
            the interval's t has 80 degrees of freedom and is nearly normal.
        level: of the interval.

    Returns:
        All numbers in percent².

    Raises:
        SampleError: fewer than two rows on either side, other columns, a value that is not finite
            or no percentage, or a number of permutations or splits that is too small.
    """
    real, generated = check_samples(real, generated)
    check_areas(100, real, generated)
    check_number("permutations", permutations, 2)  # the spread of one permutation is unknown
    check_number("splits", splits, 1)
    check_number("seed", seed, 0)
    check_level("level", level)
    rng = np.random.default_rng(seed)
    n, m = len(real), len(generated)
    pooled = np.concatenate([real, generated])
    rows = Rows(pooled[:, pooled.any(axis=0)])
    sides = rows.gram(np.arange(n)), rows.gram(np.arange(n, n + m))
    observed = _Terms.between(*sides)
    null = _Null(rows, sides, [rng.permutation(n + m) for _ in range(permutations)])
    floor = float(null.values.mean())
    p_value = (1 + int((null.values >= observed.value).sum())) / (1 + permutations)

    if min(n, m) >= _FEWEST_FOR_HALVES:
        correction = _correct_by_halves(rows, sides, observed, null, splits, rng)
    else:
        correction = _correct_by_floor(null)
    # E|μ̂_t − μ̂_g|² exceeds |μ_t − μ_g|² by tr Σ_t / n + tr Σ_g / m.
    mean_bias = np.trace(sides[0].covariance) / n + np.trace(sides[1].covariance) / m
    corrected = observed.value - float(mean_bias) - correction.covariance_bias
    error = math.sqrt(max(correction.variance, null.variance))
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, correction.freedom)) * error
    lower = max(corrected - reach, 0.0) if p_value <= 1.0 - level else 0.0
    return FrechetInference(
        plug_in=FrechetDistance(observed.value, observed.mean, observed.covariance),
        floor=floor,
        p_value=p_value,
        at_half=correction.at_half,
        corrected=corrected,
        interval=(lower, max(corrected + reach, lower)),
        shares=frechet_shares(real, generated),
        estimator=correction.estimator,
        level=level,
        permutations=permutations,
        seed=seed,
    )


class _Null:
    """Distances between sides whose images were exchanged at random: what no difference gives."""

    def __init__(
        self, rows: Rows, sides: tuple[Gram, Gram], orders: Sequence[Int64[np.ndarray, " _"]]
    ) -> None:
        self.rows, self.orders = rows, orders
        self.n, self.m = sides[0].count, sides[1].count
        self.total = sides[0] + sides[1]
        self.terms = [_Terms.between(first, self.total - first) for first in self._first(orders)]
        self.values = np.asarray([terms.value for terms in self.terms])
        self.variance = float(self.values.var(ddof=1))

    def _first(self, orders: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Gram]:
        return self.rows.grams([order[: self.n] for order in orders])

    def growth_on_halves(self, splits: int) -> tuple[float, float]:
        """The covariance term's mean over some permutations, and by how much halving raises it."""
        n, m, orders = self.n, self.m, self.orders[:splits]
        # Each halving beside its own whole, so that what the two share by chance does not count.
        halves = _pairs(self.rows, [(o[: n // 2], o[n : n + m // 2]) for o in orders])
        quarters = [
            _quarters((first, self.total - first), *pair)
            for first, pair in zip(self._first(orders), halves, strict=True)
        ]
        whole = np.mean([terms.covariance for terms in self.terms[:splits]])
        halved = np.mean([[terms.covariance for terms in four] for four in quarters])
        return float(whole), float(halved - whole)


@dataclasses.dataclass(frozen=True)
class _Correction:
    """What leads from the plug-in to the corrected value and its error."""

    estimator: str
    at_half: float | None
    covariance_bias: float  # of the plug-in's covariance term
    variance: float  # of the corrected value
    freedom: float  # degrees of freedom of that variance


def _correct_by_floor(null: _Null) -> _Correction:
    """Few images: the bias is taken to be what it would be without a difference."""
    return _Correction(
        estimator="floor-subtracted",
        at_half=None,
        covariance_bias=float(np.mean([terms.covariance for terms in null.terms])),
        variance=null.variance,
        freedom=math.inf,
    )


def _correct_by_halves(
    rows: Rows,
    sides: tuple[Gram, Gram],
    observed: "_Terms",
    null: _Null,
    splits: int,
    rng: np.random.Generator,
) -> _Correction:
    """The bias extrapolated from half the images, where it is larger, to all of them."""
    n, m = null.n, null.m
    halves = [
        (rng.permutation(n)[: n // 2], n + rng.permutation(m)[: m // 2]) for _ in range(splits)
    ]
    quarters = [_quarters(sides, *pair) for pair in _pairs(rows, halves)]
    covariance_at_half = float(np.mean([[terms.covariance for terms in four] for four in quarters]))
    # The bias falls with the number of images as the floor does; how large it is, the halves of
    # these very sides tell.
    whole, growth = null.growth_on_halves(splits)
    decay = whole / growth if growth > 0.0 else math.inf
    # With a and b the halves of either side, d(a, a) − d(b, b) and d(a, b) − d(b, a) each have four
    # times the variance of the distance's first-order error, and more of the second-order one, of
    # which the correction adds to the plug-in's own. Two contrasts a split: 8 is 2 × 4.
    contrasts = [
        (aa.value - bb.value) ** 2 + (ab.value - ba.value) ** 2 for aa, bb, ab, ba in quarters
    ]
    return _Correction(
        estimator="calibrated-halving",
        at_half=float(np.mean([[terms.value for terms in four] for four in quarters])),
        covariance_bias=(covariance_at_half - observed.covariance)
        * min(max(decay, _DECAY_WITHIN[0]), _DECAY_WITHIN[1]),
        variance=float(np.mean(contrasts)) / 8.0,
        freedom=2.0 * splits,
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
