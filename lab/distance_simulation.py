"""Bias and coverage of the corrected distance where there are few images.

Samples of populations whose true distance is known (`distance_populations`), from 20 images a side
on, and 200 against 10,000. The table is that of docs/statistics.md.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lab.distance_populations import KINDS, SHIFTS, population
from lab.statistics_simulation import Gradient, Log, Table, known_error, true_distance, write_table
from unseen.core.options import SEED_MOST, Option, Place
from unseen.statistics import INDEPENDENT, FrechetDistance
from unseen.statistics.correction import Halves, Null
from unseen.statistics.exchange import Sides
from unseen.statistics.inference import corrected_with_interval

SIZES = ((20, 20), (50, 50), (100, 100), (200, 200), (1000, 1000), (200, 10_000))
_SIZED = ("kind", "classes", "n", "m")
# Draws of every cell are told off in rounds, so that a stopped run has all cells, with fewer draws.
_ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class DistanceSimulation:
    """Measure bias and coverage of the corrected distance of few images."""

    out: Annotated[Path, Place("Folder for draws and tables. A run goes on there.", short="-o")]
    draws: Annotated[
        Sequence[int], Option("Draws of every cell, for each number of classes.", min=1)
    ] = (100, 60, 30)
    dear_draws: Annotated[
        Sequence[int], Option("The same for cells of 1,000 or more images.", min=1)
    ] = (60, 30, 10)
    classes: Sequence[int] = (30, 120, 336)
    sizes: Sequence[tuple[int, int]] = SIZES  # real and generated images
    kinds: Sequence[str] = (*KINDS,)
    permutations: int = 19  # of each inference; the default of the package is larger
    splits: int = 8  # likewise
    rows: int = 20_000  # images in a population
    seed: Annotated[int, Option("Seed of populations and draws.", max=SEED_MOST)] = 0


def simulate_distances(task: DistanceSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Run what is missing, then write the tables.

    Args:
        task: what to measure.
        say: told of every finished round of a population.

    Returns:
        The tables written: CSV, and Markdown.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    log = Log(task.out / "few.jsonl")
    for stage in range(1, _ROUNDS + 1):
        for kind in task.kinds:
            for i, classes in enumerate(task.classes):
                wanted = {
                    size: -(-stage * (task.draws, task.dear_draws)[max(size) > 500][i] // _ROUNDS)
                    for size in task.sizes
                }
                _measure(task, log, kind, classes, wanted)
                say(f"{kind}, {classes} classes: round {stage} of {_ROUNDS}")
    return write_table(task.out / "few.csv", _table(log.rows))


def _measure(
    task: DistanceSimulation,
    log: Log,
    kind: str,
    classes: int,
    wanted: Mapping[tuple[int, int], int],
) -> None:
    """Draw what is missing of one kind and number of classes, up to as many draws as wanted."""
    real: Table | None = None
    for shift in SHIFTS:
        missing = [
            (n, m, draw)
            for (n, m), draws in wanted.items()
            for draw in range(log.count(kind=kind, classes=classes, shift=shift, n=n, m=m), draws)
        ]
        if not missing:
            continue
        real = real or population(kind, classes, "null", rows=task.rows, seed=task.seed)
        generated = population(kind, classes, shift, rows=task.rows, seed=task.seed)
        truth, gradient = true_distance(real, generated), Gradient(real, generated)
        for n, m, draw in missing:
            key = {"kind": kind, "classes": classes, "shift": shift, "n": n, "m": m}
            rng = np.random.default_rng(
                [task.seed, *kind.encode(), classes, list(SHIFTS).index(shift), n, m, draw]
            )
            first, second = real.sample(n, rng), generated.sample(m, rng)
            values = _draw(task, first, second, rng)
            first_order = gradient.error(first, second)
            log.append(**key, draw=draw, truth=truth, first_order=first_order, **values)


def _draw(
    task: DistanceSimulation, real: np.ndarray, generated: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """The corrected value and those of the estimators that lost, of the same halves."""
    sides = Sides(real, generated, INDEPENDENT, INDEPENDENT)
    observed = FrechetDistance.between(*sides.grams)
    halves = Halves.of(sides, sides.halves(task.splits, rng))
    null = Null(sides, sides.exchanges(task.permutations, rng), halves)
    corrected, interval = corrected_with_interval(sides, observed, halves, null, 0.95)
    return {
        "plug_in": observed.value,
        "floor": float(null.values.mean()),
        "at_half": float(halves.across.mean()),
        "corrected": corrected,
        "interval": interval,
        "p_value": null.p_value(observed),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """A row a kind, number of classes and size: shifts together, the null apart."""
    sizes: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        sizes[tuple(row[name] for name in _SIZED)].append(row)
    table: list[dict[str, object]] = []
    for (kind, classes, n, m), cell in sorted(sizes.items(), key=str):
        by_shift = {
            shift: [row for row in cell if row["shift"] == shift]
            for shift in SHIFTS
            if any(row["shift"] == shift for row in cell)
        }
        floor = float(np.mean([row["floor"] for row in by_shift["null"]]))
        biases, errors = {}, {}
        for name in ("corrected", "minus floor", "2F(n) − F(n/2)"):
            per_shift = [_bias(draws, name) / floor for draws in by_shift.values()]
            biases[name] = [100 * float(bias.mean()) for bias in per_shift]
            errors[name] = [
                100 * float(bias.std()) / max(len(bias) - 1, 1) ** 0.5 for bias in per_shift
            ]
        moved = [row for row in cell if row["shift"] != "null"]
        table.append(
            {
                "kind": kind,
                "classes": classes,
                "real": n,
                "generated": m,
                "draws": len(cell),
                "floor": f"{floor:.3g}",
                "true, floors": f"{max(row['truth'] for row in cell) / floor:.1f}",
                "minus floor %": _range(biases["minus floor"]),
                "2F(n) − F(n/2) %": _range(biases["2F(n) − F(n/2)"]),
                "corrected %": _range(biases["corrected"]),
                "± MC error": f"{max(errors['corrected']):.1f}",
                "covered, null": _covered(by_shift["null"]),
                "covered, shifted": _covered(moved),
                "%": f"{100 * np.mean([_covers(row) for row in moved]):.0f}",
            }
        )
    return table


def _bias(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    estimates = {
        "corrected": [row["corrected"] for row in rows],
        "minus floor": [row["plug_in"] - row["floor"] for row in rows],
        "2F(n) − F(n/2)": [2 * row["plug_in"] - row["at_half"] for row in rows],
    }[name]
    known = [known_error(row) + row["truth"] for row in rows]
    return np.asarray(estimates, dtype=np.float64) - np.asarray(known, dtype=np.float64)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):+.0f} to {max(values):+.0f}"


def _covers(row: Mapping[str, Any]) -> bool:
    return bool(row["interval"][0] <= row["truth"] <= row["interval"][1])


def _covered(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(map(_covers, rows))} of {len(rows)}"
