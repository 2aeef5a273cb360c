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
    FEWEST_FOR_HALVES,
    Null,
    Terms,
    correct_by_floor,
    correct_by_halves,
    quarters_of,
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
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    seed: int = 0,
    permutations: int = 199,
    splits: int = 40,
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
        splits: random halvings of both sides, behind the corrected value and its error; with 40
            the interval's t has 80 degrees of freedom and is nearly normal.
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
    null = Null(sides, permutations, splits, rng)
    floor = float(null.values.mean())
    p_value = (1 + int((null.values >= observed.value).sum())) / (1 + permutations)

    if min(sides.effective) >= FEWEST_FOR_HALVES:
        halves = sides.pairs(sides.halves(splits, rng))
        quarters = [quarters_of(sides.grams, *pair) for pair in halves]
        correction = correct_by_halves(observed, null, quarters)
    else:
        correction = correct_by_floor(null)
    corrected = observed.value - sides.mean_bias() - correction.covariance_bias
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
        shares=frechet_shares(
            real, generated, real_design=real_design, generated_design=generated_design
        ),
        estimator=correction.estimator,
        level=level,
        permutations=permutations,
        seed=seed,
    )
