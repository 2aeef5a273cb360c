"""False calls and power of "rarely together", and of rules that lost.

Simulated classes, whose presences have hidden causes in common, and scenes of the churchyard, whose
label maps are exact. The tables are those of docs/statistics.md.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.special
from jaxtyping import Bool, Float64

from lab.class_simulation import draw_presences
from lab.statistics_simulation import measured_table
from unseen.churchyard.classes import CLASS_NAMES, INDEX
from unseen.churchyard.scene import World
from unseen.core.files import write_aside
from unseen.core.options import SEED_MOST, Option, Place
from unseen.statistics import PRESENCE_THRESHOLD, Design
from unseen.statistics.ratios import conditional_tests
from unseen.statistics.together import RARELY_BELOW, could_be_called, rarely_together

_CLASSES = 60
_PLANTED = (4, 7)  # classes in 26 and 18 % of the images
_LEVEL = 0.05
_CHURCHYARD_SEED = 64_000  # of a world that nothing else uses

_Presences = Bool[np.ndarray, "n k"]
_Square = Float64[np.ndarray, "k k"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TogetherSimulation:
    """Measure false calls and power of pairs that are rarely together, and the rules beside it."""

    out: Annotated[Path, Place("Folder for the tables.", short="-o")]
    draws: Annotated[int, Option("Draws of every population.", min=1)] = 400
    seeds: Annotated[int, Option("Draws of the churchyard.", min=1)] = 20
    scenes: Annotated[int, Option("Scenes of the churchyard that draws are made of.", min=2)] = 5000
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 0
    tables: Sequence[str] = ("rules", "groups", "churchyard")


def simulate_together(task: TogetherSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Measure what is missing in the folder, a table at a time.

    Args:
        task: what to measure.
        say: told of every row.

    Returns:
        The tables: CSV each, and Markdown.
    """
    measured: dict[str, Callable[[TogetherSimulation], Iterator[Mapping[str, object]]]] = {
        "rules": _rules,
        "groups": _groups,
        "churchyard": _churchyard,
    }
    return [
        measured_table(task.out / f"together-{name}.csv", name, measured[name](task), say)
        for name in task.tables
    ]


# --- rules ------------------------------------------------------------------------------------


def _left_of_both(p: Float64[np.ndarray, " k"], q: Float64[np.ndarray, " k"]) -> _Square:
    left = np.divide(q, p, out=np.ones_like(q), where=p > 0.0)
    return np.outer(left, left)


def _only_falls(p: Float64[np.ndarray, " k"], q: Float64[np.ndarray, " k"]) -> _Square:
    left = np.minimum(np.divide(q, p, out=np.ones_like(q), where=p > 0.0), 1.0)
    return np.outer(left, left)


def _nothing(p: Float64[np.ndarray, " k"], _: Float64[np.ndarray, " k"]) -> _Square:
    return np.ones((len(p), len(p)))


# Name → what is left of a pair by the two presences, the ratio below which it must lie, and the
# ratio below which its interval must end.
RULES: Mapping[str, tuple[Callable[..., _Square], float, float]] = {
    "chosen: falls explain; ratio < ½, interval < 1": (_only_falls, RARELY_BELOW, 1.0),
    "falls explain; interval < 1": (_only_falls, 1.0, 1.0),
    "falls explain; interval < ½": (_only_falls, 0.5, 0.5),
    "falls and rises explain; ratio < ½, interval < 1": (_left_of_both, RARELY_BELOW, 1.0),
    "pairs as classes of their own; ratio < ½, interval < 1": (_nothing, RARELY_BELOW, 1.0),
}


def called_pairs(
    real: _Presences,
    generated: _Presences,
    explained: Callable[..., _Square],
    most: float,
    limit: float,
) -> set[tuple[int, int]]:
    """The pairs that a rule calls."""
    sides = [side.astype(np.float64) for side in (real, generated)]
    n, m = map(len, sides)
    a, b = (side.T @ side for side in sides)
    left = explained(np.diag(a) / n, np.diag(b) / m)
    wanted = np.triu(np.ones(a.shape, bool), 1) & (a > 0)
    tests, tested = could_be_called(a + b, float(n), m * left, wanted, _LEVEL, limit)
    chosen = np.argwhere(tested & (b / m < most * a / n * left))
    if not len(chosen):
        return set()
    places = tuple(chosen.T)
    held = np.minimum(b[places], m * left[places])
    found: set[tuple[int, int]] = set()
    for block, test in conditional_tests(a[places], held, float(n), m * left[places]):
        below = test.lower_tail(limit) < _LEVEL / tests / 2.0
        found |= {(int(i), int(j)) for i, j in chosen[block[below]]}
    return found


# --- simulated classes ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Classes:
    """Presences with two hidden causes, a loading a class and cause."""

    presence: Float64[np.ndarray, " k"]
    loadings: Float64[np.ndarray, "k 2"]

    @classmethod
    def of(cls, seed: int) -> "_Classes":
        rank = np.arange(1, _CLASSES + 1)
        presence = np.clip(0.9 * rank**-0.77, 0.004, 0.9)
        loadings = np.random.default_rng(seed).uniform(-0.7, 0.7, (_CLASSES, 2))
        return cls(presence, loadings)

    def draw(self, rng: np.random.Generator, n: int, *, fewer: bool = False) -> _Presences:
        """Presences of n images; `fewer`: of scenes of one kind four in five are lost."""
        causes = rng.standard_normal((6 * n if fewer else n, 2))
        if fewer:
            lost = (causes[:, 0] > 0.84) & (rng.random(len(causes)) < 0.8)
            causes = causes[~lost][:n]
        rest = np.sqrt(1.0 - (self.loadings**2).sum(axis=1))
        hidden = causes @ self.loadings.T + rest * rng.standard_normal((n, _CLASSES))
        return np.asarray(hidden < scipy.special.ndtri(self.presence))


def _changed(kind: str, classes: _Classes, rng: np.random.Generator, n: int) -> _Presences:
    """The generated side."""
    some = np.arange(_CLASSES) % 3 == 1
    held = classes.draw(rng, n, fewer=kind == "scenes of a kind lost")
    if kind == "a third of the classes halved":
        held = held & ~(some & (rng.random(held.shape) < 0.5))
    if kind == "a third of the classes drawn three times as often":
        held = held | (some & (rng.random(held.shape) < 2.0 * classes.presence))
    if kind == "one in 50 labels wrong":
        held = held ^ (rng.random(held.shape) < 0.02)
    if kind.startswith("planted"):
        i, j = _PLANTED
        lost = held[:, i] & (rng.random(n) >= float(kind.split()[1]) / 100.0)
        held[lost, j] = False
    return held


_CHANGES = (
    "nothing",
    "a third of the classes halved",
    "a third of the classes drawn three times as often",
    "scenes of a kind lost",
    "one in 50 labels wrong",
    "planted 0 % kept",
    "planted 20 % kept",
)


def _rules(task: TogetherSimulation) -> Iterator[Mapping[str, object]]:
    """Pairs that are called though no two classes were kept apart, and planted pairs found."""
    for change in _CHANGES:
        for n in (500, 2000):
            rng = np.random.default_rng([task.seed, n, *map(ord, change)])
            false, found = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
            for draw in range(task.draws):
                classes = _Classes.of(draw)
                real, generated = classes.draw(rng, n), _changed(change, classes, rng, n)
                for rule, how in RULES.items():
                    called = called_pairs(real, generated, *how)
                    false[rule] += bool(called - {_PLANTED})
                    found[rule] += _PLANTED in called
            for rule in RULES:
                planted = change.startswith("planted")
                yield {
                    "change": change,
                    "images a side": n,
                    "rule": rule,
                    "draws": task.draws,
                    "any pair called falsely %": f"{100 * false[rule] / task.draws:.1f}",
                    "planted pair found %": f"{100 * found[rule] / task.draws:.1f}"
                    if planted
                    else "–",
                }


def _groups(task: TogetherSimulation) -> Iterator[Mapping[str, object]]:
    """Images in groups of ten: called with the groups declared, and ignored."""
    presence = _Classes.of(0).presence
    for correlation in (0.1, 0.3, 0.9):
        rng = np.random.default_rng([task.seed, 9, round(10 * correlation)])
        within = np.full(_CLASSES, correlation)
        designs = {"declared": Design(groups=np.repeat(np.arange(100), 10)), "ignored": Design()}
        calls = dict.fromkeys(designs, 0)
        for _ in range(task.draws):
            sides = [
                draw_presences(rng, presence, within, 100, 10).astype(np.float64) for _ in range(2)
            ]
            for name, design in designs.items():
                found = rarely_together(*sides, real_design=design, generated_design=design)
                calls[name] += bool(found.pairs)
        yield {
            "correlation within groups": correlation,
            "draws": task.draws,
            **{
                f"any pair called, groups {name} %": f"{100 * calls[name] / task.draws:.1f}"
                for name in designs
            },
        }


# --- the churchyard ---------------------------------------------------------------------------


def _churchyard(task: TogetherSimulation) -> Iterator[Mapping[str, object]]:
    """Cars that are never drawn with fences: draws of 2,000 images a side, and null draws."""
    plain, apart = _areas(task)
    pair = tuple(sorted((INDEX["car"], INDEX["fence"])))
    for planted in (False, True):
        for n in (500, 2000):
            called, others, ratios = 0, 0, []
            for draw in range(task.seeds):
                rng = np.random.default_rng([task.seed, 11, n, draw])
                rows = rng.integers(0, len(plain), (2, n))
                found = rarely_together(plain[rows[0]], (apart if planted else plain)[rows[1]])
                columns = {rare.columns: rare.ratio for rare in found.pairs}
                called += pair in columns
                ratios += [columns[pair]] if pair in columns else []
                others += bool(columns.keys() - {pair})
            yield {
                "generated scenes": "cars only without fences" if planted else "as the real ones",
                "images a side": n,
                "draws": task.seeds,
                "car and fence called": called,
                "another pair called": others,
                "mean ratio where called": f"{np.mean(ratios):.3f}" if ratios else "–",
            }


def _areas(task: TogetherSimulation) -> tuple[Float64[np.ndarray, "n k"], ...]:
    """Exact areas of scenes, and of the same scenes without the cars of those with fences."""
    path = task.out / f"churchyard-{task.scenes}.npz"
    if not path.exists():
        world = World(seed=_CHURCHYARD_SEED)
        without = dataclasses.replace(world, without=(("car", 1.0),))
        plain, apart = [], []
        for index in range(task.scenes):
            plain.append(_shares(world, index))
            both = plain[-1][[INDEX["car"], INDEX["fence"]]] >= PRESENCE_THRESHOLD
            apart.append(_shares(without, index) if both.all() else plain[-1])
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, plain=np.stack(plain), apart=np.stack(apart))
    with np.load(path) as kept:
        return kept["plain"], kept["apart"]


def _shares(world: World, index: int) -> Float64[np.ndarray, " k"]:
    label_map = world.scene(index).label_map
    return np.bincount(label_map.reshape(-1), minlength=len(CLASS_NAMES)) / label_map.size
