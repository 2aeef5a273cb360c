"""What the page shows of a comparison: what is left out in pictures, then a row a class."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unseen.core.verdicts import CLASS_VERDICTS, ClassVerdict, InstanceVerdict
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    ExampleImage,
    GeneratedSide,
    KeptImage,
    RarePair,
    Side,
    told_columns,
)
from unseen.distribution.comparison_wording import how_often, largest_falls
from unseen.distribution.discovery import Discovery, RareGroup
from unseen.distribution.example_images import EXAMPLE_IMAGES
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import Gallery, Held, PageImages, Picture

_MOST_FINDINGS = 6  # classes whose pictures open the page
_ABREAST = 3  # pictures of a side in a finding, where more than two sides stand beside each other
_LEFT_OUT: tuple[ClassVerdict, ...] = ("omitted", "under")


@dataclasses.dataclass(frozen=True)
class Link:
    """Where a class has its gallery of instances on the same page."""

    key: str  # the HTML id
    verdict: InstanceVerdict | None
    said: str
    gallery: str


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images of one side in a row, without what they hold: those by chance, for one."""

    label: str
    generated: bool
    images: int  # of the side
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Strip:
    """Images of one side that hold a class, in a row."""

    label: str
    side: int  # its number; 0 is the real one
    images: int  # of the side
    pictures: Sequence[Held]
    counterparts: bool = False  # not those that hold most, but those named as the real ones
    cell: ClassRow | None = None  # the class that they hold, of a generated side
    said: str = ""  # how often the side holds the class

    @property
    def generated(self) -> bool:
        """Whether a generated side holds these images."""
        return self.side > 0


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One class with a cell a generated side."""

    key: str  # of HTML ids
    label: int  # of its overlays
    name: str
    channel: str
    colour: str
    cells: Sequence[ClassRow]
    strips: Sequence[Strip]
    evidence: Link | None  # the class in single photographs

    @property
    def gravest(self) -> ClassVerdict:
        """The gravest verdict of any side."""
        return min((cell.verdict for cell in self.cells), key=CLASS_VERDICTS.index)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A class that some side leaves out: a strip a side."""

    row: TableRow
    strips: Sequence[Strip]


@dataclasses.dataclass(frozen=True)
class More:
    """What else is to be said of a generated side, class by class."""

    over: Sequence[ClassRow]
    missed: Sequence[ClassRow]  # the segmenter may explain the difference
    sized: Sequence[ClassRow]  # smaller or larger where drawn
    falls: Sequence[ClassRow]  # which may be chance


@dataclasses.dataclass(frozen=True)
class Apart:
    """Two classes that a side draws rarely together: images of either side that hold both."""

    pair: RarePair
    strips: Sequence[Samples]


@dataclasses.dataclass(frozen=True)
class Discovered:
    """A group of regions that the generated side has much more rarely."""

    group: RareGroup
    label: int  # of its overlays
    colour: str
    strips: Sequence[Strip]


@dataclasses.dataclass(frozen=True)
class ComparisonView:
    """The whole side."""

    samples: Sequence[Samples]  # of every side, the real one first
    left_out: int  # classes that some side leaves out
    findings: Sequence[Finding]  # the first of them
    more: Sequence[More]  # of every generated side
    rows: Sequence[TableRow]  # gravest verdict of any side first
    apart: Sequence[Sequence[Apart]]  # of every generated side, those of which images are shown


def view(
    folder: Path, comparison: Comparison, links: Mapping[str, Link], gallery: Gallery
) -> ComparisonView:
    """Put the record in the order of the page.

    Args:
        folder: of the record.
        comparison: the record.
        links: column → its gallery of instances.
        gallery: of the page, which is told of every picture.

    Raises:
        RecordError: a picture that the record names is missing or broken.
    """
    images = PageImages(folder, comparison.columns)
    rows = sorted(
        _rows(comparison, links, gallery),
        key=lambda row: (CLASS_VERDICTS.index(row.gravest), -row.cells[0].real_area),
    )
    left_out = [row for row in rows if row.gravest in _LEFT_OUT]
    left_out.sort(key=_least_drawn)
    return ComparisonView(
        samples=[
            _in_a_row(images, side, side.samples)
            for side in [comparison.real, *comparison.generated]
        ],
        left_out=len(left_out),
        findings=[Finding(row, _beside(row)) for row in left_out[:_MOST_FINDINGS]],
        more=[_more(comparison, side) for side in comparison.generated],
        rows=rows,
        apart=[
            [
                Apart(
                    pair,
                    [
                        _in_a_row(images, comparison.real, pair.real_images),
                        _in_a_row(images, side, pair.generated_images),
                    ],
                )
                for pair in side.together.pairs
                if pair.real_images
            ]
            for side in comparison.generated
        ],
    )


def view_groups(comparison: Comparison, discovery: Discovery, gallery: Gallery) -> list[Discovered]:
    """The groups that are much rarer, with images of either side that hold most of them."""
    (side,) = comparison.generated
    shown = []
    for group in discovery.rare:
        label = comparison.columns.index(group.column)
        strips = [
            Strip(
                of_side.label,
                number,
                of_side.images,
                [gallery.held(example, label) for example in examples],
            )
            for number, of_side, examples in (
                (0, comparison.real, group.real_images),
                (1, side, group.generated_images),
            )
        ]
        shown.append(Discovered(group, label, class_colour(group.name), strips))
    return shown


def _in_a_row(images: PageImages, side: Side, kept: Sequence[KeptImage]) -> Samples:
    """Images of a side."""
    pictures = [images.picture(one) for one in kept]
    return Samples(side.label, isinstance(side, GeneratedSide), side.images, pictures)


def _rows(
    comparison: Comparison, links: Mapping[str, Link], gallery: Gallery
) -> Iterator[TableRow]:
    """The classes that are told of."""
    by_side = [{row.column: row for row in side.classes} for side in comparison.generated]
    told = told_columns(comparison.columns, comparison.generated)
    for column in (column for column in by_side[0] if column in told):
        name = class_name(column)
        label = comparison.columns.index(column)
        cells = [rows[column] for rows in by_side]
        yield TableRow(
            key=f"class-{label}",
            label=label,
            name=name,
            channel=column.partition("/")[0],
            colour=class_colour(name),
            cells=cells,
            strips=[
                Strip(
                    label=side.label,
                    side=i,
                    images=side.images,
                    counterparts=counterparts,
                    pictures=[gallery.held(example, label) for example in held],
                    cell=cells[i - 1] if i else None,
                    said=how_often(cells[max(i - 1, 0)], side.images, generated=i > 0),
                )
                for i, side, counterparts, held in _held(comparison, column)
            ],
            evidence=links.get(column),
        )


def _least_drawn(row: TableRow) -> tuple[int, float]:
    """What sorts omitted classes first, then those of which least is left."""
    ratios = [cell.ratio for cell in row.cells if cell.verdict in _LEFT_OUT]
    return CLASS_VERDICTS.index(row.gravest), min(ratio or 0.0 for ratio in ratios)


def _beside(row: TableRow) -> list[Strip]:
    """A strip a side: counterparts, where there are any, instead of what holds most."""
    by_side: dict[int, Strip] = {}
    for strip in row.strips:
        by_side.setdefault(strip.side, strip)
    most = _ABREAST if len(by_side) > 2 else None
    return [
        dataclasses.replace(strip, pictures=strip.pictures[:most]) for strip in by_side.values()
    ]


def _more(comparison: Comparison, side: GeneratedSide) -> More:
    rows = comparison.told(side)
    return More(
        over=[row for row in rows if row.verdict == "over"],
        missed=[row for row in rows if row.undecided_by == "segmenter"],
        sized=[row for row in rows if row.size in ("smaller", "larger")],
        falls=largest_falls(comparison, side),
    )


def _held(
    comparison: Comparison, column: str
) -> Iterator[tuple[int, Side, bool, Sequence[ExampleImage]]]:
    """The images of a class: the number of the side, the side, whether counterparts, images."""
    real = comparison.real
    yield 0, real, False, real.example_images.get(column, ())[:EXAMPLE_IMAGES]
    for i, side in enumerate(comparison.generated):
        if side.counterparts.get(column):
            yield i + 1, side, True, side.counterparts[column][:EXAMPLE_IMAGES]
        yield i + 1, side, False, side.example_images.get(column, ())[:EXAMPLE_IMAGES]
