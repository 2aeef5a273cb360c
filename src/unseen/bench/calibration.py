"""Calibration: how often a planted omission is found, and how often one is found that is not there.

Both sides are drawn from one set of images. A class is brought to a stated presence on both; then
images that hold it are taken out of the side that plays the generator: all, half or a fifth of
them. That also takes out the classes that live with it, so detection alone is scored. Without a
planted omission both sides are alike, and every class that is called is a false alarm.
Source: docs/calibration.md.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from unseen.bench.calibration_report import Cell, calibration_table, draw_calibration
from unseen.core.errors import SampleError
from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place, check_options
from unseen.core.tables import csv_text
from unseen.core.wording import listed
from unseen.distribution.areas import class_name
from unseen.distribution.areas_work import Opening
from unseen.distribution.segment import default_segmenter, segment
from unseen.engines.engine import Engine
from unseen.images import open_images
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
    images: Annotated[str, Option("Images: a folder, an archive or a spec.")]
    segmenter: SegmenterName = None
    classes: Annotated[
        tuple[str, ...], Option("Classes to leave out, one at a time.", name="--classes")
    ]
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
    """Areas of a pool of images, from which both sides are drawn.

    Attributes:
        columns: `channel/class`.
        pixels: areas as segmented.
        label_map_pixels: height × width.
        present: class name → images in which it covers at least the presence threshold.
    """

    columns: tuple[str, ...]
    pixels: UInt32[np.ndarray, "n k"]
    label_map_pixels: int
    present: Mapping[str, Bool[np.ndarray, " n"]]

    keeps_others: ClassVar[bool] = False  # whether planting a class leaves the others as they were

    def plant(
        self, rng: np.random.Generator, name: str, presence: float, removal: float, count: int
    ) -> tuple[UInt32[np.ndarray, "m k"], UInt32[np.ndarray, "m k"]]:
        """Draw both sides at the stated presence; replace the removed images by others without it.

        Raises:
            SampleError: too few images with the class, or without it.
        """
        holders = rng.permutation(np.flatnonzero(self.present[name]))
        others = rng.permutation(np.flatnonzero(~self.present[name]))
        real = rng.binomial(count, presence)
        generated = rng.binomial(count, presence * (1 - removal))
        for kind, images, needed in (
            (f"with {name}", holders, real + generated),
            (f"without {name}", others, 2 * count - real - generated),
        ):
            if needed > len(images):
                raise SampleError(
                    f"the pool has {len(images)} images {kind} and {needed} are needed; add images "
                    "or ask for smaller presences and sizes"
                )
        return (
            self.pixels[np.concatenate([holders[:real], others[: count - real]])],
            self.pixels[
                np.concatenate(
                    [
                        holders[real : real + generated],
                        others[count - real : 2 * count - real - generated],
                    ]
                )
            ],
        )


def run_calibration(
    task: Calibration,
    say: Callable[[str], None] = lambda _: None,
    *,
    make_pool: "Callable[[Any, Segmenter, Callable[[str], None]], Pool] | None" = None,
    engine: Engine | None = None,
) -> Iterator[Path]:
    """Plant, compare, count, and write the tables and the figure; yields each path.

    Args:
        task: what to plant. Started again, it takes up the areas that its folder holds.
        say: told of every step.
        make_pool: segments the images; None: once, as they are.
        engine: where they are segmented once; None: here.

    Raises:
        SampleError: too few images, or a class that the segmenter does not have.
    """
    source = open_images(task.images)
    segmenter = load_segmenter(task.segmenter or default_segmenter(source), device="auto")
    pool = (make_pool or functools.partial(filtered_pool, engine=engine))(task, segmenter, say)
    yield from write_calibration(task.out, calibrate(task, pool, say))


def filtered_pool(
    task: Calibration,
    segmenter: Segmenter,
    say: Callable[[str], None] = lambda _: None,
    *,
    engine: Engine | None = None,
) -> Pool:
    """Segment any set of images once; presence is what the segmenter says."""
    source = open_images(task.images)
    count = task.pool if source.endless else min(task.pool, len(source.names))
    if count < 2 * max(task.counts):
        raise SampleError(
            f"{task.images} has {count} images; two disjoint sides of {max(task.counts)} need "
            f"{2 * max(task.counts)}: ask for smaller sizes"
        )
    known = segmenter.channels.get("object", ())
    for name in task.classes:
        if name not in known:
            raise SampleError(f"the segmenter has no class {name!r}; it has {listed(known, 12)}")
    areas = segment(
        source,
        segmenter,
        count=count,
        seed=task.seed,
        out=task.out / "pool.parquet",
        engine=engine,
        opening=Opening(images=task.images, segmenter=task.segmenter or default_segmenter(source)),
    )
    say(f"segmented {count} images")
    names = [class_name(column) for column in areas.columns]
    present = {
        name: areas.shares(names.index(name)) >= task.presence_threshold for name in task.classes
    }
    return Pool(areas.columns, areas.pixels, areas.label_map_pixels, present)


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
        real, generated = two_sides(rng, len(pool.pixels), count)
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
    for _ in range(task.repetitions):
        real, generated = pool.plant(rng, name, presence, removal, count)
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
        false_alarms=alarms if pool.keeps_others else None,
    )


def two_sides(
    rng: np.random.Generator, size: int, count: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Rows of two disjoint sides, drawn from a pool of this size."""
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
    write_text(
        folder / "calibration.csv",
        csv_text(cells, [field.name for field in dataclasses.fields(Cell)]),
    )
    yield folder / "calibration.csv"
    write_text(folder / "calibration.md", calibration_table(cells))
    yield folder / "calibration.md"
    yield from draw_calibration(folder, cells)
