"""Reads one image of any source: what others' sources raise or return becomes one kind of error."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError
from unseen.core.user_code import user_code
from unseen.core.wording import printable
from unseen.images.decode import check_size
from unseen.images.protocol import ImageSource


def read_image(source: ImageSource, index: int) -> UInt8[np.ndarray, "3 h w"]:
    """Image `index` of a source.

    Raises:
        ImageError: it cannot be read, whatever the source raised, or it is not what a source
            gives; the message names it. This is what `skip_broken` skips.
        OutOfMemoryError: memory ran out; the image may well be whole.
    """
    with user_code(_name(source, index), ImageError):
        image: Any = source.read(index)
    kind: Any = getattr(image, "dtype", type(image).__name__)
    shape: Any = getattr(image, "shape", ())
    if kind != np.uint8 or len(shape) != 3 or shape[0] != 3:
        raise ImageError(
            f"{_name(source, index)} is {kind} of shape {tuple(shape)}; a source gives uint8 "
            "(3, h, w)"
        )
    check_size(image.shape[2], image.shape[1], _name(source, index))
    pixels: UInt8[np.ndarray, "3 h w"] = np.asarray(image)
    return pixels


def _name(source: ImageSource, index: int) -> str:
    try:
        return printable(f"{source.spec}: {source.names[index]}")
    except Exception:  # noqa: BLE001 the names are the source's own, too
        return f"{source.spec}: image {index}"
