"""How many things of a class an image holds, where it holds any: generated against real.

A second measure beside presence: a generator that draws one person where photographs hold four has
the right presence and too few persons. Arrays alone. Source: ratio of means by the delta method, as
in `area_ratios`.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt32

from unseen.core.verdicts import CountVerdict
from unseen.statistics.area_ratios import LogRatio
from unseen.statistics.classes import FEWEST_IMAGES, MATCHED_WITHIN
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import Grouping, mean_area


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountComparison:
    """One class that enough images of both sides hold.

    Attributes:
        class_index: column of the counts.
        real_mean: things in an image that holds any.
        generated_mean: the same.
        ratio: generated over real mean.
        interval: of the ratio, simultaneous over the classes that are compared.
        verdict: fewer or more where the interval leaves out 1, alike where it lies in 0.8 to 1.25.
    """

    class_index: int
    real_mean: float
    generated_mean: float
    ratio: float
    interval: tuple[float, float]
    verdict: CountVerdict


def compare_instances(
    real: UInt32[np.ndarray, "n k"],
    generated: UInt32[np.ndarray, "m k"],
    *,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    level: float = 0.95,
) -> list[CountComparison]:
    """Compare the classes that at least 10 images of both sides hold.

    Args:
        real: row i, column k: things of class k in image i.
        generated: the same classes in the same order.
        real_design: groups and weights of the images.
        generated_design: the same.
        level: of the simultaneous intervals.

    Returns:
        The classes in the order of the columns.

    >>> rng = np.random.default_rng(0)
    >>> real = 1 + rng.poisson(3, (200, 1)).astype(np.uint32)
    >>> compare_instances(real, np.ones((200, 1), np.uint32))[0].verdict
    'fewer'
    """
    sides = []
    for counts, design in ((real, real_design), (generated, generated_design)):
        held = counts > 0
        things = mean_area(counts.astype(np.float64), Grouping(design, len(counts)), held)
        sides.append((things, held.sum(axis=0)))
    (real_things, real_held), (generated_things, generated_held) = sides
    ratio = LogRatio.of_means(real_things, generated_things)
    enough = np.minimum(real_held, generated_held) >= FEWEST_IMAGES
    compared = np.flatnonzero(enough & ratio.known)
    lower, upper = ratio.interval((1.0 - level) / max(len(compared), 1))
    return [
        CountComparison(
            class_index=int(k),
            real_mean=float(real_things.mean[k]),
            generated_mean=float(generated_things.mean[k]),
            ratio=float(np.exp(ratio.value[k])),
            interval=(float(lower[k]), float(upper[k])),
            verdict=_verdict(float(lower[k]), float(upper[k])),
        )
        for k in compared
    ]


def _verdict(lower: float, upper: float) -> CountVerdict:
    if upper < 1.0:
        return "fewer"
    if lower > 1.0:
        return "more"
    inside = lower >= MATCHED_WITHIN[0] and upper <= MATCHED_WITHIN[1]
    return "alike" if inside else "undecided"
