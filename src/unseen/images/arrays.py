"""From an array of one image to 8-bit RGB: which axis is what, and which values are pixels.

- axes: (h, w) is grey; of three axes the one of length 1, 3 or 4 is the channels, the last before
  the first (for tensors the first before the last);
- 8 bits as they are; 16 bits divided by 257 and rounded; boolean 0 and 255; alpha over white;
- floats and other integers have no range of their own: they are refused, unless `value_range` says
  what black and white are. A value outside is refused and never clamped.
"""

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from unseen.core.errors import ImageError
from unseen.images.decode import check_size, eight_bits, rgb_array

ValueRange = tuple[float | int, float | int]
"""The values of black and of white, e.g. (0, 1) or (-1, 1)."""

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def array_axes(shape: tuple[int, ...], *, channels_first: bool = False) -> tuple[int, int, int]:
    """Which axes are rows and columns, and how many channels there are.

    Args:
        shape: of one image.
        channels_first: which is meant where the first axis and the last could both be channels.

    Raises:
        ValueError: not the shape of an image.

    >>> array_axes((64, 48, 3)), array_axes((3, 64, 48)), array_axes((64, 48))
    ((0, 1, 3), (1, 2, 3), (0, 1, 1))
    """
    if len(shape) == 2:
        return 0, 1, 1
    if len(shape) == 3:
        last, first = (0, 1, shape[2]), (1, 2, shape[0])
        for axes in (first, last) if channels_first else (last, first):
            if axes[2] in _CHANNELS:
                return axes
    raise ValueError(f"{shape} is not the shape of an image")


def rgb_of_array(
    array: Shaped[np.ndarray, "..."],
    name: str,
    *,
    value_range: ValueRange | None = None,
    channels_first: bool = False,
) -> UInt8[np.ndarray, "3 h w"]:
    """One image of any array layout as 8-bit RGB, by the rule of this module.

    Args:
        array: the image.
        name: for the error message.
        value_range: of arrays that are neither 8-bit, 16-bit nor boolean.
        channels_first: see `array_axes`.

    Raises:
        ImageError: another shape, a type whose range is unknown, or a value out of range.
    """
    try:
        rows, columns, channels = array_axes(array.shape, channels_first=channels_first)
    except ValueError as error:
        raise _unusable(array, name, "needed is (h, w, 3), (3, h, w) or (h, w)") from error
    check_size(array.shape[columns], array.shape[rows], name)
    levels = _levels(array, name, value_range)
    if levels.ndim == 3:
        levels = np.moveaxis(levels, ({0, 1, 2} - {rows, columns}).pop(), 0)
    if channels == 4:
        rgba = np.ascontiguousarray(np.moveaxis(levels, 0, -1))
        return rgb_array(Image.fromarray(rgba), name)
    return levels if channels == 3 else np.broadcast_to(levels, (3, *levels.shape[-2:]))


def _levels(
    array: Shaped[np.ndarray, "..."], name: str, value_range: ValueRange | None
) -> UInt8[np.ndarray, "..."]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return eight_bits(array)
    if array.dtype.kind not in "fiu":
        raise _unusable(array, name, "needed is uint8")
    if value_range is None:
        raise _unusable(
            array,
            name,
            f"its values go from {array.min():.6g} to {array.max():.6g}; give uint8, or say what "
            "black and white are (value_range=(0, 1))",
        )
    black, white = value_range
    levels = np.rint((array.astype(np.float64) - black) * (255 / (white - black)))
    outside = ~((levels >= 0) & (levels <= 255))  # NaN is outside, too
    if outside.any():
        raise _unusable(
            array, name, f"it holds {array[outside][0]:.6g}, outside of {black:g} to {white:g}"
        )
    return levels.astype(np.uint8)


def _unusable(array: Shaped[np.ndarray, "..."], name: str, why: str) -> ImageError:
    return ImageError(f"{name} is {array.dtype} of shape {array.shape}; {why}")
