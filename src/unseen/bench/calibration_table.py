"""The cells of a calibration, and their tables: CSV for machines, Markdown for the page."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from scipy.stats import binomtest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of the table: one planted omission at one sample size."""

    class_name: str  # "" in the null runs
    presence: float  # on the real side, true where the world is known, else the segmenter's
    removal: float  # 0 in the null runs
    count: int  # images a side
    repetitions: int
    detected: int  # repetitions in which the class was called omitted or under
    omitted: int  # … omitted
    false_alarms: int | None  # … in which any other class was called; None where not defined


def calibration_csv(cells: Sequence[Cell]) -> str:
    """Every cell as a row of CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [field.name for field in dataclasses.fields(Cell)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(dataclasses.asdict(cell) for cell in cells)
    return buffer.getvalue()


def pooled(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that differ in the class alone, added up, in order of presence, removal and count."""
    sums: dict[tuple[float, float, int], Cell] = {}
    for cell in cells:
        key = (cell.presence, -cell.removal, cell.count)
        known = sums.get(key)
        if known is not None:
            cell = dataclasses.replace(
                cell,
                repetitions=cell.repetitions + known.repetitions,
                detected=cell.detected + known.detected,
                omitted=cell.omitted + known.omitted,
                false_alarms=None
                if cell.false_alarms is None
                else cell.false_alarms + (known.false_alarms or 0),
            )
        sums[key] = dataclasses.replace(cell, class_name="")
    return [sums[key] for key in sorted(sums)]


def calibration_table(cells: Sequence[Cell]) -> str:
    """The cells as Markdown: null runs, then detection by presence, removal and count."""
    lines = [
        "| images a side | null runs | runs with any class called | rate (95 %) |",
        "|" + " --- |" * 4,
    ]
    lines += [
        f"| {cell.count:,} | {cell.repetitions} | {cell.false_alarms} "
        f"| {_rate(cell.false_alarms or 0, cell.repetitions)} |"
        for cell in cells
        if cell.removal == 0
    ]
    counts = sorted({cell.count for cell in cells if cell.removal})
    header = " | ".join(f"n = {count:,}" for count in counts)
    lines += ["", f"| presence | removed | {header} |", "| --- | --- |" + " --- |" * len(counts)]
    planted = pooled([cell for cell in cells if cell.removal])
    for presence, removal in dict.fromkeys((cell.presence, cell.removal) for cell in planted):
        rates = {
            cell.count: _rate(cell.detected, cell.repetitions)
            for cell in planted
            if (cell.presence, cell.removal) == (presence, removal)
        }
        entries = " | ".join(rates.get(count, "–") for count in counts)
        lines.append(f"| {presence:.1%} | {removal:.0%} | {entries} |")
    alarms = [cell for cell in planted if cell.false_alarms is not None]
    if alarms:
        called = sum(cell.false_alarms or 0 for cell in alarms)
        runs = sum(cell.repetitions for cell in alarms)
        lines += [
            "",
            f"Another class than the planted one was called in {called} of {runs} planted runs "
            f"({_rate(called, runs)}).",
        ]
    classes = ", ".join(dict.fromkeys(cell.class_name for cell in cells if cell.class_name))
    lines += ["", f"Planted classes, pooled in the table: {classes}."]
    return "\n".join(lines) + "\n"


def rate_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson interval of a rate."""
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _rate(successes: int, trials: int) -> str:
    low, high = rate_interval(successes, trials)
    return f"{successes / trials:.0%} ({low:.0%}–{high:.0%})"
