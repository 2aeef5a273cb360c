"""How sure correlations are: a bootstrap over samples, and the order of several recoveries.

NumPy alone. Samples are resampled whole, and every recovery meets the same resamples, so that
differences between two recoveries of the same samples are compared in pairs.
Source of the simultaneous intervals: the studentised maximum over the bootstrap, as in Romano and
Wolf, Econometrica 73, 2005.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64, Int64

from unseen.core.errors import SampleError
from unseen.statistics.correlations import Correlations, correlations

Definition = Literal["per_dimension", "pooled", "cosine"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
OrderVerdict = Literal["holds", "undecided", "reversed"]

_LEVEL = 0.95  # of intervals
_BLOCK = 1 << 10  # dimensions at a time: as many rows as resamples are held for each
_NOTHING = 1e-12  # share of a dimension's variance that is rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """Correlations of recovered with true samples, and the same over resamples of the samples."""

    value: Correlations
    resampled: Mapping[Definition, Float64[np.ndarray, " b"]]  # NaN: no dimension varied

    def of(self, definition: Definition) -> float:
        """The correlation by one definition."""
        return float(getattr(self.value, definition))

    def interval(self, definition: Definition) -> tuple[float, float]:
        """The 95 % percentile interval over resamples."""
        found = self.resampled[definition]
        if not np.isfinite(found).any():
            return float("nan"), float("nan")
        low, high = np.nanquantile(found, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2])
        return float(low), float(high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """Whether one recovery is better than another, on the same samples."""

    lower: str  # expected to be worse
    higher: str  # expected to be better
    difference: float  # of the correlations: higher's minus lower's
    interval: tuple[float, float]  # 95 %, simultaneous over all the steps asked for together
    verdict: OrderVerdict  # the interval is above zero, holds it, or is below


def resamples(count: int, *, draws: int = 2000, seed: int = 0) -> Int64[np.ndarray, "b n"]:
    """How often each of `count` samples is drawn, in each of `draws` bootstrap resamples.

    Raises:
        SampleError: fewer than two samples.
    """
    if count < 2:
        raise SampleError(f"{count} sample{'' if count == 1 else 's'}; an interval needs 2 or more")
    random = np.random.default_rng(seed)
    found: Int64[np.ndarray, "b n"] = random.multinomial(
        count, np.full(count, 1 / count), size=draws
    )
    return found


def agreement(
    true: Float[np.ndarray, "n ..."],
    recovered: Float[np.ndarray, "n ..."],
    counts: Int64[np.ndarray, "b n"],
) -> Agreement:
    """The correlations by all definitions, over the samples and over their resamples.

    A dimension counts in a resample as it does in `correlations`: not at all where its true values
    are constant there, as 0 where the recovered ones alone are.

    Args:
        true: one row a sample; further axes are flattened.
        recovered: the same shape.
        counts: as `resamples` gives them.
    """
    weights = counts.astype(np.float64)
    x = true.reshape(len(true), -1)
    y = recovered.reshape(len(recovered), -1)
    products = np.zeros((len(x), 3))  # Σ x², Σ y², Σ x·y of every sample
    sums = np.zeros((len(x), 2))  # Σ x, Σ y of every sample
    total, varying = np.zeros(len(weights)), np.zeros(len(weights), dtype=np.int64)
    for first in range(0, x.shape[1], _BLOCK):
        a = x[:, first : first + _BLOCK].astype(np.float64)
        b = y[:, first : first + _BLOCK].astype(np.float64)
        products += np.stack([(a * a).sum(1), (b * b).sum(1), (a * b).sum(1)], axis=1)
        sums += np.stack([a.sum(1), b.sum(1)], axis=1)
        found, varies = _per_dimension(a, b, weights)
        total += found.sum(axis=1)
        varying += varies.sum(axis=1)
    cosines = _ratio(products[:, 2], products[:, 0], products[:, 1])
    mass = weights @ np.concatenate([products, sums], axis=1)  # (b, 5)
    values = x.shape[1] * len(x)
    pooled = _ratio(
        mass[:, 2] - mass[:, 3] * mass[:, 4] / values,
        mass[:, 0] - mass[:, 3] ** 2 / values,
        mass[:, 1] - mass[:, 4] ** 2 / values,
    )
    per_dimension = np.full(len(weights), np.nan)
    np.divide(total, varying, out=per_dimension, where=varying > 0)
    return Agreement(
        value=correlations(true, recovered),
        resampled={
            "per_dimension": per_dimension,
            "pooled": pooled,
            "cosine": weights @ cosines / len(x),
        },
    )


def order(
    found: Mapping[str, Agreement],
    steps: Sequence[tuple[str, str]],
    definition: Definition,
) -> list[Step]:
    """Whether recoveries stand in an expected order.

    The intervals of the differences are simultaneous: all hold together in 95 % of samples.

    Args:
        found: recoveries of the same true samples, over the same resamples.
        steps: (worse, better), by name.
        definition: of the correlation.
    """
    if not steps:
        return []
    values = np.array(
        [found[high].of(definition) - found[low].of(definition) for low, high in steps]
    )
    drawn = np.stack(
        [
            found[high].resampled[definition] - found[low].resampled[definition]
            for low, high in steps
        ]
    )  # (steps, b)
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)]
    deviation = drawn.std(axis=1) if drawn.shape[1] else np.full(len(steps), np.inf)
    scale = np.where(deviation > 0, deviation, 1)[:, None]
    largest = (np.abs(drawn - values[:, None]) / scale).max(axis=0)
    reach = float(np.quantile(largest, _LEVEL)) if largest.size else 1.0
    return [
        Step(
            lower=low,
            higher=high,
            difference=float(value),
            interval=(float(value - reach * each), float(value + reach * each)),
            verdict=_verdict(value - reach * each, value + reach * each),
        )
        for (low, high), value, each in zip(steps, values, deviation, strict=True)
    ]


def _verdict(low: float, high: float) -> OrderVerdict:
    if low > 0:
        return "holds"
    return "reversed" if high < 0 else "undecided"


def _per_dimension(
    a: Float64[np.ndarray, "n d"],
    b: Float64[np.ndarray, "n d"],
    weights: Float64[np.ndarray, "b n"],
) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r of every dimension in every resample, and whether its true values vary there."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    n = len(a)
    mean_a, mean_b = weights @ a / n, weights @ b / n
    aa = weights @ (a * a) - n * mean_a**2
    bb = weights @ (b * b) - n * mean_b**2
    ab = weights @ (a * b) - n * mean_a * mean_b
    varies = aa > _NOTHING * (a * a).sum(axis=0)
    moves = bb > _NOTHING * (b * b).sum(axis=0)
    return np.where(varies & moves, _ratio(ab, aa, bb), 0.0), varies


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """The correlation of these sums of products; 0 where nothing varies."""
    scale = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    ratio: np.ndarray = np.divide(xy, scale, out=np.zeros_like(scale), where=scale > 0)
    return ratio
