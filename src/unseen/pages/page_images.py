"""Pictures that a record names, and the overlays that the page lays over them.

Every path is read inside the folder of the record, and nowhere else.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from unseen.core.files import write_aside
from unseen.core.wording import percent
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import KeptImage
from unseen.images.record_pictures import picture_size, read_label_map
from unseen.pages.overlays import (
    class_colour,
    class_overlay,
    labels_overlay,
    largest_classes,
    tiled_overlay,
)

_OVERLAYS = "overlays"
_OVERLAY = re.compile(r"((real|generated-\d+)-\d{5}(-\d+)?|evidence-\d{5}(-m\d+)?)\.png")
_ENLARGED = 128  # pixels; smaller pictures are shown enlarged, with their pixels

Legend = list[tuple[str, str, str]]  # name, percent, colour of the largest classes


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page, with the overlays that lie on it."""

    name: str
    condition: str | None  # what the image was asked for, or its caption
    fraction: float | None  # of the image that the class covers; None: it stands for no class
    image: str | None = None
    class_overlay: str | None = None
    labels_overlay: str | None = None
    width: int = 0
    height: int = 0
    largest: Legend = dataclasses.field(default_factory=list)
    pixelated: bool = False  # so small that it is shown enlarged


class PageImages:
    """The pictures of one record.

    Args:
        folder: of the record.
        columns: of the record, channel/class: what the values of its label maps mean.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder = folder
        self.names = [class_name(column) for column in columns]

    def size(self, relative: str) -> tuple[int, int]:
        """Width and height of a picture (RecordError, as in `picture_size`)."""
        return picture_size(self._folder, relative)

    def picture(self, kept: KeptImage, fraction: float | None = None) -> Picture:
        """A kept image without overlays; without a picture, where none was kept."""
        if kept.image is None:
            return Picture(kept.name, kept.condition, fraction)
        width, height = self.size(kept.image)
        return Picture(
            name=kept.name,
            condition=kept.condition,
            fraction=fraction,
            image=kept.image,
            width=width,
            height=height,
            pixelated=is_small(width, height),
        )

    def with_class(self, picture: Picture, kept: KeptImage, label: int) -> Picture:
        """The picture with the overlay of one class, where a label map was kept."""
        if picture.image is None or kept.label_map is None:
            return picture
        stem = f"{stem_of(picture.image)}-{label}"
        drawn = self.draw_class(self.label_map(kept.label_map), label, stem)
        return dataclasses.replace(picture, class_overlay=drawn)

    def label_map(self, relative: str) -> Int64[np.ndarray, "h w"]:
        """A label map, whose values are indices into the columns (as in `read_label_map`)."""
        return read_label_map(self._folder, relative, len(self.names))

    def draw_labels(self, label_map: Int64[np.ndarray, "h w"], stem: str) -> str:
        """Draw the overlay of all classes; its path."""
        return self._write(stem, labels_overlay(label_map, self.names))

    def draw_class(self, label_map: Int64[np.ndarray, "h w"], label: int, stem: str) -> str:
        """Draw the overlay of one class; its path."""
        return self._write(stem, class_overlay(label_map, label, self.names[label]))

    def draw_tiles(self, label_map: Int64[np.ndarray, "h w"], labels: list[int], stem: str) -> str:
        """Draw the overlay of all classes and those of the given ones below it; its path."""
        return self._write(stem, tiled_overlay(label_map, labels, self.names))

    def legend(self, label_map: Int64[np.ndarray, "h w"]) -> Legend:
        """The classes that cover most of a label map."""
        return [
            (name, percent(fraction), class_colour(name))
            for name, fraction in largest_classes(label_map, self.names)
        ]

    def _write(self, stem: str, image: Image.Image) -> str:
        relative = f"{_OVERLAYS}/{stem}.png"
        with write_aside(self._folder / relative) as aside:
            image.save(aside, optimize=False)
        return relative


def stem_of(picture: str) -> str:
    """What the overlays of a picture are called after."""
    return picture.removeprefix("pictures/").rpartition(".")[0].replace("/", "-")


def is_small(width: int, height: int) -> bool:
    """Whether a picture is so small that it is shown enlarged, with its pixels."""
    return max(width, height) <= _ENLARGED


def clear_overlays(folder: Path) -> None:
    """Remove the overlays of an earlier drawing, and nothing else."""
    for old in (folder / _OVERLAYS).glob("*.png"):
        if _OVERLAY.fullmatch(old.name):
            old.unlink()
