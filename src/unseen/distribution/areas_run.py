"""Runs that make areas: the shards that are there are found, the others made, and all joined.

Several segmenters may look at the same images in one pass: every image is read once. A run that is
killed at any moment and started again repeats a few seconds and ends in the same bytes. Images
are never held beyond a few batches; what grows with their number is one row of counts each.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Integer, UInt8, UInt32

from unseen.core.errors import (
    ImageError,
    RecordError,
    SegmenterError,
    StorageError,
    UnseenError,
    public,
)
from unseen.core.files import check_name, check_writable
from unseen.core.progress import Progress, silent
from unseen.core.run_folder import RunFolder, manifest, part_of
from unseen.core.twins import remove
from unseen.distribution.areas import MEASURED, Areas, areas_identity, joined
from unseen.distribution.areas_file import read_areas, write_areas
from unseen.distribution.areas_shards import (
    PIECE,
    SAID,
    SHARD,
    WHOLE,
    areas_folder,
    described_areas,
    joined_areas,
    sizes_of,
)
from unseen.distribution.instrument import VIEWS, measure_images, turned_back
from unseen.generators.drawn_images import DrawnImages
from unseen.images import Batch, ImageSource, Preparation, batches
from unseen.images.preparation import PreparedTogether, Size
from unseen.images.protocol import conditions_of, names_sha256, states_of
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

_PIECE_SECONDS = 10.0  # after so long a part of a shard is kept: a kill loses no more
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
    """A piece that grows. A batch joins it in one step, so an interruption finds it whole."""

    start: int  # position of its first image
    batches: list[_Counted] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def covered(self) -> range:
        images = sum(len(batch.names) + len(batch.broken) for batch in self.batches)
        return range(self.start, self.start + images)

    @property
    def due(self) -> bool:
        return time.monotonic() - self.began >= _PIECE_SECONDS


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
    shard: int = SHARD  # images of a shard; a run is finished with the size that it began with
    part: tuple[int, int] = (1, 1)  # (2, 4): the second quarter of the shards is made
    only: range | None = None  # the one shard that is made, by a worker of an engine
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
            self._store = areas_folder(
                self.out, identity, said=dict.fromkeys(SAID), overwrite=self.overwrite
            )
            check_name(self._store.folder)
            if self.overwrite or not (self._store.folder / self._store.header).exists():
                self._store.also = self._said()
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
            check_name(self._map_store.folder)
        self._label_map: tuple[int, ...] | None = None  # height, width; known after one batch
        self._shards: dict[range, Areas] = {}
        self._pieces: dict[range, Areas] = {}  # of shards that are not whole
        self._growing = _Growing(0)
        self.areas: Areas | None = None  # when it is finished

    def _said(self) -> dict[str, Any]:
        """What the header says of the whole run, for other parts and for who merges."""
        shards = [self._indices(shard) for shard in self.manifest]
        return {
            "shard": self.shard,
            "images": len(self.indices),
            "provenance": dict(self.provenance),
            "names": names_sha256(self.source, self.indices),
            "states": states_of(self.source, shards),
        }

    @property
    def manifest(self) -> list[range]:
        """The shards of the whole run."""
        return manifest(len(self.indices), self.shard)

    @property
    def mine(self) -> Sequence[range]:
        """The shards of this part."""
        return part_of(self.manifest, self.part) if self.only is None else [self.only]

    @property
    def images(self) -> int:
        """How many images this part has."""
        return sum(map(len, self.mine))

    @property
    def missing(self) -> list[range]:
        """The shards of this part that are not whole."""
        done = self.areas is not None
        return [] if done else [shard for shard in self.mine if shard not in self._shards]

    @property
    def whole(self) -> int:
        """How many images the finished shards have."""
        return self.images - sum(map(len, self.missing))

    @property
    def gaps(self) -> list[range]:
        """The positions of this part that no shard and no piece holds."""
        return [gap for shard in self.missing for gap in RunFolder.gaps(self._of(shard), shard)]

    @property
    def done(self) -> int:
        """How many images are done, broken ones too."""
        if self.areas is not None:
            return self.images
        return sum(map(len, [*self._shards, *self._pieces, self._growing.covered]))

    @property
    def drawn_in(self) -> int | None:
        """Images a call of the generator in what is there, where images depend on that number."""
        parts = [*self._shards.values(), *self._pieces.values()]
        sizes = [part.provenance["drawn_batch_size"] for part in parts]
        if self.areas is not None:
            sizes = [self.areas.provenance["images"][0].get("drawn", {}).get("batch_size")]
        elif self._store is not None and "provenance" in self._store.said:
            told = self._store.said["provenance"]["images"][0].get("drawn", {})
            sizes.append(told.get("batch_size"))
        return next(iter(sizes), None)

    def _of(self, shard: range) -> dict[range, Areas]:
        """The pieces of a shard, in order."""
        return {
            covered: self._pieces[covered]
            for covered in sorted(self._pieces, key=lambda covered: covered.start)
            if covered.start in shard
        }

    def _indices(self, covered: range) -> list[int]:
        """The images at these positions, in the source's index."""
        return [self.indices[position] for position in covered]

    @property
    def _among(self) -> str | None:
        """The name of this process where several make shards of one run."""
        return None if self.part == (1, 1) else "{}-{}".format(*self.part)

    def claim(self) -> None:
        """Write the headers, so that other parts find them."""
        if self.out is not None and not self.out.exists():
            for store in (self._map_store, self._store):
                if store is not None:
                    check_writable(store.folder)
                    with store.writing(among=self._among):
                        pass

    def begin(self, until: contextlib.ExitStack) -> None:
        """Read the finished areas; or have the folders for this process, and find the shards.

        Args:
            until: ends when the areas are written.
        """
        if self._find_finished():
            return
        for store in (self._map_store, self._store):
            if store is not None:
                check_writable(store.folder)
                until.enter_context(store.writing(among=self._among))
        if self._store is None or self.out is None:
            return
        check_writable(self.out)
        if self._find_finished():  # by the process that this one has waited for
            return
        self._go_on()

    def _go_on(self) -> None:
        """Take up the settings that the run began with, and its shards."""
        assert self._store is not None
        # What ran out of memory goes on with smaller batches; else the size is the one of before.
        self.batch_size = min(self.batch_size, self._store.identity.batch_size or self.batch_size)
        self.shard = self._store.said["shard"]
        self.provenance = self._store.said["provenance"]
        self._shards, self._pieces = {}, {}
        whole = range(len(self.indices)) if self.only is None else self.only
        shards = self._store.tiles(whole, WHOLE)
        pieces = self._store.tiles(whole, PIECE)
        for shard in self.mine:
            if shard in shards:
                self._take_up(shard, shards[shard], self._shards)
            if shard not in self._shards:
                for covered, path in pieces.items():
                    if covered.start in shard and covered.stop <= shard.stop:
                        self._take_up(covered, path, self._pieces)

    def make(self, shard: range, report: Callable[[int], None]) -> None:
        """Make one shard of a run that another process has begun, and whose folder it holds.

        Args:
            shard: of the manifest.
            report: told how many of its images are done.

        Raises:
            RecordError: the folder is not there, or is another run's.
            ImageError: the files of the images are not those of the run.
            UnseenError: from the images or the segmenter.
        """
        self.only = shard
        self._check_begun()
        self._go_on()
        self._check_files(shard)
        self.set_drawing()
        self.progress = lambda done, _: report(done)
        for needing, ranges in _passes([self]):
            _segment(ranges, needing, [self])

    def _check_begun(self) -> None:
        for store in (self._map_store, self._store):
            if store is not None:
                store.check_begun()

    def _check_files(self, shard: range) -> None:
        """Refuse images whose files are not those that the fingerprint is of."""
        assert self._store is not None
        states = self._store.said["states"]
        here = states_of(self.source, [self._indices(shard)])
        if states is not None and here != [states[shard.start // self.shard]]:
            raise ImageError(
                f"{self.source.spec}: images {shard.start:,} to {shard.stop - 1:,} have other "
                "names, sizes or times here than where the run began; do not change them while it "
                "runs, and copy them with their times"
            )

    def set_drawing(self) -> None:
        """Let a generator draw in the batches in which the run began."""
        if isinstance(self.source, DrawnImages):
            _go_on_drawing(self.source, [self])

    def _take_up(self, covered: range, path: Path, into: dict[range, Areas]) -> None:
        """Read a shard or a piece that an earlier run has made."""
        try:
            areas = read_areas(path)
            self._check_shard(areas, covered)
        except RecordError as error:  # a crash of the machine broke it
            warnings.warn(f"{error}; it is made again", stacklevel=2)
            remove(path)
            return
        if self._may_take(areas, areas.provenance["broken"]):
            into[covered] = areas

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
        if self.part != (1, 1):
            mine = {self.source.names[i] for shard in self.mine for i in self._indices(shard)}
            self.areas = areas.part([row for row, name in enumerate(areas.names) if name in mine])
        elif self._store.folder.is_dir() and self._store.begun():  # killed after the last rename
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
        expected = {self.source.names[index] for index in self._indices(covered)}
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

    def take(
        self, batch: Batch, images: UInt8[np.ndarray, "n 3 h s"], positions: Sequence[int]
    ) -> None:
        """Label and count one batch; keep the shard where it is whole, or a piece where it is due.

        Args:
            batch: which images it holds, and which are broken.
            images: prepared for this run's segmenter.
            positions: of the run, which the positions of the batch point into.
        """
        start = positions[min([*batch.positions, *(image.position for image in batch.broken)])]
        if start != self._growing.covered.stop:
            self.keep()
            self._growing = _Growing(start)
        indices = [self.indices[positions[k]] for k in batch.positions]
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
        covered = self._growing.covered
        first = covered.start // self.shard * self.shard
        shard = range(first, min(first + self.shard, len(self.indices)))
        if len(covered) + sum(map(len, self._of(shard))) == len(shard):
            self._keep_whole(shard)
        elif self._growing.due:
            self.keep()

    def keep(self) -> None:
        """Keep the piece that grows, and begin the next."""
        covered = self._growing.covered
        if covered:
            piece = self._grown()
            self._write(covered, PIECE, piece)
            self._pieces[covered] = piece
            self._growing = _Growing(covered.stop)

    def _keep_whole(self, shard: range) -> None:
        """Keep a shard of which the last piece has grown."""
        pieces = {**self._of(shard), self._growing.covered: self._grown()}
        ordered = sorted(pieces, key=lambda covered: covered.start)
        whole = joined_areas([pieces[covered] for covered in ordered])
        self._write(shard, WHOLE, whole)
        self._shards[shard] = whole
        self._growing = _Growing(shard.stop)
        for covered in pieces:
            self._pieces.pop(covered, None)
            if self._store is not None:
                remove(self._store.shard(covered, PIECE))

    def _write(self, covered: range, suffix: str, areas: Areas) -> None:
        if self._store is not None:
            if self.only is not None:  # another process holds the folder, and may be gone
                self._check_begun()
            write_areas(self._store.shard(covered, suffix), areas, once=True)

    def _grown(self) -> Areas:
        """The piece that grows, as areas."""
        batches = self._growing.batches
        names = [name for batch in batches for name in batch.names]
        # Where all are broken, no label map says a size.
        height, width = self._label_map if names and self._label_map else (0, 0)
        conditions = [batch.conditions for batch in batches]
        counts = [batch.instances for batch in batches if batch.names]
        counted = [table for table in counts if table is not None]
        return Areas(
            names=names,
            columns=tuple(f"{self.channel}/{name}" for name in self.class_names),
            pixels=np.concatenate([batch.pixels for batch in batches]),
            measured=joined([batch.measured for batch in batches]),
            views=joined([batch.views for batch in batches]),
            label_map_pixels=height * width,
            overlapping=self.overlapping,
            instances=np.concatenate(counted) if counted and len(counted) == len(counts) else None,
            conditions=None
            if None in conditions
            else [text for texts in conditions for text in texts or ()],
            provenance={
                "label_map": [height, width],
                "broken": [image for batch in batches for image in batch.broken],
                "batch_sizes": [self.batch_size],
                "drawn_batch_size": self._drawn.get("batch_size"),
                "sizes": sizes_of([size for batch in batches for size in batch.sizes]),
            },
        )

    def stop(self, error: BaseException) -> None:
        """Keep what is whole when the run is stopped, and say how much that is."""
        if self._store is None or self.areas is not None:
            return
        if not isinstance(error, StorageError):
            self.keep()
        if self.only is not None:
            return
        if not self._shards and not self._pieces and self._among is None:
            self._store.discard()
        self.tell_kept(error)

    def tell_kept(self, error: BaseException) -> None:
        """Add to an error how much of the run is kept, and how to go on."""
        if self._store is None:
            return
        kept = sum(map(len, [*self._shards, *self._pieces]))
        kept = max(kept, sum(map(len, self._store.tiles(range(len(self.indices)), WHOLE))))
        told = f"{kept:,} of {self.images:,} images are kept"
        if kept:
            told += f" in {self._store.folder}"
        if isinstance(error, KeyboardInterrupt):
            error.add_note(public(f"{told}: run the same command again to go on"))
        elif kept:
            error.add_note(public(told))

    def finish(self) -> Areas:
        """Join the shards and write the areas; of a part, only join them."""
        if self.areas is not None:
            return self.areas
        shards = [self._shards[shard] for shard in self.mine]
        if not shards:
            raise ImageError(
                "{} has {} shards, and none is in part {}/{}; ask for fewer parts".format(
                    self.source.spec, len(self.manifest), *self.part
                )
            )
        self.areas = described_areas(joined_areas(shards), self.provenance, self.part)
        if self.out is not None and self._store is not None and self.part == (1, 1):
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


def make_areas(runs: Sequence[AreasRun]) -> list[Areas]:
    """Carry out runs of the same images by different segmenters, in one pass over the images."""
    first = runs[0]
    with contextlib.ExitStack() as until:
        for run in runs:
            run.begin(until)
        if isinstance(first.source, DrawnImages):
            _go_on_drawing(first.source, runs)
        first.progress(min(run.done for run in runs), first.images)
        for needing, ranges in _passes(runs):
            _segment(ranges, needing, runs)
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


def _passes(runs: Sequence[AreasRun]) -> list[tuple[list[AreasRun], list[range]]]:
    """Which runs lack which positions: for some of the runs, the ranges that these alone lack."""
    gaps = [(gap, number) for number, run in enumerate(runs) for gap in run.gaps]
    edges = sorted({edge for gap, _ in gaps for edge in (gap.start, gap.stop)})
    passes: dict[tuple[int, ...], list[range]] = {}
    waiting = sorted(gaps, key=lambda gap: gap[0].start)
    open_gaps: list[tuple[range, int]] = []
    for start, stop in itertools.pairwise(edges):
        while waiting and waiting[0][0].start <= start:
            open_gaps.append(waiting.pop(0))
        open_gaps = [(gap, number) for gap, number in open_gaps if gap.stop >= stop]
        if open_gaps:
            needing = tuple(sorted(number for _, number in open_gaps))
            passes.setdefault(needing, []).append(range(start, stop))
    return [([runs[number] for number in needing], ranges) for needing, ranges in passes.items()]


def _segment(
    ranges: Sequence[range], needing: Sequence[AreasRun], runs: Sequence[AreasRun]
) -> None:
    """Read the images at these positions once, and let each of the runs segment them."""
    first = needing[0]
    together = PreparedTogether(parts=tuple(dict.fromkeys(run.preparation for run in needing)))
    positions = [position for covered in ranges for position in covered]
    stream = batches(
        first.source,
        [first.indices[position] for position in positions],
        together,
        batch_size=min(run.batch_size for run in needing),
        workers=first.workers,
        skip_broken=first.skip_broken,
        # A shard is the same whoever makes it: no batch reaches into the next.
        cuts=list(itertools.accumulate(map(len, ranges))),
    )

    told = 0

    def report(drawn: int) -> None:  # of images that a generator is at; never back
        nonlocal told
        done = min(run.done for run in runs) + drawn
        told = max(told, min(done, first.images))
        first.progress(told, first.images)

    watched: Any = contextlib.nullcontext()
    if isinstance(first.source, DrawnImages):
        watched = first.source.watched(report)
    try:
        with watched, contextlib.closing(stream):
            for batch in stream:
                prepared = together.unpack(batch.images)
                for run in needing:
                    run.take(batch, prepared[run.preparation], positions)
                report(0)
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
