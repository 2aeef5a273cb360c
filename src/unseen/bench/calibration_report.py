"""The cells of a calibration, their table in Markdown, and their figure."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scipy.stats import binomtest

from unseen.core.figure_style import save_figure, styled_figure, svg_and_png
from unseen.core.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {1.0: "#b2182b", 0.5: "#ef8a62", 0.2: "#67a9cf"}  # removal → colour, ColorBrewer RdBu
_GREY = "#444444"  # removals of other shares, and false alarms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of the table: one planted omission at one sample size."""

    class_name: str  # "" in the null runs
    presence: float  # on the real side, true where the world is known, else the segmenter's
    removal: float  # 0 in the null runs
    count: int  # images a side
    repetitions: int
    detected: int  # repetitions in which the class was called omitted or under
    omitted: int  # … omitted
    false_alarms: int | None  # … in which any other class was called; None where not defined


def pooled(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that differ in the class alone, added up, in order of presence, removal and count."""
    sums: dict[tuple[float, float, int], Cell] = {}
    for cell in cells:
        key = (cell.presence, -cell.removal, cell.count)
        known = sums.get(key)
        if known is not None:
            cell = dataclasses.replace(
                cell,
                repetitions=cell.repetitions + known.repetitions,
                detected=cell.detected + known.detected,
                omitted=cell.omitted + known.omitted,
                false_alarms=None
                if cell.false_alarms is None
                else cell.false_alarms + (known.false_alarms or 0),
            )
        sums[key] = dataclasses.replace(cell, class_name="")
    return [sums[key] for key in sorted(sums)]


def calibration_table(cells: Sequence[Cell]) -> str:
    """The cells as Markdown: null runs, then detection by presence, removal and count."""
    null = markdown_table(
        ["images a side", "null runs", "runs with any class called", "rate (95 %)"],
        [
            [
                f"{cell.count:,}",
                cell.repetitions,
                cell.false_alarms,
                _rate(cell.false_alarms or 0, cell.repetitions),
            ]
            for cell in cells
            if cell.removal == 0
        ],
    )
    counts = sorted({cell.count for cell in cells if cell.removal})
    planted = pooled([cell for cell in cells if cell.removal])
    rates = {
        (cell.presence, cell.removal, cell.count): _rate(cell.detected, cell.repetitions)
        for cell in planted
    }
    detection = markdown_table(
        ["presence", "removed", *(f"n = {count:,}" for count in counts)],
        [
            [
                f"{presence:.1%}",
                f"{removal:.0%}",
                *(rates.get((presence, removal, count), "–") for count in counts),
            ]
            for presence, removal in dict.fromkeys(
                (cell.presence, cell.removal) for cell in planted
            )
        ],
    )
    lines = [null, "", detection]
    alarms = [cell for cell in planted if cell.false_alarms is not None]
    if alarms:
        called = sum(cell.false_alarms or 0 for cell in alarms)
        runs = sum(cell.repetitions for cell in alarms)
        lines += [
            "",
            f"Another class than the planted one was called in {called} of {runs} planted runs "
            f"({_rate(called, runs)}).",
        ]
    classes = ", ".join(dict.fromkeys(cell.class_name for cell in cells if cell.class_name))
    lines += ["", f"Planted classes, pooled in the table: {classes}."]
    return "\n".join(lines) + "\n"


def rate_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson interval of a rate."""
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _rate(successes: int, trials: int) -> str:
    low, high = rate_interval(successes, trials)
    return f"{successes / trials:.0%} ({low:.0%}–{high:.0%})"


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
                _line(axis, row, [c.detected for c in row], _COLOURS.get(removal, _GREY), label)
            axis.set_title(f"{presence:.1%} of real images", fontsize=10)
        _line(axes[-1], null, [c.false_alarms or 0 for c in null], _GREY, "any class called")
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
