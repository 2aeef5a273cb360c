"""Figures of instance evidence: what photographs retain beside their matched controls.

For every class the mean retention of both, with intervals and the verdict; and, where several
cuts were run, the same against the last perturbed layer, since the searched set grows with it.
Both functions write the figure to every path, as PDF, SVG or PNG by its suffix (as `save_figure`
does), and return it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseen.core.figure_style import (
    LIGHT,
    Theme,
    Width,
    draw_mark,
    figure_of_panels,
    legend_above,
    note_above,
    plain,
    save_figure,
    write_beside,
)
from unseen.distribution.areas import columns_named
from unseen.instance_evidence.record import ClassEvidence, Curve, Evidence, Mean, curve

_MOST_CLASSES = 40  # more names would not be legible
_MOST_CURVES = 12
_CURVES_A_ROW = 4
_LONGEST_NAME = 24  # characters
_APART = 0.17  # of the row, between photographs and controls


def draw_retention(
    evidence: Evidence,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width | None = None,
    classes: Sequence[str] = (),
) -> Any:
    """For every class mean retention in photographs, in matched controls, and the verdict.

    Filled marks are photographs (those with matched controls, where there are controls), hollow
    ones the controls. Without any class the figure says so.

    Args:
        evidence: what is drawn.
        paths: files to write.
        theme: its colours.
        width: of a column or a page of a paper; None: as on the page.
        classes: the only ones shown, by name; none: all.
    """
    asked = _asked(evidence, classes)
    rows = asked[:_MOST_CLASSES]
    a_row = 0.3 if width is None else 0.2  # inches
    height = 0.5 + (width is not None) * 0.2 + a_row * max(3, len(rows))
    with figure_of_panels(theme, width=width or 6.4, height=height) as (figure, (axis,)):
        for i, row in enumerate(rows):
            _draw_class(axis, evidence, row, float(i), theme)
        axis.set_ylim(max(3, len(rows)) - 0.4, -0.6)
        axis.set_xlim(-0.02, 1.02)
        axis.set_yticks(range(len(rows)), [plain(row.name, _LONGEST_NAME) for row in rows])
        axis.tick_params(axis="y", length=0)
        _percent_ticks(axis.set_xticks)
        axis.grid(axis="x", linewidth=0.6)
        method = evidence.primary_method
        by = "" if method.method == "given" else "\n" + plain(f"by {method.label}", 90)
        axis.set_xlabel(f"retained, mean with 95 % interval{by}")
        legend_above(axis, _handles(theme, controlled=evidence.controls is not None))
        if len(rows) < len(asked):
            note_above(axis, f"{len(rows)} of {len(asked)} classes, the gravest first")
        if not rows:
            axis.text(0.5, 1.0, "no photograph holds an instance", ha="center", va="center")
        save_figure(figure, paths)
        return figure


def draw_curves(
    evidence: Evidence,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width | None = None,
    classes: Sequence[str] = (),
) -> Any:
    """Mean retention against the last perturbed layer, a panel for each of the gravest classes.

    None, and nothing is drawn, where only one layer was run. The arguments are those of
    `draw_retention`.
    """
    curves = [(row, curve(evidence, row.column)) for row in _asked(evidence, classes)]
    shown = [(row, drawn) for row, drawn in curves if drawn is not None][:_MOST_CURVES]
    if not shown:
        return None
    columns = min(2 if width == "column" else _CURVES_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    with figure_of_panels(
        theme,
        width=width or 2.9 * columns,
        height=2.5 * rows if width is None else 0.3 + 1.5 * rows,
        rows=[1.0] * rows,
        columns=columns,
    ) as (figure, axes):
        if width is None:
            figure.subplots_adjust(hspace=0.55)
        for axis, (row, class_curve) in zip(axes, shown, strict=False):
            _draw_curve(axis, row, class_curve, theme)
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        handles = _handles(theme, controlled=evidence.controls is not None)
        legend_above(axes[0], handles, lift=18.0)
        save_figure(figure, paths)
        return figure


def _asked(evidence: Evidence, names: Sequence[str]) -> list[ClassEvidence]:
    """The classes of these names, the gravest first; without names all."""
    columns = columns_named(evidence.columns, names)
    return [row for row in evidence.classes if not names or row.column in columns]


def _draw_class(axis: Any, evidence: Evidence, row: ClassEvidence, y: float, theme: Theme) -> None:
    retained = row.by(evidence.primary)
    colour = theme.verdicts[_mark(row)]
    if retained.controls.mean is None:
        _draw_mean(axis, retained.photographs, y, colour, colour)
    else:
        _draw_mean(axis, retained.matched, y - _APART, colour, colour)
        _draw_mean(axis, retained.controls, y + _APART, theme.real, theme.paper)
    # None without controls, and said beside the figure
    write_beside(axis, y, row.verdict or "", colour)


def _draw_mean(axis: Any, mean: Mean, y: float, colour: str, face: str) -> None:
    if mean.mean is None:
        return
    low, high = mean.interval
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
    draw_mark(axis, mean.mean, y, colour, face)


def _draw_curve(axis: Any, row: ClassEvidence, drawn: Curve, theme: Theme) -> None:
    colour = theme.verdicts[_mark(row)]
    _draw_line(axis, drawn.controls, theme.real, theme.paper, 0.06)
    _draw_line(axis, drawn.photographs, colour, colour, -0.06)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlim(-0.5, len(drawn.methods) - 0.5)
    axis.set_xticks(
        range(len(drawn.methods)),
        [plain(method.last_perturbed or "z", 12) for method in drawn.methods],
        fontsize="small",
    )
    if len(drawn.methods) > 3:
        for label in axis.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    _percent_ticks(axis.set_yticks)
    axis.grid(axis="y", linewidth=0.6)
    axis.set_title(plain(row.name, _LONGEST_NAME), loc="left")
    axis.annotate(
        row.verdict or "",
        (1, 1),
        xycoords="axes fraction",
        xytext=(0, 6),
        textcoords="offset points",
        ha="right",
        fontsize="small",
        color=colour,
    )


def _draw_line(axis: Any, means: Sequence[Mean], colour: str, face: str, shift: float) -> None:
    known = [(x + shift, mean) for x, mean in enumerate(means) if mean.mean is not None]
    axis.plot([x for x, _ in known], [mean.mean for _, mean in known], color=colour, linewidth=1.4)
    for x, mean in known:
        low, high = mean.interval
        if low is not None and high is not None:
            axis.plot([x, x], [low, high], color=colour, linewidth=1.8)
        draw_mark(axis, x, mean.mean, colour, face, size=5.5, edge=1.0)


def _handles(theme: Theme, *, controlled: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    colour = theme.verdicts["undecided"]
    label = "photographs (colour: verdict)" if controlled else "photographs"
    handles = [Line2D([], [], marker="o", color=colour, label=label)]
    if controlled:
        handles.append(
            Line2D(
                [],
                [],
                marker="o",
                color=theme.real,
                markerfacecolor=theme.paper,
                label="matched controls",
            )
        )
    return handles


def _percent_ticks(set_ticks: Any) -> None:
    set_ticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def _mark(row: ClassEvidence) -> str:
    """The colour's name; pale "untested" would not be legible."""
    return "undecided" if row.verdict in (None, "untested") else row.verdict
