"""Label overlays: transparent pictures that lie over an image.

Drawn from the stored 16-bit label maps, with PIL alone.
"""

import colorsys
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

_SCRIM = (0, 0, 0, 165)  # over everything that is not the class
_OPACITY = 150  # of 255, of the colours of all classes
_PALETTE = 256  # colours that a PNG with a palette has at most
_CONTOUR = 150  # an outline is a pixel wide for every so many pixels of the label map

# What people expect: the rest gets a colour from its name.
_EXPECTED = {
    "sky": "#8ecbf0",
    "cloud": "#dfe9f2",
    "building": "#c98b5e",
    "house": "#b5703c",
    "wall": "#b9a58c",
    "roof": "#9c4a2f",
    "gravestone": "#93a1ad",
    "tree": "#2f8f46",
    "palm": "#66a61e",
    "plant": "#53c06a",
    "grass": "#9bd14b",
    "field": "#c6cf5a",
    "earth": "#8a6a4a",
    "mountain": "#8077a8",
    "road": "#6b7280",
    "path": "#c9b48a",
    "sidewalk": "#d99ac5",
    "water": "#2aa5b8",
    "sea": "#1b7fb5",
    "person": "#f4344f",
    "car": "#3d5afe",
    "fence": "#ffb300",
    "door": "#8e3b9e",
    "window": "#4dd0e1",
    "windowpane": "#4dd0e1",
    "floor": "#a1887f",
    "signboard": "#ffee58",
    "lamp": "#fff176",
    "dome": "#e07a5f",
    "none": "#000000",
    "other": "#000000",
}


def class_colour(name: str) -> str:
    """The colour of a class, "#rrggbb": always the same for the same name."""
    if name in _EXPECTED:
        return _EXPECTED[name]
    digest = hashlib.sha256(name.encode()).digest()
    lightness, saturation = 0.45 + 0.2 * digest[2] / 255, 0.6 + 0.3 * digest[3] / 255
    rgb = colorsys.hls_to_rgb((digest[0] * 256 + digest[1]) / 65536, lightness, saturation)
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)


def class_overlay(label_map: Integer[np.ndarray, "h w"], label: int, name: str) -> Image.Image:
    """Everything but one class darkened, the class outlined in its colour."""
    inside, outline = _outlined(label_map, label)
    pixels = np.where(outline, 2, np.where(inside, 1, 0)).astype(np.uint8)
    colour = _bright(class_colour(name))
    return _palette_image(pixels, [_SCRIM, (0, 0, 0, 0), (*colour, 255)])


def tiled_overlay(
    label_map: Integer[np.ndarray, "h w"], labels: Sequence[int], names: list[str]
) -> Image.Image:
    """The overlay of all classes and, below it, that of each of the given ones: one picture.

    A page that shows many classes of many pictures then needs one file a picture.
    """
    present, pixels = np.unique(label_map, return_inverse=True)
    colours: list[tuple[int, int, int, int]] = [
        (*_rgb(class_colour(names[label])), _OPACITY) for label in present
    ][: _PALETTE - 2 - len(labels)]
    tiles = [np.minimum(pixels.reshape(label_map.shape), len(colours) - 1)]
    scrim, clear, first = len(colours), len(colours) + 1, len(colours) + 2
    colours += [_SCRIM, (0, 0, 0, 0)]
    for i, label in enumerate(labels):
        inside, outline = _outlined(label_map, label)
        tiles.append(np.where(outline, first + i, np.where(inside, clear, scrim)))
        colours.append((*_bright(class_colour(names[label])), 255))
    return _palette_image(np.concatenate(tiles).astype(np.uint8), colours)


def labels_overlay(label_map: Integer[np.ndarray, "h w"], names: list[str]) -> Image.Image:
    """Every class in its colour, half transparent."""
    present, pixels = np.unique(label_map, return_inverse=True)
    # A palette has 256 entries; of more classes in one image, the last share one.
    pixels = np.minimum(pixels.reshape(label_map.shape), 255).astype(np.uint8)
    colours = [(*_rgb(class_colour(names[label])), _OPACITY) for label in present[:256]]
    return _palette_image(pixels, colours)


def largest_classes(
    label_map: Integer[np.ndarray, "h w"], names: list[str], count: int = 5
) -> list[tuple[str, float]]:
    """The classes that cover most of a label map, with their fraction of it."""
    pixels = np.bincount(label_map.ravel(), minlength=len(names))
    order = np.argsort(-pixels, kind="stable")[:count]
    return [(names[i], float(pixels[i] / label_map.size)) for i in order if pixels[i]]


def _outlined(
    label_map: Integer[np.ndarray, "h w"], label: int
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Where a class is, and the line around it."""
    inside = label_map == label
    return inside, _grow(inside, max(1, max(label_map.shape) // _CONTOUR)) & ~inside


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


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _bright(colour: str) -> tuple[int, int, int]:
    """The colour, light enough to be seen on the darkened picture."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in _rgb(colour)))
    r, g, b = colorsys.hls_to_rgb(hue, max(0.62, lightness), saturation)
    return round(255 * r), round(255 * g), round(255 * b)
