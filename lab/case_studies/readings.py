"""What every study reads from areas, as plain numbers, and the files that it writes."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.stats

from unseen.core.files import write_text
from unseen.core.options import Option
from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import GeneratedSide
from unseen.statistics import compare_classes

THRESHOLDS = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04)  # of presence, fractions of the image
Written = Annotated[Path, Option("Folder for numbers.json and tables.md.")]
Charts = Annotated[Path, Option("Folder for the charts.")]
CHARTS = Path("docs/case_studies")
NOT_YET = "*Not measured yet.*"


def write_study(folder: Path, numbers: Mapping[str, Any], tables: str) -> Iterator[Path]:
    """Write a study's `numbers.json` and `tables.md`; yields each path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("numbers.json", json.dumps(numbers, indent=1) + "\n"),
        ("tables.md", tables),
    ):
        write_text(folder / name, text)
        yield folder / name


def part(record: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """What `read` makes of a record; None where the run has not been made."""
    return read(record) if record.exists() else None


def class_numbers(side: GeneratedSide) -> list[dict[str, Any]]:
    """A row a class: the first parser's, and the second's where there is one."""
    opinion = side.second_segmenter
    others = {row.name: row for row in opinion.classes} if opinion is not None else {}
    rows = []
    for row in side.classes:
        other = others.get(row.name)
        rows.append(
            {
                "class": row.name,
                "verdict": row.verdict,
                "own_verdict": row.own_verdict,
                "second_verdict": row.second_verdict,
                "depends_on_threshold": row.depends_on_threshold,
                "statistic": row.statistic,
                "presence": [row.real_presence, row.generated_presence],
                "area": [row.real_area, row.generated_area],
                "ratio": row.ratio,
                "interval": row.interval,
                "size_ratio": row.size_ratio,
                "size_interval": row.size_interval,
                "spread_ratio": row.spread_ratio,
                "spread_interval": row.spread_interval,
                "agreement": [row.real_agreement, row.generated_agreement],
                "fsd_share": row.fsd_share,
                "smallest_detectable_drop": row.smallest_detectable_drop,
                "second_ratio": None if other is None else other.ratio,
                "second_interval": None if other is None else other.interval,
            }
        )
    return rows


def of_class(run: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    """What a run says of a class; None where there is no run, or where it has no such class."""
    return next((row for row in run["classes"] if row["class"] == name), None) if run else None


def halves(real: Areas) -> dict[str, Any]:
    """The first half of the photographs against the second, in the order of their names."""
    order = np.argsort(np.asarray(real.names))
    middle = len(order) // 2
    record = compare(
        real.part(order[:middle]), [real.part(order[middle:])], labels=["first", "second"]
    )
    side = record.generated[0]
    called = [row.name for row in side.classes if row.verdict in ("omitted", "under", "over")]
    return {"fsd": dataclasses.asdict(side.fsd), "called": called}


def at_thresholds(
    areas: Sequence[Areas], classes: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Presence, ratio and interval of some classes at each threshold of presence."""
    columns = [areas[0].columns.index(f"object/{name}") for name in classes]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in classes}
    for threshold in THRESHOLDS:
        measured = compare_classes(
            areas[0].fraction, areas[1].fraction, presence_threshold=threshold, family=columns
        )
        for name, found in zip(classes, measured, strict=True):
            rows[name].append(
                {
                    "threshold": threshold,
                    "presence": [found.real_presence, found.generated_presence],
                    "ratio": finite(found.ratio),
                    "interval": [finite(end) for end in found.interval or (None, None)],
                    "verdict": found.verdict,
                }
            )
    return rows


def share(count: int, images: int) -> dict[str, Any]:
    """A share with its exact interval (Clopper and Pearson, 95 %)."""
    if images == 0:
        return {"count": 0, "of": 0, "share": None, "interval": None}
    bounds = scipy.stats.binomtest(count, images).proportion_ci(method="exact")
    interval = [float(bounds.low), float(bounds.high)]
    return {"count": count, "of": images, "share": count / images, "interval": interval}


def finite(number: float | None) -> float | None:
    """The number, or None where JSON has none for it."""
    return None if number is None or not np.isfinite(number) else float(number)


def between(value: float | None, interval: Sequence[float | None] | None, digits: int = 2) -> str:
    """A number and its interval: 0.53 [0.36 – 0.77]; without one that was not tested."""
    if value is None or interval is None:
        return "–"
    if interval[0] is None and interval[1] is None:
        return f"{value:.{digits}f}".replace("-", "−")
    low, high = ("∞" if end is None else f"{end:.{digits}f}" for end in interval)
    return f"{value:.{digits}f} [{low} – {high}]".replace("-", "−")
