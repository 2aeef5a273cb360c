"""Do groups keep the error rates? Simulation of clips and prompts, end to end through `compare`.

A few strongly correlated classes with heavy tails: hidden factors decide presence and size of every
class, and images of one group share a part of all of them, the correlation. With correlation 0
groups are names alone. The table is that of docs/statistics.md.
"""

import contextlib
import dataclasses
import functools
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.special
from jaxtyping import Float64

from lab.statistics_simulation import Log, write_table
from unseen.core.options import SEED_MOST, Option, Place
from unseen.distribution import compare as comparing
from unseen.distribution.areas import Areas
from unseen.distribution.dependence import near_duplicates
from unseen.statistics import frechet_inference, smallest_detectable_drop

_CLASSES = 24
_PIXELS = 65_536
_PLANTED = 5  # the class whose drop is looked for: in about a fifth of the images
_LARGER = 1.2  # times, of the most frequent class where a drop is planted
_NO_CALL = ("matched", "undecided", "untested")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of draw."""

    groups: int
    size: int  # images in a group
    correlation: float  # of the hidden factors of two images of one group
    real_groups: bool = True  # whether the real side is in groups as well
    planted: bool = False  # whether the class loses what this many independent images would show
    copied: bool = False  # whether images of a group are copies but for a few pixels
    draws: int = 400  # at most
    alone: int = 50  # of them compared as if all images were independent, too


CELLS = (
    *(Cell(groups=200, size=10, correlation=c) for c in (0.0, 0.1, 0.3, 0.9)),
    *(Cell(groups=100, size=10, correlation=c) for c in (0.3, 0.9)),
    *(Cell(groups=g, size=10, correlation=0.0, planted=True, alone=400) for g in (100, 200)),
    *(Cell(groups=100, size=10, correlation=0.0, copied=c, draws=50) for c in (False, True)),
    Cell(groups=200, size=10, correlation=0.3, real_groups=False, draws=200),
    Cell(groups=20, size=10, correlation=0.3, draws=200),
)

# Fewer than the package's 199, so that the table is made in minutes: 39 test at 5 % exactly.
_EXCHANGES = 39


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupSimulation:
    """Measure false alarms and power where images come in groups."""

    out: Annotated[Path, Place("Folder for draws and tables. A run goes on there.", short="-o")]
    draws: Annotated[int, Option("Draws of a cell at most.", min=1)] = 400
    seed: Annotated[int, Option("Seed of populations and draws.", max=SEED_MOST)] = 1
    cells: Sequence[Cell] = CELLS


class World:
    """Areas of images whose hidden factors are known."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rank = np.arange(1, _CLASSES + 1)
        self.presence = np.clip(1.2 * rank**-0.9, 0.03, 0.97)
        self.size = np.exp(3.0 * rank**-0.4 + 0.4 * rng.standard_normal(_CLASSES))
        self.spread = rng.uniform(0.6, 1.4, _CLASSES)  # of the log of the size: heavy tails
        self.loading = rng.standard_normal((_CLASSES, 4))  # strong: much of every class is shared
        self.unit = np.sqrt(1 + (self.loading**2).sum(axis=1))

    def draw(self, cell: Cell, rng: np.random.Generator, *, keep: float = 1.0) -> Areas:
        """Images in groups, named by their group and their place in it.

        Args:
            cell: how many groups, how large and how alike.
            rng: of the draw.
            keep: share of the planted class's images that keep it; below 1 the class of largest
                area is larger, too, which the distance is to show.
        """
        images = cell.groups * cell.size

        def normal(columns: int) -> Float64[np.ndarray, "n k"]:
            """Standard normal, correlated within groups."""
            shared = np.repeat(rng.standard_normal((cell.groups, columns)), cell.size, axis=0)
            own = rng.standard_normal((images, columns))
            shares = 1.0 if cell.copied else cell.correlation
            return np.asarray(np.sqrt(shares) * shared + np.sqrt(1 - shares) * own)

        hidden = normal(4) @ self.loading.T + normal(_CLASSES)
        present = hidden < self.unit * scipy.special.ndtri(self.presence)
        present[:, _PLANTED] &= rng.random(images) < keep
        area = np.exp(self.spread * normal(_CLASSES)) * self.size * present
        area[:, 0] *= _LARGER if keep < 1.0 else 1.0
        area[:, 0] += 1e-3  # no image is empty
        pixels = np.floor((_PIXELS - 100) * area / area.sum(axis=1, keepdims=True)).astype(np.int64)
        if cell.copied:
            pixels += rng.integers(0, 4, pixels.shape) * (pixels > 0)
        pixels[:, 0] += _PIXELS - pixels.sum(axis=1)
        return Areas(
            names=[f"{k // cell.size:05d}/{k % cell.size}" for k in range(images)],
            columns=tuple(f"object/{k}" for k in range(_CLASSES)),
            pixels=pixels.astype(np.uint32),
            label_map_pixels=_PIXELS,
        )


def simulate_groups(task: GroupSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Make the draws that are missing, then write the table.

    Args:
        task: what to measure.
        say: told of every finished cell.

    Returns:
        The tables: CSV and Markdown.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    world = World(task.seed)
    rows = []
    for number, cell in enumerate(task.cells):
        draws = min(task.draws, cell.draws)
        log = Log(task.out / f"groups-{number:02d}.jsonl")
        for draw in range(len(log.rows), draws):
            rng = np.random.default_rng([task.seed, number, draw])
            with _fewer_exchanges():
                log.append(**_measure(world, cell, rng, draw))
        rows.append(_row(cell, log.rows[:draws]))
        say(f"{cell}: {rows[-1]}")
    return write_table(task.out / "groups.csv", rows)


@contextlib.contextmanager
def _fewer_exchanges() -> Iterator[None]:
    """`compare` as it is, with a quicker test of the distance."""
    quick = functools.partial(frechet_inference, permutations=_EXCHANGES)
    with unittest.mock.patch.object(comparing, "frechet_inference", quick):
        yield


def _measure(world: World, cell: Cell, rng: np.random.Generator, draw: int) -> dict[str, Any]:
    """One pair of samples, compared by groups and as if all images were independent."""
    images = cell.groups * cell.size
    keep = 1.0
    if cell.planted:
        drop = smallest_detectable_drop(
            float(world.presence[_PLANTED]), images, images, tests=_CLASSES
        )
        assert drop is not None
        keep = 1.0 - drop
    alone = dataclasses.replace(cell, groups=images, size=1)
    real = world.draw(cell if cell.real_groups else alone, rng)
    generated = world.draw(cell, rng, keep=keep)
    measured: dict[str, Any] = {}
    for how in ("grouped", "ungrouped") if draw < cell.alone else ("grouped",):
        by_side = {"real": "folder" if cell.real_groups else "none", "generated": "folder"}
        told: Any = by_side if how == "grouped" else "none"
        side = comparing.compare(real, [generated], groups=told, seed=draw).generated[0]
        rows = {row.column: row for row in side.classes}
        measured[how] = {
            "called": sum(row.verdict not in _NO_CALL for row in side.classes),
            "found": rows[f"object/{_PLANTED}"].verdict in ("omitted", "under"),
            "p": side.fsd.p_value,
            "effective": None if side.sampling is None else side.sampling.effective_images,
        }
    if cell.draws <= 50:
        measured["warned"] = bool(near_duplicates(generated, real))
    return measured


def _row(cell: Cell, draws: Sequence[dict[str, Any]]) -> dict[str, object]:
    """A row of the table: percentages of the draws."""

    def share(how: str, holds: Callable[[dict[str, Any]], bool]) -> str:
        return f"{100 * np.mean([holds(draw[how]) for draw in draws if how in draw]):.1f}"

    found = [share(how, lambda draw: draw["found"]) for how in ("grouped", "ungrouped")]
    warned = [draw["warned"] for draw in draws if "warned" in draw]
    return {
        "groups": cell.groups,
        "images in each": cell.size,
        "real side in groups": "yes" if cell.real_groups else "no",
        "correlation": "copies" if cell.copied else cell.correlation,
        "planted drop": "yes" if cell.planted else "no",
        "draws": len(draws),
        "any class called %": share("grouped", lambda draw: draw["called"] > 0),
        "FSD p ≤ 0.05 %": share("grouped", lambda draw: draw["p"] <= 0.05),
        "class found %": found[0] if cell.planted else "–",
        "draws as if independent": sum("ungrouped" in draw for draw in draws),
        "then any class called %": share("ungrouped", lambda draw: draw["called"] > 0),
        "then FSD p ≤ 0.05 %": share("ungrouped", lambda draw: draw["p"] <= 0.05),
        "then class found %": found[1] if cell.planted else "–",
        "worth independent images": f"{np.mean([d['grouped']['effective'] for d in draws]):.0f}",
        "near-duplicates warned of": f"{sum(warned)} of {len(warned)}" if warned else "–",
    }
