"""From an image in its own resolution to the square that a segmenter is given, and back.

By default the shorter side becomes the resolution and the centre is cropped, in Pillow's bilinear
antialiased resampling. Source: the paper's released code, through torchvision's `Resize` and
`CenterCrop`, whose rounding of the longer side and of the crop's offset is kept. What else `fit`
offers leaves nothing of a frame out; label maps are then those of the whole frame.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.errors import ImageError, SpecError
from unseen.core.options import Option
from unseen.images.decode import as_picture
from unseen.statistics.label_layers import deepened

FitName = Literal["crop", "squash", "tiles", "pad"]
Fit = Annotated[
    FitName,
    Option(
        "How an image that is not square becomes squares: crop its centre; squash the whole; cut "
        "it into two tiles that overlap; or pad it with its own mirror image."
    ),
]
_ONE_SQUARE: tuple[FitName, ...] = ("crop", "squash")
Size = tuple[int, int]  # height and width of an image, as it was read
_LONGEST = 2  # times as long as wide: two tiles cover no longer frame, which is narrowed first


def check_one_square(fit: FitName) -> None:
    """Refuse what cuts an image into pieces, or shows parts of it twice.

    Raises:
        SpecError: not `crop`, nor `squash`.

    >>> check_one_square("squash")
    """
    if fit not in _ONE_SQUARE:
        raise SpecError(
            f"fit is {fit}, and an object of a photograph must stand whole and once in a square; "
            f"give {' or '.join(_ONE_SQUARE)}"
        )


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How every image of a set becomes a square of one resolution.

    With `fit="tiles"` it becomes two squares, one below the other: the frame's two ends.

    Raises:
        ImageError: a resolution below 1.
    """

    resolution: int  # side of the square, pixels
    match_resolution: int | None = None  # degrade to this size first: the other side's native one
    fit: FitName = "crop"

    def __post_init__(self) -> None:
        for name in ("resolution", "match_resolution"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ImageError(f"{name} is {value}; it is a number of pixels of at least 1")

    @property
    def shape(self) -> Size:
        """Height and width of a prepared image."""
        return self.resolution * (2 if self.fit == "tiles" else 1), self.resolution

    def apply(self, image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h2 s"]:
        """The prepared image, 8-bit RGB, contiguous."""
        size = image.shape[1], image.shape[2]
        picture = as_picture(image)
        if self.match_resolution is not None:
            if self.fit == "crop":
                picture = _centre_square(picture, self.match_resolution)
            else:
                picture = _resized(picture, _frame(size, self.match_resolution))
        return np.ascontiguousarray(np.moveaxis(self._fitted(picture, size), -1, 0))

    def _fitted(self, picture: Image.Image, size: Size) -> UInt8[np.ndarray, "h2 s 3"]:
        side = self.resolution
        if self.fit == "crop":
            return np.asarray(_centre_square(picture, side))
        if self.fit == "squash":
            return np.asarray(_resized(picture, (side, side)))
        if self.fit == "tiles":
            frame = np.asarray(_resized(picture, _frame(size, side)))
            return np.concatenate([frame[:side, :side], frame[-side:, -side:]])
        top, left, height, width = _inside(size, side)
        frame = np.asarray(_resized(picture, (height, width)))
        below, right = side - top - height, side - left - width
        return np.pad(frame, ((top, below), (left, right), (0, 0)), mode="symmetric")

    def labels(self, label_map: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, "s s"]:
        """A label map of an image as it was read, as `whole` would give it: nearest pixels."""
        side = self.resolution
        if self.fit != "crop":
            return _nearest(label_map, (side, side))
        picture = Image.fromarray(label_map.astype(np.int32))
        return np.asarray(_centre_square(picture, side, Image.Resampling.NEAREST)).astype(np.uint16)

    def squares(
        self, images: UInt8[np.ndarray, "n 3 h2 s"], sizes: Sequence[Size]
    ) -> list[UInt8[np.ndarray, "n 3 s s"]]:
        """What a segmenter is given of prepared images: each at once, or one tile after the other.

        Args:
            images: prepared here.
            sizes: of the images as they were read.
        """
        side = self.resolution
        if self.fit != "tiles":
            return [images]
        tiles = [images[:, :, :side], images[:, :, side:]]
        return tiles[: 1 if all(height == width for height, width in sizes) else 2]

    def whole(
        self, label_maps: Sequence[Integer[np.ndarray, "n *layers h w"]], sizes: Sequence[Size]
    ) -> Integer[np.ndarray, "n *layers h w"]:
        """The label maps of whole frames, squashed to the shape of a square's.

        Args:
            label_maps: of `squares`, one array each.
            sizes: of the images as they were read.
        """
        first = label_maps[0]
        if self.fit in ("crop", "squash") or all(height == width for height, width in sizes):
            return first
        shape = first.shape[-2], first.shape[-1]
        if first.ndim == 4:
            layers = max(maps.shape[1] for maps in label_maps)
            label_maps = [deepened(maps, layers) for maps in label_maps]
        wholes = []
        for i, size in enumerate(sizes):
            # The frame is put together of arrays whose first axes are height and width.
            tiles = [np.moveaxis(maps[i], (-2, -1), (0, 1)) for maps in label_maps]
            frame = np.moveaxis(self._frame_of(tiles, size), (0, 1), (-2, -1))
            wholes.append(_nearest(frame, shape))
        return np.stack(wholes)

    def picture(self, image: UInt8[np.ndarray, "3 h2 s"], size: Size) -> UInt8[np.ndarray, "3 h w"]:
        """A prepared image as it is shown: the square, or the whole frame in its proportions."""
        if self.fit == "crop":
            return image
        if self.fit == "squash":
            _, _, height, width = _inside(size, self.resolution)
            square = as_picture(image)
            return np.moveaxis(np.asarray(_resized(square, (height, width))), -1, 0)
        (squares, *rest) = self.squares(image[None], [size])
        tiles = [squares[0], *(tile[0] for tile in rest)]
        return np.moveaxis(self._frame_of([np.moveaxis(t, 0, -1) for t in tiles], size), -1, 0)

    def _frame_of(self, squares: Sequence[np.ndarray], size: Size) -> np.ndarray:
        """The frame of padded or tiled squares, whose first axes are height and width."""
        first, last = squares[0], squares[-1]
        side = min(first.shape[:2])
        if self.fit == "pad":
            top, left, height, width = _inside(size, side)
            return first[top : top + height, left : left + width]
        height, width = _frame(size, side)
        # Each tile gives its half; where they overlap, the half is nearer to the tile's middle.
        halves = (
            [first[:, : width // 2], last[:, side - (width - width // 2) :]]
            if width > height
            else [first[: height // 2], last[side - (height - height // 2) :]]
        )
        return np.concatenate(halves, axis=int(width > height))


def _frame(size: Size, side: int) -> Size:
    """A frame whose shorter side is `side` and whose longer side two tiles cover."""
    height, width = size
    longer = round(side * max(size) / min(size))
    longer = min(max(longer, side), _LONGEST * side)
    return (side, longer) if width > height else (longer, side)


def _inside(size: Size, side: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a frame in the middle of a square."""
    height, width = (max(1, round(side * length / max(size))) for length in size)
    return (side - height) // 2, (side - width) // 2, height, width


def _nearest(
    label_map: Integer[np.ndarray, "*layers h w"], shape: Size
) -> Integer[np.ndarray, "*layers h2 w2"]:
    """A label map in another shape: each pixel the label at its middle."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * there // (2 * wanted)
        for wanted, there in zip(shape, label_map.shape[-2:], strict=True)
    )
    labels: np.ndarray = label_map[..., rows[:, None], columns]
    return labels


def _resized(picture: Image.Image, shape: Size) -> Image.Image:
    height, width = shape
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _centre_square(
    picture: Image.Image,
    side: int,
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
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
    return picture.resize((side, side), resampling, box=box)


@dataclasses.dataclass(frozen=True)
class PreparedTogether(Preparation):
    """Several preparations of one image, which is then read once: packed into one row of pixels.

    Args:
        resolution: no square has it; filled in here.
        parts: how each is prepared.
    """

    resolution: int = dataclasses.field(default=1, init=False)
    parts: tuple[Preparation, ...] = ()

    @property
    def shape(self) -> Size:
        """Height and width of what holds them all."""
        if len(self.parts) == 1:
            return self.parts[0].shape
        return 1, sum(height * width for height, width in (part.shape for part in self.parts))

    def apply(self, image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h2 w2"]:
        """The prepared images one after the other."""
        if len(self.parts) == 1:
            return self.parts[0].apply(image)
        return np.concatenate([part.apply(image).reshape(3, 1, -1) for part in self.parts], axis=2)

    def unpack(
        self, images: UInt8[np.ndarray, "n 3 h w"]
    ) -> dict[Preparation, UInt8[np.ndarray, "n 3 h2 w2"]]:
        """The prepared images of each part, of a batch of packed ones."""
        if len(self.parts) == 1:
            return {self.parts[0]: images}
        unpacked, start = {}, 0
        for part in self.parts:
            height, width = part.shape
            stop = start + height * width
            pixels = images[:, :, 0, start:stop].reshape(-1, 3, height, width)
            unpacked[part] = np.ascontiguousarray(pixels)
            start = stop
        return unpacked
