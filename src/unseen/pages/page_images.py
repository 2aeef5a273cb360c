"""Pictures that a record names, and the overlays that the page lays over them.

Every path is read inside the folder of the record, and nowhere else.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from unseen.core.files import write_aside
from unseen.core.wording import percent
from unseen.distribution.areas import class_name
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


def is_small(width: int, height: int) -> bool:
    """Whether a picture is so small that it is shown enlarged, with its pixels."""
    return max(width, height) <= _ENLARGED


def clear_overlays(folder: Path) -> None:
    """Remove the overlays of an earlier drawing, and nothing else."""
    for old in (folder / _OVERLAYS).glob("*.png"):
        if _OVERLAY.fullmatch(old.name):
            old.unlink()
