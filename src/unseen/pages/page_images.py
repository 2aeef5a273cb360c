"""Pictures that a record names, and the overlays that the page lays over them.

Every path is read inside the folder of the record, and nowhere else.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from unseen.core.errors import RecordError
from unseen.core.files import write_aside
from unseen.core.wording import percent
from unseen.distribution.areas import class_name
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


class Stored:
    """The pictures of one record.

    Args:
        folder: of the record.
        columns: of the record, channel/class: what the values of its label maps mean.
        again: the command that writes such a record, for messages.
    """

    def __init__(self, folder: Path, columns: Sequence[str], again: str) -> None:
        self._folder, self._again = folder, again
        self.names = [class_name(column) for column in columns]

    def size(self, relative: str) -> tuple[int, int]:
        """Width and height of a picture.

        Raises:
            RecordError: it is missing, no picture, or outside of the folder.
        """
        with self._open(relative) as image:
            return image.size

    def label_map(self, relative: str) -> Int64[np.ndarray, "h w"]:
        """A label map, whose values are indices into the columns.

        Raises:
            RecordError: it is missing, no label map of these columns, or outside of the folder.
        """
        with self._open(relative) as image:
            try:
                label_map = np.asarray(image).astype(np.int64)
            except OSError as error:
                raise self._broken(relative) from error
        if label_map.ndim != 2 or label_map.min() < 0 or label_map.max() >= len(self.names):
            raise RecordError(
                f"{self._folder / relative} is no label map of the record's "
                f"{len(self.names)} classes; {self._again}"
            )
        return label_map

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

    def _open(self, relative: str) -> Image.Image:
        path = self._folder / relative
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise RecordError(f"the record names a picture outside of its folder: {relative}")
        try:
            return Image.open(path)
        except OSError as error:
            raise self._broken(relative) from error

    def _broken(self, relative: str) -> RecordError:
        return RecordError(
            f"{self._folder / relative} is missing or no picture, but the record names it; copy "
            f"the whole folder, or {self._again}"
        )

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
