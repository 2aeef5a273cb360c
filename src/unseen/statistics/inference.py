"""Fréchet distance with its error bars: floor, p-value, corrected value, interval, shares.

NumPy and SciPy alone. What each number means, and how well it does its work in simulation, is in
docs/statistics.md.
"""

import dataclasses
import math

import numpy as np
import scipy.special
from jaxtyping import Float64, Shaped

from unseen.statistics.correction import (
    ESTIMATOR,
    LEAST_HALVED,
    WIDER,
    Halves,
    Null,
    too_few,
    variance_by_halves,
)
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.exchange import Sides
from unseen.statistics.frechet import FrechetDistance, frechet_shares, shares_between
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
    real: Shaped[np.ndarray, "n k"],
    generated: Shaped[np.ndarray, "m k"],
    *,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    percent: float = 1.0,
    seed: int = 0,
    permutations: int | None = None,
    splits: int | None = None,
    level: float = 0.95,
) -> FrechetInference:
    """Fréchet distance between two samples, with floor, p-value, corrected value and interval.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.
        real_design: which real images belong together, and how much each counts. Whole groups are
            exchanged and halved; means and covariances are weighted.
        generated_design: the same of the generated images.
        percent: what a unit of either table is, in percent: 100 / pixels of a label map where the
            tables count pixels. Whole numbers are read block by block and never copied as a whole.
        seed: of permutations and splits.
        permutations: of groups between the sides. None: 199, which show p-values down to 1 / 200;
            99 from 500 classes on and 39 from 1,500 on, since a distance takes time as their cube.
        splits: random halvings of both sides, behind the corrected value and its error. None: 20,
            by which the interval's t has 40 degrees of freedom; 10 and 4 with so many classes.
        level: of the interval.

    Returns:
        All numbers in percent².

    Raises:
        SampleError: fewer than two rows or groups on either side, other columns, a value that is
            not finite or no percentage, or a number of permutations or splits that is too small.
    """
    real, generated = check_samples(real, generated, counts=True)
    check_areas(100, real, generated, unit=percent)
    check_number("seed", seed, 0)
    check_level("level", level)
    rng = np.random.default_rng(seed)
    sides = Sides(real, generated, real_design, generated_design, percent)
    usual = _effort(len(sides.grams[0].total))
    permutations = usual[0] if permutations is None else permutations
    splits = usual[1] if splits is None else splits
    check_number("permutations", permutations, 2)  # the spread of one permutation is unknown
    check_number("splits", splits, 1)
    observed = FrechetDistance.between(*sides.grams)
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
        plug_in=observed,
        floor=float(null.values.mean()),
        p_value=null.p_value(observed),
        at_half=None if halves is None else float(halves.across.mean()),
        corrected=corrected,
        interval=interval,
        reason=reason,
        shares=_shares(sides, real, generated, (real_design, generated_design), percent),
        estimator=ESTIMATOR,
        level=level,
        permutations=permutations,
        seed=seed,
    )


def _effort(coordinates: int) -> tuple[int, int]:
    """Exchanges and halvings, so that a distance of so many classes takes minutes at most."""
    if coordinates < 500:
        return 199, 20
    return (99, 10) if coordinates < 1500 else (39, 4)


def _shares(
    sides: Sides,
    real: Shaped[np.ndarray, "n k"],
    generated: Shaped[np.ndarray, "m k"],
    designs: tuple[Design, Design],
    percent: float,
) -> Float64[np.ndarray, " k"]:
    if sides.kept is None:  # few rows, in other coordinates than classes
        return frechet_shares(
            real * np.float64(percent),
            generated * np.float64(percent),
            real_design=designs[0],
            generated_design=designs[1],
        )
    shares = np.zeros(real.shape[1])
    shares[sides.kept] = shares_between(*sides.grams)
    return shares


def corrected_with_interval(
    sides: Sides, observed: FrechetDistance, halves: Halves, null: Null, level: float
) -> tuple[float, tuple[float, float]]:
    """The distance without its sampling bias, and where the true one lies."""
    corrected = observed.value - sides.mean_bias() - null.covariance_bias
    error = WIDER * math.sqrt(max(variance_by_halves(halves.across), null.variance))
    reach = float(scipy.special.stdtrit(2 * len(halves.across), 0.5 + level / 2)) * error
    lower = max(corrected - reach, 0.0) if null.p_value(observed) <= 1.0 - level else 0.0
    return corrected, (lower, max(corrected + reach, lower))
