"""Pairs of a photograph and what was drawn for its caption: which they are, and what they show.

Images are paired by what they were asked for, or by their names. Of several with one caption the
first photograph goes with the first drawn image, and so on. The statistics are those of
`unseen.statistics.paired_presence`.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64

from unseen.core.errors import SpecError
from unseen.core.wording import count, listed
from unseen.distribution.areas import Areas, nothing
from unseen.distribution.comparison import PairClass, PairImages, Pairs
from unseen.distribution.designs import Known, SideDesign
from unseen.distribution.example_images import EXAMPLE_IMAGES, example_image
from unseen.statistics.paired_presence import PairedClass, compare_pairs

_SHOWN = 12  # classes of which pairs are shown as pictures: those that lose most
OF_PAIRS = (
    "The sides are pairs, and not the independent samples that the intervals of the distance and "
    "of the ratios assume: these are usually too wide. The pairs have intervals of their own."
)
_NAMED = 3  # captions that a message shows
_LOOKED_THROUGH = 10_000  # images of an endless side: prompts may be many more than photographs


@dataclasses.dataclass(frozen=True, eq=False)
class Pairing:
    """The images of every side, in the order of the pairs."""

    by: Literal["condition", "name"]
    rows: Sequence[Sequence[int]]  # a side each; entries of one place are of one pair
    alone: Sequence[int]  # images of every side that have no partner

    def chosen(self, pairs: int | None, seed: int) -> "Pairing":
        """So many of the pairs: a seeded subset, as of a set of images.

        Raises:
            SpecError: there are fewer.
        """
        there = len(self.rows[0])
        if pairs is None:
            return self
        if pairs > there:
            raise SpecError(
                f"{pairs:,} pairs were asked for by the count, and {there:,} images have partners "
                "on every side; ask for fewer"
            )
        order = list(range(there))
        random.Random(seed).shuffle(order)
        kept = sorted(order[:pairs])
        return dataclasses.replace(self, rows=[[side[i] for i in kept] for side in self.rows])


def pair_sides(sides: Sequence[Known]) -> Pairing:
    """Which images of all sides belong together.

    Args:
        sides: the real one first.

    Raises:
        SpecError: neither captions nor names pair two images.

    >>> photographs = Known("photos", ["a.jpg", "b.jpg"], ["a church", "a café"])
    >>> drawn = Known("drawn", ["0.png", "1.png"], ["a café", "a church"])
    >>> pair_sides([photographs, drawn]).rows
    [[0, 1], [1, 0]]
    """
    by: Literal["condition", "name"] = "name"
    if all(side.conditions is not None for side in sides):
        by = "condition"
    keys = [_keys(side, by) for side in sides]
    places = [{key: row for row, key in enumerate(of_side)} for of_side in keys]
    together = [key for key in keys[0] if all(key in place for place in places[1:])]
    if len(together) < 2:
        raise SpecError(_no_pairs(sides, by, len(together)))
    return Pairing(
        by=by,
        rows=[[place[key] for key in together] for place in places],
        alone=[len(of_side) - len(together) for of_side in keys],
    )


def _keys(side: Known, by: str) -> list[Hashable]:
    """What pairs an image of this side: its caption and how many had it before, or its name."""
    if by == "name":
        return [name.rpartition(".")[0] or name for name in side.names]
    before: Counter[str] = Counter()
    keys: list[Hashable] = []
    for condition in side.conditions or ():
        keys.append((condition, before[condition]))
        before[condition] += 1
    return keys


def _no_pairs(sides: Sequence[Known], by: str, pairs: int) -> str:
    if by == "condition":
        captions = listed([repr(text) for text in (sides[0].conditions or ())[:_NAMED]])
        return (
            f"{pairs} images of {sides[0].label} have a caption that the other sides were asked "
            f"for, such as {captions}; draw from the captions of the photographs, e.g. "
            "prompts=photos/metadata.jsonl"
        )
    without = listed([side.label for side in sides if side.conditions is None])
    return (
        f"pairs go by captions, and {without} has none, or by equal names, of which there are "
        f"{pairs}; put a metadata.jsonl beside the photographs, and draw with prompts"
    )


def compare_in_pairs(
    real: Areas,
    generated: Areas,
    thresholds: float | Float64[np.ndarray, " k"],
    designs: tuple[SideDesign, SideDesign],
    by: Literal["condition", "name"],
    family: Sequence[int] | None = None,
) -> Pairs:
    """What the pairs of a generated side show, class by class.

    Args:
        real: areas of the real images.
        generated: row i was drawn for what row i of `real` shows.
        thresholds: of presence, one or one a class.
        designs: groups of both sides; those of the real side are those of the pairs, or else
            those of the generated one.
        by: how they were paired.
        family: the numbers of the classes that are tested; None: all.
    """
    told = next((design for design in designs if design.design.groups is not None), designs[0])
    groups = told.design.groups
    least = np.broadcast_to(thresholds, len(real.columns))
    tested = list(range(len(real.columns)) if family is None else family)
    measured = compare_pairs(
        real.shares(tested),
        generated.shares(tested),
        presence_threshold=least[tested],
        design=told.design,
    )
    present = [side.fraction >= least for side in (real, generated)]
    rows = [
        (k, _row(real.columns[k], row))
        for k, row in zip(tested, measured, strict=True)
        if (row.held or row.added) and real.columns[k] != nothing(real.columns)
    ]
    rows.sort(key=lambda pair: _lost_first(pair[1]))
    shown = [(k, row) for k, row in rows if row.tested and row.held][:_SHOWN]
    return Pairs(
        paired_by=by,
        pairs=len(real),
        groups=None if groups is None else len(np.unique(groups)),
        grouped_by=told.grouped_by,
        classes=tuple(row for _, row in rows),
        images={
            row.column: _images(real, generated, k, present[0][:, k], present[1][:, k])
            for k, row in shown
        },
    )


def _row(column: str, row: PairedClass) -> PairClass:
    values = dataclasses.asdict(row)
    if row.difference_interval is None:
        values["difference_interval"] = (None, None)
    return PairClass(column=column, **values)


def _lost_first(row: PairClass) -> tuple[bool, bool, float, int]:
    """Tested classes first, of these what is shown to be drawn less, then the smallest share."""
    high = row.difference_interval[1]
    less = high is not None and high < 0
    return not row.tested, not less, 2.0 if row.share is None else row.share, -row.held


def _images(
    real: Areas,
    generated: Areas,
    k: int,
    held: np.ndarray,
    drawn: np.ndarray,
) -> tuple[PairImages, ...]:
    """Pairs whose photograph holds the class: those first whose drawn image lacks it."""
    rows = np.flatnonzero(held)
    order = sorted(rows, key=lambda row: (bool(drawn[row]), -int(real.pixels[row, k])))
    return tuple(
        PairImages(
            real=example_image(real, int(row), k),
            generated=example_image(generated, int(row), k),
            kept=bool(drawn[row]),
        )
        for row in order[:EXAMPLE_IMAGES]
    )


def without_partner(labels: Sequence[str], alone: Sequence[int]) -> list[str]:
    """A sentence for every side that has images without a partner.

    >>> without_partner(["photos", "drawn"], [0, 1])
    ['1 image of drawn has no partner on every other side and is not counted.']
    """
    return [
        f"{count(images, 'image')} of {label} {'has' if images == 1 else 'have'} no partner on "
        f"every other side and {'is' if images == 1 else 'are'} not counted."
        for label, images in zip(labels, alone, strict=True)
        if images
    ]


def candidates(images: int) -> int:
    """How many images of an endless side are looked through for partners of so many."""
    return 4 * images + _LOOKED_THROUGH
