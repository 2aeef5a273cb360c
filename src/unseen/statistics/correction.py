"""From a Fréchet distance of two samples to that of what they were drawn from: bias and variance.

NumPy alone. `inference` and `frechet_change` make intervals of it; docs/statistics.md says how good
they are, and what else was tried.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from unseen.core.wording import count as counted
from unseen.statistics.exchange import Exchange, Groups, Sides
from unseen.statistics.frechet import FrechetDistance
from unseen.statistics.grams import Gram

LEAST_HALVED = 4  # groups on a side: of fewer, a half may be a single image
FEWEST = 16  # independent images or groups on a side: simulated from 20 on, halves of 8 say little
ESTIMATOR = "floor-by-own-halves"  # the rule behind `covariance_bias`, as records name it
# Intervals are this much wider than the error from halves: with heavy tails a sample without its
# rarest images varies too little. By simulation, see docs/statistics.md.
WIDER = 1.1


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Distances between halves of two sides, a row a split.

    Attributes:
        across: between a half of one side and a half of the other: first–first, second–second, and
            crossed.
        within: between both halves of the first side (mean and covariance term), and of the second.
    """

    across: Float64[np.ndarray, "s 4"]
    within: Float64[np.ndarray, "s 2 2"]

    @classmethod
    def of(cls, sides: Sides, splits: Sequence[tuple[Groups, Groups]]) -> "Halves":
        """Of the sides as they are, split as told."""
        real, generated = sides.grams
        across, within = [], []
        for a, c in sides.pairs(splits):
            b, d = real - a, generated - c
            pairs = ((a, c), (b, d), (a, d), (b, c))
            across.append([FrechetDistance.between(*pair).value for pair in pairs])
            within.append(
                [dataclasses.astuple(FrechetDistance.between(*pair)) for pair in ((a, b), (c, d))]
            )
        return cls(np.asarray(across), np.asarray(within))


def variance_by_halves(across: Float64[np.ndarray, "s 4"]) -> float:
    """Sampling variance of a distance, from the distances `across` halves of the sides.

    With a and b the halves of either side, d(a, a) − d(b, b) and d(a, b) − d(b, a) each have four
    times the variance of the distance's first-order error, and more of the second-order one, of
    which the correction adds to the plug-in's own. Two contrasts a split: 8 is 2 × 4.
    """
    aa, bb, ab, ba = across.T
    return float(np.mean((aa - bb) ** 2 + (ab - ba) ** 2)) / 8.0


class Null:
    """Distances between sides whose groups were exchanged at random: what no difference gives.

    Attributes:
        values: of the exchanged sides.
        variance: of these.
        covariance_bias: what chance adds to the covariance term of the sides as they are.

    Exchanged sides are mixtures of both, and vary by chance as mixtures do. What halves of one side
    differ by tells how much that side varies by itself. So

        bias = φ · (W_t W_g / W_1 W_2)^½

    with φ the mean covariance term of exchanged sides, W_t and W_g the mean covariance term between
    halves of the real and of the generated side, W_1 and W_2 between halves of exchanged sides. For
    Σ_g = c² Σ_t this is exact: the fidelity, and with it what it lacks, grows with c.

    Sides of equal images and other groups (photographs against clips, say) vary by chance to unlike
    degrees where nothing differs. The exchange mixes them, which is right only between sides of
    equal numbers. So between others both terms are multiplied by (W_t + W_g) / (W_1 + W_2).
    """

    def __init__(self, sides: Sides, exchanges: Sequence[Exchange], halves: Halves | None) -> None:
        total = sides.grams[0] + sides.grams[1]
        firsts = sides.rows.grams([exchange.first for exchange in exchanges])
        terms = np.asarray(
            [dataclasses.astuple(FrechetDistance.between(first, total - first)) for first in firsts]
        )
        scale, geometric = np.ones(2), 1.0
        if halves is not None:
            own = halves.within.mean(axis=0)  # W of either side (row), of either term (column)
            exchanged = _within(sides, exchanges[: len(halves.within)], total).mean(axis=0)
            geometric = float(_ratio(own.prod(axis=0), exchanged.prod(axis=0))[1]) ** 0.5
            if sides.uneven:
                scale = _ratio(own.sum(axis=0), exchanged.sum(axis=0))
        self.values = terms @ scale
        self.variance = float(self.values.var(ddof=1))
        self.covariance_bias = float(terms[:, 1].mean()) * geometric

    def p_value(self, observed: FrechetDistance) -> float:
        """How often an exchange gives a distance as large as the one observed."""
        return (1 + int((self.values >= observed.value).sum())) / (1 + len(self.values))


def _within(
    sides: Sides, exchanges: Sequence[Exchange], total: Gram
) -> Float64[np.ndarray, "s 2 2"]:
    """Both terms between halves of exchanged sides."""
    firsts = sides.rows.grams([exchange.first for exchange in exchanges])
    halves = sides.pairs([(e.first_half, e.second_half) for e in exchanges])
    return np.asarray(
        [
            [
                dataclasses.astuple(FrechetDistance.between(half, side - half))
                for side, half in zip((first, total - first), pair, strict=True)
            ]
            for first, pair in zip(firsts, halves, strict=True)
        ]
    )


def _ratio(
    numerator: Float64[np.ndarray, " 2"], denominator: Float64[np.ndarray, " 2"]
) -> Float64[np.ndarray, " 2"]:
    """The quotient; 1 where nothing varies."""
    return np.asarray(np.divide(numerator, denominator, out=np.ones(2), where=denominator > 0.0))


def too_few(*effective: float) -> str | None:
    """Why sides of so many independent images or groups give no corrected value, if they do not."""
    fewest = math.floor(min(effective))
    if fewest >= FEWEST:
        return None
    return (
        f"{counted(fewest, 'independent image')} or groups on a side are too few to tell chance "
        f"from distance; at least {FEWEST} are needed"
    )
