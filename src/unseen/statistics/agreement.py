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
from unseen.core.wording import count as counted
from unseen.statistics.correlations import Correlations, blocks, correlations, flat_pair, pearson

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
        resampled = self.resampled[definition]
        if not np.isfinite(resampled).any():
            return float("nan"), float("nan")
        low, high = np.nanquantile(resampled, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2])
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
        raise SampleError(f"{counted(count, 'sample')}; an interval needs 2 or more")
    random = np.random.default_rng(seed)
    return np.asarray(random.multinomial(count, np.full(count, 1 / count), size=draws))


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

    Raises:
        SampleError: no samples, other shapes, or a value that is not finite.
    """
    weights = counts.astype(np.float64)
    x, y = flat_pair(true, recovered)
    products = np.zeros((len(x), 3))  # Σ x², Σ y², Σ x·y of every sample
    sums = np.zeros((len(x), 2))  # Σ x, Σ y of every sample
    total, varying = np.zeros(len(weights)), np.zeros(len(weights), dtype=np.int64)
    for a, b in blocks(x, y, _BLOCK):
        products += np.stack([(a * a).sum(1), (b * b).sum(1), (a * b).sum(1)], axis=1)
        sums += np.stack([a.sum(1), b.sum(1)], axis=1)
        r, varies = _per_dimension(a, b, weights)
        total += r.sum(axis=1)
        varying += varies.sum(axis=1)
    cosines = pearson(products[:, 2], products[:, 0], products[:, 1])
    mass = weights @ np.concatenate([products, sums], axis=1)  # (b, 5)
    values = x.shape[1] * len(x)
    pooled = pearson(
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
    recoveries: Mapping[str, Agreement],
    steps: Sequence[tuple[str, str]],
    definition: Definition,
) -> list[Step]:
    """Whether recoveries stand in an expected order.

    The intervals of the differences are simultaneous: all hold together in 95 % of samples.

    Args:
        recoveries: of the same true samples, over the same resamples.
        steps: (worse, better), by name.
        definition: of the correlation.
    """
    if not steps:
        return []
    pairs = [(recoveries[low], recoveries[high]) for low, high in steps]
    values = np.array([high.of(definition) - low.of(definition) for low, high in pairs])
    drawn = np.stack(
        [high.resampled[definition] - low.resampled[definition] for low, high in pairs]
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
            interval=(float(value - reach * error), float(value + reach * error)),
            verdict=_verdict(value - reach * error, value + reach * error),
        )
        for (low, high), value, error in zip(steps, values, deviation, strict=True)
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
    return np.where(varies & moves, pearson(ab, aa, bb), 0.0), varies
