"""The page: `report.html` with its figures and overlays, drawn from the record alone.

It needs the folder that it lies in and nothing else: no network, no model, no torch.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
from PIL import Image

from unseen.errors import RecordError
from unseen.pages import words
from unseen.pages.figures import DARK, draw_histogram, draw_intervals
from unseen.pages.overlays import class_colour, class_overlay, labels_overlay, largest_classes
from unseen.provenance import canonical_json, write_aside, write_text
from unseen.records.areas import class_name
from unseen.records.comparison import (
    VERDICTS,
    ClassRow,
    Comparison,
    Exhibit,
    Side,
    Verdict,
)

PAGE = "report.html"
_OVERLAYS = "overlays"
_OVERLAY = re.compile(r"(real|generated-\d+)-\d{5}(-\d+)?\.png")
# the words that the template uses
_FILTERS = (
    "below_zero",
    "corrected",
    "delta",
    "fsd_p_value",
    "number",
    "p_value",
    "percent",
    "points",
    "ratio_interval",
    "times",
    "value_interval",
)


@dataclasses.dataclass(frozen=True)
class _Picture:
    """An image of the page, with the overlays that lie on it."""

    name: str
    fraction: float
    image: str | None
    class_overlay: str | None
    labels_overlay: str | None
    width: int
    height: int
    largest: Sequence[tuple[str, str, str]]  # name, percent, colour
    pixelated: bool  # so small that it is shown enlarged


@dataclasses.dataclass(frozen=True)
class _Strip:
    """The images of one side that hold most of a class."""

    label: str
    generated: bool
    counterparts: bool  # not those that hold most, but those named as the real ones
    pictures: Sequence[_Picture]


@dataclasses.dataclass(frozen=True)
class _TableRow:
    """One class with a cell a generated side."""

    key: str  # of HTML ids
    name: str
    channel: str
    colour: str
    cells: Sequence[ClassRow]
    strips: Sequence[_Strip]


def report(out: str | Path, comparison: Comparison) -> Path:
    """Draw the figures, the overlays and the page of a comparison.

    Args:
        out: the folder of the record; paths of its exhibits are relative to it.
        comparison: the record.

    Returns:
        The page, `report.html` in that folder.

    Raises:
        RecordError: a picture that the record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.
    """
    folder = Path(out)
    draw_histogram(comparison, folder / "histogram.png", folder / "histogram.svg")
    draw_intervals(comparison, folder / "intervals.png", folder / "intervals.svg")
    draw_histogram(comparison, folder / "figures" / "histogram-dark.svg", theme=DARK)
    draw_intervals(comparison, folder / "figures" / "intervals-dark.svg", theme=DARK)
    for old in (folder / _OVERLAYS).glob("*.png"):
        if _OVERLAY.fullmatch(old.name):  # of an earlier drawing
            old.unlink()
    page = folder / PAGE
    write_text(page, _render(comparison, list(_table(folder, comparison))))
    return page


def _table(folder: Path, comparison: Comparison) -> Iterator[_TableRow]:
    """The classes that occur, gravest verdict of any side first."""
    by_side = [{row.column: row for row in side.classes} for side in comparison.generated]
    overlays = _Overlays(folder, comparison.columns)

    def order(column: str) -> tuple[int, float]:
        rows = [rows[column] for rows in by_side]
        return min(VERDICTS.index(row.verdict) for row in rows), -rows[0].real_area

    for column in sorted(by_side[0], key=order):
        cells = [rows[column] for rows in by_side]
        if not any(words.occurs(cell) for cell in cells):
            continue
        channel, _, name = column.partition("/")
        label = comparison.columns.index(column)
        yield _TableRow(
            key=f"class-{label}",
            name=name,
            channel=channel,
            colour=class_colour(name),
            cells=cells,
            strips=[
                _Strip(
                    label=side.label,
                    generated=i > 0,
                    counterparts=counterparts,
                    pictures=[overlays.picture(exhibit, label) for exhibit in held],
                )
                for i, side, counterparts, held in _held(comparison, column)
            ],
        )


def _held(
    comparison: Comparison, column: str
) -> Iterator[tuple[int, Side, bool, Sequence[Exhibit]]]:
    """The images of a class: the number of the side, the side, whether counterparts, images."""
    yield 0, comparison.real, False, comparison.real.exhibits.get(column, ())
    for i, side in enumerate(comparison.generated):
        if side.counterparts.get(column):
            yield i + 1, side, True, side.counterparts[column]
        yield i + 1, side, False, side.exhibits.get(column, ())


class _Overlays:
    """Draws overlays into the folder, every one once."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder = folder
        self._names = [class_name(column) for column in columns]
        self._seen: dict[str, tuple[str, Sequence[tuple[str, str, str]]]] = {}

    def picture(self, exhibit: Exhibit, label: int) -> _Picture:
        """The exhibit with its overlay of one class and that of all."""
        if exhibit.image is None or exhibit.label_map is None:
            return _Picture(exhibit.name, exhibit.fraction, None, None, None, 0, 0, (), False)
        with self._open(exhibit.image) as image:
            width, height = image.size
        with self._open(exhibit.label_map) as image:
            label_map = np.asarray(image).astype(np.int64)
        if label_map.ndim != 2 or label_map.min() < 0 or label_map.max() >= len(self._names):
            raise RecordError(
                f"{self._folder / exhibit.label_map} is no label map of the record's "
                f"{len(self._names)} classes; compare again"
            )
        stem = exhibit.image.removeprefix("pictures/").rpartition(".")[0].replace("/", "-")
        if exhibit.label_map not in self._seen:
            path = f"{_OVERLAYS}/{stem}.png"
            self._write(path, labels_overlay(label_map, self._names))
            largest: Sequence[tuple[str, str, str]] = [
                (name, words.percent(fraction), class_colour(name))
                for name, fraction in largest_classes(label_map, self._names)
            ]
            self._seen[exhibit.label_map] = path, largest
        one = f"{_OVERLAYS}/{stem}-{label}.png"
        self._write(one, class_overlay(label_map, label, self._names[label]))
        labels, listed = self._seen[exhibit.label_map]
        return _Picture(
            name=exhibit.name,
            fraction=exhibit.fraction,
            image=exhibit.image,
            class_overlay=one,
            labels_overlay=labels,
            width=width,
            height=height,
            largest=listed,
            pixelated=max(width, height) <= 128,
        )

    def _open(self, relative: str) -> Image.Image:
        path = self._folder / relative
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise RecordError(f"the record names a picture outside of its folder: {relative}")
        try:
            return Image.open(path)
        except OSError as error:
            raise RecordError(
                f"{path} is missing or no picture, but the record names it; copy the whole "
                "folder, or compare again"
            ) from error

    def _write(self, relative: str, image: Image.Image) -> None:
        with write_aside(self._folder / relative) as aside:
            image.save(aside, optimize=False)


def _render(comparison: Comparison, rows: Sequence[_TableRow]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unseen.pages", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in _FILTERS:
        environment.filters[name] = _unbroken(getattr(words, name))
    environment.filters["json"] = _pretty
    environment.filters["sortable"] = _sortable
    source = environment.loader
    assert source is not None
    counted: dict[Verdict, int] = {
        verdict: sum(any(cell.verdict == verdict for cell in row.cells) for row in rows)
        for verdict in VERDICTS
    }
    keys = {row.cells[0].column: row.key for row in rows}
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        rows=rows,
        keys=keys,
        counted=counted,
        single=len(comparison.generated) == 1,
        has_pictures=any(p.image for row in rows for s in row.strips for p in s.pictures),
        hidden=len(comparison.columns) - len(rows),
        meanings=words.VERDICT_MEANINGS,
        colours=words.VERDICT_COLOURS,
        falls=[words.largest_falls(comparison, side) for side in comparison.generated],
        fsd_sentence=words.fsd_sentence,
        css=markupsafe.Markup(_asset(environment, "report.css")),
        script=markupsafe.Markup(_asset(environment, "report.js")),
    )


def _asset(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _unbroken(write: Callable[..., str]) -> Callable[..., str]:
    """The same words, with no line break between a number and its percent sign."""
    return lambda value: write(value).replace(" %", "\u00a0%")


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(canonical_json(dict(value))), indent=2, ensure_ascii=False)


def _sortable(value: float | None) -> str:
    """A number for data attributes; empty sorts last."""
    return "" if value is None else repr(float(value))
