"""Pictures that a record names, and the overlays that the page lays over them.

Every path is read inside the folder of the record, and nowhere else.
"""

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from unseen.core.files import write_aside
from unseen.core.twins import remove
from unseen.core.wording import percent
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ExampleImage, KeptImage
from unseen.images.record_pictures import picture_size, read_label_map
from unseen.pages.overlays import class_colour, largest_classes, tiled_overlay

_OVERLAYS = "overlays"
_OVERLAY = re.compile(r"((real|generated-\d+)-\d{5}|evidence-\d{5}(-m\d+)?)\.png")
_ENLARGED = 128  # pixels; smaller pictures are shown enlarged, with their pixels


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page."""

    name: str
    condition: str | None  # what the image was asked for, or its caption
    image: str | None = None  # None: no picture was kept
    width: int = 0
    height: int = 0
    pixelated: bool = False  # so small that it is shown enlarged


@dataclasses.dataclass(frozen=True)
class Held:
    """A picture in the place of a class that it holds."""

    number: int  # of the picture in the data of the page's script
    picture: Picture
    fraction: float  # of the image that the class covers
    counted: bool = True  # whether that is presence

    @property
    def entry(self) -> list[Any]:
        """What the page's script shows it from."""
        return [self.number, percent(self.fraction), *([] if self.counted else ["not counted"])]


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

    def picture(self, kept: KeptImage) -> Picture:
        """A kept image, as the page shows it."""
        if kept.image is None:
            return Picture(kept.name, kept.condition)
        width, height = self.size(kept.image)
        return Picture(
            name=kept.name,
            condition=kept.condition,
            image=kept.image,
            width=width,
            height=height,
            pixelated=is_small(width, height),
        )

    def overlays(self, label_map: str, labels: Collection[int], stem: str) -> dict[str, Any]:
        """Draw what lies over a picture, as the page's script takes it.

        Args:
            label_map: its path in the record; its values are indices into the columns.
            labels: the classes that are shown alone, too.
            stem: what the file is called, without the ending.
        """
        pixels = read_label_map(self._folder, label_map, len(self.names))
        alone = sorted(labels)
        relative = f"{_OVERLAYS}/{stem}.png"
        with write_aside(self._folder / relative) as aside:
            tiled_overlay(pixels, alone, self.names).save(aside, format="PNG")
        return {
            "tiles": relative,
            "tile": {str(label): i + 1 for i, label in enumerate(alone)},  # 0: all labels
            "legend": [
                (name, percent(fraction), class_colour(name))
                for name, fraction in largest_classes(pixels, self.names)
            ],
        }


class Gallery:
    """Pictures of a comparison that several places show: each is held once.

    Args:
        folder: of the record.
        columns: as in `PageImages`.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._images = PageImages(folder, columns)
        self._pictures: dict[KeptImage, tuple[int, Picture]] = {}
        self._labels: list[set[int]] = []

    def held(self, example: ExampleImage, label: int, *, counted: bool = True) -> Held:
        """An image that holds a class; its overlay will be drawn."""
        kept = KeptImage(
            name=example.name,
            condition=example.condition,
            image=example.image,
            label_map=example.label_map,
        )
        if kept not in self._pictures:
            self._pictures[kept] = len(self._labels), self._images.picture(kept)
            self._labels.append(set())
        number, picture = self._pictures[kept]
        self._labels[number].add(label)
        return Held(number, picture, example.fraction, counted)

    def data(self) -> list[dict[str, Any]]:
        """Draw the overlays; the pictures by number, as the page's script takes them."""
        data = []
        for kept, (number, picture) in self._pictures.items():
            shown: dict[str, Any] = {"name": picture.name}
            if picture.condition:
                shown["condition"] = picture.condition
            if picture.image is not None:
                shown |= {"image": picture.image, "width": picture.width, "height": picture.height}
                shown["small"] = picture.pixelated
            if picture.image is not None and kept.label_map is not None:
                stem = picture.image.removeprefix("pictures/").rpartition(".")[0].replace("/", "-")
                shown |= self._images.overlays(kept.label_map, self._labels[number], stem)
            data.append(shown)
        return data


def is_small(width: int, height: int) -> bool:
    """Whether a picture is so small that it is shown enlarged, with its pixels."""
    return max(width, height) <= _ENLARGED


def clear_overlays(folder: Path) -> None:
    """Remove the overlays of an earlier drawing, and nothing else."""
    for old in (folder / _OVERLAYS).glob("*.png"):
        if _OVERLAY.fullmatch(old.name):
            remove(old)
