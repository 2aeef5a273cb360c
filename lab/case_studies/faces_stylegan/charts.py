"""The three charts of the study, drawn from its numbers alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.case_studies.charts import legend_of_points, write_charts
from unseen.core.figure_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GENERATED = LIGHT.verdicts["under"]
_COLOURS = (LIGHT.verdicts["omitted"], LIGHT.verdicts["over"], LIGHT.verdicts["matched"])


def draw_charts(numbers: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Draw `faces_stylegan-eye`, `-thresholds` and `-spread`, SVG; yields each path."""
    charts = (
        ("eye", 3.4, _draw_eye),
        ("thresholds", 2.8, _draw_thresholds),
        ("spread", 3.6, _draw_spread),
    )
    return write_charts(folder, "faces_stylegan", numbers, charts)


def _draw_eye(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Shares of both sides: what an eye counted, and above it what the parser counted."""
    axis = figure.subplots()
    rows: list[tuple[str, list[Any]]] = []
    of_parser = {row["class"]: row["presence"] for row in numbers["classes"]}
    for name, found in numbers["audit"].items():
        rows.append((f"{name}, parser", [(share, None) for share in of_parser[name]]))
        rows.append((f"{name}, by eye", _shares(found)))
    for name, samples in numbers["by_eye"].items():
        rows.append((f"{name}, by eye", _shares(samples["12"])))
    for y, (_, sides) in enumerate(reversed(rows)):
        for (share, interval), colour, lift in zip(
            sides, (LIGHT.real, _GENERATED), (0.14, -0.14), strict=True
        ):
            if interval is not None:
                axis.plot([100 * end for end in interval], [y + lift] * 2, color=colour, lw=1.4)
            face = colour if interval is not None else LIGHT.paper
            axis.plot(100 * share, y + lift, "o", color=colour, markerfacecolor=face, ms=5)
    axis.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axis.set_xlabel("images that hold it, %")
    axis.set_xlim(left=0)
    axis.grid(axis="x")
    legend_of_points(axis, [("FFHQ", LIGHT.real), ("StyleGAN", _GENERATED)])


def _shares(found: Mapping[str, Any]) -> list[tuple[float, list[float]]]:
    return [(side["share"], side["interval"]) for side in found["sides"].values()]


def _draw_thresholds(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """The ratio of presences over the threshold of presence."""
    axis = figure.subplots()
    for (_, rows), colour in zip(numbers["thresholds"].items(), _COLOURS, strict=True):
        kept = [row for row in rows if row["ratio"] and None not in row["interval"]]
        at = [100 * row["threshold"] for row in kept]
        axis.plot(at, [row["ratio"] for row in kept], "o-", color=colour, ms=4, lw=1.2)
        low, high = ([row["interval"][end] for row in kept] for end in (0, 1))
        axis.fill_between(at, low, high, color=colour, alpha=0.13, lw=0)
    axis.axhline(1, color=LIGHT.quiet, lw=0.8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    ticks = [100 * row["threshold"] for row in next(iter(numbers["thresholds"].values()))]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_yticks([0.1, 0.25, 0.5, 1, 2], ["0.1", "0.25", "0.5", "1", "2"])
    axis.minorticks_off()
    axis.set_xlabel("presence from this share of the image on, %")
    axis.set_ylabel("StyleGAN over FFHQ")
    axis.grid()
    legend_of_points(axis, list(zip(numbers["thresholds"], _COLOURS, strict=True)))


def _draw_spread(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """The ratio of the classes' spreads, those that shrink most at the bottom."""
    axis = figure.subplots()
    rows = [row for row in numbers["classes"] if row["spread_ratio"]]
    rows.sort(key=lambda row: row["spread_ratio"])
    for y, row in enumerate(rows):
        bounds = [end for end in row["spread_interval"] if end is not None]
        axis.plot(bounds, [y] * len(bounds), color=_GENERATED, lw=1.4)
        axis.plot(row["spread_ratio"], y, "o", color=_GENERATED, ms=5)
    axis.axvline(1, color=LIGHT.quiet, lw=0.8)
    axis.set_yticks(range(len(rows)), [row["class"] for row in rows])
    axis.set_xlabel("standard deviation of the area, StyleGAN over FFHQ")
    axis.grid(axis="x")
