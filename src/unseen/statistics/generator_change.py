"""What a new generator changed against the previous one, class by class, on the same real images.

Arrays in, one `GeneratorChange` a column out. NumPy and SciPy alone. Definitions are in
docs/statistics.md.
"""

import dataclasses
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.core.verdicts import Change
from unseen.statistics.classes import (
    FEWEST_IMAGES,
    NEARLY_ALWAYS,
    PRESENCE_THRESHOLD,
    check_sides,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorChange:
    """One class, a new generator against the previous one, both measured on shared real images.

    Attributes:
        tested: present in at least 10 images of the three samples pooled.
        verdict: regressed or improved where the class moved significantly away from or towards
            the real side; undecided otherwise; or untested.
        statistic: presence, or mean area where all three presences exceed 95 %.
        real: presence (or mean area, share of the image) of the real side.
        previous: the same of the previous generator.
        new: the same of the new generator.
        change: new − previous.
        interval: of `change`, simultaneous over all tested classes; None where untested.
        distance_change: |new − real| − |previous − real|; above zero is worse.
    """

    tested: bool
    verdict: Change
    statistic: Literal["presence", "area"]
    real: float
    previous: float
    new: float
    change: float
    interval: tuple[float, float] | None
    distance_change: float


def compare_generators(
    real: Float64[np.ndarray, "n k"],
    previous: Float64[np.ndarray, "m k"],
    new: Float64[np.ndarray, "q k"],
    *,
    presence_threshold: float = PRESENCE_THRESHOLD,
    level: float = 0.95,
) -> list[GeneratorChange]:
    """Compare two generators class by class, to find what the new one has made worse.

    A class has *regressed* downwards where new < previous and (new + previous) / 2 < real, both
    significantly: together they are the same as |new − real| > |previous − real|. Regression
    upwards and improvement are the mirror images. Each of the two one-sided tests keeps the
    simultaneous level, so their conjunction does.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        previous: of the previous generator, the same classes in the same order and unit.
        new: of the new generator.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals.

    Returns:
        One comparison a column, in column order.

    Raises:
        SampleError: as `compare_classes`.
    """
    sides = check_sides(presence_threshold, level, real, previous, new)
    counts = [(side >= presence_threshold).sum(axis=0) for side in sides]
    presence = np.stack([count / len(side) for count, side in zip(counts, sides, strict=True)])
    tested = np.asarray(np.stack(counts).sum(axis=0) >= FEWEST_IMAGES)
    by_area = np.asarray((presence > NEARLY_ALWAYS).all(axis=0))
    value = np.where(by_area, np.stack([side.mean(axis=0) for side in sides]), presence)
    # Variances of a mean: of areas as they are; of presences with the pooled proportion, so that
    # a side on which a class never occurs is not taken for certain.
    pooled = np.sum(counts, axis=0) / sum(len(side) for side in sides)
    variance = np.stack(
        [
            np.where(by_area, side.var(axis=0, ddof=1), pooled * (1.0 - pooled)) / len(side)
            for side in sides
        ]
    )
    z = float(scipy.stats.norm.isf((1.0 - level) / (2 * max(int(np.sum(tested)), 1))))
    change = value[2] - value[1]
    reach = z * np.sqrt(variance[1] + variance[2])
    verdict = _changes(value, variance, z)
    distance = np.abs(value[2] - value[0]) - np.abs(value[1] - value[0])
    return [
        GeneratorChange(
            tested=bool(tested[k]),
            verdict=verdict[k] if tested[k] else "untested",
            statistic="area" if by_area[k] else "presence",
            real=float(value[0, k]),
            previous=float(value[1, k]),
            new=float(value[2, k]),
            change=float(change[k]),
            interval=(
                (float(change[k] - reach[k]), float(change[k] + reach[k])) if tested[k] else None
            ),
            distance_change=float(distance[k]),
        )
        for k in range(len(change))
    ]


def _changes(
    value: Float64[np.ndarray, "3 k"], variance: Float64[np.ndarray, "3 k"], z: float
) -> list[Change]:
    """Whether a class moved away from or towards the real side; sides: real, previous, new."""
    change = value[2] - value[1]
    reach = z * np.sqrt(variance[1] + variance[2])
    middle = value[2] + value[1] - 2.0 * value[0]  # twice the distance of the mid-point to real
    margin = z * np.sqrt(variance[1] + variance[2] + 4.0 * variance[0])
    down, up = change < -reach, change > reach
    below, above = middle < -margin, middle > margin
    return [
        "regressed" if worse else "improved" if better else "undecided"
        for worse, better in zip(
            (down & below) | (up & above), (up & below) | (down & above), strict=True
        )
    ]
