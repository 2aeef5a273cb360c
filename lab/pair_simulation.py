"""Coverage of shares of pairs, and false alarms of their change, where captions repeat.

A population is a caption at a time: how likely its photographs hold a class, and how likely an
image that is drawn for it does, are drawn from beta distributions, whose correlation within a
caption is known exactly. The rule measured is that of `unseen.statistics.paired_presence`; the
table is that of docs/statistics.md.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Bool, Float64, Int64

from lab.class_simulation import draw_presences
from lab.statistics_simulation import measured_table
from unseen.core.options import SEED_MOST, Option, Place
from unseen.statistics.design import Design
from unseen.statistics.effective import Grouping
from unseen.statistics.paired_presence import PairedClass, SharesOfPairs, compare_pairs

_LEVEL = 0.05
_DESIGNS: Mapping[str, Mapping[int, int]] = {  # photographs a caption → captions
    "300 × 1": {1: 300},
    "1,000 × 1": {1: 1000},
    "100 × 5": {5: 100},
    "30 × 10": {10: 30},
    "200 × 1 and 10 × 20": {1: 200, 20: 10},
}
_KEPT = (0.02, 0.3, 0.6, 0.95)  # of the photographs that hold a class, whose drawn image does
_HELD = (0.05, 0.4)  # photographs that hold it
_ADDED = 0.02  # of the others, whose drawn image holds it
_HELD_CORRELATION = 0.8  # within a caption, which names the class or does not
_REPEATS = 4  # classes of each kind

Interval = tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]
Rule = Callable[[SharesOfPairs], Interval]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSimulation:
    """Measure intervals of shares of pairs, and the test of their change."""

    out: Annotated[Path, Place("Folder for the tables.", short="-o")]
    draws: Annotated[int, Option("Draws of every design.", min=1)] = 100
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 0


def simulate_pairs(task: PairSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Measure what is missing in the folder.

    Args:
        task: what to measure.
        say: told of every row.

    Returns:
        The tables: `pairs.csv` of shares, `pair-changes.csv` of the change of presence.
    """
    return [
        measured_table(task.out / f"{name}.csv", name, measure(task), say)
        for name, measure in (("pairs", _shares), ("pair-changes", _changes))
    ]


def _classes() -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """The true share that is kept, and how many photographs hold a class."""
    kinds = [(kept, held) for kept in _KEPT for held in _HELD] * _REPEATS
    return np.array([kept for kept, _ in kinds]), np.array([held for _, held in kinds])


def draw_pairs(
    rng: np.random.Generator, design: Mapping[int, int], correlation: str
) -> tuple[Bool[np.ndarray, "n k"], Bool[np.ndarray, "n k"], Int64[np.ndarray, " n"]]:
    """Whether each photograph and each drawn image holds each class, and the captions."""
    kept, held = _classes()
    within = np.full(len(kept), 0.0)
    if correlation == "one in eight 0.9":
        within[::8] = 0.9
    else:
        within[:] = float(correlation)
    parts, captions, first = [], [], 0
    for size, groups in design.items():
        holds = draw_presences(rng, held, np.full(len(held), _HELD_CORRELATION), groups, size)
        keeps = draw_presences(rng, kept, within, groups, size)
        adds = rng.random(keeps.shape) < _ADDED
        parts.append((holds, np.where(holds, keeps, adds)))
        captions.append(first + np.repeat(np.arange(groups), size))
        first += groups
    real, generated = (np.concatenate(side) for side in zip(*parts, strict=True))
    return real, generated, np.concatenate(captions)


def _exact(count: Float64[np.ndarray, " k"], size: Float64[np.ndarray, " k"]) -> Interval:
    """Clopper and Pearson's."""
    with np.errstate(invalid="ignore"):
        low = scipy.special.betaincinv(count, size - count + 1.0, _LEVEL / 2)
        high = scipy.special.betaincinv(count + 1.0, size - count, 1 - _LEVEL / 2)
    return np.where(count > 0, low, 0.0), np.where(count < size, high, 1.0)


def _wilson(count: Float64[np.ndarray, " k"], size: Float64[np.ndarray, " k"]) -> Interval:
    z = scipy.stats.norm.ppf(1 - _LEVEL / 2)
    middle = (count + z**2 / 2) / (size + z**2)
    reach = z / (size + z**2) * np.sqrt(count * (size - count) / size + z**2 / 4)
    return middle - reach, middle + reach


def _correlation(shares: SharesOfPairs, kind: str) -> Float64[np.ndarray, " k"] | float:
    """Within groups, by the rules tried: that of the package is "mean"."""
    if kind == "ignored":
        return 0.0
    if kind == "mean":
        return shares.correlation()
    none = np.zeros(len(shares.most))
    own = np.divide(shares.excess, shares.most, out=none.copy(), where=shares.most > 0)
    if kind == "own":
        return np.asarray(np.clip(own, 0.0, 1.0))
    # As presences borrow: two groups with the largest correlation shown stand beside its own.
    largest = max(float(own.max()), float(shares.correlation().max()))
    borrowed = (np.clip(own, 0.0, None) * shares.groups + 2.0 * largest) / (shares.groups + 2.0)
    return np.asarray(np.clip(np.maximum(borrowed, shares.correlation()), 0.0, 1.0))


def _of(rule: str, kind: str) -> Rule:
    limits = _exact if rule == "exact" else _wilson

    def interval(shares: SharesOfPairs) -> Interval:
        size = shares.pairs / (1.0 + _correlation(shares, kind) * shares.together)
        return limits(shares.share * size, size)

    return interval


RULES: Mapping[str, Rule] = {
    f"{rule}, {kind}": _of(rule, kind)
    for kind in ("ignored", "own", "mean", "borrowed")
    for rule in ("exact", "Wilson")
}


def _shares(task: PairSimulation) -> Iterator[Mapping[str, object]]:
    kept, held = _classes()
    kinds = [(kept == share) & (held == presence) for share in _KEPT for presence in _HELD]
    for name, design, correlation in _cells(("0", "0.2", "0.8", "one in eight 0.9")):
        rng = np.random.default_rng([task.seed, *map(ord, name + correlation)])
        covered: dict[str, list[Float64[np.ndarray, " k"]]] = defaultdict(list)
        widths: dict[str, list[Float64[np.ndarray, " k"]]] = defaultdict(list)
        for _ in range(task.draws):
            real, generated, captions = draw_pairs(rng, design, correlation)
            grouping = Grouping(Design(groups=captions), len(real))
            shares = SharesOfPairs.of(generated, real, grouping)
            some = shares.pairs > 0
            for rule, limits in RULES.items():
                with np.errstate(invalid="ignore", divide="ignore"):
                    low, high = limits(shares)
                covered[rule].append(np.where(some, (low <= kept) & (kept <= high), np.nan))
                widths[rule].append(np.where(some, high - low, np.nan))
        for rule in RULES:
            hits, width = np.stack(covered[rule]), np.stack(widths[rule])
            least = min(float(np.nanmean(hits[:, kind])) for kind in kinds)
            yield {
                "photographs": name,
                "correlation": correlation,
                "rule": rule,
                "draws": task.draws,
                "covers %": f"{100 * np.nanmean(hits):.1f}",
                "least of eight kinds %": f"{100 * least:.1f}",
                "mean width, points": f"{100 * np.nanmean(width):.1f}",
            }


def _cells(correlations: Sequence[str]) -> Iterator[tuple[str, Mapping[int, int], str]]:
    """The designs, each with the correlations that it can have."""
    for name, design in _DESIGNS.items():
        for correlation in correlations if any(size > 1 for size in design) else correlations[:1]:
            yield name, design, correlation


def _changes(task: PairSimulation) -> Iterator[Mapping[str, object]]:
    """How often a change of presence is called, nothing having changed and after a loss.

    What is drawn for a caption is unrelated to what its photographs hold.
    """
    for name, design, correlation in _cells(("0", "0.5")):
        for loss in (0.0, 0.3):
            rng = np.random.default_rng([task.seed, 7, *map(ord, name + correlation)])
            by_captions = ignored = covers = 0
            for _ in range(task.draws):
                presence, within = np.full(20, 0.3), np.full(20, float(correlation))
                sides = []
                for chance in (presence, presence * (1.0 - loss)):
                    parts = [
                        draw_presences(rng, chance, within, groups, size)
                        for size, groups in design.items()
                    ]
                    sides.append(np.concatenate(parts).astype(np.float64))
                sizes = np.repeat(list(design), list(design.values()))
                captions = Design(groups=np.repeat(np.arange(len(sizes)), sizes))
                rows = compare_pairs(*sides, design=captions)
                by_captions += any(_called(row) for row in rows)
                ignored += any(_called(row) for row in compare_pairs(*sides))
                limits = [row.difference_interval or (-1.0, 1.0) for row in rows]
                covers += all(low <= -0.3 * loss <= high for low, high in limits)
            yield {
                "photographs": name,
                "correlation": correlation,
                "loss %": f"{100 * loss:.0f}",
                "draws": task.draws,
                "any called %": f"{100 * by_captions / task.draws:.1f}",
                "any called, captions ignored %": f"{100 * ignored / task.draws:.1f}",
                "all intervals cover %": f"{100 * covers / task.draws:.1f}",
            }


def _called(row: PairedClass) -> bool:
    """Whether the simultaneous interval of the change leaves out zero."""
    low, high = row.difference_interval or (0.0, 0.0)
    return low > 0.0 or high < 0.0
