"""What the page shows of pairs: classes, each with photographs beside what was drawn for them."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.distribution.areas import class_name
from unseen.distribution.comparison import Comparison, ExampleImage, PairClass, Pairs
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, is_small


@dataclasses.dataclass(frozen=True)
class PairPicture:
    """One picture of a pair."""

    name: str
    image: str | None
    width: int
    height: int
    pixelated: bool  # so small that it is shown enlarged


@dataclasses.dataclass(frozen=True)
class PairShown:
    """A photograph that holds the class, and what was drawn for its caption."""

    caption: str | None
    real: PairPicture
    generated: PairPicture
    kept: bool  # whether the drawn image holds the class


@dataclasses.dataclass(frozen=True)
class PairRow:
    """One class."""

    name: str
    colour: str
    row: PairClass
    shown: Sequence[PairShown]


@dataclasses.dataclass(frozen=True)
class PairsView:
    """The pairs of one generated side."""

    label: str
    pairs: Pairs
    rows: Sequence[PairRow]


def view(folder: Path, comparison: Comparison) -> Iterator[PairsView]:
    """The pairs of every side that has them.

    Args:
        folder: of the record.
        comparison: the record.

    Raises:
        RecordError: a picture that the record names is missing or broken.
    """
    images = PageImages(folder, comparison.columns)
    for side in comparison.generated:
        if side.pairs is None:
            continue
        rows = [
            PairRow(
                name=class_name(row.column),
                colour=class_colour(class_name(row.column)),
                row=row,
                shown=[
                    PairShown(
                        caption=pair.real.condition,
                        real=_picture(images, pair.real),
                        generated=_picture(images, pair.generated),
                        kept=pair.kept,
                    )
                    for pair in side.pairs.images.get(row.column, ())
                ],
            )
            for row in side.pairs.classes
        ]
        yield PairsView(side.label, side.pairs, rows)


def _picture(images: PageImages, image: ExampleImage) -> PairPicture:
    if image.image is None:
        return PairPicture(image.name, None, 0, 0, False)
    width, height = images.size(image.image)
    return PairPicture(image.name, image.image, width, height, is_small(width, height))
