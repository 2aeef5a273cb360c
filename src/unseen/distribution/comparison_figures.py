"""The two figures: the paper's histogram, and the intervals with their verdicts.

The histogram follows Figure 1a of Bau et al., ICCV 2019: classes by real mean area, mean areas on
a log scale above, relative change below, bars clipped at +1.15 and labelled. Unlike the paper's,
the lower panel shows the change of what the verdict is about, so that bar and colour agree. Both
functions write the figure to every path, as PNG or SVG by its suffix (StorageError), and return it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseen.core.figure_style import (
    LIGHT,
    Theme,
    draw_mark,
    figure_of_panels,
    legend_above,
    note_above,
    plain,
    save_figure,
    short,
    write_beside,
)
from unseen.core.verdicts import CLASS_VERDICTS
from unseen.core.wording import number
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, GeneratedSide
from unseen.distribution.comparison_wording import corrected_with_interval, is_nothing

_CLIP = 1.15  # relative change; longer bars end here and carry their value, as in the paper
_MOST_CLASSES = 60  # more names would not be legible at the figure's width
_LEAST_AREA = 1e-5  # foot of the log scale: a class of less than that is drawn at the foot
_GENERATED = ("#e07b39", "#2f7fb8", "#7b5ea7", "#3f9b6c", "#b8457c", "#8c8c3a")
_ROTATION = 60  # degrees of the class names
_LONGEST_NAME = 24  # characters of a class name; longer ones would take the room of the bars


def draw_histogram(comparison: Comparison, *paths: Path, theme: Theme = LIGHT) -> Any:
    """Mean areas above, relative change below; a change panel for every generated side.

    Class 0, where it means "no class", and materials are left out.
    """
    columns = _by_real_area(comparison)
    sides = comparison.generated
    with figure_of_panels(
        theme,
        width=max(5.5, min(15.0, 0.5 + 0.3 * len(columns))),
        height=1.6 + 1.6 * len(sides),
        rows=[1.35] + [1.0] * len(sides),
    ) as (figure, axes):
        _draw_areas(axes[0], comparison, columns, theme)
        for i, side in enumerate(sides):
            _draw_changes(axes[i + 1], side, columns, theme, alone=len(sides) == 1)
        labels = [class_name(column) for column in columns]
        axes[-1].set_xticks(range(len(columns)), [plain(text, _LONGEST_NAME) for text in labels])
        for label in axes[-1].get_xticklabels():
            label.set(rotation=_ROTATION, ha="right", rotation_mode="anchor", fontsize=8.5)
        if not columns:
            axes[0].text(0.5, 0.5, "no class is in any image", transform=axes[0].transAxes)
        for axis in axes[1:-1]:
            axis.set_xticks([])
        axes[-1].tick_params(axis="x", length=0)
        save_figure(figure, paths)
        return figure


def draw_intervals(comparison: Comparison, *paths: Path, theme: Theme = LIGHT) -> Any:
    """For every tested class the ratio generated over real, its interval and its verdict.

    A panel for every generated side. Without any tested class the figure says so.
    """
    sides = comparison.generated
    columns = [
        column
        for column in dict.fromkeys(row.column for side in sides for row in side.classes)
        if any(row.column == column and row.tested for side in sides for row in side.classes)
    ]
    tested = len(columns)
    # The classes to look at first: gravest in the first side's order, as the record has them.
    columns = columns[:_MOST_CLASSES]
    with figure_of_panels(
        theme,
        width=5.6 * len(sides),
        height=0.3 + 0.24 * max(4, len(columns)),
        columns=len(sides),
    ) as (figure, axes):
        for axis, side in zip(axes, sides, strict=True):
            _draw_ratios(axis, side, columns, theme)
        labels = [class_name(column) for column in columns]
        axes[0].set_yticks(
            range(len(columns)), [plain(text, _LONGEST_NAME) for text in labels], fontsize=9
        )
        for axis in axes[1:]:
            axis.tick_params(labelleft=False)
        if len(columns) < tested:
            note_above(
                axes[0], f"{len(columns)} of {tested} tested classes, the gravest verdicts first"
            )
        save_figure(figure, paths)
        return figure


def _by_real_area(comparison: Comparison) -> list[str]:
    """Columns of the histogram: the classes that occur, largest real area first."""
    rows = [
        row
        for row in comparison.generated[0].classes
        if not is_nothing(comparison, row) and not row.column.startswith("material/")
    ]
    generated: dict[str, float] = {}
    for side in comparison.generated:
        for row in side.classes:
            generated[row.column] = max(generated.get(row.column, 0.0), row.generated_area)
    rows = [row for row in rows if row.real_area > 0 or generated[row.column] > 0]
    # Of more classes than are legible, those that matter on either side.
    rows.sort(key=lambda row: -max(row.real_area, generated[row.column]))
    kept = rows[:_MOST_CLASSES]
    return [row.column for row in sorted(kept, key=lambda r: (-r.real_area, r.column))]


def _draw_areas(axis: Any, comparison: Comparison, columns: Sequence[str], theme: Theme) -> None:
    sides = comparison.generated
    width = 0.8 / (len(sides) + 1)
    first = {row.column: row for row in sides[0].classes}
    series: list[tuple[str, str, list[float]]] = [
        (
            f"{short(comparison.real.label)}  (real, n = {comparison.real.images:,})",
            theme.real,
            [first[column].real_area for column in columns],
        )
    ]
    for i, side in enumerate(sides):
        rows = {row.column: row for row in side.classes}
        areas = [rows[column].generated_area for column in columns]
        fsd = side.fsd
        name = (
            f"{short(side.label)}  (generated, n = {side.images:,}; FSD {number(fsd.value)}, "
            f"corrected {corrected_with_interval(fsd)}, "
            f"floor {number(fsd.floor)})"
        )
        series.append((name, _GENERATED[i % len(_GENERATED)], areas))
    for i, (name, colour, areas) in enumerate(series):
        offset = (i - (len(series) - 1) / 2) * width
        axis.bar(
            [x + offset for x in range(len(columns))],
            [max(area, _LEAST_AREA) for area in areas],
            width,
            color=colour,
            label=plain(name, 200),
            linewidth=0,
        )
    axis.set_xlim(-0.7, len(columns) - 0.3)
    axis.set_xticks([])
    axis.set_yscale("log")
    axis.set_ylim(_LEAST_AREA, 1.0)
    axis.set_yticks(
        [1e-4, 1e-3, 1e-2, 1e-1, 1.0], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"], fontsize=8.5
    )
    axis.minorticks_off()
    axis.set_ylabel("mean area\n(log scale)", fontsize=9)
    axis.grid(axis="y", linewidth=0.7)
    # Above the axes: a legend inside would lie on the bars.
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, frameon=False, borderaxespad=0.2
    )


def _draw_changes(
    axis: Any, side: GeneratedSide, columns: Sequence[str], theme: Theme, alone: bool
) -> None:
    rows = {row.column: row for row in side.classes}
    shown: set[str] = set()
    of_area = False
    for x, column in enumerate(columns):
        row = rows[column]
        change = row.relative_change
        drawn = row.generated_area if row.statistic == "area" else row.generated_presence
        if change is None and drawn == 0:
            continue
        height = _CLIP if change is None or change > _CLIP else change
        shown.add(row.verdict)
        bar = axis.bar(x, height, 0.8, color=theme.verdicts[row.verdict], linewidth=0)
        if row.statistic == "area":
            bar[0].set(hatch="////", edgecolor=theme.paper)
            of_area = True
        if change is None or change > _CLIP:
            text = (
                "new" if change is None else f"+{change:.1f}" if change < 99 else f"+{change:.0f}"
            )
            axis.annotate(
                text,
                (x, _CLIP),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                annotation_clip=False,
            )
    axis.axhline(0, color=theme.ink, linewidth=0.8)
    axis.set_ylim(-_CLIP, _CLIP)
    axis.set_xlim(-0.7, len(columns) - 0.3)
    axis.set_yticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "+0.5", "+1"], fontsize=8.5)
    axis.grid(axis="y", linewidth=0.7)
    axis.set_ylabel("change of presence\n(gen − real) / real", fontsize=9)
    if not alone:
        axis.set_title(  # above the values of clipped bars
            plain(short(side.label)), loc="right", fontsize=9, pad=12
        )
    import matplotlib.patches

    handles = [
        matplotlib.patches.Patch(color=theme.verdicts[verdict], label=verdict)
        for verdict in CLASS_VERDICTS
        if verdict in shown
    ]
    if of_area:
        handles.append(
            matplotlib.patches.Patch(
                facecolor=theme.paper, edgecolor=theme.ink, hatch="////", label="change of area"
            )
        )
    legend_above(axis, handles, at=1.06)  # above the values of clipped bars
    axis.spines["bottom"].set_visible(False)


def _draw_ratios(axis: Any, side: GeneratedSide, columns: Sequence[str], theme: Theme) -> None:
    rows = {row.column: row for row in side.classes}
    least, most = 0.02, 50.0  # what lies beyond is drawn as an arrow at the edge
    axis.set_xscale("log")
    axis.set_xlim(least, most)
    axis.axvspan(0.8, 1.25, color=theme.verdicts["matched"], alpha=0.1, linewidth=0)
    axis.axvline(1, color=theme.ink, linewidth=0.8)
    axis.axvline(0.1, color=theme.verdicts["omitted"], linewidth=0.8, linestyle=(0, (2, 3)))
    for y, column in enumerate(columns):
        row = rows[column]
        if row.tested:
            _draw_ratio(axis, row, y, least, most, theme)
        mark = "undecided" if row.verdict == "untested" else row.verdict
        write_beside(axis, float(y), row.verdict, theme.verdicts[mark])
    axis.set_ylim(max(4, len(columns)) - 0.4, -0.6)
    ticks = [0.02, 0.1, 0.25, 0.5, 1, 2, 4, 10, 50]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8.5)
    axis.minorticks_off()
    axis.grid(axis="x", linewidth=0.6)
    axis.set_xlabel(
        "generated / real (presence; ◇ area), simultaneous 95 % intervals", fontsize=8.5
    )
    axis.set_title(plain(short(side.label)), fontsize=10, loc="left")
    if not columns:
        axis.text(1.0, 1.5, "no class is in 10 images:\nnone could be tested", ha="center")


def _draw_ratio(axis: Any, row: ClassRow, y: int, least: float, most: float, theme: Theme) -> None:
    colour = theme.verdicts[row.verdict]
    low, high = row.interval
    start = max(least, low or 0.0)
    end = most if high is None else min(most, high)
    axis.plot([start, end], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    if (low or 0.0) < least:
        axis.plot(least, y, marker="<", color=colour, markersize=5, clip_on=False)
    if high is None or high > most:
        axis.plot(most, y, marker=">", color=colour, markersize=5, clip_on=False)
    if row.ratio is not None:
        shape, face = ("D", theme.paper) if row.statistic == "area" else ("o", colour)
        draw_mark(axis, min(most, max(least, row.ratio)), float(y), colour, face, shape=shape)
