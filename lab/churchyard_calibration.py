"""Calibration on the churchyard, where a class can be left out of a scene and all else stays.

The churchyard plays both sides. A class is thinned on both to a stated presence; then it is removed
from the side that plays the generator, by rendering the same scenes again without it. So false
alarms of the other classes can be counted, too. The tables are those of docs/calibration.md.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from unseen.bench.calibration import Calibration, Pool, run_calibration, two_sides
from unseen.churchyard.classes import CLASS_NAMES
from unseen.churchyard.scene import World
from unseen.churchyard.source import ChurchyardSource
from unseen.core.errors import SpecError
from unseen.core.files import sha256_of_parts
from unseen.core.options import Option
from unseen.distribution.segment import segment
from unseen.images import ImageSource, open_images
from unseen.segmenters import Segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChurchyardCalibration(Calibration):
    """Plant omissions by rendering scenes again."""

    images: Annotated[str, Option("The churchyard, with its seed.")] = "churchyard?seed=90210"
    classes: Annotated[
        tuple[str, ...], Option("Classes to leave out, one at a time.", name="--classes")
    ] = ("person", "fence", "car", "palm")


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedPool(Pool):
    """Areas of scenes, and of the same scenes without each planted class.

    Attributes:
        holding: class name → indices of all images that hold any pixel of it.
        without: class name → areas of those images rendered without it.
    """

    holding: Mapping[str, Int64[np.ndarray, " _"]]
    without: Mapping[str, UInt32[np.ndarray, "_ k"]]

    keeps_others: ClassVar[bool] = True

    def plant(
        self, rng: np.random.Generator, name: str, presence: float, removal: float, count: int
    ) -> tuple[UInt32[np.ndarray, "m k"], UInt32[np.ndarray, "m k"]]:
        """Thin the class to `presence` on both sides, then remove it from the generated side."""
        size, present = len(self.pixels), self.present[name]
        real, generated = two_sides(rng, size, count)
        keep = present & (rng.random(size) < presence / present.mean())
        survives = keep & (rng.random(size) >= removal)
        return (
            self._areas_with_class_in(name, keep, real),
            self._areas_with_class_in(name, survives, generated),
        )

    def _areas_with_class_in(
        self, name: str, kept: Bool[np.ndarray, " n"], chosen: Int64[np.ndarray, " m"]
    ) -> UInt32[np.ndarray, "m k"]:
        """Areas of the chosen scenes, in which only the kept ones still hold the class."""
        row_without = np.full(len(self.pixels), -1)
        row_without[self.holding[name]] = np.arange(len(self.holding[name]))
        rows = row_without[chosen]
        areas: UInt32[np.ndarray, "m k"] = self.pixels[chosen]
        emptied = (rows >= 0) & ~kept[chosen]
        areas[emptied] = self.without[name][rows[emptied]]
        return areas


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


def calibrate_churchyard(
    task: ChurchyardCalibration, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """As `unseen.bench.calibration.run_calibration`, with scenes that are rendered again."""
    return run_calibration(task, say, make_pool=rendered_pool)


def rendered_pool(
    task: ChurchyardCalibration, segmenter: Segmenter, say: Callable[[str], None]
) -> RenderedPool:
    """Segment the pool once, and once more without each planted class where a scene holds it."""
    source = open_images(task.images)
    if not isinstance(source, ChurchyardSource):
        raise SpecError(
            f"{task.images!r} is not the churchyard, whose scenes can be rendered again"
        )
    World(seed=0, without=tuple((name, 1.0) for name in task.classes))  # refuses what must stay
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
    return RenderedPool(
        areas.columns, areas.pixels, areas.label_map_pixels, present, holding, without
    )
