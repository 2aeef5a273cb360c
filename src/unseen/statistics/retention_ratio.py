"""The ratio of two mean retentions, its bounds, and tests of a margin. NumPy and SciPy alone.

A mean is taken over instances; chance is that of groups of images, since the instances of one
image, and the images of one group, are not independent. docs/evidence.md tells which other
estimators were tried and lost.

Source: Fieller, Journal of the Royal Statistical Society B 16, 1954 (a ratio of means is tested as
the difference first - θ · second); Welch, Biometrika 34, 1947 (degrees of freedom).
"""

import dataclasses
import math
from typing import Literal

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float64, Int64

from unseen.core.errors import SampleError

Claim = Literal["below", "above"]  # what is to be shown of the ratio

# Few images that all agree say little of the next one. So half an image joins each side and speaks
# against the claim. For "below" the one among the first keeps as much as the second does on
# average, and the one among the second nothing; for "above" the one among the first keeps nothing,
# and the one among the second everything. Less than half does not suffice where one image in ten
# is kept; more needs many more images to find what is lost. Simulation: docs/evidence.md.
_AGAINST = 0.5
_NOTHING = 1e-12  # variance that is rounding: shares are between 0 and 1, rounded to 1e-16
_LARGEST = 1e4  # ratio: an upper bound beyond is none


@dataclasses.dataclass(frozen=True, eq=False)
class Retained:
    """What was retained of some instances.

    Attributes:
        values: share of each, 0 to 1.
        groups: what each belongs to; instances of equal numbers are dependent.
        weights: of each in the mean; None: all equal.
    """

    values: Float64[np.ndarray, " n"]
    groups: Int64[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.values), len(self.groups)}
        if self.weights is not None:
            lengths.add(len(self.weights))
        if len(lengths) > 1 or 0 in lengths:
            raise SampleError(
                f"instances have columns of {' and '.join(map(str, sorted(lengths)))} entries; a "
                "mean needs an instance, and each column an entry an instance"
            )

    def by_group(
        self,
    ) -> tuple[Int64[np.ndarray, " c"], Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
        """Groups, their weighted sums of values, and their sums of weights."""
        weights = np.ones(len(self.values)) if self.weights is None else self.weights
        groups, number = np.unique(self.groups, return_inverse=True)
        return (
            groups.astype(np.int64),
            np.bincount(number, weights * self.values).astype(np.float64),
            np.bincount(number, weights).astype(np.float64),
        )


class RetentionRatio:
    """The mean of the first over the mean of the second, with tests and bounds.

    The statistic of a ratio θ is (first - θ · second) / error. The error is that of the linearised
    ratio means, summed over groups, so that a group on both sides counts with what it does to both.

    Args:
        first: what the ratio is of.
        second: what it is compared with.
        shared: whether equal groups of both are the same images (a paired comparison).

    Attributes:
        value: the ratio; infinite where nothing of the second is retained, NaN where of neither.

    >>> kept = Retained(np.array([0.0, 0.1, 0.0, 0.1, 0.0, 0.1]), np.arange(6))
    >>> controls = Retained(np.array([0.9, 0.8, 1.0, 0.9, 0.8, 1.0]), np.arange(6))
    >>> ratio = RetentionRatio(kept, controls, shared=False)
    >>> round(ratio.value, 3), ratio.p_value(0.5, "below") < 0.05
    (0.056, True)
    >>> 0.3 < ratio.bound(0.05, "below") < 0.5
    True
    """

    def __init__(self, first: Retained, second: Retained, *, shared: bool) -> None:
        self._first, self._second, self._shared = first.by_group(), second.by_group(), shared
        mean, against = (
            float(sums.sum() / sizes.sum()) for _, sums, sizes in (self._first, self._second)
        )
        self.value = mean / against if against > 0 else math.inf if mean > 0 else math.nan

    def p_value(self, margin: float, claim: Claim) -> float:
        """One-sided p-value of "the ratio is on the other side of the margin, or on it"."""
        return self._parts(claim).p_value(margin, claim)

    def bound(self, level: float, claim: Claim) -> float:
        """The margin whose p-value is `level`: the upper end for "below", the lower for "above".

        Infinite where no finite ratio is refuted from above; 0 where none is from below.
        """
        parts = self._parts(claim)

        def beyond(logarithm: float) -> float:
            return parts.p_value(math.exp(logarithm), claim) - level

        ends = -math.log(_LARGEST), math.log(_LARGEST)
        below, above = map(beyond, ends)
        if claim == "below" and (above > 0 or below < 0):
            return math.inf if above > 0 else 0.0
        if claim == "above" and (below > 0 or above < 0):
            return 0.0 if below > 0 else math.inf
        return math.exp(scipy.optimize.brentq(beyond, *ends, xtol=1e-6))

    def _parts(self, claim: Claim) -> "_Parts":
        """Means and squared residuals, with the half images that speak against the claim."""
        groups, sums, sizes = self._first
        others, other_sums, other_sizes = self._second
        if claim == "below":
            kept, other_kept = float(other_sums.sum() / other_sizes.sum()), 0.0
        else:
            kept, other_kept = 0.0, 1.0
        own = _mean_and_residuals(sums, sizes, kept)
        other = _mean_and_residuals(other_sums, other_sizes, other_kept)
        paired = np.zeros(len(own.residuals))  # what the second side does to the first's groups
        alone = np.ones(len(other.residuals), bool)  # groups of the second side only
        if self._shared:
            _, here, there = np.intersect1d(groups, others, return_indices=True)
            paired[here] = other.residuals[there]
            alone[there] = False
        n, m = len(own.residuals), len(other.residuals)
        return _Parts(
            own.mean,
            other.mean,
            (
                float((own.residuals**2).sum()) * n / (n - 1),
                float((own.residuals * paired).sum()) * n / (n - 1),
                float((paired**2).sum()) * n / (n - 1),
            ),
            float((other.residuals[alone] ** 2).sum()) * m / (m - 1),
            (n - 1, m - 1),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """One side's mean, and every group's part of its error."""

    mean: float
    residuals: Float64[np.ndarray, " c"]


def _mean_and_residuals(
    sums: Float64[np.ndarray, " c"], sizes: Float64[np.ndarray, " c"], kept: float
) -> _Side:
    """Of the groups and of a half one, the last, that keeps the share `kept`."""
    half = _AGAINST * sizes.mean()
    sums, sizes = np.append(sums, half * kept), np.append(sizes, half)
    mean = float(sums.sum() / sizes.sum())
    return _Side(mean, (sums - mean * sizes) / sizes.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """What the statistic of any ratio θ is made of."""

    first: float  # means
    second: float
    own: tuple[float, float, float]  # squares, products, squares over the first side's groups
    alone: float  # squares over groups of the second side only
    freedom: tuple[int, int]

    def p_value(self, ratio: float, claim: Claim) -> float:
        squares, products, others = self.own
        # rounding may take a paired variance below 0
        own = max(squares - 2 * ratio * products + ratio**2 * others, 0.0) + _NOTHING
        alone = ratio**2 * self.alone + _NOTHING
        freedom = (own + alone) ** 2 / (own**2 / self.freedom[0] + alone**2 / self.freedom[1])
        statistic = (self.first - ratio * self.second) / math.sqrt(own + alone)
        sign = 1 if claim == "below" else -1
        return float(scipy.special.stdtr(freedom, sign * statistic))
