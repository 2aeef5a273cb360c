"""The charts of the study, drawn from its numbers alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.case_studies.charts import legend_of_points, write_charts
from unseen.core.figure_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = ("person", "car", "road", "tree", "sky", "building")  # of the curve: small things first
LEAST_HELD = 10  # photographs that a row of the segmenter's chart stands for
_LEAST, _MOST = 0.01, 10.0  # ratios are drawn within
_COLOUR = LIGHT.verdicts["under"]
_ADDED = LIGHT.verdicts["over"]


def draw_charts(numbers: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Draw `streets_progan-segmenter`, `-training` and `-domains`, SVG; yields each path.

    A chart of what has not been measured is not drawn.
    """
    charts = {
        "weakness": ("segmenter", 4.2, _draw_segmenter),
        "curve": ("training", 3.8, _draw_training),
        "domains": ("domains", 2.4, _draw_domains),
    }
    measured = [chart for part, chart in charts.items() if numbers[part] is not None]
    return write_charts(folder, "streets_progan", numbers, measured)


def _draw_segmenter(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Of each class, what the segmenter still sees at 64 pixels, and what it sees there alone."""
    rows = [row for row in numbers["weakness"]["classes"] if row["held"] >= LEAST_HELD][::-1]
    axis = figure.subplots()
    for y, row in enumerate(rows):
        for count, of, interval, colour, lift in (
            (row["kept"], row["held"], row["kept_interval"], _COLOUR, 0.14),
            (row["added"], row["lacking"], row["added_interval"], _ADDED, -0.14),
        ):
            if of:
                axis.plot([100 * end for end in interval], [y + lift] * 2, color=colour, lw=1.4)
                axis.plot(100 * count / of, y + lift, "o", color=colour, ms=4.5)
    axis.set_yticks(range(len(rows)), [f"{row['class']} ({row['held']})" for row in rows])
    axis.set_xlim(-1, 101)
    axis.set_xlabel("photographs, %")
    axis.grid(axis="x")
    legend_of_points(axis, [("kept at 64 pixels", _COLOUR), ("added at 64 pixels", _ADDED)])


def _draw_training(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """A panel a class: its ratio over the images shown, on log scales."""
    snapshots = numbers["curve"]["snapshots"]
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for axis, name in zip(axes.flat, CLASSES, strict=True):
        points = [
            (snapshot["shown"] / 1000, min(max(row["ratio"], _LEAST), _MOST), row["interval"])
            for snapshot in snapshots
            for row in snapshot["classes"]
            if row["class"] == name and row["ratio"] is not None
        ]
        for shown, ratio, (low, high) in points:
            ends = [max(low or 0, _LEAST), min(high or _MOST, _MOST)]
            axis.plot([shown] * 2, ends, color=_COLOUR, lw=1.4)
            axis.plot(shown, ratio, "o", color=_COLOUR, ms=4)
        axis.plot(
            [shown for shown, _, _ in points],
            [ratio for _, ratio, _ in points],
            color=_COLOUR,
            lw=0.8,
            alpha=0.5,
        )
        axis.axhline(1, color=LIGHT.quiet, lw=0.8)
        axis.set_title(name, fontsize=9)
        axis.grid(axis="y")
    first = axes.flat[0]
    first.set_xscale("log")
    first.set_yscale("log")
    first.set_ylim(0.7 * _LEAST, 1.4 * _MOST)
    shown = [snapshot["shown"] / 1000 for snapshot in snapshots]
    first.set_xticks(shown, [f"{images:g}" for images in shown])
    first.set_yticks([0.01, 0.1, 1, 10], ["≤ 0.01", "0.1", "1", "10"])
    for axis in axes.flat:
        axis.minorticks_off()
        axis.tick_params(axis="x", labelsize=7)
    figure.supxlabel("thousand photographs shown", fontsize=9)
    figure.supylabel("ProGAN over photographs", fontsize=9)


def _draw_domains(figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """Every image's correlation with its reconstruction, a row a group, and the means."""
    axis = figure.subplots()
    groups = numbers["domains"]["groups"][::-1]
    for y, group in enumerate(groups):
        found = group["correlations"]
        axis.plot(found, [y] * len(found), "|", color=LIGHT.quiet, ms=9, alpha=0.6)
        mean, low, high = group["correlation"]
        axis.plot([low, high], [y + 0.3] * 2, color=_COLOUR, lw=1.4)
        axis.plot(mean, y + 0.3, "o", color=_COLOUR, ms=4.5)
    axis.set_yticks(range(len(groups)), [group["group"] for group in groups])
    axis.set_ylim(-0.5, len(groups) - 0.3)
    axis.set_xlabel("correlation of pixels, image and reconstruction")
    axis.grid(axis="x")
