"""The charts of the study, drawn from its numbers alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.case_studies.charts import legend_of_points, write_charts
from lab.case_studies.readings import of_class
from unseen.core.figure_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 0.02  # of the ratios shown: what is kept less lies at the axis' end
_DRAWN = ("drawn as often as it occurs", LIGHT.verdicts["over"])
_INSTRUMENTS = {  # run → name, colour
    "mosaics": ("mosaic, beside a mosaic of photographs", LIGHT.verdicts["matched"]),
    "inversions": ("f from the inverter, beside controls", LIGHT.verdicts["omitted"]),
    "start-nearest": ("f from the nearest sample", LIGHT.verdicts["under"]),
}
AGAINST = {"mosaics": "reference", "inversions": "controls", "start-nearest": "controls"}
"""Of each run, beside what its share is told."""
_CURVES = (LIGHT.verdicts["omitted"], LIGHT.verdicts["over"], LIGHT.verdicts["matched"])


def draw_charts(numbers: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Draw `faces_dcgan-agreement`, `-curve` and `-methods`, SVG; yields each path.

    A chart of what has not been measured is not drawn.
    """
    charts = [("agreement", 6.4, _draw_agreement)]
    if _run_with_curve(numbers) is not None:
        charts.append(("curve", 2.8, _draw_curve))
    if numbers["figure6"] is not None:
        charts.append(("methods", 2.6, _draw_methods))
    return write_charts(folder, "faces_dcgan", numbers, charts)


def _run_with_curve(numbers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first run of searches up to several layers."""
    runs = numbers["runs"].values()
    return next((run for run in runs if run and len(run["curve"]) > 1), None)


def _draw_agreement(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Ratios of every class: how often it is drawn, and how much of it each search keeps."""
    axis = figure.subplots()
    rows = list(reversed(numbers["classes"]))
    runs = {run: kept for run, kept in numbers["runs"].items() if kept is not None}
    shown = [_DRAWN, *(_INSTRUMENTS[run] for run in runs)]
    lifts = [0.27 - 0.54 * k / max(len(runs), 1) for k in range(len(shown))]
    for y, row in enumerate(rows):
        found = [(row["ratio"], row["interval"])]
        for run, kept in runs.items():
            of_row = of_class(kept, row["class"])
            ratio = of_row and of_row["ratios"].get(AGAINST[run])
            found.append((ratio["ratio"], ratio["interval"]) if ratio else (None, None))
        for (value, interval), (_, colour), lift in zip(found, shown, lifts, strict=True):
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
    legend_of_points(axis, shown, a_line=2)


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
    run = _run_with_curve(numbers)
    assert run is not None
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
