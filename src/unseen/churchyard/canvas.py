"""The canvas: shapes are drawn once, and give the picture and its label map together.

A shape is filled with the number of a *part*: a class, a colour and a texture. Parts are drawn on a
canvas with 4 × 4 sub-pixels a pixel and looked up only at the end, so picture and label map cannot
disagree. The picture is the mean of the sub-pixels' colours; the label is decided by coverage
(see `classes.THIN`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from unseen.churchyard.classes import CLASS_NAMES, INDEX, THIN

SUBPIXELS = 4  # a side
LEVELS = 8  # brightness levels of a texture

Number = int | float
Colour = tuple[Number, Number, Number]  # 0 to 255, or a factor
Points = Sequence[tuple[Number, Number]]  # in units of the image's side

TEXTURES = (
    "flat",
    "grain",
    "brick",
    "stone",
    "tiles",
    "grass",
    "foliage",
    "planks",
    "gravel",
    "asphalt",
    "cloud",
    "rock",
    "ribs",
)
_TEXTURE_INDEX = {name: index for index, name in enumerate(TEXTURES)}
_BANK_SIDE = 320  # sub-pixels at resolution 64: the canvas's 256 and room to shift it
_SHIFTS = 64


class Canvas:
    """Shapes in units of the image's side, (0, 0) at the top left."""

    def __init__(
        self, resolution: int, *, light: Colour, haze: Colour, shadow: Colour, bright: float = 1.0
    ) -> None:
        """Start with an empty canvas.

        Args:
            resolution: pixels a side of the finished picture.
            light: factor on every colour that is not a light itself.
            haze: the colour that distance tends to.
            shadow: factor on the ground where a shadow falls.
            bright: contrast of all textures.
        """
        self.side = resolution * SUBPIXELS
        self.resolution = resolution
        self._light = light
        self._haze = haze
        self._shadow = shadow
        self._bright = bright
        self._image = Image.new("I", (self.side, self.side), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._mask = Image.new("L", (self.side, self.side), 0)
        self._mask_draw = ImageDraw.Draw(self._mask)
        self._colours: list[Colour] = []
        self._contrasts: list[float] = []
        self._textures: list[int] = []
        self._classes: list[int] = []
        self._ground = 0
        self.part("sky", (0, 0, 0))  # developed apart, from its coverage

    def part(
        self,
        name: str,
        colour: Colour,
        texture: str = "flat",
        contrast: Number = 0.0,
        *,
        shade: Number = 1.0,
        haze: Number = 0.0,
        glows: bool = False,
    ) -> int:
        """A new part.

        Args:
            name: its class.
            colour: 0 to 255, in white light.
            texture: one of TEXTURES.
            contrast: of the texture, 0 to 1.
            shade: how much light falls on it.
            haze: 0 (near) to 1 (lost in the distance).
            glows: it is a light itself.
        """
        if not glows:
            light = self._light
            colour = (
                colour[0] * light[0] * shade,
                colour[1] * light[1] * shade,
                colour[2] * light[2] * shade,
            )
        if haze:
            far = self._haze
            keep = 1 - haze
            colour = (
                colour[0] * keep + far[0] * haze,
                colour[1] * keep + far[1] * haze,
                colour[2] * keep + far[2] * haze,
            )
        self._colours.append(colour)
        self._contrasts.append(contrast * (1 - haze))
        self._textures.append(_TEXTURE_INDEX[texture])
        self._classes.append(INDEX[name])
        return len(self._classes) - 1

    def end_of_ground(self) -> None:
        """Parts up to here are ground, and shadows fall on ground alone."""
        self._ground = len(self._classes)

    def polygon(self, points: Points, part: int) -> None:
        """Fill a polygon."""
        side = self.side
        self._draw.polygon([(x * side, y * side) for x, y in points], fill=part)

    def rectangle(self, x0: Number, y0: Number, x1: Number, y1: Number, part: int) -> None:
        """Fill an upright rectangle, at least one sub-pixel wide and high."""
        side = self.side
        left, top = round(x0 * side), round(y0 * side)
        right, bottom = max(left, round(x1 * side) - 1), max(top, round(y1 * side) - 1)
        self._draw.rectangle((left, top, right, bottom), fill=part)

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number, part: int) -> None:
        """Fill an upright ellipse around (x, y)."""
        side = self.side
        self._draw.ellipse(
            ((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side), fill=part
        )

    def half_ellipse(self, x: Number, y: Number, rx: Number, ry: Number, part: int) -> None:
        """Fill the upper half of an ellipse around (x, y)."""
        side = self.side
        box = ((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side)
        self._draw.pieslice(box, 180, 360, fill=part)

    def line(self, points: Points, width: Number, part: int) -> None:
        """Draw a line, at least one sub-pixel wide."""
        side = self.side
        self._draw.line(
            [(x * side, y * side) for x, y in points], fill=part, width=max(1, round(width * side))
        )

    def shadow_polygon(self, points: Points) -> None:
        """Darken the ground inside a polygon."""
        side = self.side
        self._mask_draw.polygon([(x * side, y * side) for x, y in points], fill=1)

    def shadow_ellipse(self, x: Number, y: Number, rx: Number, ry: Number) -> None:
        """Darken the ground inside an ellipse."""
        side = self.side
        self._mask_draw.ellipse(
            ((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side), fill=1
        )

    def develop(
        self, texture_shift: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "h w 4"], UInt8[np.ndarray, "h w"]]:
        """Look the parts up.

        Args:
            texture_shift: rows and columns, 0 to 1 of the room there is.

        Returns:
            Red, green, blue from 0 to 255 with the sky black, and the sky's coverage likewise;
            and the label map.
        """
        bank, positions = _tables(self.resolution)
        parts = len(self._classes)
        ids = np.asarray(self._image).reshape(-1).astype(np.intp)
        classes = np.array(self._classes, np.uint8)
        shadowed = np.asarray(self._mask).reshape(-1).astype(bool)
        shadowed &= ids < self._ground
        textures = np.array(self._textures, np.intp) * bank.shape[1]
        bank_row = _BANK_SIDE * self.side // 256
        scale = self.side // 64
        row, column = texture_shift
        textures += (row % _SHIFTS * scale // 4) * bank_row + column % _SHIFTS * scale // 4
        levels = bank.reshape(-1).take(textures.take(ids) + positions)
        colours = self._palette()
        packed = colours.take((ids + shadowed * parts) * LEVELS + levels)
        image = Image.frombuffer(
            "RGBX", (self.side, self.side), packed.tobytes(), "raw", "RGBX", 0, 1
        )
        picture = np.asarray(image.reduce(SUBPIXELS)).astype(np.float32)
        return picture, self._label_map(classes.take(ids))

    def _palette(self) -> np.ndarray:
        """Packed RGBX of every part (then every part in shadow) at every level; X marks the sky."""
        colours = np.array(self._colours, np.float32)
        contrast = np.array(self._contrasts, np.float32)[:, None] * self._bright
        level = np.linspace(-1, 1, LEVELS, dtype=np.float32)
        factors = (1 + contrast * level)[None, :, :, None]
        both = np.stack((colours, colours * np.array(self._shadow, np.float32)))
        table = np.zeros((2, len(colours), LEVELS, 4), np.uint8)
        table[..., :3] = np.clip(both[:, :, None, :] * factors, 0, 255)
        table[:, 0, :, 3] = 255
        return table.reshape(-1, 4).view(np.uint32).reshape(-1)

    def _label_map(self, classes: np.ndarray) -> UInt8[np.ndarray, "h w"]:
        """The class with the largest weighted coverage of each pixel."""
        n, side = self.resolution, SUBPIXELS
        # (pixels, 16), one byte a sub-pixel
        cells = classes.reshape(n, side, n, side).transpose(0, 2, 1, 3).reshape(n * n, side * side)
        label_map = cells[:, 0].copy()
        alike = label_map.astype(np.uint64) * np.uint64(0x0101010101010101)
        mixed = np.flatnonzero((cells.view(np.uint64) != alike[:, None]).any(1))
        count = len(CLASS_NAMES)
        rows = np.arange(len(mixed), dtype=np.intp)[:, None] * count
        coverage = np.bincount(
            (cells[mixed] + rows).reshape(-1), minlength=len(mixed) * count
        ).reshape(-1, count)
        label_map[mixed] = (coverage * _WEIGHTS + _TIES * (coverage > 0)).argmax(1)
        return label_map.reshape(n, n)


_TIES = np.arange(len(CLASS_NAMES))  # the later class wins a tie
_WEIGHTS = np.array([2 if name in THIN else 1 for name in CLASS_NAMES]) * 32  # more than any tie


@functools.lru_cache(maxsize=2)
def _tables(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Texture bank (textures, sub-pixels), and the canvas's positions in a texture."""
    side = resolution * SUBPIXELS
    bank_side = _BANK_SIDE * side // 256
    bank = np.stack([_texture(name, bank_side) for name in TEXTURES])
    rows, columns = np.mgrid[:side, :side]
    positions = (rows * bank_side + columns).reshape(-1)
    return bank, positions


def _texture(name: str, side: int) -> np.ndarray:
    """One texture as levels, enlarged from its 320 × 320 original."""
    levels = _original_texture(name)
    if side != _BANK_SIDE:
        image = Image.fromarray(levels).resize((side, side), Image.Resampling.BILINEAR)
        levels = np.asarray(image)
    return levels.reshape(-1)


def _original_texture(name: str) -> np.ndarray:
    random = np.random.Generator(np.random.PCG64(_TEXTURE_INDEX[name]))
    side = _BANK_SIDE
    rows, columns = np.mgrid[:side, :side]

    def noise(height: int, width: int) -> Any:
        """Smooth noise with grains of that many sub-pixels, mean 0, deviation 1."""
        grid = random.standard_normal((side // height + 2, side // width + 2)).astype(np.float32)
        image = Image.fromarray(grid).resize(
            (grid.shape[1] * width, grid.shape[0] * height), Image.Resampling.BICUBIC
        )
        values: np.ndarray = np.asarray(image)[:side, :side]
        return (values - values.mean()) / values.std()

    def blocks(height: int, width: int, mortar: float) -> np.ndarray:
        """Courses of blocks, every second one shifted by half a block."""
        course = rows // height
        shifted = columns + (course % 2) * (width // 2)
        block = random.normal(size=(side // height + 1, side // width + 2))
        values = 0.45 * block[course, shifted // width]
        joints = (rows % height == 0) | (shifted % width == 0)
        return np.where(joints, mortar, values)

    if name == "flat":
        values = np.zeros((side, side))
    elif name == "grain":
        values = 0.35 * noise(3, 3) + 0.3 * noise(12, 12)
    elif name == "brick":
        values = blocks(6, 14, 1.0) + 0.15 * noise(3, 3)
    elif name == "stone":
        values = blocks(11, 19, -0.9) + 0.2 * noise(4, 4)
    elif name == "tiles":
        values = blocks(6, 7, -0.5) + 0.5 * ((rows % 6) / 5 - 0.5)
    elif name == "grass":
        values = 0.35 * noise(7, 3) + 0.25 * noise(4, 14) + 0.3 * noise(28, 48)
    elif name == "foliage":
        values = 0.45 * noise(6, 6) + 0.35 * noise(11, 11) + 0.2 * noise(3, 3)
    elif name == "planks":
        plank = random.normal(size=side // 6 + 1)
        values = np.where(columns % 6 == 0, -1.0, 0.35 * plank[columns // 6]) + 0.2 * noise(24, 3)
    elif name == "gravel":
        values = 0.5 * noise(4, 5) + 0.2 * noise(2, 3) + 0.2 * noise(24, 30)
    elif name == "asphalt":
        values = 0.35 * noise(3, 4) + 0.3 * noise(8, 60)
    elif name == "cloud":
        values = 0.6 * noise(26, 40) + 0.3 * noise(10, 16)
    elif name == "rock":
        skewed = columns + rows // 2
        ridge = np.abs(noise(18, 14))[rows, skewed % side]
        values = 0.8 - 0.9 * ridge + 0.3 * noise(6, 5)
    else:  # ribs
        values = np.sin(columns * (2 * np.pi / 13)) * 0.8 + 0.15 * noise(4, 4)
    levels = np.clip((np.clip(values, -1, 1) + 1) / 2 * LEVELS, 0, LEVELS - 1)
    return levels.astype(np.uint8)
