"""How often `unseen discover` finds a red balloon that no class names, and calls what is nothing.

Scenes of the churchyard, each used once. Of the real ones one in twenty has a balloon; in null
draws none has. Groups are learnt and counted by the functions of the package; draws by which its
numbers were chosen are not among the draws reported.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from lab.churchyard_diffusion import scene_shards
from lab.generator_training import TRAINING_WORLD
from lab.statistics_simulation import write_table
from unseen.churchyard.scene import World
from unseen.churchyard.source import ChurchyardSource
from unseen.core.files import write_aside
from unseen.core.options import Option, Place
from unseen.distribution.compare import OF_REGIONS
from unseen.distribution.discovery import is_much_rarer
from unseen.segmenters.embedding import Embedding, load_embedding
from unseen.segmenters.groups import Groups, learn_groups
from unseen.statistics import ClassComparison, compare_classes, own_thresholds

_BALLOONS = 0.05  # share of the real scenes
_FIRST = 5  # groups among which the balloon is to be
_OF_BALLOONS = 0.5  # share of the images with a group that must have a balloon
_BATCH = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscoverySimulation:
    """Measure how often a planted object without a class is found, and how often nothing is."""

    out: Annotated[Path, Place("Folder for the table.", short="-o")]
    data: Annotated[Path, Option("Folder that keeps the scenes.")]
    draws: Annotated[int, Option("Draws with balloons, and as many without.", min=1)] = 20
    first: Annotated[int, Option("The first draw; its scenes are those from 4,000 times it.")] = 0
    images: Annotated[int, Option("Images a side, half of them to learn of.", min=100)] = 2000


def simulate_discovery(task: DiscoverySimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Make the draws that are missing, then write the table.

    Args:
        task: what to measure.
        say: told of every draw.

    Returns:
        The tables: a row a draw, and their sums.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    by_draw = task.out / "discovery-draws.csv"
    rows: list[dict[str, Any]] = []
    if by_draw.exists():
        with by_draw.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    done = {(int(row["draw"]), row["balloons"]) for row in rows}
    embedding = load_embedding("churchyard", device="cpu")
    for draw in range(task.first, task.first + task.draws):
        if {(draw, "yes"), (draw, "no")} <= done:
            continue
        for row in _draw(task, draw, embedding):
            rows.append(row)
            say(", ".join(f"{key} {value}" for key, value in row.items()))
        write_table(by_draw, rows)
    write_table(task.out / "discovery.csv", list(_sums(rows)))
    return [by_draw, task.out / "discovery.csv"]


def _draw(task: DiscoverySimulation, draw: int, embedding: Embedding) -> Iterator[dict[str, Any]]:
    """A draw with balloons, and the same scenes without."""
    n, half = task.images, task.images // 2
    scenes = scene_shards(task.data, ChurchyardSource("churchyard", World(seed=TRAINING_WORLD)))
    first = 2 * n * draw
    plain = scenes.rows(np.arange(first, first + n))
    generated = scenes.rows(np.arange(first + n, first + 2 * n))
    held, real = _with_balloons(task, draw, plain, first)
    other = np.concatenate(list(_patches(embedding, generated)))
    patches = np.concatenate(list(_patches(embedding, real)))
    for balloons in ("yes", "no"):
        if balloons == "no":
            patches[held] = np.concatenate(list(_patches(embedding, plain[held])))
        groups = learn_groups(_parts(patches[:half]), _parts(other[:half]), seed=draw)
        areas = [_areas(groups, side[half:]) for side in (patches, other)]
        rows = _compared(*areas)
        called = [row for row in rows if row[1]]
        places = [
            place
            for place, (k, is_called, _) in enumerate(rows, 1)
            if is_called and _of_balloons(areas[0][:, k], held[half:])
        ]
        yield {
            "draw": draw,
            "balloons": balloons,
            "real images with one": int(held[half:].sum()) if balloons == "yes" else 0,
            "groups tested": len(rows),
            "groups called": len(called),
            "place of the first of balloons": min(places, default=0) if balloons == "yes" else 0,
            "of the first five, of balloons": sum(place <= _FIRST for place in places)
            if balloons == "yes"
            else 0,
        }


def _with_balloons(
    task: DiscoverySimulation, draw: int, plain: UInt8[np.ndarray, "n 3 h w"], first: int
) -> tuple[Bool[np.ndarray, " n"], UInt8[np.ndarray, "n 3 h w"]]:
    """Which scenes have a balloon, and all scenes with the balloons that they have."""
    world = World(seed=TRAINING_WORLD, balloon=_BALLOONS)
    held = np.array([world.has_balloon(first + k) for k in range(len(plain))])
    path = task.out / f"balloons-{draw:02}.npz"
    if not path.exists():
        pictures = [world.scene(first + int(k)).picture for k in np.flatnonzero(held)]
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, pictures=np.stack(pictures))
    with np.load(path) as kept:
        real = plain.copy()
        real[held] = kept["pictures"]
    return held, real


def _patches(embedding: Embedding, images: UInt8[np.ndarray, "n 3 h w"]) -> Iterator[np.ndarray]:
    for part in _parts(images):
        yield embedding.patches(part).astype(np.float16)  # as many of a draw as fit into memory


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Batches; features as numbers that statistics can take."""
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        yield part.astype(np.float32) if part.dtype == np.float16 else part


def _areas(groups: Groups, patches: np.ndarray) -> Float64[np.ndarray, "n g"]:
    """Share of every image that every group covers."""
    number = len(groups.centres)
    counted = [
        np.bincount(label_map.reshape(-1), minlength=number + 1)[1:] / label_map.size
        for part in _parts(patches)
        for label_map in groups.labels(part)
    ]
    return np.asarray(counted, np.float64)


def _compared(
    real: Float64[np.ndarray, "n g"], generated: Float64[np.ndarray, "m g"]
) -> list[tuple[int, bool, ClassComparison]]:
    """The tested groups with whether they are called, in the order of `unseen discover`."""
    rows = compare_classes(
        real, generated, presence_threshold=own_thresholds(real, part=OF_REGIONS)
    )
    tested = [(k, row) for k, row in enumerate(rows) if row.tested and row.interval is not None]
    told = [(k, is_much_rarer(row), row) for k, row in tested]
    return sorted(told, key=lambda of: (not of[1], of[2].interval[1] if of[2].interval else 0.0))


def _of_balloons(area: Float64[np.ndarray, " n"], held: Bool[np.ndarray, " n"]) -> bool:
    """Whether most of the images that hold the group have a balloon."""
    holding = area >= own_thresholds(area[:, None], part=OF_REGIONS)[0]
    return bool(holding.any() and held[holding].mean() >= _OF_BALLOONS)


def _sums(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, object]]:
    for balloons in ("yes", "no"):
        draws = [row for row in rows if row["balloons"] == balloons]
        first = [int(row["place of the first of balloons"]) for row in draws]
        yield {
            "balloons in 5 % of the real scenes": balloons,
            "draws": len(draws),
            "draws in which a group is called": sum(int(row["groups called"]) > 0 for row in draws),
            "balloons among the first five": sum(1 <= place <= _FIRST for place in first),
            "balloons first": sum(place == 1 for place in first),
        }
