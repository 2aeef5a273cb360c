"""What every statistic asks of its input, and which rows to compare with which.

A sample is an array of one row an image and one column a class. Wrong input is a SampleError of one
line, not a NaN in the result.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from unseen.core.errors import SampleError
from unseen.core.wording import count as counted
from unseen.statistics.design import INDEPENDENT, Design

_ROUNDING = 1e-9  # share by which areas may exceed the whole: they are sums of float64 quotients
_BLOCK = 2**22  # areas of one side worked on at once: some 32 MB a copy


def check_array(
    values: Any, name: str, *, axes: int, counts: bool = False
) -> Shaped[np.ndarray, "..."]:
    """The values as an array of float64.

    Args:
        values: anything that NumPy can make an array of.
        name: how messages call it.
        axes: how many it must have.
        counts: leave whole numbers as they are.

    Raises:
        SampleError: no numbers, another number of axes, or a value that is not finite.
    """
    try:
        array: np.ndarray = np.asarray(values)
        if array.dtype.kind not in "biuf":  # complex numbers would lose a part without a word
            raise TypeError(f"{array.dtype}")
        if not (counts and array.dtype.kind in "iu"):
            array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unlike lengths, gradients, …
        raise SampleError(f"{name} is no array of real numbers ({error}); give one") from error
    if array.ndim != axes:
        wanted = "one row an image and one column a class" if axes == 2 else "one number an image"
        raise SampleError(f"{name} has the shape {array.shape}; {wanted} are needed")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SampleError(f"{name} holds values that are not finite; remove or correct them")
    return array


def check_samples(
    real: Any, generated: Any, *, counts: bool = False
) -> tuple[Shaped[np.ndarray, "n k"], Shaped[np.ndarray, "m k"]]:
    """Both samples as float64; two covariances of the same classes can be had of them.

    Args:
        real: one row an image, one column a class.
        generated: the same classes.
        counts: leave whole numbers as they are.

    Raises:
        SampleError: as `check_array`; fewer than two rows on either side, or other columns.
    """
    sides = []
    for name, sample in (("real", real), ("generated", generated)):
        array = check_array(sample, name, axes=2, counts=counts)
        if len(array) < 2:
            raise SampleError(
                f"{name} has {counted(len(array), 'image')}; a covariance needs at least 2: add "
                "images"
            )
        sides.append(array)
    if sides[0].shape[1] != sides[1].shape[1] or sides[0].shape[1] == 0:
        raise SampleError(
            f"real has {counted(sides[0].shape[1], 'class')} and generated {sides[1].shape[1]}; "
            "the same classes are needed, and at least one: segment both sides with one segmenter"
        )
    return sides[0], sides[1]


def check_areas(whole: int, *sides: Shaped[np.ndarray, "_ k"], unit: float = 1.0) -> None:
    """Refuse areas (SampleError) that are negative or larger than the whole image.

    Args:
        whole: the image in the unit of the areas: 1 for shares, 100 for percent.
        sides: the areas.
        unit: what their numbers are multiplied by before.
    """
    wanted = {1: "shares of the image, 0 to 1", 100: "percent of the image, 0 to 100"}[whole]
    for side in sides:
        least, most = float(side.min()) * unit, float(side.max()) * unit
        if least < 0.0 or most > whole * (1.0 + _ROUNDING):
            raise SampleError(f"areas range from {least:.3g} to {most:.3g}; they must be {wanted}")


def column_blocks(
    *sides: Shaped[np.ndarray, "_ k"], whole: int
) -> Iterator[tuple[slice, list[Float64[np.ndarray, "_ b"]]]]:
    """Some columns at a time of all sides, as shares of the image: no table is copied as a whole.

    Args:
        sides: areas of the same classes.
        whole: the image in the unit of the areas.

    Returns:
        The columns of every block, and those of each side.
    """
    columns = max(_BLOCK // max(len(side) for side in sides), 1)
    for start in range(0, sides[0].shape[1], columns):
        block = slice(start, start + columns)
        shares = [np.asarray(side[:, block], dtype=np.float64) for side in sides]
        yield block, [share if whole == 1 else share / whole for share in shares]


def check_number(
    name: str, value: int | float, least: int | float, most: int | float = np.inf
) -> None:
    """Refuse a number (SampleError) outside least … most; NaN is outside of everything."""
    if not least <= value <= most:
        end = f" and at most {most:g}" if np.isfinite(most) else ""
        raise SampleError(f"{name} is {value:g}; it must be at least {least:g}{end}")


def check_level(name: str, value: float) -> None:
    """Refuse a level of confidence or power (SampleError) that is not between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise SampleError(f"{name} is {value:g}; it must lie between 0 and 1, such as 0.95")


def self_halves(
    n: int, seed: int = 0, *, design: Design = INDEPENDENT
) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"]]:
    """Two disjoint random halves of n images, for comparing a set with itself.

    Overlapping halves, as in the 2019 code, understate the distance of a set to itself.

    Args:
        n: images in the set.
        seed: of the split.
        design: whole groups go to either half; weights play no part.

    Returns:
        Row indices of either half, each ascending; of an odd number of groups (or of independent
        images) the last drawn is left out, so that both halves have as many.

    Raises:
        SampleError: fewer than four images, or groups.

    >>> first, second = self_halves(5, seed=1)
    >>> len(first), len(second), set(first) & set(second)
    (2, 2, set())
    """
    units = design.units(n)
    groups = int(units.max(initial=-1)) + 1
    if groups < 4:
        what = "image" if design.groups is None else "group"
        raise SampleError(
            f"the set has {counted(groups, what)}; halves of at least 2 need 4: add images"
        )
    check_number("seed", seed, 0)
    order = np.random.default_rng(seed).permutation(groups)
    first, second = order[: groups // 2], order[groups // 2 : 2 * (groups // 2)]
    return np.flatnonzero(np.isin(units, first)), np.flatnonzero(np.isin(units, second))
