"""What figures and pages share: colours, light and dark, the style, and how files are written."""

import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unseen.core.files import write_aside
from unseen.core.wording import cut


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of a page and of its figures."""

    ink: str  # text
    quiet: str  # text that says less
    faint: str  # grid lines, borders
    paper: str
    real: str  # what is not generated: photographs' areas, matched controls
    verdicts: Mapping[str, str]  # of classes in sets of images, and in single photographs


# The verdicts are Okabe and Ito's palette, darkened until it can be read as text on white (a
# contrast of 4.5): told apart by colour-blind readers, and never the only sign, since the word
# stands beside the colour.
LIGHT = Theme(
    ink="#1d2127",
    quiet="#59616c",
    faint="#dfe2e7",
    paper="#ffffff",
    real="#4a5568",
    verdicts={
        "omitted": "#a3123a",
        "cannot draw": "#a3123a",
        "under": "#b84d00",
        "over": "#0067a3",
        "undecided": "#5d6570",
        "matched": "#00704f",
        "can draw": "#00704f",
        "untested": "#68707b",
    },
)
DARK = Theme(
    ink="#e6e9ed",
    quiet="#a3acb8",
    faint="#343a42",
    paper="#1b1f24",
    real="#a8b3c4",
    verdicts={
        "omitted": "#ff8fa9",
        "cannot draw": "#ff8fa9",
        "under": "#ffa566",
        "over": "#6cc0f5",
        "undecided": "#b3bbc6",
        "matched": "#5fd3a8",
        "can draw": "#5fd3a8",
        "untested": "#98a1ad",
    },
)


@contextmanager
def styled_figure(width: float, height: float, theme: Theme = LIGHT) -> Iterator[Any]:
    """A figure outside pyplot's state; inches. The same data give the same bytes."""
    import matplotlib

    from unseen.core.shown_figure import ShownFigure

    style = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": "#9aa0a8",
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "axes.facecolor": theme.paper,
        "grid.color": theme.faint,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",  # looks the same where the font is missing
        "svg.hashsalt": "unseen",
        "text.parse_math": False,  # "$" in a name is a dollar
    }
    with matplotlib.rc_context(style):
        yield ShownFigure(figsize=(width, height), facecolor=theme.paper)


@contextmanager
def figure_of_panels(
    theme: Theme, *, width: float, height: float, rows: Sequence[float] = (1.0,), columns: int = 1
) -> Iterator[tuple[Any, Any]]:
    """A figure with its axes, row after row; the heights of the rows are relative."""
    with styled_figure(width, height, theme) as figure:
        axes = figure.subplots(
            len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": list(rows)}
        ).ravel()
        # The axes fill the figure, and saving grows it by what stands around them: names of any
        # length then cost no room inside.
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1, hspace=0.32, wspace=0.25)
        yield figure, axes


def legend_above(axis: Any, handles: Sequence[Any], *, at: float = 1.0) -> None:
    """A legend in one line above the axes, where it lies on no data; `at` in their heights."""
    axis.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, at),
        ncols=len(handles),
        fontsize=8.5,
        frameon=False,
        columnspacing=1.1,
        borderaxespad=0.2,
    )


def note_above(axis: Any, text: str) -> None:
    """A line of text above the axes and their legend."""
    axis.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 24),
        textcoords="offset points",
        fontsize=8.5,
    )


def write_beside(axis: Any, y: float, text: str, colour: str) -> None:
    """A text at the right of the axes, in the height of y."""
    axis.annotate(
        text,
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=colour,
        annotation_clip=False,
    )


def draw_mark(
    axis: Any,
    x: float,
    y: float | None,
    colour: str,
    face: str,
    *,
    shape: str = "o",
    size: float = 6.0,
    edge: float = 1.5,
) -> None:
    """A mark in front of all lines, filled with `face`; size and edge are in points."""
    axis.plot(
        x,
        y,
        marker=shape,
        markersize=size,
        markerfacecolor=face,
        markeredgecolor=colour,
        markeredgewidth=edge,
        clip_on=False,
        zorder=3,
    )


def save_figure(figure: Any, paths: Iterable[Path]) -> list[Path]:
    """Write a figure to every path, as PNG or SVG by the suffix (StorageError)."""
    paths = list(paths)
    for path in paths:
        kind = path.suffix.removeprefix(".")
        buffer = io.BytesIO()
        figure.savefig(
            buffer,
            format=kind,
            metadata={"Date": None} if kind == "svg" else None,
        )
        with write_aside(path) as aside:
            aside.write_bytes(buffer.getvalue())
    return paths


def svg_and_png(stem: Path) -> tuple[Path, Path]:
    """`stem.svg` and `stem.png`."""
    return stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")


def short(text: str, most: int = 40) -> str:
    """The end of a long name: the end of a path says more than its beginning."""
    return text if len(text) <= most else "…" + text[1 - most :]


def plain(text: str, most: int = 60) -> str:
    """Without control characters, which no font draws; a long name is cut."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return cut(text, most)
