"""What the page shows of a comparison: a row a class, with the images that hold most of it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unseen.core.verdicts import CLASS_VERDICTS, InstanceVerdict
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage, Side
from unseen.distribution.comparison_wording import occurs
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import Legend, PageImages, is_small


@dataclasses.dataclass(frozen=True)
class Link:
    """Where a class has its gallery of instances on the same page."""

    key: str  # the HTML id
    verdict: InstanceVerdict | None
    said: str
    gallery: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page, with the overlays that lie on it."""

    name: str
    condition: str | None  # what the image was asked for, or its caption
    fraction: float
    image: str | None
    class_overlay: str | None
    labels_overlay: str | None
    width: int
    height: int
    largest: Legend
    pixelated: bool  # so small that it is shown enlarged


@dataclasses.dataclass(frozen=True)
class Strip:
    """The images of one side that hold most of a class."""

    label: str
    generated: bool
    counterparts: bool  # not those that hold most, but those named as the real ones
    pictures: Sequence[Picture]


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


def table(folder: Path, comparison: Comparison, links: Mapping[str, Link]) -> Iterator[TableRow]:
    """The classes that occur, gravest verdict of any side first; draws their overlays.

    Args:
        folder: of the record.
        comparison: the record.
        links: column → its gallery of instances.

    Raises:
        RecordError: a picture that the record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.
    """
    by_side = [{row.column: row for row in side.classes} for side in comparison.generated]
    overlays = _Overlays(folder, comparison.columns)

    def order(column: str) -> tuple[int, float]:
        rows = [rows[column] for rows in by_side]
        return min(CLASS_VERDICTS.index(row.verdict) for row in rows), -rows[0].real_area

    for column in sorted(by_side[0], key=order):
        cells = [rows[column] for rows in by_side]
        if not any(occurs(cell) for cell in cells):
            continue
        name = class_name(column)
        label = comparison.columns.index(column)
        yield TableRow(
            key=f"class-{label}",
            name=name,
            channel=column.partition("/")[0],
            colour=class_colour(name),
            cells=cells,
            strips=[
                Strip(
                    label=side.label,
                    generated=i > 0,
                    counterparts=counterparts,
                    pictures=[overlays.picture(example_image, label) for example_image in held],
                )
                for i, side, counterparts, held in _held(comparison, column)
            ],
            evidence=links.get(column),
        )


def _held(
    comparison: Comparison, column: str
) -> Iterator[tuple[int, Side, bool, Sequence[ExampleImage]]]:
    """The images of a class: the number of the side, the side, whether counterparts, images."""
    yield 0, comparison.real, False, comparison.real.example_images.get(column, ())
    for i, side in enumerate(comparison.generated):
        if side.counterparts.get(column):
            yield i + 1, side, True, side.counterparts[column]
        yield i + 1, side, False, side.example_images.get(column, ())


class _Overlays:
    """Draws overlays into the folder, every one once."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._images = PageImages(folder, columns)
        self._seen: dict[str, tuple[str, Legend]] = {}

    def picture(self, example_image: ExampleImage, label: int) -> Picture:
        """The example image with its overlay of one class and that of all."""
        if example_image.image is None or example_image.label_map is None:
            return Picture(
                name=example_image.name,
                condition=example_image.condition,
                fraction=example_image.fraction,
                image=None,
                class_overlay=None,
                labels_overlay=None,
                width=0,
                height=0,
                largest=[],
                pixelated=False,
            )
        width, height = self._images.size(example_image.image)
        label_map = self._images.label_map(example_image.label_map)
        stem = example_image.image.removeprefix("pictures/").rpartition(".")[0].replace("/", "-")
        if example_image.label_map not in self._seen:
            self._seen[example_image.label_map] = (
                self._images.draw_labels(label_map, stem),
                self._images.legend(label_map),
            )
        labels, largest = self._seen[example_image.label_map]
        return Picture(
            name=example_image.name,
            condition=example_image.condition,
            fraction=example_image.fraction,
            image=example_image.image,
            class_overlay=self._images.draw_class(label_map, label, f"{stem}-{label}"),
            labels_overlay=labels,
            width=width,
            height=height,
            largest=largest,
            pixelated=is_small(width, height),
        )
