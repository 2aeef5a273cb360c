"""The one place where 8-bit pixels become floats in [−1, 1] and back. NumPy alone.

Source: a generator's output is quantised as a saved PNG would be, so that both sides of a
comparison are 8-bit; the paper's released code truncates where rounding is the better rule.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8

from unseen.core.errors import ImageError

Rounding = Literal["nearest", "truncate"]

_HALF = np.float32(127.5)  # 0…255 spans two half-ranges around 127.5


def to_unit(images: UInt8[np.ndarray, "*axes"]) -> Float32[np.ndarray, "*axes"]:
    """8-bit values as floats: 0 → −1, 255 → 1."""
    return images.astype(np.float32) / _HALF - np.float32(1)


def to_uint8(
    images: Float[np.ndarray, "*axes"], rounding: Rounding = "nearest"
) -> UInt8[np.ndarray, "*axes"]:
    """Floats as 8-bit values: −1 → 0, 1 → 255; what lies outside [−1, 1] is clamped.

    Args:
        images: in [−1, 1], any axes.
        rounding: "nearest" (half to even), or "truncate" (towards zero, as the code of 2019 did).

    Raises:
        ImageError: a value is NaN.
    """
    levels = (images.astype(np.result_type(images.dtype, np.float32)) + 1) * _HALF
    if np.isnan(levels).any():
        raise ImageError("images hold NaN; a generator's output is in [−1, 1]")
    np.clip(levels, 0, 255, out=levels)
    if rounding == "nearest":
        np.rint(levels, out=levels)
    return levels.astype(np.uint8)
