"""Does the comparison of two generators keep its word? Simulation with known presences.

The functions measured are the public ones of `unseen.statistics`. The table is that of
docs/statistics.md, with the rule that was replaced beside it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float64

from lab.statistics_simulation import Log, write_table
from unseen.core.options import SEED_MOST, Option, Place
from unseen.statistics import GeneratorChange, compare_generators


@dataclasses.dataclass(frozen=True)
class ChangeSimulation:
    """Measure false verdicts, coverage and power of the comparison of two generators."""

    out: Annotated[Path, Place("Folder for draws and tables. A run goes on there.", short="-o")]
    draws: Annotated[int, Option("Draws of every design, each of three kinds.", min=1)] = 400
    seed: Annotated[int, Option("Seed of populations and draws.", max=SEED_MOST)] = 0


@dataclasses.dataclass(frozen=True)
class _Design:
    name: str
    images: tuple[int, int, int]  # real, previous, new
    classes: int
    presence: tuple[float, float]  # of the rarest and the most common class
    factor: float = 1.0  # presences of both generators over real ones
    pairs: float = 0.0  # correlation of what decides presence in the images of a pair


_DESIGNS = (
    _Design("equal, common", (2000, 2000, 2000), 40, (0.02, 0.9)),
    _Design("equal, rare", (2000, 2000, 2000), 120, (0.001, 0.05)),
    _Design("many real, common", (5000, 500, 500), 40, (0.02, 0.9)),
    _Design("many real, ×3 too frequent", (5000, 500, 500), 60, (0.002, 0.2), 3.0),
    _Design("few real, rare, ×0.5", (500, 5000, 5000), 120, (0.002, 0.1), 0.5),
    _Design("unlike generators", (2000, 500, 4000), 80, (0.002, 0.5)),
    _Design("pairs, common", (2000, 2000, 2000), 40, (0.02, 0.9), 1.0, 0.9),
    _Design("pairs, ×3 too frequent", (5000, 500, 500), 60, (0.002, 0.2), 3.0, 0.9),
)
_KINDS = ("null", "mirror", "planted")
_PLANTED = 5  # classes that lose what the draw before printed, spread over the presences
_ALWAYS_AREA, _ALWAYS_SPREAD = 0.2, 0.25  # mean area of class 0, in every image; log-normal


class _World:
    """Images of classes that are present together by three hidden factors, with known presences."""

    def __init__(self, design: _Design, seed: int) -> None:
        rng = np.random.default_rng([seed, design.classes, *design.images])
        self.design = design
        low, high = design.presence
        self.real = low * (high / low) ** rng.permutation(np.linspace(0.0, 1.0, design.classes - 1))
        self.generated = np.minimum(design.factor * self.real, 0.94)
        # A few factors with large loadings: classes come in bundles.
        loading = rng.normal(0.0, 1.2, (design.classes - 1, 3))
        self.loading = loading / np.sqrt(1.0 + (loading**2).sum(axis=1, keepdims=True))
        self.own = np.sqrt(1.0 - (self.loading**2).sum(axis=1))

    def hidden(self, n: int, rng: np.random.Generator) -> Float64[np.ndarray, "n k"]:
        """What decides presence, standard normal."""
        own = self.own * rng.standard_normal((n, len(self.real)))
        return np.asarray(rng.standard_normal((n, 3)) @ self.loading.T + own)

    def images(
        self,
        hidden: Float64[np.ndarray, "n k"],
        presence: Float64[np.ndarray, " k"],
        rng: np.random.Generator,
        larger: float = 1.0,
    ) -> Float64[np.ndarray, "n j"]:
        """Areas: class 0 everywhere, the others where they are present, with heavy tails."""
        n = len(hidden)
        noise = rng.standard_normal(n)
        always = larger * _ALWAYS_AREA * np.exp(_ALWAYS_SPREAD * noise - _ALWAYS_SPREAD**2 / 2)
        sizes = 0.005 + 0.01 * rng.pareto(2.0, n)  # one factor of size an image
        areas = np.where(
            hidden < scipy.special.ndtri(presence), np.minimum(sizes, 0.5)[:, None], 0.0
        )
        return np.column_stack([np.minimum(always, 1.0), areas])


def simulate_changes(task: ChangeSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Run what is missing, then write the table.

    Args:
        task: what to measure.
        say: told of every finished design.

    Returns:
        The table as CSV and as Markdown.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    log = Log(task.out / "changes.jsonl")
    worlds = [_World(design, task.seed) for design in _DESIGNS]
    for draw in range(task.draws):  # all designs in turn, so that a run that is stopped has all
        for design, world in zip(_DESIGNS, worlds, strict=True):
            if not log.count(design=design.name, draw=draw):
                rng = np.random.default_rng([task.seed, draw, *design.images, design.classes])
                log.append(design=design.name, draw=draw, **_draw(world, rng))
        if draw % 20 == 19:
            say(f"{draw + 1} draws of every design")
    table = [_row(design, log.rows) for design in _DESIGNS]
    return write_table(task.out / "generator-changes.csv", table)


def _draw(world: _World, rng: np.random.Generator) -> dict[str, Any]:
    """One draw of each kind: nothing changed, moved to the other side of real, regressed."""
    previous = world.generated
    # As far above the real presence as the new generator is below: neither is nearer.
    spread = np.minimum(0.5, 0.94 / world.real - 1.0)
    kinds = {
        "null": (previous, previous, 1.0, 1.0),
        "mirror": (world.real * (1.0 + spread), world.real * (1.0 - spread), 1.2, 0.8),
    }
    result: dict[str, Any] = {}
    for kind, (before, after, larger, smaller) in kinds.items():
        sides = _sample(world, rng, before, after, larger, smaller)
        changes = compare_generators(*sides, paired=world.design.pairs > 0.0)
        truth = np.concatenate([[_ALWAYS_AREA * (smaller - larger)], after - before])
        result[kind] = _judged([_verdict_and_interval(c) for c in changes], truth)
        result[f"{kind} pooled"] = _judged(_pooled_rule(*sides), truth)
        if kind == "null":
            printed = [change.smallest_detectable_regression for change in changes]
    order = np.argsort(world.real)
    chosen = [0, *(order[np.linspace(0, len(order) - 1, _PLANTED).astype(int)] + 1)]
    drops = {int(k): printed[k] for k in chosen}
    after = previous.copy()
    for k, drop in drops.items():
        if k and drop is not None:
            after[k - 1] *= 1.0 - drop
    smaller = 1.0 - (drops[0] or 0.0)
    sides = _sample(world, rng, previous, after, 1.0, smaller)
    changes = compare_generators(*sides, paired=world.design.pairs > 0.0)
    result["planted"] = [
        [float(world.real[k - 1]) if k else 1.0, drop, changes[k].verdict == "regressed"]
        for k, drop in drops.items()
    ]
    return result


def _sample(
    world: _World,
    rng: np.random.Generator,
    before: Float64[np.ndarray, " k"],
    after: Float64[np.ndarray, " k"],
    larger: float,
    smaller: float,
) -> list[Float64[np.ndarray, "_ j"]]:
    n, m, q = world.design.images
    first, second = world.hidden(m, rng), world.hidden(q, rng)
    shared = world.design.pairs
    if shared:
        second = shared * first + np.sqrt(1.0 - shared**2) * second
    return [
        world.images(world.hidden(n, rng), world.real, rng),
        world.images(first, before, rng, larger),
        world.images(second, after, rng, smaller),
    ]


def _verdict_and_interval(change: GeneratorChange) -> tuple[str, tuple[float, float] | None]:
    return change.verdict, change.interval


def _judged(
    results: Sequence[tuple[str, tuple[float, float] | None]], truth: Float64[np.ndarray, " k"]
) -> list[bool]:
    """Whether any class got a verdict, and whether all intervals cover."""
    called = any(verdict in ("regressed", "improved") for verdict, _ in results)
    covered = all(
        interval is None or interval[0] <= true <= interval[1]
        for (_, interval), true in zip(results, truth, strict=True)
    )
    return [called, covered]


def _pooled_rule(
    real: Float64[np.ndarray, "n k"],
    previous: Float64[np.ndarray, "m k"],
    new: Float64[np.ndarray, "q k"],
) -> list[tuple[str, tuple[float, float] | None]]:
    """The rule that was replaced: normal tests with one proportion pooled over three sides."""
    sides = [real, previous, new]
    counts = np.stack([(side >= 0.005).sum(axis=0) for side in sides])
    sizes = np.asarray([[len(side)] for side in sides])
    pooled = counts.sum(axis=0) / sizes.sum()
    value = counts / sizes
    by_area = (value > 0.95).all(axis=0)
    value = np.where(by_area, [side.mean(axis=0) for side in sides], value)
    area_variance = np.stack([side.var(axis=0, ddof=1) for side in sides])
    variance = np.where(by_area, area_variance, pooled * (1.0 - pooled)) / sizes
    tested = counts.sum(axis=0) >= 10
    z = float(scipy.stats.norm.isf(0.025 / max(int(tested.sum()), 1)))
    change = value[2] - value[1]
    reach = z * np.sqrt(variance[1] + variance[2])
    middle = value[2] + value[1] - 2.0 * value[0]
    margin = z * np.sqrt(variance[1] + variance[2] + 4.0 * variance[0])
    moved = (np.abs(change) > reach) & (np.abs(middle) > margin) & tested
    return [
        (
            "regressed" if moved[k] else "undecided",
            (change[k] - reach[k], change[k] + reach[k]) if tested[k] else None,
        )
        for k in range(len(change))
    ]


def _row(design: _Design, rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    cell = [row for row in rows if row["design"] == design.name]

    def percent(kind: str, index: int) -> str:
        return f"{100.0 * float(np.mean([row[kind][index] for row in cell])):.1f}"

    planted: dict[float, list[tuple[float, bool]]] = {}
    for row in cell:
        for presence, drop, found in row["planted"]:
            if drop is not None:
                planted.setdefault(presence, []).append((drop, found))
    power = [
        f"{'area' if presence == 1.0 else f'{100.0 * presence:.3g} %'}: "
        f"{100.0 * float(np.mean([drop for drop, _ in found])):.0f} → "
        f"{100.0 * float(np.mean([hit for _, hit in found])):.0f}"
        + ("" if len(found) == len(cell) else f" of {len(found)}")
        for presence, found in sorted(planted.items())
    ]
    return {
        "design": design.name,
        "real, previous, new": ", ".join(f"{n:,}" for n in design.images),
        "classes": design.classes,
        "draws": len(cell),
        "nothing changed: any verdict %": percent("null", 0),
        "pooled: any verdict %": percent("null pooled", 0),
        "equally far: any verdict %": percent("mirror", 0),
        "coverage %": f"{percent('null', 1)}, {percent('mirror', 1)}",
        "pooled: coverage %": f"{percent('null pooled', 1)}, {percent('mirror pooled', 1)}",
        "real presence: printed % → found %": "; ".join(power),
    }
