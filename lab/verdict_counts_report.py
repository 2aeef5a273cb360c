"""What the bench of instance evidence found: tables, the account in Markdown, and the figure."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unseen.core.figure_style import LIGHT, save_figure, styled_figure, svg_and_png
from unseen.core.tables import csv_text, markdown_table
from unseen.core.wording import count
from unseen.instance_evidence.record import CONTROL_PASSES
from unseen.statistics.agreement import resamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Perturbed = Literal["all", "last"]  # layers up to the cut, or it alone

DRAWN = 0.5  # of the real presence: a mosaic that loses a class so drawn looks too far around
WELL_DRAWN = 0.8  # of the real presence: a class so drawn must not be called
_LEAST_SEEDS = 5  # that an interval is made of
_RESAMPLES = 9_999
_THIRD = 1 / 3  # of the other generator's retention, at most, of a class that was planted
_COLOURS = ("#2166ac", "#b2182b", "#4d4d4d", "#1b7837")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting on development seeds: of method f, or of method nearest."""

    cut: str = ""
    depth: int = 0  # of the cut, from 1
    perturbed: Perturbed = "all"
    regularisation: float = 0.0
    samples: int = 0  # of method nearest
    window: float | None = None  # its too; None: method f
    controls: float  # mean retention of all instances of the generator's own images
    photographs: float  # the same of scenes
    lost: tuple[str, ...]  # classes that the generator draws well, lost all the same

    @property
    def size(self) -> tuple[float, float]:
        """Of the searched set: smaller ones first."""
        if self.window is not None:
            return (float(self.samples), -self.window)
        return (float(self.depth), -self.regularisation)

    @property
    def enough(self) -> bool:
        """Whether the search finds what is there."""
        return self.controls >= CONTROL_PASSES

    @property
    def least_drawn(self) -> float:
        """Share of its real presence from which on a class counts as one that must not be lost."""
        return WELL_DRAWN if self.window is None else DRAWN

    @property
    def searched(self) -> str:
        """The set in words."""
        if self.window is not None:
            return f"{self.samples:,} samples, a window of {self.window:g}"
        layers = f"all up to {self.cut}" if self.perturbed == "all" else f"{self.cut} alone"
        return f"{layers}, λ_reg {self.regularisation:g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One class of one generator on one seed."""

    subject: str  # the generator
    seed: int
    name: str  # the class
    verdict: str
    images: int  # scenes that hold it
    instances: int
    retained: float | None  # mean over the scenes' instances
    controls: float | None  # mean over their matched controls
    reference: float | None = None  # of mosaics: what as many other scenes retain of the same
    p_value: float | None
    real_presence: float
    generated_presence: float
    planted: bool  # the generator's training was without it

    @property
    def drawn(self) -> float:
        """The generator's presence over the real one; NaN where there is none."""
        return self.generated_presence / self.real_presence if self.real_presence else math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassSummary:
    """One class of one generator over all seeds."""

    subject: str
    name: str
    real_presence: float
    drawn: float
    planted: bool
    retained: float  # mean over the seeds in which it was looked at
    controls: float
    reference: float  # NaN without one
    verdicts: dict[str, int]  # verdict → seeds

    @property
    def well_drawn(self) -> bool:
        """At 80 % of its real presence or more."""
        return self.drawn >= WELL_DRAWN and not self.planted


def summarise(rows: Sequence[Row]) -> list[ClassSummary]:
    """The classes of every generator, in order of first appearance."""
    keys = dict.fromkeys((row.subject, row.name) for row in rows)
    summaries = []
    for subject, name in keys:
        these = [row for row in rows if (row.subject, row.name) == (subject, name)]
        verdicts = [row.verdict for row in these]
        summaries.append(
            ClassSummary(
                subject=subject,
                name=name,
                real_presence=these[0].real_presence,
                drawn=these[0].drawn,
                planted=these[0].planted,
                retained=_mean([row.retained for row in these]),
                controls=_mean([row.controls for row in these]),
                reference=_mean([row.reference for row in these]),
                verdicts={verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
            )
        )
    return summaries


def candidates_csv(candidates: Sequence[Candidate]) -> str:
    """A row a candidate."""
    return csv_text(
        [
            {**dataclasses.asdict(candidate), "lost": " ".join(candidate.lost)}
            for candidate in candidates
        ]
    )


def rows_csv(rows: Sequence[Row]) -> str:
    """A row a generator, seed and class."""
    return csv_text([{**dataclasses.asdict(row), "drawn": row.drawn} for row in rows])


def evidence_markdown(
    candidates: Sequence[Candidate],
    chosen: Candidate,
    rule: str,
    rows: Sequence[Row],
    names: Sequence[str],
) -> str:
    """The account: the choice, the aims, and a table a generator."""
    parts = [
        "## Chosen on development seeds",
        f"{rule[0].upper()}{rule[1:]}.",
        _choice_table(candidates, chosen),
        "## Found on other seeds",
        "\n".join(f"- {line}" for line in aims(rows, names)),
    ]
    summaries = summarise(rows)
    for name in names:
        seeds = len({row.seed for row in rows if row.subject == name})
        classes = [summary for summary in summaries if summary.subject == name]
        parts += [f"### {name}, {count(seeds, 'seed')}", _class_table(classes)]
    return "\n\n".join(parts) + "\n"


def _choice_table(candidates: Sequence[Candidate], chosen: Candidate) -> str:
    return markdown_table(
        ("searched", "controls retain", "scenes retain", "lost, though drawn", ""),
        [
            [
                candidate.searched,
                f"{candidate.controls:.3f}",
                f"{candidate.photographs:.3f}",
                ", ".join(candidate.lost) or "–",
                "chosen" if candidate == chosen else "",
            ]
            for candidate in candidates
        ],
    )


def _class_table(summaries: Sequence[ClassSummary]) -> str:
    """The classes of one generator, those that it retains least first."""
    verdicts = ("cannot draw", "can draw", "undecided", "untested")
    columns = ("class", "real presence", "drawn", "retained", "of controls", "by as many scenes")
    return markdown_table(
        (*columns, *verdicts),
        [
            [
                summary.name + (" (planted)" if summary.planted else ""),
                f"{100 * summary.real_presence:.1f} %",
                "–" if math.isnan(summary.drawn) else f"{100 * summary.drawn:.0f} %",
                _number(summary.retained),
                _number(summary.controls),
                _number(summary.reference),
                *(summary.verdicts.get(verdict, 0) for verdict in verdicts),
            ]
            for summary in sorted(summaries, key=lambda summary: summary.retained)
        ],
    )


def aims(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """What was aimed at, and how often it was reached, a sentence each."""
    summaries = summarise(rows)
    first = {summary.name: summary for summary in summaries if summary.subject == names[0]}
    lines = []
    for summary in summaries:
        if not summary.planted:
            continue
        seeds = sum(summary.verdicts.values())
        line = (
            f"{summary.name}, planted in {summary.subject}: cannot draw in "
            f"{summary.verdicts.get('cannot draw', 0)} of {seeds} seeds; retained "
            f"{_number(summary.retained)}"
        )
        drawn = first.get(summary.name)
        if drawn is not None and drawn.subject != summary.subject and drawn.retained > 0:
            share = summary.retained / drawn.retained
            reached = "reached" if share <= _THIRD else "missed"
            interval = _share_interval(rows, summary, drawn)
            sure = "" if interval is None else " [{:.2f}, {:.2f}]".format(*interval)
            line += (
                f" where {drawn.subject} retains {_number(drawn.retained)}: {share:.2f}{sure} of "
                f"it (aim at most a third: {reached})"
            )
        lines.append(line)
    for name in names:
        well = [summary for summary in summaries if summary.subject == name and summary.well_drawn]
        looked_at = len({row.seed for row in rows if row.subject == name})
        kinds = {summary.name for summary in well}
        called = [
            row
            for row in rows
            if row.subject == name and row.name in kinds and row.verdict == "cannot draw"
        ]
        wrong = len({row.seed for row in called})
        listed = ", ".join(sorted({row.name for row in called}))
        lines.append(
            f"{name} draws {len(kinds)} classes at {100 * WELL_DRAWN:.0f} % or more of their real "
            f'presence; in {wrong} of {looked_at} seeds one of them is called "cannot draw"'
            + (f" ({listed})" if listed else "")
        )
    return lines


def _share_interval(
    rows: Sequence[Row], summary: ClassSummary, against: ClassSummary
) -> tuple[float, float] | None:
    """95 % of the ratio of two mean retentions, by resampling seeds; None for fewer than five."""
    by_seed: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.name == summary.name and row.retained is not None:
            by_seed.setdefault(row.seed, {})[row.subject] = row.retained
    both = [seed for seed in by_seed.values() if {summary.subject, against.subject} <= set(seed)]
    if len(both) < _LEAST_SEEDS:
        return None
    pairs = np.array([(seed[summary.subject], seed[against.subject]) for seed in both])
    ours, theirs = (resamples(len(pairs), draws=_RESAMPLES) @ pairs).T
    low, high = np.quantile(ours / theirs.clip(min=1e-12), [0.025, 0.975])
    return float(low), float(high)


def draw_evidence(
    folder: Path,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    rows: Sequence[Row],
    names: Sequence[str],
) -> Iterator[Path]:
    """Draw `evidence.svg` and `evidence.png`; yields each path."""
    summaries = summarise(rows)
    classes = len({summary.name for summary in summaries})
    with styled_figure(9.5, 1.6 + 0.34 * classes) as figure:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        _draw_choice(left, candidates, chosen)
        _draw_classes(right, summaries, names)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(names), frameon=False)
        yield from save_figure(figure, svg_and_png(folder / "evidence"))


def _draw_classes(axis: "Axes", summaries: Sequence[ClassSummary], names: Sequence[str]) -> None:
    """What every generator retains of every class, those it retains least at the top."""
    by_class = {(summary.subject, summary.name): summary for summary in summaries}
    mean = {
        summary.name: summary.retained for summary in summaries
    }  # the last generator's, where it has one
    order = sorted(mean, key=lambda name: -mean[name])
    for i, subject in enumerate(names):
        colour = _COLOURS[i % len(_COLOURS)]
        axis.plot([], [], "o", color=colour, label=subject)
        for y, name in enumerate(order):
            summary = by_class.get((subject, name))
            if summary is None:
                continue
            height = y + 0.36 * (i - (len(names) - 1) / 2)
            called = summary.verdicts.get("cannot draw", 0)
            fill = colour if called else "white"
            axis.plot(
                summary.retained, height, "o", color=colour, markerfacecolor=fill, markersize=6
            )
            axis.plot(summary.controls, height, "|", color=colour, markersize=8)
            if called:
                text = f"  cannot draw, {called} of {sum(summary.verdicts.values())}"
                at = (summary.retained, height)
                axis.annotate(text, at, fontsize=7, va="center", color=colour)
    planted = {summary.name for summary in summaries if summary.planted}
    labels = [f"{name} (planted)" if name in planted else name for name in order]
    axis.set_yticks(range(len(order)), labels, fontsize=8)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("retained, mean over seeds (bars: matched controls)", fontsize=9)
    axis.grid(axis="x", color=LIGHT.faint, linewidth=0.7)


def _draw_choice(axis: "Axes", candidates: Sequence[Candidate], chosen: Candidate) -> None:
    """Retention against the cut, a line a setting; of mosaics against the window."""
    for kind in dict.fromkeys(map(_line, candidates)):
        line = sorted(
            (candidate for candidate in candidates if _line(candidate) == kind), key=_place
        )
        mine = kind == _line(chosen)
        style: dict[str, Any] = {
            "linewidth": 1.8 if mine else 0.7,
            "linestyle": "-" if line[0].perturbed == "all" else "--",
            "alpha": 1 if mine else 0.5,
        }
        depths = [_place(candidate) for candidate in line]
        axis.plot(
            depths, [candidate.controls for candidate in line], "o", color="#2166ac", ms=3, **style
        )
        axis.plot(
            depths,
            [candidate.photographs for candidate in line],
            "s",
            color="#d6604d",
            ms=3,
            **style,
        )
    axis.axvline(_place(chosen), color="#999999", linewidth=0.8, linestyle=":")
    axis.set_xticks(sorted({_place(candidate) for candidate in candidates}))
    axis.set_ylim(0, 1.02)
    what = "last perturbed layer" if chosen.window is None else "window"
    axis.set_xlabel(f"{what} (development seeds)", fontsize=9)
    axis.set_ylabel("retained", fontsize=9)
    axis.text(0.02, 0.06, "controls", color="#2166ac", transform=axis.transAxes, fontsize=8)
    axis.text(0.02, 0.01, "scenes", color="#d6604d", transform=axis.transAxes, fontsize=8)


def _line(candidate: Candidate) -> tuple[object, ...]:
    """What its line has in common."""
    return candidate.perturbed, candidate.regularisation, candidate.samples


def _place(candidate: Candidate) -> float:
    """Where it stands on the axis."""
    return float(candidate.depth) if candidate.window is None else candidate.window


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
