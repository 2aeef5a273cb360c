"""Does the gate keep its word? Absent classes, planted losses, months of nights without a change.

Judged are records of `compare`, of classes alone: the Fréchet distance and the search for copies,
which take most of the time, are left out. The tables are those of docs/comparison.md.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import scipy.special
from jaxtyping import Bool, Float64

from lab.statistics_simulation import Log, markdown_of
from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.tables import csv_text
from unseen.distribution import compare as comparing
from unseen.distribution.areas import Areas
from unseen.distribution.comparison import Comparison
from unseen.distribution.gate import Gate
from unseen.distribution.gate_history import judge_with_history
from unseen.statistics import FrechetDistance, FrechetInference

_CLASSES = 40
_PIXELS = 256  # of a label map; a class that is present covers six of them, 2.3 %
_COVERED = 6
_GHOSTS = 0.15  # how often the segmenter sees an absent class, beside how often it is really there


@dataclasses.dataclass(frozen=True)
class GateSimulation:
    """Measure what the gate lets pass, and how often it alarms for nothing."""

    out: Annotated[Path, Place("Folder for draws and tables. A run goes on there.", short="-o")]
    draws: Annotated[int, Option("Draws of every condition and size.", min=1)] = 100
    months: Annotated[int, Option("Months of nights without a change.", min=1)] = 80
    nights: Annotated[int, Option("Nights of a month.", min=1)] = 30
    seed: Annotated[int, Option("Seed of populations and draws.", max=SEED_MOST)] = 0


@dataclasses.dataclass(frozen=True)
class _Asked:
    condition: str
    drop: int  # percent
    images: tuple[int, int]  # real, generated
    presence: float  # percent: of the rarest class that is asked for
    second: bool = False  # segmenter


_ABSENT = (
    _Asked("omitted", 90, (2000, 2000), 4.0),
    _Asked("omitted", 100, (2000, 2000), 4.0),
    _Asked("under", 50, (2000, 2000), 4.0),
)
_PLANTED = (
    _Asked("under", 50, (2000, 2000), 5.0),
    _Asked("under", 80, (5000, 1000), 2.2),
    _Asked("under", 30, (1000, 5000), 20.0),
    _Asked("omitted", 100, (4000, 4000), 22.0),
    _Asked("omitted", 97, (5000, 2500), 35.0),
    _Asked("under", 50, (2000, 2000), 6.5, second=True),
    _Asked("omitted", 100, (2000, 2000), 30.0, second=True),
)


class _World:
    """Classes that are present together by three hidden factors, one of each presence."""

    def __init__(self, seed: int, rarest: float) -> None:
        rng = np.random.default_rng([seed, 17])
        # Class 0 is the rarest that is asked for; a few are rarer, and are not asked for.
        rare = np.geomspace(0.1, 0.8, _CLASSES // 4) * rarest
        common = np.geomspace(1.15 * rarest, 0.9, _CLASSES - 1 - len(rare))
        self.presence = np.concatenate([[rarest], rare, common])
        loading = rng.normal(0.0, 1.2, (_CLASSES, 3))
        self.loading = loading / np.sqrt(1.0 + (loading**2).sum(axis=1, keepdims=True))
        self.own = np.sqrt(1.0 - (self.loading**2).sum(axis=1))

    def draw(self, n: int, rng: np.random.Generator, lost: float = 0.0) -> Bool[np.ndarray, "n k"]:
        """What n images hold; class 0 lost a share of its presence."""
        hidden = rng.standard_normal((n, 3)) @ self.loading.T
        hidden += self.own * rng.standard_normal(hidden.shape)
        held = hidden < scipy.special.ndtri(self.presence)
        held[:, 0] &= rng.random(n) >= lost
        return np.asarray(held)


def _seen_again(held: Bool[np.ndarray, "n k"], rng: np.random.Generator) -> Bool[np.ndarray, "n k"]:
    """By a second segmenter, which misses one in ten and errs once in a thousand images."""
    return np.where(held, rng.random(held.shape) < 0.9, rng.random(held.shape) < 0.001)


def _areas(held: Bool[np.ndarray, "n k"], name: str) -> Areas:
    pixels = np.where(held, np.uint32(_COVERED), np.uint32(0))
    rest = np.uint32(_PIXELS) - pixels.sum(axis=1, keepdims=True, dtype=np.uint32)
    return Areas(
        names=[f"{name}{i}" for i in range(len(held))],
        columns=("object/none", *(f"object/class {k}" for k in range(held.shape[1]))),
        pixels=np.hstack([rest, pixels]).astype(np.uint32),
        label_map_pixels=_PIXELS,
        provenance={"images": [{"spec": name, "fingerprint": name}]},
    )


def _no_distance(real: Any, *_: Any, **__: Any) -> FrechetInference:
    return FrechetInference(
        plug_in=FrechetDistance(0.0, 0.0),
        floor=0.0,
        p_value=1.0,
        at_half=None,
        corrected=0.0,
        interval=(0.0, 0.0),
        shares=np.zeros(real.shape[1]),
        estimator="none",
        reason=None,
        level=0.95,
        permutations=2,
        seed=0,
    )


def _compared(
    real: Bool[np.ndarray, "n k"],
    generated: Bool[np.ndarray, "m k"],
    rng: np.random.Generator,
    *,
    second: bool = False,
) -> Comparison:
    seen = None
    if second:
        again = [
            _areas(_seen_again(side, rng), name) for side, name in ((real, "t"), (generated, "g"))
        ]
        seen = (again[0], again[1:])
    with (
        mock.patch.object(comparing, "frechet_inference", _no_distance),
        mock.patch.object(comparing, "sampling_caveats", return_value=()),
    ):
        return comparing.compare(_areas(real, "t"), [_areas(generated, "g")], second=seen)


def simulate_gate(task: GateSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Run what is missing, then write the tables.

    Args:
        task: what to measure.
        say: told of every finished part.

    Returns:
        The tables, each as CSV, and all as Markdown.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "gate-absent": _measure_absent(task, say),
        "gate-planted": _measure_planted(task, say),
        "gate-months": _measure_months(task, say),
    }
    for name, table in tables.items():
        write_text(task.out / f"{name}.csv", csv_text(table))
    pages = [markdown_of(table) for table in tables.values()]
    write_text(task.out / "gate.md", "\n\n".join(pages) + "\n")
    return [*(task.out / f"{name}.csv" for name in tables), task.out / "gate.md"]


def _gate(asked: _Asked) -> Gate:
    return Gate.parse([asked.condition], f"presence>={asked.presence}%,drop<={asked.drop}%")


def _measure_absent(task: GateSimulation, say: Callable[[str], None]) -> list[dict[str, object]]:
    """A class of 4.5 % that is wholly absent, with and without ghosts of it."""
    log = Log(task.out / "absent.jsonl")
    table: list[dict[str, object]] = []
    for number, asked in enumerate(_ABSENT):
        for ghosts in (0.0, _GHOSTS):
            key = {"asked": number, "ghosts": ghosts}
            world = _World(task.seed, 0.045)
            for draw in range(log.count(**key), task.draws):
                rng = np.random.default_rng([task.seed, 1, number, int(100 * ghosts), draw])
                n, m = asked.images
                sides = world.draw(n, rng), world.draw(m, rng, lost=1.0 - ghosts)
                result = _gate(asked).judge(_compared(*sides, rng))
                log.append(**key, draw=draw, status=result.status)
            statuses = [row["status"] for row in log.matching(**key)]
            table.append(
                {
                    "--fail-on": asked.condition,
                    "--require-power": f"presence>={asked.presence:g}%,drop<={asked.drop}%",
                    "seen where absent": f"{100 * ghosts:.0f} %",
                    "draws": len(statuses),
                    **{f"status {status}": statuses.count(status) for status in (0, 3, 4)},
                }
            )
    say(f"absent classes: {task.draws} draws of each")
    return table


def _measure_planted(task: GateSimulation, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Where 0 was given: the rarest class that is asked for loses what was stated."""
    log = Log(task.out / "planted.jsonl")
    table: list[dict[str, object]] = []
    for number, asked in enumerate(_PLANTED):
        world = _World(task.seed, asked.presence / 100.0 * 1.1)
        for draw in range(log.count(asked=number), task.draws):
            rng = np.random.default_rng([task.seed, 2, number, draw])
            n, m = asked.images
            gate = _gate(asked)
            null = gate.judge(
                _compared(world.draw(n, rng), world.draw(m, rng), rng, second=asked.second)
            )
            found = None
            if null.status == 0:
                sides = world.draw(n, rng), world.draw(m, rng, lost=asked.drop / 100.0)
                judged = gate.judge(_compared(*sides, rng, second=asked.second))
                found = any(
                    finding.kind == "failed" and finding.column == "object/class 0"
                    for finding in judged.findings
                )
            log.append(asked=number, draw=draw, status=null.status, found=found)
        rows = list(log.matching(asked=number))
        passed = [row["found"] for row in rows if row["status"] == 0]
        table.append(
            {
                "--fail-on": asked.condition + (", two segmenters" if asked.second else ""),
                "real, generated": f"{asked.images[0]:,}, {asked.images[1]:,}",
                "loss": f"{asked.drop} %",
                "presence": f"{1.1 * asked.presence:.2g} %",
                "draws": len(rows),
                "status 0": len(passed),
                "then planted: status 3 %": f"{100 * np.mean(passed):.0f}" if passed else "–",
            }
        )
        say(f"{asked.condition}, loss of {asked.drop} %: {task.draws} draws")
    return table


def _measure_months(task: GateSimulation, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Nights of one perfect generator against the same real images."""
    log = Log(task.out / "months.jsonl")
    gate = Gate(("under",))
    world = _World(task.seed, 0.02)
    for month in range(task.months):
        if log.count(month=month):
            continue
        rng = np.random.default_rng([task.seed, 3, month])
        real = world.draw(1000, rng)
        history = task.out / "history.json"
        history.unlink(missing_ok=True)
        alarms = {"each night at 5 %": 0, "--history": 0}
        nights = []
        for _ in range(task.nights):
            nights.append(world.draw(1000, rng))
            comparison = _compared(real, nights[-1], rng)
            alarms["each night at 5 %"] += gate.judge(comparison).status == 3
            alarms["--history"] += judge_with_history(history, gate, comparison).status == 3
        fresh = [(world.draw(1000, rng), world.draw(1000, rng)) for _ in range(task.nights)]
        alarms["e-values, same real images"] = _e_values([(real, night) for night in nights])
        alarms["e-values, new real images every night"] = _e_values(fresh)
        log.append(month=month, alarms={name: int(count) for name, count in alarms.items()})
    say(f"{task.months} months of {task.nights} nights")
    return [
        {
            "gate": name,
            "months": len(log.rows),
            "months with any alarm": sum(row["alarms"][name] > 0 for row in log.rows),
        }
        for name in log.rows[0]["alarms"]
    ]


def _e_values(
    nights: Sequence[tuple[Bool[np.ndarray, "n k"], Bool[np.ndarray, "m k"]]],
) -> int:
    """Nights on which a mixture of products of likelihood ratios passes classes / 0.05.

    Of the alternative that half of a class is gone, given how many images of both sides hold it
    (binomial); begun on each night with a weight as `--history` spends it.
    """
    log_products: list[Float64[np.ndarray, " k"]] = []
    alarms = 0
    for real, generated in nights:
        a, b = real.sum(axis=0), generated.sum(axis=0)
        share, fewer = 0.5, 1.0 / 3.0  # of the generated side at equal numbers of images
        gain = b * np.log(fewer / share) + a * np.log((1.0 - fewer) / (1.0 - share))
        log_products = [product + gain for product in log_products] + [gain]
        weights = np.arange(1.0, len(log_products) + 1.0) ** -1.2 / scipy.special.zeta(1.2)
        mixture = scipy.special.logsumexp(np.stack(log_products), axis=0, b=weights[:, None])
        alarms += bool((mixture > np.log(_CLASSES / 0.05)).any())
    return alarms
