"""Ways of doing the same work, timed in turns: what else the machine does slows all of them alike.

Holds the clock, the record and the table; what the ways do is in `throughput` and `sampling`.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from unseen.core.devices import processor
from unseen.core.files import package_version
from unseen.core.records import to_json
from unseen.core.tables import markdown_table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timed:
    """One way's speed, and how it compares with the first way's."""

    way: str
    images_per_second: float  # median over rounds, wall clock
    cpu_seconds_per_image: float  # median over rounds, this process, all threads
    ratio: float | None = None  # to the first way: median over pairs of turns, wall clock
    cpu_ratio: float | None = None  # the same in CPU seconds: what a busy machine distorts less


def take_turns(
    ways: Mapping[str, Callable[[], object]],
    *,
    images: int,
    rounds: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Timed]:
    """Time every way once a round, after a round to warm up.

    Args:
        ways: name → does the work once; the first is the baseline.
        images: that the work takes, each time.
        rounds: that count.
        say: told of every turn.
    """
    wall: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, work in ways.items():
            started, used = time.perf_counter(), time.process_time()
            work()
            seconds = (time.perf_counter() - started) / images
            used = (time.process_time() - used) / images
            say(f"{'warm-up' if turn == 0 else f'turn {turn}'}: {way} {1 / seconds:.3g} images/s")
            if turn > 0:
                wall[way].append(seconds)
                cpu[way].append(used)
    baseline = next(iter(ways))
    return [
        Timed(
            way=way,
            images_per_second=1 / statistics.median(wall[way]),
            cpu_seconds_per_image=statistics.median(cpu[way]),
            ratio=None if way == baseline else _paired(wall[baseline], wall[way]),
            cpu_ratio=None if way == baseline else _paired(cpu[baseline], cpu[way]),
        )
        for way in ways
    ]


def machine() -> dict[str, Any]:
    """What a reader must know about where it was measured, as JSON."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }


@dataclasses.dataclass(frozen=True)
class Compared:
    """A column of a timing: how the results of a way differ from those of the plain way."""

    key: str  # in the record
    heading: str  # in the table
    wording: Callable[[float], str]  # of its number


def timing_record(
    task: Any,
    timed: Sequence[Timed],
    columns: Sequence[Compared],
    differences: Mapping[str, Mapping[str, float]],
    skipped: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A timing as JSON.

    Args:
        task: the dataclass that was measured.
        timed: the ways.
        columns: how ways are compared with the plain one.
        differences: way → key of a column → number; what is missing becomes null.
        skipped: ways that were not timed → why.
    """
    return {
        "task": to_json(task),
        "package_version": package_version(),
        "machine": machine(),
        "measured": [
            dataclasses.asdict(way)
            | {column.key: differences.get(way.way, {}).get(column.key) for column in columns}
            for way in timed
        ],
        "skipped": dict(skipped or {}),
    }


def timing_table(record: Mapping[str, Any], columns: Sequence[Compared]) -> str:
    """The record of a timing as a table in Markdown."""

    def cells(way: Mapping[str, Any]) -> list[str]:
        ratios = ("" if way[key] is None else f"{way[key]:.2f}" for key in ("ratio", "cpu_ratio"))
        compared = (
            "" if way[column.key] is None else column.wording(way[column.key]) for column in columns
        )
        speeds = (f"{way[key]:.3g}" for key in ("images_per_second", "cpu_seconds_per_image"))
        return [way["way"], *speeds, *ratios, *compared]

    headings = ("way", "images/s", "CPU s/image", "× plain", "× plain, CPU")
    table = markdown_table(
        [*headings, *(column.heading for column in columns)], map(cells, record["measured"])
    )
    skipped = [f"{way}: skipped, {why}" for way, why in record["skipped"].items()]
    return "\n".join([table, *([""] if skipped else []), *skipped])


def _paired(baseline: Sequence[float], way: Sequence[float]) -> float:
    """Median over pairs of turns of how many times faster the way is than the baseline."""
    return statistics.median(a / b for a, b in zip(baseline, way, strict=True))
