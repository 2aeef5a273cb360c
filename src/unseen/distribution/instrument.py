"""What tells whether the segmenter can be trusted on a set of images, measured beside the areas.

Brightness, contrast, saturation and sharpness of every image as the segmenter sees it. `VIEWS` are
the same image again, as anyone would label it alike.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy.ndimage
from jaxtyping import Float32, Integer, UInt8

from unseen.images import Preparation

_LUMA = (77, 150, 29)  # of red, green, blue in 256ths: Rec. 601, in whole numbers, hence exact
_ROWS = 64  # measured of an image, and the rows below them: a mean needs no more
_MOVED = (2, 3)  # pixels down and right: at no stride of 2, 4, 8, … do both fall on the old grid
# What `worn_to` takes away from images. It gives nothing back: the other side is worn instead.
WEARABLE = ("brightness", "contrast", "saturation", "sharpness")
_MOST_BLUR = 16.0  # σ in pixels, beyond which nothing is left to be blurred at 64 pixels a side
_HALVINGS = 12  # of that range: σ to 0.004 pixels


def measure_images(images: UInt8[np.ndarray, "n 3 h w"]) -> dict[str, Float32[np.ndarray, " n"]]:
    """Brightness, contrast, saturation and sharpness of every image.

    Brightness is the mean of luma, contrast its standard deviation, saturation the mean difference
    between a pixel's largest and smallest channel, all in shares of the full range. Sharpness is
    the root mean square difference of neighbouring pixels (right, below) over that of two pixels
    taken anywhere, √2 of the contrast: about 0 where an image is smooth, 1 where pixels are
    independent, √2 on a chequerboard, whatever the contrast. An image of one colour has sharpness
    0.

    >>> stripes = np.tile(np.uint8([0, 255]), (1, 3, 8, 4))
    >>> {name: round(float(value[0]), 2) for name, value in measure_images(stripes).items()}
    {'brightness': 0.5, 'contrast': 0.5, 'saturation': 0.0, 'sharpness': 1.0}
    """
    values = np.array([_measure(image) for image in images], np.float32).reshape(-1, 4)
    names = ("brightness", "contrast", "saturation", "sharpness")
    return dict(zip(names, values.T.copy(), strict=True))


def _measure(image: UInt8[np.ndarray, "3 h w"]) -> tuple[float, float, float, float]:
    """The measures of one image, whose rows fit into a processor's cache; exact sums."""
    step = max(1, image.shape[1] // _ROWS)
    rows = image[:, ::step]
    luma = _luma(rows)
    below = luma[1:] if step == 1 else _luma(image[:, 1::step])
    above = luma[: len(below)]
    count = luma.size
    mean = int(luma.sum(dtype=np.int64)) / count
    variance = max(_squares(luma) / count - mean * mean, 0.0)
    pairs = luma[:, 1:].size + below.size
    steps = (_squares(luma[:, 1:] - luma[:, :-1]) + _squares(below - above)) / max(pairs, 1)
    colourful = (rows.max(0) - rows.min(0)).mean() / 255
    sharpness = math.sqrt(steps / (2 * variance)) if variance > 0 else 0.0
    return mean / 255, math.sqrt(variance) / 255, float(colourful), sharpness


def _luma(rows: UInt8[np.ndarray, "3 h w"]) -> np.ndarray:
    red, green, blue = (rows[c].astype(np.uint16) * _LUMA[c] for c in range(3))
    luma: np.ndarray = ((red + green + blue) >> 8).astype(np.int32)  # 0 to 255
    return luma


def _squares(values: np.ndarray) -> int:
    return int(np.einsum("ij,ij->", values, values, dtype=np.int64))


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


def turned_back(view: str, label_maps: Integer[np.ndarray, "n *layers h w"]) -> np.ndarray:
    """Label maps of a view as they lie over the image itself, but for the few pixels moved."""
    return label_maps[..., ::-1] if view == "mirrored" else label_maps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wear:
    """What makes images as blurred, pale and dark as those of another side, and changes no label.

    Applied in this order; the defaults change nothing.
    """

    blur: float = 0.0  # σ of a Gaussian, in pixels
    saturation: float = 1.0  # factor of every pixel's distance from its grey
    contrast: float = 1.0  # factor of the distance from `middle`
    middle: float = 0.5  # mean brightness, a share of the range
    brightness: float = 0.0  # added, a share of the range

    def apply(self, images: UInt8[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n 3 h w"]:
        """The worn images."""
        pixels = images.astype(np.float32)
        if self.blur > 0:
            sigma = (0, 0, self.blur, self.blur)
            pixels = scipy.ndimage.gaussian_filter(pixels, sigma, output=np.float32)
        if self.saturation != 1:
            weights = np.array(_LUMA, np.float32) / sum(_LUMA)
            grey = np.tensordot(pixels, weights, (1, 0))[:, None]
            pixels = (grey + self.saturation * (pixels - grey)).astype(np.float32)
        middle = 255 * self.middle
        pixels = middle + self.contrast * (pixels - middle) + 255 * self.brightness
        worn: np.ndarray = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        return worn


def worn_to(images: UInt8[np.ndarray, "n 3 h w"], targets: Mapping[str, float]) -> Wear:
    """The wear that takes the images' mean measures down to targets.

    Args:
        images: a sample of a side, as the segmenter sees them.
        targets: of `WEARABLE`, by name, those that are to change: sharpness, contrast and
            saturation to less than they are, brightness to anything.
    """

    def means(wear: Wear) -> dict[str, float]:
        measured = measure_images(wear.apply(images))
        return {name: float(values.mean()) for name, values in measured.items()}

    wear = Wear(middle=round(means(Wear())["brightness"], 3))
    if "sharpness" in targets:
        low, high = 0.0, _MOST_BLUR
        for _ in range(_HALVINGS):
            blur = (low + high) / 2
            sharp = means(dataclasses.replace(wear, blur=blur))["sharpness"] > targets["sharpness"]
            low, high = (blur, high) if sharp else (low, blur)
        wear = dataclasses.replace(wear, blur=round(high, 3))
    for name in ("contrast", "saturation"):  # each of what the wear before it has left
        if name in targets:
            factor = min(1.0, targets[name] / max(means(wear)[name], 1e-6))
            wear = dataclasses.replace(wear, **{name: round(factor, 3)})
    if "brightness" in targets:
        added = targets["brightness"] - means(wear)["brightness"]
        wear = dataclasses.replace(wear, brightness=round(added, 3))
    return wear


@dataclasses.dataclass(frozen=True)
class WornPreparation(Preparation):
    """A preparation whose images are worn."""

    wear: Wear = Wear()

    def apply(self, image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h2 s"]:
        """The prepared image, each of its squares worn."""
        squares = self.squares(super().apply(image)[None], [(0, 1)])  # all of them
        return np.concatenate([self.wear.apply(square)[0] for square in squares], axis=1)
