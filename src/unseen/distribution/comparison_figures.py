"""The two figures: the paper's histogram, and the intervals with their verdicts.

The histogram follows Figure 1a of Bau et al., ICCV 2019: classes by real mean area, mean areas on
a log scale above, relative change below, bars clipped at +1.15 and labelled. Unlike the paper's,
the lower panel shows the change of what the verdict is about, so that bar and colour agree. Both
functions write the figure to every path, as PDF, SVG or PNG by its suffix (as `save_figure` does),
and return it. Distances stand in no figure: they have their own words, and interval, in the text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseen.core.figure_style import (
    LIGHT,
    WIDTHS,
    Theme,
    Width,
    draw_mark,
    figure_of_panels,
    legend_above,
    note_above,
    plain,
    save_figure,
    short,
    write_beside,
)
from unseen.core.verdicts import CLASS_VERDICTS, ClassVerdict
from unseen.distribution.areas import class_name, columns_named
from unseen.distribution.comparison import ClassRow, Comparison, GeneratedSide
from unseen.distribution.comparison_wording import is_nothing

_CLIP = 1.15  # relative change; longer bars end here and carry their value, as in the paper
_MOST_CLASSES = 60  # more names would not be legible at the figure's width
_LEAST_AREA = 1e-5  # foot of the log scale: a class of less than that is drawn at the foot
_GENERATED = ("#e07b39", "#2f7fb8", "#7b5ea7", "#3f9b6c", "#b8457c", "#8c8c3a")
_ROTATION = 60  # degrees of the class names
_LONGEST_NAME = 24  # characters of a class name; longer ones would take the room of the bars
# Of a figure for a paper, in inches: a name set upright, the labels beside the axes, a row.
_NAME, _BESIDE, _ROW = 0.1, 0.6, 0.14


def draw_histogram(
    comparison: Comparison,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width | None = None,
    classes: Sequence[str] = (),
) -> Any:
    """Mean areas above, relative change below; a change panel for every generated side.

    Class 0, where it means "no class", and materials are left out. Of more classes than are legible
    the figure shows those with the largest areas, and says so.

    Args:
        comparison: what is drawn.
        paths: files to write.
        theme: its colours.
        width: of a column or a page of a paper; None: as on the page.
        classes: the only ones shown, by name; none: all.
    """
    rows = _by_area(comparison, classes)
    most = _MOST_CLASSES
    if width is not None:
        most = min(most, int((WIDTHS[width] - _BESIDE) / _NAME))
    kept = sorted(rows[:most], key=lambda row: (-row.real_area, row.column))
    columns = [row.column for row in kept]
    sides = comparison.generated
    with figure_of_panels(
        theme,
        width=width or max(5.5, min(15.0, 0.5 + 0.3 * len(columns))),
        height=1.6 + 1.6 * len(sides) if width is None else 1.95 + 1.05 * len(sides),
        rows=[1.35] + [1.0] * len(sides),
    ) as (figure, axes):
        _draw_areas(axes[0], comparison, columns, theme)
        crowded = width is not None and len(columns) > most // 2
        words = "change of\npresence" if width else "change of presence\n(gen − real) / real"
        for axis, side in zip(axes[1:], sides, strict=True):
            _draw_changes(axis, side, columns, theme, crowded=crowded)
            axis.set_ylabel(words)
            if len(sides) > 1:
                axis.set_title(plain(short(side.label)), loc="left", pad=3)
        _explain_colours(axes[1], comparison, columns, theme, width)
        labels = [class_name(column) for column in columns]
        axes[-1].set_xticks(range(len(columns)), [plain(text, _LONGEST_NAME) for text in labels])
        for label in axes[-1].get_xticklabels():
            if crowded:
                label.set(rotation=90)
            else:
                label.set(rotation=_ROTATION, ha="right", rotation_mode="anchor")
        if not columns:
            axes[0].text(0.5, 0.5, "no class is in any image", transform=axes[0].transAxes)
        for axis in axes[1:-1]:
            axis.set_xticks([])
        axes[-1].tick_params(axis="x", length=0)
        if len(kept) < len(rows):
            axes[-1].set_xlabel(f"the {len(kept)} largest of {len(rows)} classes")
        save_figure(figure, paths)
        return figure


def draw_intervals(
    comparison: Comparison,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width | None = None,
    classes: Sequence[str] = (),
) -> Any:
    """For every tested class the ratio generated over real, its interval and its verdict.

    A panel for every generated side. Without any tested class the figure says so. The arguments are
    those of `draw_histogram`.
    """
    sides = comparison.generated
    asked = columns_named(comparison.columns, classes) or comparison.columns
    columns = [
        column
        for column in dict.fromkeys(row.column for side in sides for row in side.classes)
        if column in asked
        and any(row.column == column and row.tested for side in sides for row in side.classes)
    ]
    tested = len(columns)
    # The classes to look at first: gravest in the first side's order, as the record has them.
    columns = columns[:_MOST_CLASSES]
    a_row = 1 if width == "column" else len(sides)  # panels; a column holds one beside its words
    panels = -(-len(sides) // a_row)
    least = max(4, len(columns))
    with figure_of_panels(
        theme,
        width=width or 5.6 * len(sides),
        height=0.3 + 0.24 * least if width is None else panels * (0.6 + _ROW * least),
        rows=[1.0] * panels,
        columns=a_row,
    ) as (figure, axes):
        labels = [plain(class_name(column), _LONGEST_NAME) for column in columns]
        for i, (axis, side) in enumerate(zip(axes, sides, strict=True)):
            _draw_ratios(axis, side, columns, theme, paper=width is not None)
            axis.set_yticks(range(len(columns)), labels)
            axis.tick_params(labelleft=i % a_row == 0)
        if len(columns) < tested:
            note_above(
                axes[0], f"{len(columns)} of {tested} tested classes, the gravest verdicts first"
            )
        save_figure(figure, paths)
        return figure


def _by_area(comparison: Comparison, classes: Sequence[str]) -> list[ClassRow]:
    """The classes that occur, largest area on either side first; of those asked for, if any are."""
    asked = columns_named(comparison.columns, classes)
    rows = [
        row
        for row in comparison.generated[0].classes
        if row.column in asked
        or (
            not asked and not is_nothing(comparison, row) and not row.column.startswith("material/")
        )
    ]
    generated: dict[str, float] = {}
    for side in comparison.generated:
        for row in side.classes:
            generated[row.column] = max(generated.get(row.column, 0.0), row.generated_area)
    rows = [row for row in rows if row.real_area > 0 or generated[row.column] > 0]
    return sorted(rows, key=lambda row: -max(row.real_area, generated[row.column]))


def _draw_areas(axis: Any, comparison: Comparison, columns: Sequence[str], theme: Theme) -> None:
    sides = comparison.generated
    width = 0.8 / (len(sides) + 1)
    first = {row.column: row for row in sides[0].classes}
    series: list[tuple[str, str, list[float]]] = [
        (
            f"{short(comparison.real.label)}  ({comparison.real.images:,} real images)",
            theme.real,
            [first[column].real_area for column in columns],
        )
    ]
    for i, side in enumerate(sides):
        rows = {row.column: row for row in side.classes}
        areas = [rows[column].generated_area for column in columns]
        name = f"{short(side.label)}  ({side.images:,} generated images)"
        series.append((name, _GENERATED[i % len(_GENERATED)], areas))
    for i, (name, colour, areas) in enumerate(series):
        offset = (i - (len(series) - 1) / 2) * width
        axis.bar(
            [x + offset for x in range(len(columns))],
            [max(area, _LEAST_AREA) for area in areas],
            width,
            color=colour,
            label=plain(name, 90),
            linewidth=0,
        )
    axis.set_xlim(-0.7, len(columns) - 0.3)
    axis.set_xticks([])
    axis.set_yscale("log")
    axis.set_ylim(_LEAST_AREA, 1.0)
    axis.set_yticks([1e-4, 1e-3, 1e-2, 1e-1, 1.0], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    axis.minorticks_off()
    axis.set_ylabel("mean area\n(log scale)")
    axis.grid(axis="y", linewidth=0.7)
    # Above the axes: a legend inside would lie on the bars.
    legend_above(axis, axis.containers, a_line=1)


def _draw_changes(
    axis: Any, side: GeneratedSide, columns: Sequence[str], theme: Theme, *, crowded: bool
) -> None:
    rows = {row.column: row for row in side.classes}
    for x, column in enumerate(columns):
        row = rows[column]
        change = row.relative_change
        if change is None and not _is_drawn(row):
            continue
        height = _CLIP if change is None or change > _CLIP else change
        axis.bar(x, height, 0.8, **_look(row.verdict, row.statistic == "area", theme))
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
                fontsize="x-small" if crowded else "small",
                rotation=90 if crowded else 0,
                annotation_clip=False,
            )
    axis.axhline(0, color=theme.ink, linewidth=0.8)
    room = (1.0 if crowded else 0.45) * bool(axis.texts)  # for the values of clipped bars
    axis.set_ylim(-_CLIP, _CLIP + room)
    axis.set_xlim(-0.7, len(columns) - 0.3)
    axis.set_yticks([-1, 0, 1], ["−1", "0", "+1"])
    axis.set_yticks([-0.5, 0.5], minor=True)
    axis.grid(axis="y", which="both", linewidth=0.7)
    axis.spines["bottom"].set_visible(False)


def _is_drawn(row: ClassRow) -> bool:
    """Whether the generated side has any of what the row is about."""
    return (row.generated_area if row.statistic == "area" else row.generated_presence) > 0


def _look(verdict: ClassVerdict, of_area: bool, theme: Theme) -> dict[str, Any]:
    """How a bar is filled: hatched for area, hollow without a test."""
    colour = theme.verdicts[verdict]
    if verdict == "untested":
        return {"facecolor": theme.paper, "edgecolor": colour, "linewidth": 0.8}
    if of_area:
        return {"facecolor": colour, "edgecolor": theme.paper, "hatch": "////", "linewidth": 0}
    return {"color": colour, "linewidth": 0}


def _explain_colours(
    axis: Any,
    comparison: Comparison,
    columns: Sequence[str],
    theme: Theme,
    width: Width | None,
) -> None:
    """A legend above the first panel of changes, of the verdicts in all of them."""
    from matplotlib.patches import Patch

    shown = [
        row
        for side in comparison.generated
        for row in side.classes
        if row.column in columns and (row.relative_change is not None or _is_drawn(row))
    ]
    handles = [
        Patch(label=verdict, **_look(verdict, False, theme))
        for verdict in CLASS_VERDICTS
        if any(row.verdict == verdict for row in shown)
    ]
    if any(row.statistic == "area" for row in shown):
        hatched: dict[str, Any] = {
            "facecolor": theme.paper,
            "edgecolor": theme.ink,
            "hatch": "////",
        }
        handles.append(Patch(label="area", linewidth=0.5, **hatched))
    title = 13.0 if len(comparison.generated) > 1 else 0.0  # points of the panel's own
    legend_above(axis, handles, lift=title, a_line=3 if width == "column" else None)


def _draw_ratios(
    axis: Any, side: GeneratedSide, columns: Sequence[str], theme: Theme, *, paper: bool
) -> None:
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
            _draw_ratio(axis, row, y, (least, most), theme, 0.7 if paper else 1.0)
        mark = "undecided" if row.verdict == "untested" else row.verdict
        write_beside(axis, float(y), row.verdict, theme.verdicts[mark])
    axis.set_ylim(max(4, len(columns)) - 0.4, -0.6)
    ticks = [0.02, 0.1, 0.5, 1, 2, 10, 50] if paper else [0.02, 0.1, 0.25, 0.5, 1, 2, 4, 10, 50]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.grid(axis="x", linewidth=0.6)
    axis.set_xlabel(
        "generated / real (● presence, ◇ mean area)\n95 % intervals that hold for all together"
    )
    axis.set_title(plain(short(side.label)), loc="left")
    if not columns:
        axis.text(1.0, 1.5, "no class is in 10 images:\nnone could be tested", ha="center")


def _draw_ratio(
    axis: Any, row: ClassRow, y: int, ends: tuple[float, float], theme: Theme, scale: float
) -> None:
    """The ratio and its interval; an arrow at an end of the axis that the interval passes."""
    colour = theme.verdicts[row.verdict]
    least, most = ends
    low, high = row.interval
    start = max(least, low or 0.0)
    end = most if high is None else min(most, high)
    axis.plot([start, end], [y, y], color=colour, linewidth=2.2 * scale, solid_capstyle="butt")
    arrow = {"color": colour, "markersize": 5 * scale, "clip_on": False}
    if (low or 0.0) < least:
        axis.plot(least, y, marker="<", **arrow)
    if high is None or high > most:
        axis.plot(most, y, marker=">", **arrow)
    if row.ratio is not None:
        shape, face = ("D", theme.paper) if row.statistic == "area" else ("o", colour)
        place = min(most, max(least, row.ratio))
        draw_mark(
            axis, place, float(y), colour, face, shape=shape, size=6 * scale, edge=1.5 * scale
        )
