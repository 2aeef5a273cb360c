"""The figure of the calibration: detection rate against sample size, a panel a presence."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unseen.bench.calibration_table import Cell, pooled, rate_interval
from unseen.core.figure_style import save_figure, styled_figure, svg_and_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {1.0: "#b2182b", 0.5: "#ef8a62", 0.2: "#67a9cf"}  # removal → colour, ColorBrewer RdBu


def draw_calibration(folder: Path, cells: Sequence[Cell]) -> Iterator[Path]:
    """Draw `calibration.svg` and `calibration.png` into the folder; yields each path."""
    planted = pooled([cell for cell in cells if cell.removal])
    null = [cell for cell in cells if cell.removal == 0]
    presences = sorted({cell.presence for cell in planted})
    with styled_figure(2.6 * (len(presences) + 1), 3.2) as figure:
        figure.set_layout_engine("constrained")
        axes = figure.subplots(1, len(presences) + 1, sharey=True, squeeze=False)[0]
        for axis, presence in zip(axes, presences, strict=False):
            for removal in sorted({cell.removal for cell in planted}, reverse=True):
                row = [c for c in planted if (c.presence, c.removal) == (presence, removal)]
                label = {1.0: "all removed", 0.5: "half removed", 0.2: "a fifth removed"}.get(
                    removal, f"{removal:.0%} removed"
                )
                _line(axis, row, [c.detected for c in row], COLOURS.get(removal, "#444444"), label)
            axis.set_title(f"{presence:.1%} of real images", fontsize=10)
        _line(axes[-1], null, [c.false_alarms or 0 for c in null], "#444444", "any class called")
        axes[-1].axhline(0.05, color="#999999", linestyle=":", linewidth=1)
        axes[-1].annotate("5 %", (null[0].count, 0.1), fontsize=8, color="#777777")
        axes[-1].set_title("nothing removed", fontsize=10)
        ticks = sorted({cell.count for cell in cells})
        for axis in axes:
            axis.set_xscale("log")
            axis.set_xticks(ticks, [f"{t:,}" for t in ticks], fontsize=8)
            axis.set_xticks([], minor=True)
            axis.set_ylim(-0.03, 1.03)
            axis.grid(axis="y", linewidth=0.7)
        axes[0].set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "20", "40", "60", "80", "100 %"])
        axes[0].set_ylabel("runs that call the class")
        axes[0].legend(frameon=False, fontsize=8, loc="upper left")
        figure.supxlabel("images a side", fontsize=10)
        yield from save_figure(figure, svg_and_png(folder / "calibration"))


def _line(
    axis: "Axes", cells: Sequence[Cell], successes: Sequence[int], colour: str, label: str
) -> None:
    counts = [cell.count for cell in cells]
    rates = [s / cell.repetitions for s, cell in zip(successes, cells, strict=True)]
    bounds = [rate_interval(s, c.repetitions) for s, c in zip(successes, cells, strict=True)]
    axis.fill_between(
        counts,
        [b[0] for b in bounds],
        [b[1] for b in bounds],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    axis.plot(counts, rates, "o-", color=colour, label=label, markersize=4)
