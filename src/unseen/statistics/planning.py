"""How many images a stated loss of a class needs, before any is drawn. NumPy and SciPy alone.

The power is that of the very verdict that is asked for, as `compare_classes` gives it; see
docs/statistics.md.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from unseen.core.errors import SampleError
from unseen.statistics.classes import FEWEST_IMAGES, OMITTED_BELOW
from unseen.statistics.ratios import CountPower
from unseen.statistics.samples import check_level, check_number

Condition = Literal["under", "omitted"]  # "under" is met by omitted, too
_Classes = Float64[np.ndarray, "..."]  # a class an entry
_Numbers = _Classes | float | int  # of every class, or of all

POWER = 0.8  # by convention: four of five such samples would show the loss
# Of its presence, what a segmenter sees of a class that is not there: half of what an omitted class
# may have. In the built-in world it saw 6 and 8 % of the fences and cars that were never drawn.
_GHOSTS = 0.05
_ROUNDING = 1e-9
_MOST_IMAGES = 100_000_000  # more than anybody draws
_LIMITS: dict[str, float] = {"under": 1.0, "omitted": OMITTED_BELOW}  # of the ratio


def can_be_omitted(drop: _Numbers) -> Bool[np.ndarray, "..."]:
    """Whether a loss leaves less than what an omitted class may have.

    >>> bool(can_be_omitted(0.9)), bool(can_be_omitted(1.0))
    (False, True)
    """
    return np.asarray(1.0 - np.asarray(drop) < OMITTED_BELOW - _ROUNDING)


def seen_drop(drop: _Numbers, condition: Condition) -> _Classes:
    """What a segmenter sees of a loss, of which it hides the last part by false positives."""
    drop = np.asarray(drop, dtype=np.float64)
    return drop if condition == "under" else np.asarray(np.minimum(drop, 1.0 - _GHOSTS))


def condition_power(
    presence: _Numbers,
    drop: _Numbers,
    n: _Numbers,
    m: _Numbers,
    *,
    alpha: float,
    condition: Condition = "under",
) -> _Classes:
    """How often a class that lost this share of its presence gets the verdict asked for.

    Args:
        presence: share of real images that hold the class; a class an entry, as all that follows.
        drop: relative loss, 0 to 1.
        n: real images, or what they are worth as independent ones.
        m: generated images.
        alpha: level of the two-sided test of one class.
        condition: the verdict. A loss of nine tenths or less is never called omitted, and of any
            class the segmenter is taken to see a twentieth of its presence where it is not.

    Returns:
        0 to 1.

    >>> condition_power(0.1, 0.5, 2000, 2000, alpha=0.001).round(2)
    array([1.])
    >>> condition_power(0.1, 0.5, 2000, 2000, alpha=0.001, condition="omitted").round(2)
    array([0.])
    """
    presence = np.atleast_1d(np.asarray(presence, dtype=np.float64))
    drop = seen_drop(drop, condition)
    power = CountPower(
        presence, n, m, alpha=alpha, limit=_LIMITS[condition], fewest=FEWEST_IMAGES
    ).of(drop)
    if condition == "omitted":
        power = np.where(can_be_omitted(drop), power, 0.0)
    return np.asarray(power)


def smallest_factor(
    power: Callable[[_Classes], _Classes], most: float, *, enough: float = POWER
) -> _Classes:
    """By how much images must be multiplied for the power to be enough.

    Args:
        power: of every class, at a factor of each; it grows with the factor.
        most: factor beyond which nobody looks.
        enough: power.

    Returns:
        1 to `most`, to 1 % of itself; infinite where `most` is not enough.
    """
    least = power(np.ones(1))
    low, high = np.zeros_like(least), np.full_like(least, np.log(max(most, 1.0)))
    reached: Bool[np.ndarray, ...] = power(np.exp(high)) >= enough
    for _ in range(int(np.ceil(np.log2(max(high.max(initial=0.0), 0.01) / 0.01)))):
        middle = 0.5 * (low + high)
        shown = power(np.exp(middle)) >= enough
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    factor = np.where(reached, np.exp(high), np.inf)
    return np.where(least >= enough, 1.0, factor)


def images_needed(
    presence: float,
    drop: float,
    *,
    tests: int = 1,
    condition: Condition = "under",
    real: int | None = None,
    level: float = 0.95,
    power: float = POWER,
) -> int | None:
    """Images a side that show a stated loss of a class: for planning.

    Args:
        presence: share of real images that hold the class.
        drop: relative loss of presence that is to be shown.
        tests: classes tested at once; the level is divided among them.
        condition: the verdict that is to be given: "under" (or omitted), or "omitted".
        real: real images, if there are no more; otherwise as many as generated ones.
        level: of the simultaneous intervals.
        power: share of samples in which the loss is to be found.

    Returns:
        Generated images, rounded up to two digits; None where no number of them is enough: the
        real images are too few, or a loss of at most nine tenths is to be called omitted.

    Raises:
        SampleError: a number out of range, or a condition that is not known.

    >>> images_needed(0.01, 0.5, tests=40)
    9700
    >>> images_needed(0.01, 0.5, tests=40, real=1000) is None
    True
    """
    check_number("presence", presence, 1e-6, 1.0)
    check_number("drop", drop, 1e-3, 1.0)
    check_number("tests", tests, 1)
    if condition not in _LIMITS:
        raise SampleError(f"condition {condition!r} is not known; known: {', '.join(_LIMITS)}")
    if real is not None:
        check_number("real", real, 2)
    check_level("level", level)
    check_level("power", power)
    alpha = (1.0 - level) / tests

    def power_at(factor: _Classes) -> _Classes:
        images = np.round(2.0 * factor)
        n = images if real is None else real
        return condition_power(presence, drop, n, images, alpha=alpha, condition=condition)

    factor = float(smallest_factor(power_at, _MOST_IMAGES / 2, enough=power)[0])
    return None if np.isinf(factor) else rounded_up(2.0 * factor)


def rounded_up(images: float) -> int:
    """A number of images that says no more than is known of it: two digits.

    >>> rounded_up(12_345.6)
    13000
    """
    unit: int = 10 ** max(math.floor(math.log10(max(images, 1.0))) - 1, 0)
    return math.ceil(images / unit - 1e-9) * unit
