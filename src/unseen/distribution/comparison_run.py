"""Compare sets of images, generators, areas or tallies, and keep what the page shows.

Each side becomes areas (drawn where it is a generator, segmented where it is images); the images
that hold most of a class are kept with their label maps; the record is written last, when all that
it names is there.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.errors import RecordError, SpecError
from unseen.core.options import (
    SEED_MOST,
    Argument,
    Device,
    Option,
    Overwrite,
    SkipBroken,
    Workers,
    check_options,
)
from unseen.core.progress import Progress
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import read_areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison, write_comparison
from unseen.distribution.example_images import keep_side
from unseen.distribution.segment import (
    BatchSize,
    Channel,
    MatchResolution,
    Segmentation,
    default_segmenter,
    segment,
)
from unseen.distribution.tally_file import read_tally
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sources import Drawing, keep_drawn, read_batches
from unseen.images import ImageSource, Preparation
from unseen.segmenters import Segmenter, checked_label_maps, load_segmenter
from unseen.segmenters.protocol import SegmenterName, SegmenterPrecision
from unseen.statistics import PRESENCE_THRESHOLD, self_halves

Watch = Callable[[str], AbstractContextManager[Progress | None]]  # title → progress of one side

_KEPT = re.compile(r"\d{5}(-labels)?\.(png|jpg)")  # files that an earlier run here kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonRun(Drawing):
    """What to compare, and how it is segmented where it is images.

    A side is a set of images (a spec or a path), a generator (a spec), an areas file (`.parquet`)
    or a tally of the 2019 code (`tally:FILE.npy`).
    """

    real: Annotated[
        str,
        Argument(
            "The real side: a folder or archive of images, the spec of images or of a generator, "
            "an areas file (.parquet), or tally:FILE.npy."
        ),
    ]
    generated: Annotated[
        Sequence[str],  # none: the real side is split into disjoint halves
        Argument(
            "The generated sides, of the same kinds as the real side. The newest comes last.",
            repeated=True,
        ),
    ] = ()
    out: Annotated[Path, Option("Folder for the record, the figures and the page.", short="-o")] = (
        Path("comparison")
    )
    segmenter: SegmenterName = None
    second_segmenter: Annotated[
        str | None,
        Option("Spec of a second segmenter. A class on which the two disagree becomes undecided."),
    ] = None
    channel: Channel = "object"
    count: Annotated[
        int | None,
        Option(
            "Images on each side: a seeded subset of a set, the first of a generator. A generator "
            "needs it. Default: all.",
            short="-n",
            min=2,
        ),
    ] = None
    seed: Annotated[
        int, Option("Seed of subsets, halves, permutations and resampling.", max=SEED_MOST)
    ] = 0
    presence_threshold: Annotated[
        float,
        Option(
            "Fraction of the image from which on a class counts as present.", min=1e-6, max=0.99
        ),
    ] = PRESENCE_THRESHOLD
    match_resolution: MatchResolution = None
    device: Device = "auto"
    precision: SegmenterPrecision = "fp32"
    batch_size: BatchSize = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    pictures: Annotated[
        bool, Option("Keep the images that hold most of each class, for the page.")
    ] = True
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)


def run_comparison(task: ComparisonRun, *, watch: Watch | None = None) -> Comparison:
    """Compare the sides and write `comparison.json` with its pictures and areas.

    Args:
        task: what to compare.
        watch: gives the progress of each side that is segmented.

    Returns:
        The record, as written. `unseen.report(task.out, …)` draws its page.

    Raises:
        UnseenError: a side that cannot be read, sides that do not match, too few images; see
            `segment` and `compare`.
    """
    run = _Run(task, watch or _unwatched)
    comparison = run.compare()
    if task.pictures:
        comparison = run.keep_pictures(comparison)
    write_comparison(task.out / "comparison.json", comparison)
    return comparison


@contextlib.contextmanager
def _unwatched(_: str) -> Iterator[None]:
    yield None


@dataclasses.dataclass(frozen=True)
class _Input:
    """One side as the user named it."""

    text: str
    key: str  # of its files: "real", "generated-1", …
    source: ImageSource | None  # of images or of a generator; None where it is areas
    areas: Areas | None  # None where it is images, until it is segmented


class _Run:
    """One run of a task."""

    def __init__(self, task: ComparisonRun, watch: Watch) -> None:
        self.task, self.watch = task, watch
        texts = [task.real, *task.generated]
        keys = ["real", *(f"generated-{i + 1}" for i in range(len(task.generated)))]
        self.inputs = [self._open(text, key) for text, key in zip(texts, keys, strict=True)]
        if task.keep_images is not None:
            self._keep_images(task.keep_images)
        self.labels = _told_apart(texts)
        sources = [one.source for one in self.inputs if one.source is not None]
        for source in sources:  # too few images, or no count: said before hours of work
            Segmentation(count=task.count, seed=task.seed).indices(source)
        self.segmenter: Segmenter | None = None
        if sources:
            name = task.segmenter or default_segmenter(*sources)
            self.segmenter = self._load(name)
        if task.second_segmenter is not None and len(sources) < len(self.inputs):
            areas = next(one.text for one in self.inputs if one.source is None)
            raise RecordError(
                f"{areas} is areas already, which a second segmenter cannot see; name the images "
                "of every side"
            )

    def _open(self, text: str, key: str) -> _Input:
        if text.startswith("tally:"):
            return _Input(text, key, None, read_tally(text))
        if text.endswith(".parquet"):
            return _Input(text, key, None, read_areas(text))
        if not text.strip():
            raise SpecError("a side is named by an empty text; name a folder, a file or a spec")
        return _Input(text, key, self.task.open(text, self.task.device), None)

    def _keep_images(self, folder: Path) -> None:
        """Let the generators keep what they draw: one in the folder, several in one each."""
        generators = sum(isinstance(one.source, DrawnImages) for one in self.inputs)
        if not generators:
            raise SpecError(
                "no side is a generator, so there are no drawn images to keep; leave the folder "
                "for images out"
            )
        self.inputs = [
            dataclasses.replace(
                one,
                source=keep_drawn(
                    one.source,
                    folder / one.key if generators > 1 else folder,
                    overwrite=self.task.overwrite,
                ),
            )
            if isinstance(one.source, DrawnImages)
            else one
            for one in self.inputs
        ]

    def compare(self) -> Comparison:
        """The record, without pictures."""
        task = self.task
        areas = [self._areas(one, self.segmenter, "") for one in self.inputs]
        second = None
        if task.second_segmenter is not None:
            other = self._load(task.second_segmenter)
            seen = [self._areas(one, other, "-second") for one in self.inputs]
            second = self._sides(seen)
        real, generated = self._sides(areas)
        labels = self.labels
        if not task.generated:
            labels = [f"{labels[0]} (one half)", f"{labels[0]} (other half)"]
        return compare(
            real,
            generated,
            seed=task.seed,
            presence_threshold=task.presence_threshold,
            labels=labels,
            second=second,
        )

    def keep_pictures(self, comparison: Comparison) -> Comparison:
        """The record with the pictures of its exhibits, where the sides are images."""
        inputs = self.inputs if self.task.generated else [self.inputs[0], self.inputs[0]]
        keys = ["real", *(f"generated-{i + 1}" for i in range(len(inputs) - 1))]
        for key, one in zip(keys, inputs, strict=True):
            self._clear(key)
            if one.source is None or self.segmenter is None:
                continue
            picture = _Pictures(self.task, one.source, self.segmenter)
            comparison = keep_side(self.task.out, key, comparison, picture)
        return comparison

    def _load(self, name: str) -> Segmenter:
        return load_segmenter(name, device=self.task.device, precision=self.task.precision)

    def _areas(self, one: _Input, segmenter: Segmenter | None, suffix: str) -> Areas:
        if one.areas is not None:
            return one.areas
        assert one.source is not None
        assert segmenter is not None
        task = self.task
        with self.watch(one.text) as progress:
            return segment(
                one.source,
                segmenter,
                out=task.out / "areas" / f"{one.key}{suffix}.parquet",
                count=task.count,
                seed=task.seed,
                channel=task.channel,
                match_resolution=task.match_resolution,
                batch_size=task.batch_size,
                workers=task.workers,
                skip_broken=task.skip_broken,
                overwrite=task.overwrite,
                progress=progress,
            )

    def _sides(self, areas: Sequence[Areas]) -> tuple[Areas, list[Areas]]:
        """Real and generated areas; halves of the one set where it is compared with itself."""
        if self.task.generated:
            return areas[0], list(areas[1:])
        first, second = self_halves(len(areas[0]), self.task.seed)
        return _rows(areas[0], first), [_rows(areas[0], second)]

    def _clear(self, key: str) -> None:
        """Remove the pictures that an earlier run kept here, and nothing else."""
        folder = self.task.out / "pictures" / key
        for path in folder.iterdir() if folder.is_dir() else ():
            if _KEPT.fullmatch(path.name):
                path.unlink()


class _Pictures:
    """Shows images of a source as they were segmented, with their label maps."""

    def __init__(self, task: ComparisonRun, source: ImageSource, segmenter: Segmenter) -> None:
        self._task, self._source, self._segmenter = task, source, segmenter

    def __call__(
        self, names: list[str]
    ) -> Iterator[tuple[str, UInt8[np.ndarray, "3 h w"], Integer[np.ndarray, "h2 w2"]]]:
        task, source = self._task, self._source
        chosen = Segmentation(count=task.count, seed=task.seed).indices(source)
        index_of = {source.names[index]: index for index in chosen}
        stream = read_batches(
            source,
            [index_of[name] for name in names],
            Preparation(self._segmenter.resolution, task.match_resolution),
            batch_size=task.batch_size,
            workers=0,
        )
        for batch in stream:
            label_maps = checked_label_maps(self._segmenter, batch.images, task.channel)
            for position, image, label_map in zip(
                batch.positions, batch.images, label_maps, strict=True
            ):
                yield names[position], image, label_map


def _rows(areas: Areas, rows: Any) -> Areas:
    """Some images of the areas; the provenance says so."""
    images = [
        {**source, "count": len(rows), "half": True}
        for source in areas.provenance.get("images", [])[:1]
    ]
    return dataclasses.replace(
        areas,
        names=[areas.names[i] for i in rows],
        pixels=areas.pixels[rows],
        provenance={**areas.provenance, "images": images},
    )


def _told_apart(texts: Sequence[str]) -> list[str]:
    """What the user wrote, of long paths the end; numbered where two sides are written alike."""
    labels = [text.rstrip("/") or text for text in texts]
    short = ["/".join(Path(one).parts[-2:]) if Path(one).is_absolute() else one for one in labels]
    if len(set(short)) == len(set(labels)):
        labels = short
    return [
        f"{label} ({i + 1})" if labels.count(label) > 1 else label for i, label in enumerate(labels)
    ]
