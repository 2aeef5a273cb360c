"""What the page shows of pairs: classes, each with photographs beside what was drawn for them."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.distribution.areas import class_name
from unseen.distribution.comparison import Comparison, PairClass, Pairs
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, Picture


@dataclasses.dataclass(frozen=True)
class PairShown:
    """A photograph that holds the class, and what was drawn for its caption."""

    caption: str | None
    real: Picture
    generated: Picture
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
                        real=images.picture(pair.real),
                        generated=images.picture(pair.generated),
                        kept=pair.kept,
                    )
                    for pair in side.pairs.images.get(row.column, ())
                ],
            )
            for row in side.pairs.classes
        ]
        yield PairsView(side.label, side.pairs, rows)
