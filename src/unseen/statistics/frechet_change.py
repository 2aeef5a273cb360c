"""Is a new generator nearer to the real images than the previous one: the difference of their FSD.

NumPy and SciPy alone. How well the interval covers is in docs/statistics.md.
"""

import dataclasses
import math

import numpy as np
import scipy.special
from jaxtyping import Shaped

from unseen.core.errors import SampleError
from unseen.statistics.correction import WIDER, Halves, Null, too_few, variance_by_halves
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.exchange import Groups, Sides
from unseen.statistics.frechet import FrechetDistance
from unseen.statistics.samples import check_areas, check_level, check_number, check_samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrechetDifference:
    """FSD of the new generator minus FSD of the previous one, in percent².

    Attributes:
        difference: without the sampling bias of either; above zero, the new one is further from the
            real images. None where the sample is too small to say.
        interval: of the true difference, at `level`; None with `difference`.
        reason: why there is no number, in words; None where there is one.
        paired: whether row i of both generators was taken to be drawn from the same latents.
        level: of the interval.
    """

    difference: float | None
    interval: tuple[float, float] | None
    reason: str | None
    paired: bool
    level: float


def frechet_difference(
    real: Shaped[np.ndarray, "n k"],
    previous: Shaped[np.ndarray, "m k"],
    new: Shaped[np.ndarray, "l k"],
    *,
    paired: bool = False,
    real_design: Design = INDEPENDENT,
    previous_design: Design = INDEPENDENT,
    new_design: Design = INDEPENDENT,
    percent: float = 1.0,
    seed: int = 0,
    splits: int = 20,
    permutations: int = 39,
    level: float = 0.95,
) -> FrechetDifference:
    """How much further from the real images a new generator is than the previous one.

    Both distances are of the same real images and are halved together, so that what chance does to
    both alike cancels out.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        previous: the same classes in the same order and unit.
        new: likewise.
        paired: row i of `previous` and of `new` come from the same latents or prompt.
        real_design: which real images belong together, and how much each counts.
        previous_design: the same of the previous generator's.
        new_design: the same of the new generator's; where paired, with the same groups.
        percent: what a unit of the tables is, in percent, as in `frechet_inference`.
        seed: of permutations and splits.
        splits: random halvings of all three, behind bias and error.
        permutations: of groups between the sides, behind the bias alone.
        level: of the interval.

    Returns:
        The difference in percent², with its interval.

    Raises:
        SampleError: as `frechet_inference`; paired rows that are not as many, or grouped otherwise.

    >>> rng = np.random.default_rng(0)
    >>> real, previous, new = (rng.dirichlet([5.0, 3.0, spread], 100) * 100 for spread in (2, 2, 9))
    >>> frechet_difference(real, previous, new, splits=10).interval[0] > 0  # the new one is worse
    True
    """
    real, previous = check_samples(real, previous, counts=True)
    real, new = check_samples(real, new, counts=True)
    check_areas(100, real, previous, new, unit=percent)
    check_number("permutations", permutations, 2)
    check_number("splits", splits, 1)
    check_number("seed", seed, 0)
    check_level("level", level)
    if paired:
        _check_pairs(previous, new, previous_design, new_design)
    rng = np.random.default_rng(seed)
    before = Sides(real, previous, real_design, previous_design, percent)
    after = Sides(real, new, real_design, new_design, percent)
    reason = too_few(*before.effective, *after.effective)
    if reason is not None:
        return FrechetDifference(
            difference=None, interval=None, reason=reason, paired=paired, level=level
        )
    splits_before = before.halves(splits, rng)
    splits_after = _splits_of_new(after, splits_before, paired, rng)
    corrected, across = [], []
    for sides, pairs in ((before, splits_before), (after, splits_after)):
        halves = Halves.of(sides, pairs)
        # Both generators' groups are exchanged alike, so that this chance cancels out, too.
        exchanges = sides.exchanges(permutations, np.random.default_rng([seed, 1]))
        null = Null(sides, exchanges, halves)
        observed = FrechetDistance.between(*sides.grams)
        corrected.append(observed.value - sides.mean_bias() - null.covariance_bias)
        across.append(halves.across)
    difference = corrected[1] - corrected[0]
    error = WIDER * math.sqrt(variance_by_halves(across[1] - across[0]))
    reach = float(scipy.special.stdtrit(2 * splits, 0.5 + level / 2)) * error
    return FrechetDifference(
        difference=difference,
        interval=(difference - reach, difference + reach),
        reason=None,
        paired=paired,
        level=level,
    )


def _splits_of_new(
    after: Sides,
    splits: list[tuple[Groups, Groups]],
    paired: bool,
    rng: np.random.Generator,
) -> list[tuple[Groups, Groups]]:
    """Halves of the real and the new side: the real ones as given, and where paired the others."""
    if paired:
        return splits
    fresh = after.halves(len(splits), rng)
    return [(real, new) for (real, _), (_, new) in zip(splits, fresh, strict=True)]


def _check_pairs(
    previous: Shaped[np.ndarray, "m k"],
    new: Shaped[np.ndarray, "l k"],
    previous_design: Design,
    new_design: Design,
) -> None:
    if len(previous) != len(new):
        raise SampleError(
            f"the previous generator has {len(previous)} images and the new one {len(new)}; pairs "
            "are as many on both sides"
        )
    if (previous_design.units(len(previous)) != new_design.units(len(new))).any():
        raise SampleError(
            "the pairs are grouped in one way on the previous generator's side and in another on "
            "the new one's; give both the same groups"
        )
