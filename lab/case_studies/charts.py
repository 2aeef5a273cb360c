"""How the charts of the case studies are written: from numbers alone, as SVG of one width."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unseen.core.figure_style import legend_above, save_figure, styled_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 6.4  # inches, of a column of the docs


def write_chart(path: Path, height: float, draw: Callable[["Figure"], None]) -> Iterator[Path]:
    """Write what `draw` draws on a figure `height` inches high; yields the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with styled_figure(_WIDTH, height) as figure:
        figure.set_layout_engine("constrained")
        draw(figure)
        yield from save_figure(figure, [path])


def legend_of_points(
    axis: "Axes", entries: Sequence[tuple[str, str]], *, a_line: int | None = None
) -> None:
    """A legend of names and their colours above the axis."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", ls="", color=c, label=name) for name, c in entries]
    legend_above(axis, handles, a_line=a_line)
