"""Grids of pictures: what the benches of inversion show."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.figure_style import LIGHT, save_figure, styled_figure, svg_and_png

_CELL = 0.92  # inches: side of a picture in a grid
_GAP = 0.05  # share of a cell between two pictures
_NOTE = 0.17  # share of a cell for a line of notes below a row
_LEADING = 0.17  # share of a cell for a line of a heading
_BREAK = 0.14  # share of a cell between two blocks


@dataclasses.dataclass(frozen=True, eq=False)
class Rebuilt:
    """What became of an image."""

    picture: UInt8[np.ndarray, "3 h w"] | None  # None: the method failed
    correlation: float | None  # of its pixels with the image's

    @property
    def note(self) -> str:
        """The correlation, to be written below the picture."""
        return "" if self.correlation is None else correlation(self.correlation)


def correlation(value: float, beside: float | None = None) -> str:
    """A correlation with three digits, or four where it (or the number beside it) is nearly 1."""
    digits = 4 if (value if beside is None else beside) >= 0.99 else 3
    return signed(f"{value:.{digits}f}")


def signed(text: str) -> str:
    """Numbers with a proper minus sign."""
    return text.replace("-", "−")


def rebuilt_row(made: Sequence[Rebuilt], block: str, target: Any = None) -> "PictureRow":
    """A row of reconstructions, each over its correlation; the target stands before them."""
    before = [] if target is None else [target]
    return PictureRow(
        pictures=[*before, *(image.picture for image in made)],
        notes=[*("" for _ in before), *(image.note for image in made)],
        block=block,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PictureRow:
    """A row of a grid. A cell is left empty where there is no picture."""

    pictures: Sequence[UInt8[np.ndarray, "3 h w"] | None]
    notes: Sequence[str] = ()  # below the pictures, one each
    block: str = ""  # rows of one block follow each other and share this label, at their left


def draw_pictures(
    rows: Sequence[PictureRow], stem: Path, *, headings: Sequence[str] = (), caption: str = ""
) -> list[Path]:
    """Pictures in rows and columns, all of one size on paper, enlarged without smoothing.

    Args:
        rows: from the top.
        stem: `stem.svg` and `stem.png` are written.
        headings: of the columns; lines are separated by line breaks.
        caption: what the notes say, below all.

    Returns:
        The files.
    """
    columns = max(len(row.pictures) for row in rows)
    lines = max((heading.count("\n") + 1 for heading in headings), default=0)
    y = lines * _LEADING + 0.06 * bool(lines)
    tops: list[float] = []
    for number, row in enumerate(rows):
        y += _BREAK if number and row.block != rows[number - 1].block else 0.0
        tops.append(y)
        y += 1 + (_NOTE if row.notes else 0.0) + _GAP
    high, wide = y + _LEADING * bool(caption), columns * (1 + _GAP) - _GAP
    with styled_figure(wide * _CELL, high * _CELL) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        for column, heading in enumerate(headings):
            _write(axes, _middle(column), tops[0] - 0.06, heading, va="bottom", fontsize=8)
        for row, top in zip(rows, tops, strict=True):
            _draw_row(axes, row, top)
        for block in dict.fromkeys(row.block for row in rows if row.block):
            inside = [top for row, top in zip(rows, tops, strict=True) if row.block == block]
            centre = (inside[0] + inside[-1] + 1) / 2
            _write(axes, -0.12, centre, block, rotation=90, ha="right", va="center", fontsize=8.5)
        _write(axes, wide / 2, high, caption, va="bottom", fontsize=7, color=LIGHT.quiet)
        axes.set(xlim=(0, wide), ylim=(high, 0))
        return save_figure(figure, svg_and_png(stem))


def _draw_row(axes: Any, row: PictureRow, top: float) -> None:
    for column, picture in enumerate(row.pictures):
        left = column * (1 + _GAP)
        if picture is None:
            _write(axes, _middle(column), top + 0.5, "failed", va="center", color=LIGHT.quiet)
            continue
        pixels, extent = np.moveaxis(picture, 0, -1), (left, left + 1, top + 1, top)
        axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")
    for column, note in enumerate(row.notes):
        _write(axes, _middle(column), top + 1.03, note, va="top", fontsize=6.5, color=LIGHT.quiet)


def _middle(column: int) -> float:
    return column * (1 + _GAP) + 0.5


def _write(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(
        x, y, text, **{"ha": "center", "ma": "center", "fontsize": 8, "linespacing": 1.15, **style}
    )
