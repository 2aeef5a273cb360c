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
    Side,
    told_columns,
)
from unseen.distribution.comparison_wording import how_often, largest_falls
from unseen.distribution.example_images import EXAMPLE_IMAGES
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import Legend, PageImages, Picture, stem_of

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
class Strip:
    """Images of one side in a row."""

    label: str
    side: int  # its number; 0 is the real one
    images: int  # of the side
    pictures: Sequence[Picture]
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
class ComparisonView:
    """The whole side."""

    samples: Sequence[Strip]  # of every side, the real one first
    left_out: int  # classes that some side leaves out
    findings: Sequence[Finding]  # the first of them
    more: Sequence[More]  # of every generated side
    rows: Sequence[TableRow]  # gravest verdict of any side first


def view(folder: Path, comparison: Comparison, links: Mapping[str, Link]) -> ComparisonView:
    """Draw the overlays of the pictures, and put the record in the order of the page.

    Args:
        folder: of the record.
        comparison: the record.
        links: column → its gallery of instances.

    Raises:
        RecordError: a picture that the record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.
    """
    overlays = _Overlays(folder, comparison.columns)
    rows = sorted(
        _rows(comparison, links, overlays),
        key=lambda row: (CLASS_VERDICTS.index(row.gravest), -row.cells[0].real_area),
    )
    left_out = [row for row in rows if row.gravest in _LEFT_OUT]
    left_out.sort(key=_least_drawn)
    return ComparisonView(
        samples=[
            Strip(
                label=side.label,
                side=i,
                images=side.images,
                pictures=[overlays.sample(kept) for kept in side.samples],
            )
            for i, side in enumerate([comparison.real, *comparison.generated])
        ],
        left_out=len(left_out),
        findings=[Finding(row, _beside(row)) for row in left_out[:_MOST_FINDINGS]],
        more=[_more(comparison, side) for side in comparison.generated],
        rows=rows,
    )


def _rows(
    comparison: Comparison, links: Mapping[str, Link], overlays: "_Overlays"
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
                    pictures=[
                        overlays.picture(example_image, label)
                        for example_image in held[:EXAMPLE_IMAGES]
                    ],
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


class _Overlays:
    """Draws overlays into the folder, every one once."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._images = PageImages(folder, columns)
        self._seen: dict[str, tuple[str, Legend]] = {}

    def picture(self, example_image: ExampleImage, label: int) -> Picture:
        """The example image with its overlay of one class and that of all."""
        picture = self._drawn(example_image, example_image.fraction)
        return self._images.with_class(picture, example_image, label)

    def sample(self, kept: KeptImage) -> Picture:
        """An image by chance, with its overlay of all classes."""
        return self._drawn(kept, None)

    def _drawn(self, kept: KeptImage, fraction: float | None) -> Picture:
        if kept.image is None or kept.label_map is None:
            return Picture(kept.name, kept.condition, fraction)
        if kept.label_map not in self._seen:
            label_map = self._images.label_map(kept.label_map)
            self._seen[kept.label_map] = (
                self._images.draw_labels(label_map, stem_of(kept.image)),
                self._images.legend(label_map),
            )
        labels, largest = self._seen[kept.label_map]
        picture = self._images.picture(kept, fraction)
        return dataclasses.replace(picture, labels_overlay=labels, largest=largest)
