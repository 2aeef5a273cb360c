"""From an image in its own resolution to the square that a segmenter is given.

Shorter side to the resolution, then the centre crop, in Pillow's bilinear antialiased resampling.
Source: the paper's released code, through torchvision's `Resize` and `CenterCrop`, whose rounding
of the longer side and of the crop's offset is kept.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.core.errors import ImageError


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How every image of a set becomes a square of one resolution.

    Raises:
        ImageError: a resolution below 1.
    """

    resolution: int  # side of the square, pixels
    match_resolution: int | None = None  # degrade to this size first: the other side's native one

    def __post_init__(self) -> None:
        for name in ("resolution", "match_resolution"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ImageError(f"{name} is {value}; it is a number of pixels of at least 1")

    def apply(self, image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 s s"]:
        """The prepared square, 8-bit RGB, contiguous."""
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
        if self.match_resolution is not None:
            picture = _centre_square(picture, self.match_resolution)
        picture = _centre_square(picture, self.resolution)
        return np.ascontiguousarray(np.moveaxis(np.asarray(picture), -1, 0))


def _centre_square(picture: Image.Image, side: int) -> Image.Image:
    """Shorter side to `side`, then the centre crop; only the crop is ever resampled.

    A strip of 1 × 100,000 pixels would otherwise become an image of gigabytes.
    """
    width, height = picture.size
    shorter = min(width, height)
    scaled_width = side if width == shorter else int(side * width / shorter)
    scaled_height = side if height == shorter else int(side * height / shorter)
    left = round((scaled_width - side) / 2)
    top = round((scaled_height - side) / 2)
    if (scaled_width, scaled_height) == (width, height):
        return picture.crop((left, top, left + side, top + side))
    across, down = width / scaled_width, height / scaled_height  # source pixels a target pixel
    box = (left * across, top * down, (left + side) * across, (top + side) * down)
    return picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
