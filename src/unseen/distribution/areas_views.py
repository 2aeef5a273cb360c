"""Areas as a line, as a table, as a figure and as HTML for a notebook."""

from typing import Any

import numpy as np

from unseen.core.figure_style import LIGHT, figure_of_panels, plain
from unseen.core.results import html_bar, html_rows, html_text
from unseen.core.wording import count, listed, percent
from unseen.distribution.areas import Areas, class_name

_MOST_CLASSES = 20
_LONGEST_NAME = 24  # characters


def in_a_line(areas: Areas) -> str:
    """How many images and classes, and the classes that cover most."""
    named = [f"{class_name(column)[:30]} {percent(mean)}" for column, mean in _largest(areas)[:3]]
    return f"Areas of {count(len(areas), 'image')} and {count(len(areas.columns), 'class')}" + (
        f": {listed(named)} of the pixels" if named else ""
    )


def as_table(areas: Areas) -> str:
    """The classes that cover most, aligned for a terminal."""
    lines = [in_a_line(areas), ""]
    for column, mean in _largest(areas):
        presence = percent(_presence(areas, column))
        lines.append(f"  {class_name(column):<24} {percent(mean):>8}  in {presence}")
    return "\n".join(lines)


def draw_areas(areas: Areas) -> Any:
    """The mean areas of the classes that cover most, as a figure of bars."""
    largest = _largest(areas)
    with figure_of_panels(LIGHT, width=5.6, height=0.4 + 0.26 * max(2, len(largest))) as (
        figure,
        (axis,),
    ):
        axis.barh(range(len(largest)), [100 * mean for _, mean in largest], color=LIGHT.real)
        names = [plain(class_name(column), _LONGEST_NAME) for column, _ in largest]
        axis.set_yticks(range(len(largest)), names, fontsize=9)
        axis.set_ylim(max(2, len(largest)) - 0.4, -0.6)
        axis.grid(axis="x", linewidth=0.6)
        axis.set_xlabel(f"mean area in percent, {count(len(areas), 'image')}", fontsize=9)
        return figure


def as_html(areas: Areas) -> str:
    """The areas for a notebook."""
    largest = _largest(areas)
    rows = [
        (
            class_name(column),
            percent(mean),
            html_bar(mean / largest[0][1]),
            percent(_presence(areas, column)),
        )
        for column, mean in largest
    ]
    table = html_rows("class", ("Class", "Mean area", "", "In images"), rows, of=len(areas.columns))
    return "".join([html_text(in_a_line(areas)), *table])


def _presence(areas: Areas, column: str) -> float:
    """The share of the images that hold the class at all."""
    return float((areas.pixels[:, areas.columns.index(column)] > 0).mean())


def _largest(areas: Areas) -> list[tuple[str, float]]:
    """Column and mean fraction of the classes that cover most of the images, largest first."""
    if not len(areas):
        return []
    means = areas.fraction.mean(axis=0)
    order = np.argsort(-means, kind="stable")[:_MOST_CLASSES]
    return [(areas.columns[k], float(means[k])) for k in order if means[k] > 0]
