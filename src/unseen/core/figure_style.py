"""What figures and pages share: colours, light and dark, the style, and how files are written."""

import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from unseen.core.errors import SpecError
from unseen.core.files import write_aside
from unseen.core.options import Option
from unseen.core.wording import cut, listed

Width = Literal["column", "page"]
WIDTHS: dict[Width, float] = {"column": 3.28, "page": 6.875}  # inches, of CVPR's and ICCV's style
FigureWidth = Annotated[
    Width | None,
    Option(
        "For a paper: as wide as a column (3.28 inches) or as a page (6.875 inches). Default: as "
        "on the page that unseen draws."
    ),
]
SUFFIXES = (".pdf", ".svg", ".png")
_NO_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_FONT, _PAPER_FONT = 9.0, 6.5  # points; a paper's captions have 9, and its figures less


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
def styled_figure(
    width: float, height: float, theme: Theme = LIGHT, *, paper: bool = False
) -> Iterator[Any]:
    """A figure outside pyplot's state; inches. The same data give the same bytes.

    One for a paper has that size with all that stands around its axes; another one grows by it.
    """
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
        "font.size": _PAPER_FONT if paper else _FONT,
        "axes.titlesize": "medium",
        "axes.linewidth": 0.6 if paper else 0.8,
        "hatch.linewidth": 0.5 if paper else 1.0,
        "text.parse_math": False,  # "$" in a name is a dollar
    }
    with matplotlib.rc_context(style):
        yield ShownFigure(figsize=(width, height), facecolor=theme.paper, paper=paper)


@contextmanager
def figure_of_panels(
    theme: Theme,
    *,
    width: float | Width,
    height: float,
    rows: Sequence[float] = (1.0,),
    columns: int = 1,
) -> Iterator[tuple[Any, Any]]:
    """A figure with its axes, row after row; the heights of the rows are relative.

    Width and height are those of all axes together; in a figure for a paper, of the whole figure.
    """
    paper = isinstance(width, str)
    inches = WIDTHS[width] if isinstance(width, str) else width
    with styled_figure(inches, height, theme, paper=paper) as figure:
        axes = figure.subplots(
            len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": list(rows)}
        ).ravel()
        if not paper:
            # The axes fill the figure, and saving grows it by what stands around them: names of any
            # length then cost no room inside.
            figure.subplots_adjust(left=0, right=1, bottom=0, top=1, hspace=0.32, wspace=0.25)
        yield figure, axes


def legend_above(
    axis: Any, handles: Sequence[Any], *, lift: float = 0.0, a_line: int | None = None
) -> None:
    """A legend above the axes, where it lies on no data.

    Args:
        axis: the axes.
        handles: its entries.
        lift: points from the axes to the legend.
        a_line: entries in a line; None: all.
    """
    from matplotlib.transforms import ScaledTranslation

    lifted = ScaledTranslation(0, lift / 72, axis.figure.dpi_scale_trans)
    axis.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=axis.transAxes + lifted,
        ncols=a_line or len(handles),
        frameon=False,
        columnspacing=0.9,
        handlelength=1.2,
        handletextpad=0.5,
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
    """Write a figure to every path, as PDF, SVG or PNG by its suffix.

    Raises:
        SpecError: another suffix.
        StorageError: the disk is full, or the place cannot be written.
    """
    paths = list(paths)
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise SpecError(f"{path} is no figure's name; end it in {listed(SUFFIXES, last='or')}")
        kind = path.suffix.removeprefix(".")
        buffer = io.BytesIO()
        figure.savefig(
            buffer,
            format=kind,
            metadata=_NO_DATE.get(kind),
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
