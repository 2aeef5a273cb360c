"""What the page shows of classes that were asked about: every image that holds them, in leaves."""

import dataclasses
from collections.abc import Sequence

from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison
from unseen.distribution.comparison_wording import rates
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import Gallery, Held

_A_LEAF = 24  # images; six rows of four on a wide screen


@dataclasses.dataclass(frozen=True)
class AskedSide:
    """The images of one side that hold the class, most of it first."""

    label: str
    rate: str  # how many hold it, and how often that is at least and at most
    row: ClassRow | None  # None: the real side
    leaves: Sequence[Sequence[Held]]
    images: int  # on all leaves


@dataclasses.dataclass(frozen=True)
class AskedClass:
    """One class that was asked about."""

    key: str  # of HTML ids
    label: int  # of its overlays
    name: str
    colour: str
    sides: Sequence[AskedSide]


def view(comparison: Comparison, gallery: Gallery) -> list[AskedClass]:
    """The classes that were asked about.

    Args:
        comparison: the record.
        gallery: of the page, which is told of every picture.

    Raises:
        RecordError: a picture that the record names is missing or broken.
    """
    return [_asked(comparison, column, gallery) for column in comparison.asked]


def _asked(comparison: Comparison, column: str, gallery: Gallery) -> AskedClass:
    label = comparison.columns.index(column)
    rows = [
        next(row for row in side.classes if row.column == column) for side in comparison.generated
    ]
    least = rows[0].presence_threshold
    sides = []
    for row, (side, rate) in zip([None, *rows], rates(comparison, column), strict=True):
        shown = [
            gallery.held(example, label, counted=example.fraction >= least)
            for example in side.example_images.get(column, ())
        ]
        leaves = [shown[i : i + _A_LEAF] for i in range(0, len(shown), _A_LEAF)]
        sides.append(AskedSide(side.label, rate, row, leaves, len(shown)))
    name = class_name(column)
    return AskedClass(f"asked-{label}", label, name, class_colour(name), sides)
