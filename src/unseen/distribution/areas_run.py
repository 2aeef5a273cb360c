"""Runs that make areas: the shards that are there are found, the others made, and all joined.

Several segmenters may look at the same images in one pass: every image is read once. A run that is
killed at any moment and started again repeats at most one shard and ends in the same bytes. Images
are never held beyond a few batches; what grows with their number is one row of counts each.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Integer, UInt8, UInt32

from unseen.core.errors import ImageError, RecordError, SegmenterError, StorageError, UnseenError
from unseen.core.files import canonical_json, check_name, check_writable
from unseen.core.progress import Progress, silent
from unseen.core.run_folder import RunFolder
from unseen.distribution.areas import (
    MEASURED,
    Areas,
    areas_identity,
    joined,
    joined_conditions,
    joined_instances,
)
from unseen.distribution.areas_file import read_areas, write_areas
from unseen.distribution.instrument import VIEWS, measure_images, turned_back
from unseen.generators.drawn_images import DrawnImages
from unseen.images import Batch, ImageSource, Preparation, batches
from unseen.images.preparation import PreparedTogether, Size
from unseen.images.protocol import conditions_of
from unseen.images.record_pictures import write_label_map
from unseen.segmenters import (
    LabelsByName,
    Segmenter,
    checked_label_maps,
    checked_labels,
    class_names,
    overlaps,
)
from unseen.segmenters.protocol import Labelled
from unseen.statistics.label_layers import pixels_of_classes

# A shard is kept after so many images, or so much time: a slow network loses little when it is
# killed, a fast one is not held up by writing.
_SHARD = 1024  # images
_SHARD_SECONDS = 10.0
_CONFIDENCE_DIGITS = 3  # decimals
_LONGEST_NAME = 255  # bytes of a file's name, on every common file system

See = Callable[
    [
        Sequence[str],
        Sequence[UInt8[np.ndarray, "3 h2 w2"]],
        Integer[np.ndarray, "n *layers h w"],
        UInt32[np.ndarray, "n k"],
    ],
    None,
]
"""Told of every batch that is segmented: names, images as shown, label maps, counts of pixels."""


@dataclasses.dataclass
class _Counted:
    """A batch that is counted."""

    names: list[str]
    pixels: UInt32[np.ndarray, "n k"]
    measured: Mapping[str, Float32[np.ndarray, " n"]]
    views: Mapping[str, UInt32[np.ndarray, "n k"]]
    broken: list[dict[str, str]]
    conditions: list[str] | None  # what the images were asked for
    sizes: list[Size]  # of the images as they were read
    instances: UInt32[np.ndarray, "n k"] | None = None  # None: things are not counted


@dataclasses.dataclass
class _Growing:
    """A shard that grows. A batch joins it in one step, so an interruption finds it whole."""

    start: int  # position of its first image
    batches: list[_Counted] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def covered(self) -> range:
        images = sum(len(batch.names) + len(batch.broken) for batch in self.batches)
        return range(self.start, self.start + images)

    @property
    def due(self) -> bool:
        late = time.monotonic() - self.began >= _SHARD_SECONDS
        return late or len(self.covered) >= _SHARD


@dataclasses.dataclass
class AreasRun:
    """The areas of one source by one segmenter.

    `make_areas` carries it out.
    """

    source: ImageSource
    segmenter: Segmenter
    channel: str
    indices: Sequence[int]  # of the images, in the source's index
    preparation: Preparation
    provenance: Mapping[str, Any]  # JSON: of the areas, but for what the run finds
    batch_size: int
    workers: int
    skip_broken: bool
    views: Sequence[str] = ()  # of VIEWS: the images are segmented again in each
    out: Path | None = None  # the areas file
    maps: Path | None = None  # folder of label maps
    overwrite: bool = False
    progress: Progress = silent
    see: See | None = None

    def __post_init__(self) -> None:
        self.class_names = class_names(self.segmenter, self.channel)
        self.overlapping = overlaps(self.segmenter)
        identity = dataclasses.replace(areas_identity(self.provenance), batch_size=self.batch_size)
        self._store: RunFolder | None = None
        if self.out is not None:
            self._store = RunFolder(
                self.out.with_name(self.out.name + ".parts"),
                identity,
                owned=("[0-9]*-[0-9]*.parquet",),
                overwrite=self.overwrite,
            )
        self._map_store: RunFolder | None = None
        if self.maps is not None:
            self._map_store = RunFolder(
                self.maps,
                dataclasses.replace(identity, kind="label_maps"),
                header="about.json",
                owned=("**/.unseen-aside-*",),
                also={"class_names": list(self.class_names), "provenance": dict(self.provenance)},
                overwrite=self.overwrite,
            )
        self._label_map: tuple[int, ...] | None = None  # height, width; known after one batch
        self._shards: dict[range, Areas] = {}
        self._growing = _Growing(0)
        self.areas: Areas | None = None  # when it is finished

    @property
    def gaps(self) -> list[range]:
        """The positions of the run that no shard holds."""
        return [] if self.areas is not None else RunFolder.gaps(self._shards, len(self.indices))

    @property
    def done(self) -> int:
        """How many images are done, broken ones too."""
        if self.areas is not None:
            return len(self.indices)
        return sum(map(len, self._shards)) + len(self._growing.covered)

    @property
    def drawn_in(self) -> int | None:
        """Images a call of the generator in what is there, where images depend on that number."""
        if self.areas is not None:
            drawn: dict[str, int] = self.areas.provenance["images"][0].get("drawn", {})
            return drawn.get("batch_size")
        sizes = [shard.provenance.get("drawn_batch_size") for shard in self._shards.values()]
        return next(iter(sizes), None)

    def begin(self, until: contextlib.ExitStack) -> None:
        """Read the finished areas; or have the folders for this process, and find the shards.

        Args:
            until: ends when the areas are written.
        """
        for store in (self._map_store, self._store):
            if store is not None:
                check_name(store.folder)
        if self._find_finished():
            return
        for store in (self._map_store, self._store):
            if store is not None:
                check_writable(store.folder)
                until.enter_context(store.writing())
        if self._store is None or self.out is None:
            return
        check_writable(self.out)
        if self._find_finished():  # by the process that this one has waited for
            return
        # What ran out of memory goes on with smaller batches; else the size is the one of before.
        self.batch_size = min(self.batch_size, self._store.identity.batch_size or self.batch_size)
        for covered, path in self._store.shards(len(self.indices)).items():
            try:
                shard = read_areas(path)
                self._check_shard(shard, covered)
            except RecordError as error:  # a crash of the machine broke it
                warnings.warn(f"{error}; it is made again", stacklevel=2)
                path.unlink()
                continue
            if self._may_take(shard, shard.provenance["broken"]):
                self._shards[covered] = shard

    def _find_finished(self) -> bool:
        """Read what `out` holds, if it is what this run would write."""
        kept_maps = self._map_store is None or self._map_store.begun()
        if self._store is None or self.out is None or self.overwrite or not self.out.exists():
            return False
        areas = read_areas(self.out)
        differing = areas_identity(areas.provenance).difference(self._store.identity)
        if differing is not None:
            raise RecordError(
                f"{self.out} holds other areas ({differing}); choose another file, or replace it "
                "with overwrite"
            )
        if not kept_maps or not self._may_take(areas, areas.provenance["images"][0]["broken"]):
            return False
        self.areas = areas
        if self._store.folder.is_dir() and self._store.begun():  # killed after the last rename
            with contextlib.suppress(StorageError), self._store.writing(patience=0.0):
                self._store.discard()
        return True

    def _check_shard(self, shard: Areas, covered: range) -> None:
        held = len(shard) + len(shard.provenance.get("broken", ()))
        columns = tuple(f"{self.channel}/{name}" for name in self.class_names)
        beside = (*shard.measured, *shard.views)
        whole = shard.columns == columns and beside == (*MEASURED, *self.views)
        whole = whole and shard.overlapping == self.overlapping
        if held != len(covered) or not whole:
            raise RecordError(f"the shard {covered.start}-{covered.stop} is not whole")
        expected = {self.source.names[self.indices[position]] for position in covered}
        if not expected.issuperset(shard.names):
            raise RecordError(f"the shard {covered.start}-{covered.stop} is of other images")

    def _may_take(self, areas: Areas, broken: Sequence[Mapping[str, str]]) -> bool:
        """Whether areas that an earlier run made have all that is asked for."""
        if self.maps is not None:
            paths = (label_map_path(self.maps, name) for name in areas.names)
            if not all(path.is_file() for path in paths):
                return False
        if broken and not self.skip_broken:
            raise ImageError(
                f"{broken[0]['reason']}; it was left out with skip_broken before: repair it and "
                "start afresh with overwrite, or skip it again"
            )
        if len(areas):
            self._check_label_map(tuple(areas.provenance["label_map"]))
        return True

    def start(self, position: int) -> None:
        """Begin a shard at this position of the run."""
        self._growing = _Growing(position)

    def take(self, batch: Batch, images: UInt8[np.ndarray, "n 3 h s"], first: int) -> None:
        """Label and count one batch; keep the shard where it is due.

        Args:
            batch: which images it holds, and which are broken.
            images: prepared for this run's segmenter.
            first: position of the run that the positions of the batch are counted from.
        """
        indices = [self.indices[first + k] for k in batch.positions]
        names = [self.source.names[index] for index in indices]
        pixels = np.zeros((0, len(self.class_names)), np.uint32)
        measured: dict[str, Any] = dict.fromkeys(MEASURED, np.zeros(0, np.float32))
        views = dict.fromkeys(self.views, pixels)
        instances: UInt32[np.ndarray, "n k"] | None = None
        if names:
            maps, sure, instances = label_batch(
                self.segmenter,
                images,
                self.channel,
                of=(self.source, names, batch.sizes),
                preparation=self.preparation,
            )
            self._check_label_map(maps.shape[-2:])
            for name, label_map in zip(names, maps, strict=True):
                if self.maps is not None:
                    write_label_map(label_map_path(self.maps, name), label_map, self.maps)
            pixels = count_labels(maps, len(self.class_names))
            unknown = np.full(len(names), np.nan, np.float32)
            # Rounded, so that the last bits of a network's arithmetic do not show.
            confidence = unknown if sure is None else sure.round(_CONFIDENCE_DIGITS)
            measured = {"confidence": confidence, **measure_images(images)}
            for view in self.views:
                again = [
                    turned_back(
                        view,
                        checked_label_maps(self.segmenter, VIEWS[view](square), self.channel),
                    )
                    for square in self.preparation.squares(images, batch.sizes)
                ]
                seen = self.preparation.whole(again, batch.sizes)
                views[view] = count_labels(seen, len(self.class_names))
            if self.see is not None:
                pictures = [*map(self.preparation.picture, images, batch.sizes)]
                self.see(names, pictures, maps, pixels)
        broken = [{"name": image.name, "reason": image.reason} for image in batch.broken]
        conditions = conditions_of(self.source, indices)
        self._growing.batches.append(
            _Counted(names, pixels, measured, views, broken, conditions, batch.sizes, instances)
        )
        if self._growing.due:
            self.keep()

    def keep(self) -> None:
        """Keep the shard that grows, and begin the next."""
        covered = self._growing.covered
        if not covered:
            return
        height, width = self._label_map or (0, 0)
        conditions = [batch.conditions for batch in self._growing.batches]
        counts = [batch.instances for batch in self._growing.batches if batch.names]
        counted = [table for table in counts if table is not None]
        shard = Areas(
            names=[name for batch in self._growing.batches for name in batch.names],
            columns=tuple(f"{self.channel}/{name}" for name in self.class_names),
            pixels=np.concatenate([batch.pixels for batch in self._growing.batches]),
            measured=joined([batch.measured for batch in self._growing.batches]),
            views=joined([batch.views for batch in self._growing.batches]),
            label_map_pixels=height * width,
            overlapping=self.overlapping,
            instances=np.concatenate(counted) if counted and len(counted) == len(counts) else None,
            conditions=None
            if None in conditions
            else [text for texts in conditions for text in texts or ()],
            provenance={
                "label_map": [height, width],
                "broken": [image for batch in self._growing.batches for image in batch.broken],
                "batch_size": self.batch_size,
                "drawn_batch_size": self._drawn.get("batch_size"),
                "sizes": _sizes([s for batch in self._growing.batches for s in batch.sizes]),
            },
        )
        if not len(shard):  # all broken: no label map says a size
            shard = dataclasses.replace(
                shard, label_map_pixels=0, provenance={**shard.provenance, "label_map": [0, 0]}
            )
        if self._store is not None:
            write_areas(self._store.shard(covered, ".parquet"), shard)
        self._shards[covered] = shard
        self._growing = _Growing(covered.stop)

    def stop(self, error: BaseException) -> None:
        """Keep what is whole when the run is stopped, and say how much that is."""
        if self._store is None or self.areas is not None:
            return
        if not isinstance(error, StorageError):
            self.keep()
        kept = sum(map(len, self._shards))
        told = f"{kept:,} of {len(self.indices):,} images are kept"
        if kept:
            told += f" in {self._store.folder}"
        else:
            self._store.discard()
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"{told}: run the same command again to go on")
        elif kept:
            error.add_note(told)

    def finish(self) -> Areas:
        """Join the shards and write the areas."""
        if self.areas is not None:
            return self.areas
        covered = sorted(self._shards, key=lambda shard: shard.start)
        if list(itertools.chain(*covered)) != list(range(len(self.indices))):
            raise RecordError(f"the shards of {self.out} do not cover every image once")
        shards = [self._shards[part] for part in covered]
        broken = [image for shard in shards for image in shard.provenance["broken"]]
        names = [name for shard in shards for name in shard.names]
        if not names:
            raise ImageError(
                f"{self.source.spec}: all {len(broken)} images are broken, first "
                f"{broken[0]['reason']}"
            )
        height, width = self._label_map or (0, 0)
        described = {
            **self.provenance["images"][0],
            "count": len(names),
            "broken": broken,
            "sizes": _all_sizes([shard.provenance["sizes"] for shard in shards if len(shard)]),
        }
        if self._drawn:
            described["drawn"] = self._drawn
        # The last bits of a network may depend on how many images it is given at once.
        sizes = sorted({shard.provenance["batch_size"] for shard in shards})
        self.areas = dataclasses.replace(
            shards[0],
            names=names,
            pixels=np.concatenate([shard.pixels for shard in shards]),
            measured=joined([shard.measured for shard in shards]),
            views=joined([shard.views for shard in shards]),
            conditions=joined_conditions(shards),
            instances=joined_instances([shard for shard in shards if len(shard)]),
            label_map_pixels=height * width,
            provenance=json.loads(
                canonical_json(  # in the order in which it is read back
                    {
                        **self.provenance,
                        "images": [described],
                        "label_map": [height, width],
                        **({"batch_sizes": sizes} if len(sizes) > 1 else {}),
                    }
                )
            ),
        )
        if self.out is not None and self._store is not None:
            write_areas(self.out, self.areas, within=self._store.folder)
            self._store.discard()
        return self.areas

    @property
    def _drawn(self) -> dict[str, Any]:
        """How a generator draws the images; nothing where they are images already."""
        return self.source.header if isinstance(self.source, DrawnImages) else {}

    def _check_label_map(self, shape: tuple[int, ...]) -> None:
        self._label_map = self._label_map or shape
        if shape != self._label_map:
            raise SegmenterError(
                f"{self.segmenter.provenance.get('spec', 'the segmenter')} gave label maps of "
                f"{shape[0]}×{shape[1]} after {self._label_map[0]}×{self._label_map[1]}; one run "
                "needs one size"
            )


def label_batch(
    segmenter: Segmenter,
    images: UInt8[np.ndarray, "n 3 h s"],
    channel: str,
    *,
    of: tuple[ImageSource, Sequence[str], Sequence[Size]],
    preparation: Preparation,
) -> Labelled:
    """The label maps of prepared images, how sure the segmenter is of each, and things in each.

    Things of tiles are not counted: that on the seam is in both.

    Args:
        segmenter: is given the images' squares; or their names, where it finds label maps by them.
        images: prepared.
        channel: of the segmenter.
        of: the images' source, their names, and their sizes as they were read.
        preparation: how the images were prepared.
    """
    source, names, sizes = of
    if isinstance(segmenter, LabelsByName):
        return Labelled(segmenter.maps_of(source, names, sizes, preparation))
    labelled = [
        checked_labels(segmenter, square, channel, first=names[0])
        for square in preparation.squares(images, sizes)
    ]
    maps = preparation.whole([square.maps for square in labelled], sizes)
    sure = [square.confidence for square in labelled if square.confidence is not None]
    return Labelled(
        maps,
        np.mean(sure, axis=0) if sure else None,
        labelled[0].instances if preparation.fit != "tiles" else None,
    )


def _sizes(sizes: Sequence[Size]) -> dict[str, Any]:
    """What is recorded of the sizes of images: width and height, and what a centre crop cuts."""
    by_pixels = sorted({(width, height) for height, width in sizes}, key=_pixels)
    return {
        "smallest": by_pixels[0] if by_pixels else None,
        "largest": by_pixels[-1] if by_pixels else None,
        "pixels": sum(height * width for height, width in sizes),
        "cropped_pixels": sum(height * width - min(height, width) ** 2 for height, width in sizes),
    }


def _all_sizes(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same of all shards."""
    return {
        "smallest": min((shard["smallest"] for shard in shards), key=_pixels),
        "largest": max((shard["largest"] for shard in shards), key=_pixels),
        "pixels": sum(shard["pixels"] for shard in shards),
        "cropped_pixels": sum(shard["cropped_pixels"] for shard in shards),
    }


def _pixels(size: Sequence[int]) -> tuple[int, ...]:
    """How large a size is; of as many pixels, the wider is larger."""
    return math.prod(size), *size


def make_areas(runs: Sequence[AreasRun]) -> list[Areas]:
    """Carry out runs of the same images by different segmenters, in one pass over the images."""
    first = runs[0]
    with contextlib.ExitStack() as until:
        for run in runs:
            run.begin(until)
        if isinstance(first.source, DrawnImages):
            _go_on_drawing(first.source, runs)
        first.progress(min(run.done for run in runs), len(first.indices))
        for positions, needing in _passes(runs):
            _segment(positions, needing, runs)
        return [run.finish() for run in runs]


def _go_on_drawing(source: DrawnImages, runs: Sequence[AreasRun]) -> None:
    """Draw what is missing as what is there was drawn."""
    sizes = {size for run in runs if (size := run.drawn_in) is not None}
    if len(sizes) > 1:
        raise RecordError(
            f"areas of {source.spec} were drawn in batches of {min(sizes)} and of {max(sizes)}; "
            "replace them with overwrite"
        )
    for size in sizes:
        source.go_on_with(size)


def _passes(runs: Sequence[AreasRun]) -> Iterator[tuple[range, list[AreasRun]]]:
    """Runs of positions, each with the runs that lack all of it."""
    gaps = [(gap, run) for run in runs for gap in run.gaps]
    edges = sorted({edge for gap, _ in gaps for edge in (gap.start, gap.stop)})
    for start, stop in itertools.pairwise(edges):
        needing = [run for gap, run in gaps if gap.start <= start and stop <= gap.stop]
        if needing:
            yield range(start, stop), needing


def _segment(positions: range, needing: Sequence[AreasRun], runs: Sequence[AreasRun]) -> None:
    """Read the images at these positions once, and let each of the runs segment them."""
    first = needing[0]
    together = PreparedTogether(parts=tuple(dict.fromkeys(run.preparation for run in needing)))
    stream = batches(
        first.source,
        [first.indices[position] for position in positions],
        together,
        batch_size=min(run.batch_size for run in needing),
        workers=first.workers,
        skip_broken=first.skip_broken,
    )
    for run in needing:
        run.start(positions.start)

    told = 0

    def report(drawn: int) -> None:  # of images that a generator is at; never back
        nonlocal told
        done = min(run.done for run in runs) + drawn
        told = max(told, min(done, len(first.indices)))
        first.progress(told, len(first.indices))

    watched: Any = contextlib.nullcontext()
    if isinstance(first.source, DrawnImages):
        watched = first.source.watched(report)
    try:
        with watched, contextlib.closing(stream):
            for batch in stream:
                prepared = together.unpack(batch.images)
                for run in needing:
                    run.take(batch, prepared[run.preparation], positions.start)
                report(0)
        for run in needing:
            run.keep()
    except (KeyboardInterrupt, UnseenError) as error:
        for run in needing:
            run.stop(error)
        raise


def count_labels(
    label_maps: Integer[np.ndarray, "n *layers h w"], classes: int
) -> UInt32[np.ndarray, "n {classes}"]:
    """Pixels of every class in every label map.

    Args:
        label_maps: labels from 0 to `classes` − 1.
        classes: how many there are.
    """
    # One bincount for the whole batch needs an offset added to every pixel: 4 times as long.
    counts = [pixels_of_classes(label_map, classes) for label_map in label_maps]
    return np.stack(counts).astype(np.uint32)


def label_map_path(folder: Path, name: str) -> Path:
    """Where `keep_maps` puts the label map of the image `name`: `folder/name.png`.

    Where that is too long for a file's name, the end of the name gives way to its SHA-256.

    Raises:
        RecordError: the name leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise RecordError(f"the image name {name!r} leads out of {folder}; rename the image")
    file = f"{path.name}.png".encode()
    if len(file) <= _LONGEST_NAME:
        return folder / f"{path}.png"
    ending = f"-{hashlib.sha256(name.encode()).hexdigest()[:16]}.png"
    cut = file[: _LONGEST_NAME - len(ending)].decode(errors="ignore")
    return folder / path.parent / (cut + ending)
