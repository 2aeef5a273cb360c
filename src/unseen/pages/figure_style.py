"""What all figures share: colours of light and dark pages, style, and how they are written."""

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unseen.core.files import write_aside
from unseen.pages.number_format import DARK_VERDICT_COLOURS, VERDICT_COLOURS


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of what is not data."""

    ink: str
    faint: str  # grid lines
    paper: str
    real: str
    verdicts: Mapping[str, str]  # of classes and of instance evidence


LIGHT = Theme(
    ink="#22262b", faint="#d9dce1", paper="#ffffff", real="#4a5568", verdicts=VERDICT_COLOURS
)
DARK = Theme(
    ink="#e4e7eb", faint="#3a4048", paper="#1b1f24", real="#a8b3c4", verdicts=DARK_VERDICT_COLOURS
)


@contextmanager
def new_figure(
    theme: Theme, *, width: float, height: float, rows: Sequence[float] = (1.0,), columns: int = 1
) -> Iterator[tuple[Any, Any]]:
    """A figure of its own, outside pyplot's state, in the page's style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
        "svg.hashsalt": "unseen",  # the same record gives the same bytes
        "text.parse_math": False,  # "$" in a class name is a dollar
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), facecolor=theme.paper)
        FigureCanvasAgg(figure)
        axes = figure.subplots(
            len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": list(rows)}
        ).ravel()
        # The axes fill the figure, and saving grows it by what stands around them: names of any
        # length then cost no room inside.
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1, hspace=0.32, wspace=0.25)
        yield figure, axes


def save_figure(figure: Any, paths: Sequence[Path]) -> None:
    """Write it to every path, as PNG or SVG by the suffix (StorageError)."""
    for path in paths:
        kind = path.suffix.removeprefix(".")
        buffer = io.BytesIO()
        figure.savefig(
            buffer,
            format=kind,
            dpi=160,
            bbox_inches="tight",
            pad_inches=0.12,
            metadata={"Date": None} if kind == "svg" else None,
        )
        with write_aside(path) as aside:
            aside.write_bytes(buffer.getvalue())


def short(text: str, most: int = 40) -> str:
    """The end of a long name: the end of a path says more than its beginning."""
    return text if len(text) <= most else "…" + text[1 - most :]


def plain(text: str, most: int = 60) -> str:
    """Without control characters, which no font draws; a long name is cut."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= most else text[: most - 1] + "…"
