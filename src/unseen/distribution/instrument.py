"""What tells whether the segmenter can be trusted on a set of images, measured beside the areas.

Brightness, contrast, saturation and sharpness of every image as the segmenter sees it. `VIEWS` are
the same image again, as anyone would label it alike.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float32, UInt8

_LUMA = (77, 150, 29)  # of red, green, blue in 256ths: Rec. 601, in whole numbers, hence exact
_MOVED = (3, 5)  # pixels down and right: odd, so that strides of 2, 4, 8 meet other pixels


def measure_images(images: UInt8[np.ndarray, "n 3 h w"]) -> dict[str, Float32[np.ndarray, " n"]]:
    """Brightness, contrast, saturation and sharpness of every image.

    Brightness is the mean of luma, contrast its standard deviation, saturation the mean difference
    between a pixel's largest and smallest channel, all in shares of the full range. Sharpness is
    the root mean square difference of neighbouring pixels (right, below) over that of two pixels
    taken anywhere, √2 of the contrast: about 0 where an image is smooth, 1 where pixels are
    independent, whatever the contrast. An image of one colour has sharpness 0.

    >>> stripes = np.tile(np.uint8([0, 255]), (1, 3, 8, 4))
    >>> {name: round(float(value[0]), 2) for name, value in measure_images(stripes).items()}
    {'brightness': 0.5, 'contrast': 0.5, 'saturation': 0.0, 'sharpness': 1.07}
    """
    red, green, blue = (images[:, c].astype(np.uint16) * _LUMA[c] for c in range(3))
    luma = ((red + green + blue) >> 8).astype(np.int32)  # (n, h, w), 0 to 255
    n, h, w = luma.shape
    mean = luma.sum((1, 2)) / (h * w)
    variance = np.maximum((luma * luma).sum((1, 2)) / (h * w) - mean * mean, 0.0)
    steps = h * (w - 1) + (h - 1) * w
    squares = sum(
        (np.diff(luma, axis=axis) ** 2).sum((1, 2), dtype=np.int64) for axis in (1, 2)
    ) / max(steps, 1)
    sharpness = np.zeros(n)
    np.divide(squares, 2.0 * variance, out=sharpness, where=variance > 0)
    return {
        "brightness": (mean / 255).astype(np.float32),
        "contrast": (np.sqrt(variance) / 255).astype(np.float32),
        "saturation": ((images.max(1) - images.min(1)).mean((1, 2)) / 255).astype(np.float32),
        "sharpness": np.sqrt(sharpness).astype(np.float32),
    }


def _mirrored(images: UInt8[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n 3 h w"]:
    return np.ascontiguousarray(images[..., ::-1])


def _moved(images: UInt8[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n 3 h w"]:
    """Moved down and to the right; the border is repeated."""
    down, right = _MOVED
    padded = np.pad(images, ((0, 0), (0, 0), (down, 0), (right, 0)), mode="edge")
    return np.ascontiguousarray(padded[:, :, : images.shape[2], : images.shape[3]])


VIEWS: Mapping[str, Callable[[UInt8[np.ndarray, "n 3 h w"]], UInt8[np.ndarray, "n 3 h w"]]] = {
    "mirrored": _mirrored,
    "moved": _moved,
}
