"""What the page shows of classes that were asked about: every image that holds them, in leaves."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage
from unseen.distribution.comparison_wording import rates
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, is_small

_A_LEAF = 24  # images; six rows of four on a wide screen


@dataclasses.dataclass(frozen=True)
class AskedImage:
    """An image that holds the class."""

    name: str
    fraction: float  # of the image, that the class covers
    counted: bool  # whether that is presence
    image: str | None
    overlay: str | None  # the class alone
    width: int
    height: int
    pixelated: bool  # so small that it is shown enlarged


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
        overlay, size = None, (0, 0)
        if kept.image is not None:
            size = pictures.size(kept.image)
        if kept.image is not None and kept.label_map is not None:
            stem = kept.image.removeprefix("pictures/").rpartition(".")[0].replace("/", "-")
            label_map = pictures.label_map(kept.label_map)
            overlay = pictures.draw_class(label_map, label, f"{stem}-{label}")
        yield AskedImage(
            name=kept.name,
            fraction=kept.fraction,
            counted=kept.fraction >= least,
            image=kept.image,
            overlay=overlay,
            width=size[0],
            height=size[1],
            pixelated=is_small(*size),
        )
