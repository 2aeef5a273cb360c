"""From an image in its own resolution to the square that a segmenter is given.

Shorter side to the resolution, then the centre crop, in Pillow's bilinear antialiased resampling.
Source: the paper's released code, through torchvision's `Resize` and `CenterCrop`, whose rounding
of the longer side and of the crop's offset is kept.
"""

import dataclasses
import math

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


@dataclasses.dataclass(frozen=True)
class PreparedTogether(Preparation):
    """Several preparations of one image, which is then read once: packed into one square.

    Args:
        resolution: filled in here; the side of a square that holds them all.
        parts: how each is prepared.
    """

    resolution: int = dataclasses.field(default=1, init=False)
    parts: tuple[Preparation, ...] = ()

    def __post_init__(self) -> None:
        pixels = sum(part.resolution**2 for part in self.parts)
        object.__setattr__(self, "resolution", math.isqrt(max(pixels, 1) - 1) + 1)

    def apply(self, image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 s s"]:
        """The prepared squares one after the other, filled up with zeros."""
        side = self.resolution
        if len(self.parts) == 1:
            return self.parts[0].apply(image)
        packed = np.zeros((3, side * side), np.uint8)
        start = 0
        for part in self.parts:
            stop = start + part.resolution**2
            packed[:, start:stop] = part.apply(image).reshape(3, -1)
            start = stop
        return packed.reshape(3, side, side)

    def unpack(
        self, images: UInt8[np.ndarray, "n 3 s s"]
    ) -> dict[Preparation, UInt8[np.ndarray, "n 3 h w"]]:
        """The prepared images of each part, of a batch of packed ones."""
        if len(self.parts) == 1:
            return {self.parts[0]: images}
        pixels = images.reshape(len(images), 3, self.resolution**2)
        unpacked, start = {}, 0
        for part in self.parts:
            side = part.resolution
            square = pixels[:, :, start : start + side * side].reshape(-1, 3, side, side)
            unpacked[part] = np.ascontiguousarray(square)
            start += side * side
        return unpacked
