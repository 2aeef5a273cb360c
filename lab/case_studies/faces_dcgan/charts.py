"""The three charts of the study, drawn from its numbers alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.case_studies.charts import legend_of_points, write_charts
from unseen.core.figure_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 0.02  # of the ratios shown: what is kept less lies at the axis' end
_INSTRUMENTS = (  # name, colour, lift from the row's middle
    ("drawn as often as it occurs", LIGHT.verdicts["over"], 0.22),
    ("mosaic, beside a mosaic of photographs", LIGHT.verdicts["matched"], 0.0),
    ("method f, beside its controls", LIGHT.verdicts["omitted"], -0.22),
)
_CURVES = (LIGHT.verdicts["omitted"], LIGHT.verdicts["over"], LIGHT.verdicts["matched"])


def draw_charts(numbers: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Draw `faces_dcgan-agreement`, `-curve` and `-methods`, SVG; yields each path."""
    charts = (
        ("agreement", 4.6, _draw_agreement),
        ("curve", 2.8, _draw_curve),
        ("methods", 2.6, _draw_methods),
    )
    return write_charts(folder, "faces_dcgan", numbers, charts)


def _draw_agreement(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Three ratios of every class: how often it is drawn, and how much of it two searches keep."""
    axis = figure.subplots()
    rows = list(reversed(numbers["classes"]))
    for y, row in enumerate(rows):
        found = [(row["ratio"], row["interval"])]
        for run, against in (("mosaics", "reference"), ("inversions", "controls")):
            of_class = next(
                (kept for kept in numbers["runs"][run]["classes"] if kept["class"] == row["class"]),
                None,
            )
            ratio = of_class and of_class["ratios"].get(against)
            found.append((ratio["ratio"], ratio["interval"]) if ratio else (None, None))
        for (value, interval), (_, colour, lift) in zip(found, _INSTRUMENTS, strict=True):
            _mark(axis, value, interval, y + lift, colour)
    axis.axvline(1, color=LIGHT.quiet, lw=0.8)
    axis.set_xscale("log")
    axis.set_xlim(0.9 * _FLOOR, 2.5)
    axis.set_xticks([0.02, 0.1, 0.2, 0.5, 1, 2], ["0.02", "0.1", "0.2", "0.5", "1", "2"])
    axis.minorticks_off()
    axis.set_yticks(range(len(rows)), [row["class"] for row in rows])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel("ratio, 1 where nothing is left out")
    axis.grid(axis="x")
    legend_of_points(axis, [(name, colour) for name, colour, _ in _INSTRUMENTS], a_line=2)


def _mark(
    axis: "Axes",
    value: float | None,
    interval: Sequence[float | None] | None,
    y: float,
    colour: str,
) -> None:
    """A ratio and its interval, whose unknown end is the axis' own; what was not tested is left."""
    if value is None or interval is None or set(interval) == {None}:
        return
    low, high = interval
    axis.plot([max(low or _FLOOR, _FLOOR), high or 10], [y, y], color=colour, lw=1.4)
    axis.plot(max(value, _FLOOR), y, "o", color=colour, ms=4)


def _draw_curve(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """What f keeps of photographs' classes, and of all controls, over the last perturbed layer."""
    axis = figure.subplots()
    run = numbers["runs"]["inversions"]
    keys = run["curve"]
    of_key = {method["key"]: method for method in run["methods"]}
    places = range(len(keys))
    kept = [of_key[key]["control_retention"] for key in keys]
    axis.plot(places, kept, "s--", color=LIGHT.real, ms=4, lw=1.2)
    shown = [("all of the generator's own images", LIGHT.real)]
    asked = [row for row in run["classes"] if row["class"] in numbers["thresholds"]]
    for row, colour in zip(asked, _CURVES, strict=False):
        means = [row["retention"][key]["photographs"] for key in keys]
        axis.plot(places, [_drawn(mean["mean"]) for mean in means], "o-", color=colour, ms=4)
        low, high = ([_drawn(mean["interval"][end]) for mean in means] for end in (0, 1))
        axis.fill_between(places, low, high, color=colour, alpha=0.13, lw=0)
        shown.append((row["class"], colour))
    axis.set_xticks(places, [of_key[key]["last_perturbed"] for key in keys])
    axis.set_ylim(0, 1)
    axis.set_xlabel("last perturbed layer")
    axis.set_ylabel("kept, mean")
    axis.grid()
    legend_of_points(axis, shown)


def _drawn(number: float | None) -> float:
    """Not drawn where it is not known, as the interval of a single image."""
    return math.nan if number is None else number


def _draw_methods(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Figure 6: correlation with the truth, by method, averaged over dimensions."""
    axis = figure.subplots()
    by_quantity = numbers["figure6"]["measured"]["per_dimension"]
    methods = list(next(iter(by_quantity.values())))
    for (_, measured), colour, shift in zip(
        by_quantity.items(), _CURVES, (-0.12, 0.0, 0.12), strict=True
    ):
        for number, method in enumerate(methods):
            x = number + shift
            interval = measured[method]["interval"]
            if interval is not None:
                axis.plot([x, x], interval, color=colour, lw=1.4)
            axis.plot(x, measured[method]["value"], "o", color=colour, ms=5)
    axis.set_xticks(range(len(methods)), methods)
    axis.set_ylim(top=1.02)
    axis.set_xlabel("method")
    axis.set_ylabel("correlation")
    axis.grid(axis="y")
    legend_of_points(axis, list(zip(by_quantity, _CURVES, strict=True)))
