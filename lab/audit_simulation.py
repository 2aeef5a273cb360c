"""Does an audit by hand correct what the segmenter gets wrong? Coverage, verdicts, and what lost.

A population is one class of the churchyard, with the areas of its exact label maps, or a class of a
stated presence. The segmenter misses some images that hold it and claims it in some that do not, at
rates that differ between the sides; as many images a side as stated are labelled, drawn as
`unseen audit` draws them. The table is that of docs/audit.md.

Beside the rule of `unseen.statistics.audited` stand: *delta*, the error of the log ratio by PPI++;
*fieller*, of the same errors; *bootstrap*, of images and labels within strata; *cells*, a posterior
in which nothing ties what was missed to what was seen.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.stats
from jaxtyping import Float64

from lab.statistics_simulation import write_table
from unseen.churchyard.classes import CLASS_NAMES
from unseen.churchyard.source import open_churchyard
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.registry import parse_spec
from unseen.statistics import PRESENCE_THRESHOLD
from unseen.statistics.audit_sample import AuditSample, draw_to_label
from unseen.statistics.audited import AuditCounts, AuditPosterior, audited_interval
from unseen.statistics.classes import verdict_of

_LEVEL = 0.95
_Z = float(scipy.stats.norm.ppf(0.5 + _LEVEL / 2))
_RESAMPLES = 1000
_TRACE = 0.3  # of the images that are missed, those in which the segmenter sees a speck
_BIG = 0.02  # median area of a class that is no churchyard's, and of false alarms

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditSimulation:
    """Measure intervals and verdicts of corrected ratios."""

    out: Annotated[Path, Place("Folder for the table.", short="-o")]
    draws: Annotated[int, Option("Draws of every condition.", min=1)] = 400
    scenes: Annotated[int, Option("Churchyards of the populations.", min=1)] = 2000
    seed: Annotated[int, Option("Seed of scenes and draws.", max=SEED_MOST)] = 0


@dataclasses.dataclass(frozen=True)
class _Condition:
    """One row of the table; of pairs, the first is the real side's."""

    question: str
    of: str | float  # a class of the churchyard, or a presence
    ratio: float
    sensitivity: tuple[float, float]
    false_alarms: tuple[float, float]
    labels: int  # a side
    images: int  # a side


_CONDITIONS = (
    *(
        _Condition("false alarms of one side", of, 0.05, (1.0, 1.0), (0.0, 0.02), 400, 2000)
        for of in (0.0555, "palm")
    ),
    *(
        _Condition("a half, seen unlike", of, 0.5, (0.95, 0.7), (0.01, 0.01), 100, 2000)
        for of in (0.42, 0.18)  # a fence, a lamp of the churchyard
    ),
    *(
        _Condition("nothing, seen unlike", of, 1.0, (0.95, 0.7), (0.01, 0.01), 100, 2000)
        for of in (0.42, 0.18)  # a fence, a lamp of the churchyard
    ),
    _Condition("absent", 0.05, 0.0, (0.95, 0.95), (0.0, 0.0), 400, 2000),
    _Condition("absent", 0.05, 0.0, (0.95, 0.95), (0.0, 0.0), 100, 2000),
    _Condition("absent", 0.05, 0.0, (0.95, 0.95), (0.0, 0.0), 100, 10_000),
    _Condition("absent", 0.05, 0.0, (0.95, 0.95), (0.0, 0.02), 400, 10_000),
)


def simulate_audits(task: AuditSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Measure what is missing in the folder; gives the table, `audit.csv`."""
    path = task.out / "audit.csv"
    if not path.exists():
        task.out.mkdir(parents=True, exist_ok=True)
        rows = []
        for row in _rows(task):
            rows.append(row)
            say(", ".join(f"{name} {value}" for name, value in row.items()))
        write_table(path, rows)
    return [path]


def _rows(task: AuditSimulation) -> Iterator[dict[str, object]]:
    churchyards = _churchyards(task)
    for number, condition in enumerate(_CONDITIONS):
        held = churchyards[condition.of] if isinstance(condition.of, str) else None
        presence = condition.of if held is None else float((held >= PRESENCE_THRESHOLD).mean())
        assert isinstance(presence, float)
        random = np.random.default_rng((task.seed, number))
        covered: dict[str, int] = dict.fromkeys(("corrected", *_RIVALS), 0)
        omitted: dict[str, int] = dict(covered)
        verdicts, misses, read, estimates = [], [0, 0], [], []
        for _ in range(task.draws):
            sides = [
                _side(random, condition, side, presence, held) for side in (0, 1)
            ]  # real, generated
            ratios = [side.presence() for side in sides]
            posteriors = [_posterior(tuple(map(tuple, _table(side)))) for side in sides]
            intervals = {"corrected": audited_interval(*posteriors, level=_LEVEL)}
            intervals |= {name: rule(sides, random) for name, rule in _RIVALS.items()}
            for name, (low, high) in intervals.items():
                covered[name] += bool(low <= condition.ratio <= high)
                omitted[name] += verdict_of((low, high)) == "omitted"
            low, high = intervals["corrected"]
            misses[0] += condition.ratio < low
            misses[1] += condition.ratio > high
            verdicts.append(verdict_of((low, high)))
            read.append(sides[1].called.mean() / sides[0].called.mean())
            estimates.append(ratios[1] / ratios[0] if ratios[0] else math.inf)
        yield {
            "question": condition.question,
            "of": condition.of,
            "presence": round(presence, 4),
            "ratio": condition.ratio,
            "images": condition.images,
            "labels": condition.labels,
            "draws": task.draws,
            "uncorrected": round(float(np.median(read)), 3),
            "corrected": round(float(np.median(estimates)), 3),
            "covered": covered["corrected"],
            "too_high": misses[0],
            "too_low": misses[1],
            **{
                verdict: verdicts.count(verdict)
                for verdict in ("omitted", "under", "over", "matched", "undecided")
            },
            **{f"{name}_covered": covered[name] for name in _RIVALS},
            **{f"{name}_omitted": omitted[name] for name in _RIVALS},
        }


def _table(side: AuditSample) -> Float64[np.ndarray, "4 k"]:
    """All counts of a side."""
    counts = side.counts()
    return np.array([counts.called, counts.images, counts.labelled, counts.present], np.float64)


@functools.lru_cache(maxsize=256)  # sides without the class are often alike
def _posterior(table: tuple[tuple[float, ...], ...]) -> AuditPosterior:
    called, *counts = np.array(table)
    return AuditPosterior.of(AuditCounts(called.astype(bool), *counts))


def _churchyards(task: AuditSimulation) -> Mapping[str, Float64[np.ndarray, " n"]]:
    """The areas of the classes that are asked about, in exact label maps."""
    source = open_churchyard(parse_spec(f"churchyard?seed={task.seed + 77}"))
    names = {condition.of for condition in _CONDITIONS if isinstance(condition.of, str)}
    areas = {name: np.empty(task.scenes) for name in names}
    for index in range(task.scenes):
        label_map = source.label_map(index)
        shares = np.bincount(label_map.ravel(), minlength=len(CLASS_NAMES)) / label_map.size
        for name in names:
            areas[name][index] = shares[CLASS_NAMES.index(name)]
    return areas


def _side(
    random: np.random.Generator,
    condition: _Condition,
    side: int,
    presence: float,
    held: Float64[np.ndarray, " n"] | None,
) -> AuditSample:
    """Images of one side as the segmenter sees them, with the labels of those that are drawn."""
    images = condition.images
    kept = condition.ratio if side else 1.0
    if held is None:
        areas = np.where(random.random(images) < presence, _areas(random, images), 0.0)
    else:
        areas = random.choice(held, images)
    areas = np.where(random.random(images) < kept, areas, 0.0)
    truth = areas >= PRESENCE_THRESHOLD
    missed = truth & (random.random(images) >= condition.sensitivity[side])
    claimed = ~truth & (random.random(images) < condition.false_alarms[side])
    specks = np.where(random.random(images) < _TRACE, random.random(images), 0.0)
    seen = np.where(missed, specks * PRESENCE_THRESHOLD, areas)
    seen = np.where(claimed, np.maximum(_areas(random, images), PRESENCE_THRESHOLD), seen)
    rows = draw_to_label(seen, PRESENCE_THRESHOLD, condition.labels, int(random.integers(2**32)))
    labels = np.full(images, np.nan)
    labels[rows] = truth[rows]
    return AuditSample(seen, PRESENCE_THRESHOLD, labels)


def _areas(random: np.random.Generator, images: int) -> Float64[np.ndarray, " n"]:
    return np.clip(_BIG * np.exp(random.normal(0.0, 1.0, images)), PRESENCE_THRESHOLD, 1.0)


def _moments(side: AuditSample) -> tuple[float, float]:
    """Presence and its variance: of labels within strata, and of the images between them."""
    counts = side.counts()
    share = counts.images / counts.images.sum()
    known = np.maximum(counts.labelled, 1.0)
    rate = counts.present / known
    mean = float(share @ rate)
    within = float((share**2 * rate * (1.0 - rate) / known).sum())
    return mean, within + float(share @ (rate - mean) ** 2) / counts.images.sum()


def _delta(sides: list[AuditSample], _: np.random.Generator) -> Interval:
    (p, v), (q, w) = (_moments(side) for side in sides)
    if p == 0.0 or q == 0.0:
        return 0.0, math.inf
    reach = _Z * math.sqrt(v / p**2 + w / q**2)
    return q / p * math.exp(-reach), q / p * math.exp(reach)


def _fieller(sides: list[AuditSample], _: np.random.Generator) -> Interval:
    """(q − ρ p)² ≤ z² (w + ρ² v)."""
    (p, v), (q, w) = (_moments(side) for side in sides)
    a = p * p - _Z**2 * v
    if a <= 0.0:
        return 0.0, math.inf
    root = math.sqrt(max((p * q) ** 2 - a * (q * q - _Z**2 * w), 0.0))
    return max((p * q - root) / a, 0.0), (p * q + root) / a


def _bootstrap(sides: list[AuditSample], random: np.random.Generator) -> Interval:
    drawn = []
    for side in sides:
        counts = side.counts()
        known = np.maximum(counts.labelled.round().astype(int), 1)
        total = int(counts.images.sum())
        share = random.multinomial(total, counts.images / total, _RESAMPLES) / total
        rate = (
            random.binomial(
                known, np.minimum(counts.present / known, 1.0), (_RESAMPLES, len(known))
            )
            / known
        )
        drawn.append((share * rate).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(drawn[1] / drawn[0], nan=np.inf)
    low, high = np.quantile(ratio, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2], method="nearest")
    return float(low), float(high)


def _cells(sides: list[AuditSample], random: np.random.Generator) -> Interval:
    drawn = []
    for side in sides:
        counts = side.counts()
        share = random.dirichlet(counts.images + 0.5, _RESAMPLES)
        absent = counts.labelled - counts.present
        rate = random.beta(counts.present + 0.5, absent + 0.5, (_RESAMPLES, len(absent)))
        drawn.append((share * rate).sum(axis=1))
    low, high = np.quantile(drawn[1] / drawn[0], [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2])
    return float(low), float(high)


_RIVALS: Mapping[str, Callable[[list[AuditSample], np.random.Generator], Interval]] = {
    "delta": _delta,
    "fieller": _fieller,
    "bootstrap": _bootstrap,
    "cells": _cells,
}
