"""How the charts of the case studies are written: from numbers alone, as SVG of one width."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseen.core.figure_style import legend_above, save_figure, styled_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 6.4  # inches, of a column of the docs


def write_charts(
    folder: Path,
    study: str,
    numbers: Mapping[str, Any],
    charts: Iterable[tuple[str, float, Callable[["Figure", Mapping[str, Any]], None]]],
) -> Iterator[Path]:
    """Write `STUDY-NAME.svg` of every chart: its name, its height in inches, and what draws it.

    Yields:
        Each path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, height, draw in charts:
        with styled_figure(_WIDTH, height) as figure:
            figure.set_layout_engine("constrained")
            draw(figure, numbers)
            yield from save_figure(figure, [folder / f"{study}-{name}.svg"])


def legend_of_points(
    axis: "Axes", entries: Sequence[tuple[str, str]], *, a_line: int | None = None
) -> None:
    """A legend of names and their colours above the axis."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", ls="", color=c, label=name) for name, c in entries]
    legend_above(axis, handles, a_line=a_line)
