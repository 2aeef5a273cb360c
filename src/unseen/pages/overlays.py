"""Label overlays: transparent pictures that lie over an image.

Drawn from the stored 16-bit label maps, with PIL alone.
"""

import colorsys
import hashlib
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from unseen.statistics.label_layers import NOTHING, covers, on_top, pixels_of_classes

_SCRIM = (0, 0, 0, 165)  # over everything that is not the class
_OPACITY = 150  # of 255, of the colours of all classes
_PALETTE = 256  # colours that a PNG with a palette has at most
_CONTOUR = 150  # an outline is a pixel wide for every so many pixels of the label map

# What people expect, of scenes and of faces: no two of the churchyard's classes are nearer than 18
# in CIELAB, and two are green. The rest gets a colour from its name.
_EXPECTED = {
    "sky": "#8ecbf0",
    "cloud": "#e3e9ef",
    "building": "#c98b5e",
    "house": "#b5703c",
    "wall": "#d8c3a5",
    "roof": "#8c2f1b",
    "gravestone": "#7f8fa3",
    "tree": "#2a7d3f",
    "palm": "#006d6f",
    "plant": "#b9c400",
    "grass": "#9bd14b",
    "field": "#e3c565",
    "earth": "#7a4f2b",
    "mountain": "#7d6fb2",
    "road": "#565d68",
    "path": "#c2a878",
    "sidewalk": "#d99ac5",
    "water": "#2aa5b8",
    "sea": "#1b6fb5",
    "person": "#f4344f",
    "car": "#3d5afe",
    "fence": "#ff9100",
    "door": "#8e24aa",
    "window": "#22d3ee",
    "windowpane": "#22d3ee",
    "floor": "#a1887f",
    "signboard": "#ff4fa3",
    "lamp": "#ffe600",
    "dome": "#e8795a",
    "flag": "#c2185b",
    "fountain": "#5aa9a3",
    "horse": "#5d4037",
    "hair": "#5d4037",
    "skin": "#f0b48a",
    "eyeglasses": "#3d5afe",
    "hat": "#ff9100",
    "cloth": "#7d6fb2",
    "neck": "#c98b5e",
    "nose": "#e8795a",
    "ear": "#d99ac5",
    "eye": "#22d3ee",
    "eyebrow": "#8c2f1b",
    "mouth": "#8e24aa",
    "lip": "#f4344f",
    "earring": "#ffe600",
    "necklace": "#2aa5b8",
    "none": "#000000",
    "other": "#000000",
}
_GREENS = (75, 165)  # degrees of hue that look alike
_GREENS_SHARE = 0.1  # of the names that get one of these; a quarter of the circle otherwise
_LIGHTNESS = (0.36, 0.52, 0.7)


def class_colour(name: str) -> str:
    """The colour of a class, "#rrggbb": always the same for the same name."""
    if name in _EXPECTED:
        return _EXPECTED[name]
    digest = hashlib.sha256(name.encode()).digest()
    place = (digest[0] * 256 + digest[1]) / 65536
    first, last = _GREENS
    if place < _GREENS_SHARE:
        hue = first + (last - first) * place / _GREENS_SHARE
    else:
        rest = (place - _GREENS_SHARE) / (1 - _GREENS_SHARE)
        hue = last + (360 - last + first) * rest
    rgb = colorsys.hls_to_rgb(
        hue % 360 / 360, _LIGHTNESS[digest[2] % 3], 0.55 + 0.35 * digest[3] / 255
    )
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)


def tiled_overlay(
    label_map: Integer[np.ndarray, "*layers h w"], labels: Sequence[int], names: list[str]
) -> Image.Image:
    """Overlays of one label map, one below the other: a page then needs one file a picture.

    The first shows every class in its colour, half transparent. Each of the given classes follows:
    all but the class darkened, and the class outlined in its colour.
    """
    pixels, present = _all_classes(label_map, names)
    colours = present[: _PALETTE - 2 - len(labels)]
    tiles = [np.minimum(pixels, len(colours) - 1)]
    scrim, clear, first = len(colours), len(colours) + 1, len(colours) + 2
    colours += [_SCRIM, (0, 0, 0, 0)]
    for i, label in enumerate(labels):
        inside, outline = _outlined(label_map, label)
        tiles.append(np.where(outline, first + i, np.where(inside, clear, scrim)))
        colours.append((*_bright(class_colour(names[label])), 255))
    return _palette_image(np.concatenate(tiles).astype(np.uint8), colours)


def _all_classes(
    label_map: Integer[np.ndarray, "*layers h w"], names: list[str]
) -> tuple[Integer[np.ndarray, "h w"], list[tuple[int, int, int, int]]]:
    """For every pixel the number of its colour, and the colours: clear where there is no class."""
    shown = on_top(label_map)
    present, pixels = np.unique(shown, return_inverse=True)
    colours = [
        (0, 0, 0, 0) if label == NOTHING else (*rgb(class_colour(names[label])), _OPACITY)
        for label in present
    ]
    return pixels.reshape(shown.shape), colours


def largest_classes(
    label_map: Integer[np.ndarray, "*layers h w"], names: list[str], count: int = 5
) -> list[tuple[str, float]]:
    """The classes that cover most of a label map, with their fraction of it."""
    pixels = pixels_of_classes(label_map, len(names))
    order = np.argsort(-pixels, kind="stable")[:count]
    whole = math.prod(label_map.shape[-2:])
    return [(names[i], float(pixels[i] / whole)) for i in order if pixels[i]]


def _outlined(
    label_map: Integer[np.ndarray, "*layers h w"], label: int
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Where a class is, and the line around it."""
    inside = covers(label_map, label)
    return inside, _grow(inside, max(1, max(inside.shape) // _CONTOUR)) & ~inside


def _palette_image(
    pixels: UInt8[np.ndarray, "h w"], colours: list[tuple[int, int, int, int]]
) -> Image.Image:
    image = Image.fromarray(pixels).convert("P")
    image.putpalette([value for r, g, b, _ in colours for value in (r, g, b)])
    image.info["transparency"] = bytes(alpha for *_, alpha in colours)
    return image


def _grow(mask: Bool[np.ndarray, "h w"], by: int) -> Bool[np.ndarray, "h w"]:
    """The mask with its neighbourhood of `by` pixels (four neighbours, repeated)."""
    for _ in range(by):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _bright(colour: str) -> tuple[int, int, int]:
    """The colour, light enough to be seen on the darkened picture."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in rgb(colour)))
    r, g, b = colorsys.hls_to_rgb(hue, max(0.62, lightness), saturation)
    return round(255 * r), round(255 * g), round(255 * b)
