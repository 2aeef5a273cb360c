"""Fréchet distance with its error bars: floor, p-value, corrected value, interval, shares.

NumPy and SciPy alone. What each number means, and how well it does its work in simulation, is in
docs/statistics.md.
"""

import dataclasses
import math

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.statistics.correction import (
    ESTIMATOR,
    LEAST_HALVED,
    WIDER,
    Halves,
    Null,
    Terms,
    too_few,
    variance_by_halves,
)
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.exchange import Sides
from unseen.statistics.frechet import FrechetDistance, frechet_shares
from unseen.statistics.samples import check_areas, check_level, check_number, check_samples


@dataclasses.dataclass(frozen=True, eq=False)
class FrechetInference:
    """A Fréchet distance and what this sample says about the true one, in percent².

    Attributes:
        plug_in: as published: biased upwards, the more the fewer images.
        floor: expectation of the plug-in had both sides one distribution, at this (n, m).
        p_value: of "both sides have one distribution", by exchange of images between the sides. It
            may be small where the true distance is zero: two distributions can share means and
            covariances.
        at_half: mean plug-in between random halves of the sides; None where they are too small.
        corrected: estimate of the true distance; may be below zero. None where the sides are too
            small to say; plug-in, floor and p-value stand nevertheless.
        interval: of the true distance, at `level`; starts at 0 where p_value > 1 − level. None with
            `corrected`.
        reason: why there is no corrected value, in words; None where there is one.
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
    corrected: float | None
    interval: tuple[float, float] | None
    reason: str | None
    shares: Float64[np.ndarray, " k"]
    estimator: str
    level: float
    permutations: int
    seed: int


def frechet_inference(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    seed: int = 0,
    permutations: int = 199,
    splits: int = 20,
    level: float = 0.95,
) -> FrechetInference:
    """Fréchet distance between two samples, with floor, p-value, corrected value and interval.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.
        real_design: which real images belong together, and how much each counts. Whole groups are
            exchanged and halved; means and covariances are weighted.
        generated_design: the same of the generated images.
        seed: of permutations and splits.
        permutations: of groups between the sides; 199 show p-values down to 1 / 200.
        splits: random halvings of both sides, behind the corrected value and its error; with 20
            the interval's t has 40 degrees of freedom and is nearly normal.
        level: of the interval.

    Returns:
        All numbers in percent².

    Raises:
        SampleError: fewer than two rows or groups on either side, other columns, a value that is
            not finite or no percentage, or a number of permutations or splits that is too small.
    """
    real, generated = check_samples(real, generated)
    check_areas(100, real, generated)
    check_number("permutations", permutations, 2)  # the spread of one permutation is unknown
    check_number("splits", splits, 1)
    check_number("seed", seed, 0)
    check_level("level", level)
    rng = np.random.default_rng(seed)
    sides = Sides(real, generated, real_design, generated_design)
    observed = Terms.between(*sides.grams)
    exchanges = sides.exchanges(permutations, rng)
    reason = too_few(*sides.effective)
    halves = None
    if reason is None or (sides.designed and min(sides.counts) >= LEAST_HALVED):
        halves = Halves.of(sides, sides.halves(splits, rng))
    null = Null(sides, exchanges, halves)
    corrected, interval = None, None
    if halves is not None and reason is None:
        corrected, interval = corrected_with_interval(sides, observed, halves, null, level)
    return FrechetInference(
        plug_in=FrechetDistance(observed.value, observed.mean, observed.covariance),
        floor=float(null.values.mean()),
        p_value=null.p_value(observed),
        at_half=None if halves is None else float(halves.across.mean()),
        corrected=corrected,
        interval=interval,
        reason=reason,
        shares=frechet_shares(
            real, generated, real_design=real_design, generated_design=generated_design
        ),
        estimator=ESTIMATOR,
        level=level,
        permutations=permutations,
        seed=seed,
    )


def corrected_with_interval(
    sides: Sides, observed: Terms, halves: Halves, null: Null, level: float
) -> tuple[float, tuple[float, float]]:
    """The distance without its sampling bias, and where the true one lies."""
    corrected = observed.value - sides.mean_bias() - null.covariance_bias
    error = WIDER * math.sqrt(max(variance_by_halves(halves.across), null.variance))
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, 2 * len(halves.across))) * error
    lower = max(corrected - reach, 0.0) if null.p_value(observed) <= 1.0 - level else 0.0
    return corrected, (lower, max(corrected + reach, lower))
