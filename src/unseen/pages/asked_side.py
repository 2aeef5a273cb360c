"""What the page shows of classes that were asked about: every image that holds them, in leaves."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage
from unseen.distribution.comparison_wording import rates
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, Picture

_A_LEAF = 24  # images; six rows of four on a wide screen


@dataclasses.dataclass(frozen=True)
class AskedImage:
    """An image that holds the class."""

    picture: Picture
    counted: bool  # whether what the class covers is presence


@dataclasses.dataclass(frozen=True)
class AskedSide:
    """The images of one side that hold the class, most of it first."""

    label: str
    rate: str  # how many hold it, and how often that is at least and at most
    row: ClassRow | None  # None: the real side
    leaves: Sequence[Sequence[AskedImage]]


@dataclasses.dataclass(frozen=True)
class AskedClass:
    """One class that was asked about."""

    key: str  # of HTML ids
    name: str
    colour: str
    sides: Sequence[AskedSide]


def view(folder: Path, comparison: Comparison) -> list[AskedClass]:
    """The classes that were asked about; draws their overlays.

    Args:
        folder: of the record.
        comparison: the record.

    Raises:
        RecordError: a picture that the record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.
    """
    pictures = PageImages(folder, comparison.columns)
    return [_asked(comparison, column, pictures) for column in comparison.asked]


def _asked(comparison: Comparison, column: str, pictures: PageImages) -> AskedClass:
    label = comparison.columns.index(column)
    rows = [
        next(row for row in side.classes if row.column == column) for side in comparison.generated
    ]
    sides = []
    for row, (side, rate) in zip([None, *rows], rates(comparison, column), strict=True):
        held = side.example_images.get(column, ())
        shown = list(_shown(held, label, rows[0].presence_threshold, pictures))
        sides.append(
            AskedSide(
                label=side.label,
                rate=rate,
                row=row,
                leaves=[shown[i : i + _A_LEAF] for i in range(0, len(shown), _A_LEAF)],
            )
        )
    name = class_name(column)
    return AskedClass(f"asked-{label}", name, class_colour(name), sides)


def _shown(
    held: Sequence[ExampleImage], label: int, least: float, pictures: PageImages
) -> Iterator[AskedImage]:
    """The images with the overlay of the class."""
    for kept in held:
        picture = pictures.picture(kept, kept.fraction)
        yield AskedImage(pictures.with_class(picture, kept, label), kept.fraction >= least)
