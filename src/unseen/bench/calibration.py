"""Calibration: how often a planted omission is found, and how often one is found that is not there.

The churchyard plays both sides. A class is thinned on both sides to a stated presence; then it is
removed wholly, by half or by a fifth from the side that plays the generator, by rendering the same
scenes again without it. Everything is scored through the segmenter, as a user's images would be.
Any other set of images can only be filtered: images that hold the class are taken out of one side,
which also takes out the classes that live with it, so there only detection is scored.
Source: section "Planted omissions" of docs/statistics.md.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from unseen.bench.calibration_figure import draw_calibration
from unseen.bench.calibration_table import Cell, calibration_csv, calibration_table
from unseen.churchyard.classes import CLASS_NAMES
from unseen.churchyard.source import ChurchyardSource
from unseen.core.errors import SampleError, SpecError
from unseen.core.files import sha256_of_parts, write_text
from unseen.core.options import SEED_MOST, Option, Place, check_options
from unseen.distribution.areas import class_name
from unseen.distribution.segment import default_segmenter, segment
from unseen.images import ImageSource, open_images, subset
from unseen.segmenters import Segmenter, load_segmenter
from unseen.segmenters.protocol import SegmenterName
from unseen.statistics import compare_classes

CALLED = ("omitted", "under", "over")  # verdicts that say the sides differ
MISSING = ("omitted", "under")  # verdicts that find a planted omission


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Which omissions to plant, at which sample sizes, how often."""

    out: Annotated[
        Path, Place("Folder for the areas and the tables. A run goes on there.", short="-o")
    ] = Path("calibration")
    images: Annotated[
        str,
        Option(
            "Pool of images. Only the churchyard is rendered without a class; other images are "
            "filtered, which measures detection alone."
        ),
    ] = "churchyard?seed=90210"
    segmenter: SegmenterName = None
    classes: Annotated[
        tuple[str, ...], Option("Classes to leave out, one at a time.", name="--classes")
    ] = ("person", "fence", "car", "palm")
    presences: Annotated[
        tuple[float, ...],
        Option("Shares of the real images that hold the class.", min=1e-6, max=1),
    ] = (0.005, 0.01, 0.02, 0.05)
    removals: Annotated[
        tuple[float, ...],
        Option("Shares of its images that lose the class on the other side.", min=1e-6, max=1),
    ] = (1.0, 0.5, 0.2)
    counts: Annotated[tuple[int, ...], Option("Images on each side.", name="--sizes", min=2)] = (
        500,
        1000,
        2000,
        5000,
    )
    pool: Annotated[
        int, Option("Images that are segmented once, and that sides are drawn from.", min=4)
    ] = 20_000
    repetitions: Annotated[int, Option("Draws of every omission and size.", min=1)] = 100
    null_repetitions: Annotated[int, Option("Draws of every size without an omission.", min=1)] = (
        400
    )
    presence_threshold: float = 0.005  # share of the image that makes a class present
    seed: Annotated[int, Option("Seed of the pool's subset and of every draw.", max=SEED_MOST)] = 0

    def __post_init__(self) -> None:
        check_options(self)
        largest = max(self.counts)
        if self.pool < 2 * largest:
            raise SampleError(
                f"a pool of {self.pool} images holds no two disjoint sides of {largest}; "
                f"give at least {2 * largest}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Areas of a pool of images, and of the same images without each planted class.

    Attributes:
        columns: `channel/class`.
        pixels: areas as segmented.
        label_map_pixels: height × width.
        present: class name → images in which it covers at least the presence threshold.
        holding: class name → indices of all images that hold any pixel of it.
        without: class name → areas of those images rendered without it; absent for filtered pools.
    """

    columns: tuple[str, ...]
    pixels: UInt32[np.ndarray, "n k"]
    label_map_pixels: int
    present: Mapping[str, Bool[np.ndarray, " n"]]
    holding: Mapping[str, Int64[np.ndarray, " _"]]
    without: Mapping[str, UInt32[np.ndarray, "_ k"]]


@dataclasses.dataclass(frozen=True)
class _Selection:
    """Some images of a source, as a source."""

    source: ImageSource
    indices: tuple[int, ...]

    @property
    def spec(self) -> str:
        return self.source.spec

    @property
    def names(self) -> Sequence[str]:
        names = self.source.names
        return [names[index] for index in self.indices]

    @property
    def endless(self) -> bool:
        return False

    def read(self, index: int) -> np.ndarray:
        return self.source.read(self.indices[index])

    def fingerprint(self) -> str:
        return sha256_of_parts([self.source.fingerprint(), *map(str, self.indices)])


def run_calibration(
    task: Calibration, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Plant, compare, count, and write the tables and the figure; yields each path.

    Args:
        task: what to plant. Started again, it takes up the areas that its folder holds.
        say: told of every step.

    Raises:
        SampleError: too few images, or a class that the segmenter does not have.
    """
    source = open_images(task.images)
    segmenter = load_segmenter(task.segmenter or default_segmenter(source), device="auto")
    plant = churchyard_pool if isinstance(source, ChurchyardSource) else filtered_pool
    pool = plant(task, segmenter, say)
    yield from write_calibration(task.out, calibrate(task, pool, say))


def churchyard_pool(
    task: Calibration, segmenter: Segmenter, say: Callable[[str], None] = lambda _: None
) -> Pool:
    """Segment the pool once, and once more without each planted class where a scene holds it."""
    source = open_images(task.images)
    if not isinstance(source, ChurchyardSource):
        raise SpecError(
            f"{task.images!r} is not the churchyard, whose scenes can be rendered again"
        )
    say(f"segmenting {task.pool} scenes")
    areas = segment(source, segmenter, count=task.pool, out=task.out / "pool.parquet")
    say("reading the true label maps")
    truth = np.stack(
        [
            np.bincount(source.label_map(index).ravel(), minlength=len(CLASS_NAMES))
            for index in range(task.pool)
        ]
    )
    fraction = truth / truth.sum(axis=1, keepdims=True)
    present, holding, without = {}, {}, {}
    for name in task.classes:
        label = CLASS_NAMES.index(name)
        present[name] = fraction[:, label] >= task.presence_threshold
        holding[name] = np.flatnonzero(truth[:, label])
        say(f"segmenting {len(holding[name])} scenes again without {name}")
        separator = "&" if "?" in task.images else "?"
        emptied = open_images(f"{task.images}{separator}without={name}")
        chosen = _Selection(emptied, tuple(holding[name].tolist()))
        kept = task.out / f"without-{name}.parquet"
        without[name] = segment(chosen, segmenter, out=kept).pixels
    return Pool(areas.columns, areas.pixels, areas.label_map_pixels, present, holding, without)


def filtered_pool(
    task: Calibration, segmenter: Segmenter, say: Callable[[str], None] = lambda _: None
) -> Pool:
    """Segment any set of images once; presence is what the segmenter says."""
    source = open_images(task.images)
    count = min(task.pool, len(subset(source, None, task.seed)))
    if count < 2 * max(task.counts):
        raise SampleError(
            f"{task.images} has {count} images; two disjoint sides of {max(task.counts)} need "
            f"{2 * max(task.counts)}: ask for smaller --counts"
        )
    areas = segment(source, segmenter, count=count, seed=task.seed, out=task.out / "pool.parquet")
    say(f"segmented {count} images")
    present = {}
    for name in task.classes:
        columns = [k for k, c in enumerate(areas.columns) if class_name(c) == name]
        if not columns:
            raise SampleError(
                f"the segmenter has no class {name!r}; `unseen list` shows how to ask"
            )
        present[name] = areas.fraction[:, columns[0]] >= task.presence_threshold
    return Pool(areas.columns, areas.pixels, areas.label_map_pixels, present, {}, {})


def calibrate(
    task: Calibration, pool: Pool, say: Callable[[str], None] = lambda _: None
) -> list[Cell]:
    """Detection and false-alarm counts for every cell of the task, null runs first.

    Repetitions draw two disjoint sides at random from one finite pool: at counts near half the
    pool they overlap, so that their spread is somewhat less than that of fresh samples.
    """
    cells = []
    for count in task.counts:
        say(f"null, {count} images a side")
        cells.append(_null_cell(task, pool, count))
    for name in task.classes:
        for presence in task.presences:
            if pool.present[name].mean() < presence:
                say(f"{name} is in fewer than {presence:.1%} of the pool: left out")
                continue
            cells += [
                _planted_cell(task, pool, name, presence, removal, count)
                for removal in task.removals
                for count in task.counts
            ]
            say(f"{name} at {presence:.1%}")
    return cells


def _null_cell(task: Calibration, pool: Pool, count: int) -> Cell:
    rng = np.random.default_rng((task.seed, count))
    alarms = 0
    for _ in range(task.null_repetitions):
        real, generated = _two_sides(rng, len(pool.pixels), count)
        verdicts = _verdicts(task, pool, pool.pixels[real], pool.pixels[generated])
        alarms += any(verdict in CALLED for verdict in verdicts)
    return Cell(
        class_name="",
        presence=0.0,
        removal=0.0,
        count=count,
        repetitions=task.null_repetitions,
        detected=0,
        omitted=0,
        false_alarms=alarms,
    )


def _planted_cell(
    task: Calibration, pool: Pool, name: str, presence: float, removal: float, count: int
) -> Cell:
    column = next(k for k, c in enumerate(pool.columns) if class_name(c) == name)
    key = (task.seed, count, round(presence * 1e6), round(removal * 1e6), column)
    rng = np.random.default_rng(key)
    detected = omitted = alarms = 0
    plant = _plant_rendered if pool.without else _plant_filtered
    for _ in range(task.repetitions):
        real, generated = plant(rng, pool, name, presence, removal, count)
        verdicts = _verdicts(task, pool, real, generated)
        detected += verdicts[column] in MISSING
        omitted += verdicts[column] == "omitted"
        alarms += any(v in CALLED for k, v in enumerate(verdicts) if k != column)
    return Cell(
        class_name=name,
        presence=presence,
        removal=removal,
        count=count,
        repetitions=task.repetitions,
        detected=detected,
        omitted=omitted,
        false_alarms=alarms if pool.without else None,
    )


def _plant_rendered(
    rng: np.random.Generator, pool: Pool, name: str, presence: float, removal: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Thin the class to `presence` on both sides, then remove it from the generated side."""
    real, generated = _two_sides(rng, len(pool.pixels), count)
    keep = pool.present[name] & (
        rng.random(len(pool.pixels)) < presence / pool.present[name].mean()
    )
    survives = keep & (rng.random(len(pool.pixels)) >= removal)
    return (
        _areas_with_class_in(pool, name, keep, real),
        _areas_with_class_in(pool, name, survives, generated),
    )


def _areas_with_class_in(
    pool: Pool, name: str, kept: Bool[np.ndarray, " n"], chosen: Int64[np.ndarray, " m"]
) -> UInt32[np.ndarray, "m k"]:
    """Areas of the chosen scenes, in which only the kept ones still hold the class."""
    row_without = np.full(len(pool.pixels), -1)
    row_without[pool.holding[name]] = np.arange(len(pool.holding[name]))
    rows = row_without[chosen]
    areas: UInt32[np.ndarray, "m k"] = pool.pixels[chosen]
    emptied = (rows >= 0) & ~kept[chosen]
    areas[emptied] = pool.without[name][rows[emptied]]
    return areas


def _plant_filtered(
    rng: np.random.Generator, pool: Pool, name: str, presence: float, removal: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw both sides at the stated presence; replace the removed images by others without it."""
    holders = rng.permutation(np.flatnonzero(pool.present[name]))
    others = rng.permutation(np.flatnonzero(~pool.present[name]))
    real_holders = rng.binomial(count, presence)
    generated_holders = rng.binomial(count, presence * (1 - removal))
    if real_holders + generated_holders > len(holders):
        raise SampleError(
            f"{len(holders)} images hold {name}; {real_holders + generated_holders} are needed"
        )
    sides = []
    for held in (real_holders, generated_holders):
        rows = np.concatenate([holders[:held], others[: count - held]])
        holders, others = holders[held:], others[count - held :]
        sides.append(pool.pixels[rows])
    return sides[0], sides[1]


def _two_sides(
    rng: np.random.Generator, size: int, count: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    chosen = rng.choice(size, 2 * count, replace=False)
    return chosen[:count], chosen[count:]


def _verdicts(task: Calibration, pool: Pool, real: np.ndarray, generated: np.ndarray) -> list[str]:
    rows = compare_classes(
        real / np.float64(pool.label_map_pixels),
        generated / np.float64(pool.label_map_pixels),
        presence_threshold=task.presence_threshold,
    )
    return [row.verdict for row in rows]


def write_calibration(folder: Path, cells: Sequence[Cell]) -> Iterator[Path]:
    """Write `calibration.csv`, `calibration.md` and `calibration.svg/.png`; yields each path."""
    write_text(folder / "calibration.csv", calibration_csv(cells))
    yield folder / "calibration.csv"
    write_text(folder / "calibration.md", calibration_table(cells))
    yield folder / "calibration.md"
    yield from draw_calibration(folder, cells)
