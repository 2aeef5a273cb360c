"""Segment images into areas: read or draw, label, count; resumable.

Written in shards as it goes: killed at any moment and started again, a run repeats at most one
shard and ends in the same bytes. Images are never held beyond a few batches; what grows with
their number is one row of counts each.
"""

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from jaxtyping import Integer, UInt32

from unseen.core.errors import (
    ImageError,
    RecordError,
    SampleError,
    SegmenterError,
    StorageError,
    UnseenError,
)
from unseen.core.files import canonical_json, package_version, write_json
from unseen.core.options import (
    Count,
    Option,
    Overwrite,
    Seed,
    SkipBroken,
    Workers,
    check_options,
)
from unseen.core.progress import Progress, silent
from unseen.core.registry import plugin_names, spec_name
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import AreasParts, difference, read_areas, write_areas
from unseen.generators import Generator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sample_folder import contents
from unseen.generators.sources import open_source, read_batches
from unseen.images import Batch, ImageSource, Preparation, default_workers, left_out, subset
from unseen.images.writing import write_label_map
from unseen.segmenters import Segmenter, checked_label_maps, class_names, load_segmenter

# A shard is kept after so many images, or so much time: a slow network loses little when it is
# killed, a fast one is not held up by writing.
_SHARD = 1024  # images
_SHARD_SECONDS = 10.0


Channel = Annotated[str, Option("Channel of the segmenter whose classes are measured.")]
MatchResolution = Annotated[
    int | None,
    Option(
        "Side in pixels to which every image is reduced first. Give the other set's own, so that "
        "blur is not measured.",
        min=1,
        max=65_535,
    ),
]
BatchSize = Annotated[int, Option("Images in one call of the segmenter.", min=1)]


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"{text!r} is no part; write 2/4 for the second of four")
    return int(part), int(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmentation:
    """How a set of images is segmented into areas."""

    count: Count = None
    seed: Seed = 0
    part: Annotated[
        tuple[int, int],
        Option(
            "Part of the images to segment: 2/4 is the second quarter. Parts are merged later.",
            metavar="PART/PARTS",
            parse=_part,
            shown="1/1",
        ),
    ] = (1, 1)
    channel: Channel = "object"
    match_resolution: MatchResolution = None
    batch_size: BatchSize = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    keep_maps: Annotated[
        Path | None, Option("Folder for the label maps, one 16-bit PNG file for each image.")
    ] = None
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        part, parts = self.part
        if not 1 <= part <= parts:
            raise SampleError(f"part {part}/{parts} was asked for; the first of 4 is 1/4")
        check_options(self, SampleError)

    def indices(self, source: ImageSource) -> list[int]:
        """The images of this run, in the source's index."""
        chosen = subset(source, self.count, self.seed)
        part, parts = self.part
        return chosen[len(chosen) * (part - 1) // parts : len(chosen) * part // parts]

    def header(self, source: ImageSource, segmenter: Segmenter, images: int) -> dict[str, Any]:
        """All that decides the areas, as JSON: the provenance of the record."""
        described = {
            "spec": source.spec,
            "fingerprint": source.fingerprint(),
            "asked": images,
            "seed": self.seed,
            "part": list(self.part),
            "resolution": segmenter.resolution,
            "match_resolution": self.match_resolution,
            "left_out": left_out(source),
        }
        if isinstance(source, DrawnImages):
            described["drawn"] = source.header
        header = {
            "package_version": package_version(),
            "images": [described],
            "segmenter": {**segmenter.provenance, "channel": self.channel},
        }
        plain: dict[str, Any] = json.loads(canonical_json(header))  # as it is read back
        return plain


def segment(
    images: str | Path | ImageSource | Generator,
    segmenter: str | Path | Segmenter,
    *,
    out: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    part: tuple[int, int] = (1, 1),
    channel: str = "object",
    match_resolution: int | None = None,
    batch_size: int = 16,
    workers: int | None = None,
    skip_broken: bool = False,
    keep_maps: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Areas:
    """The areas of every class in every image.

    Args:
        images: a source or a generator, the spec of either, or the path of a folder or an archive.
            A generator draws as many as `count` says, from index 0; `unseen.DrawnImages` has the
            settings of its drawing.
        segmenter: a segmenter, or its spec.
        out: the Parquet file to write, in resumable shards. An `out` of the same header is
            complete and is only read.
        count: how many images: the index shuffled by `seed`, the first n; of a set without end the
            first n. None for all.
        seed: of the subset.
        part: (2, 4) segments the second quarter of the subset; `concatenate` merges quarters.
        channel: of the segmenter.
        match_resolution: degrade every image to this side first, in pixels.
        batch_size: images a call of the segmenter.
        workers: decoding processes; None for one a core, 0 to decode here.
        skip_broken: count and list images that cannot be decoded instead of stopping.
        keep_maps: a folder for the label maps, as 16-bit PNG.
        overwrite: replace areas, shards or maps that another run left there.
        progress: called with (images done, images in all).

    Returns:
        One row an image, one column a class; the provenance lists skipped images.

    Raises:
        ImageError: a broken image (what was finished is kept), fewer images than asked for, or no
            count where there is no end.
        GeneratorError: the generator drew something that is no image.
        SegmenterError: no such channel, or label maps that are not labels.
        RecordError: `out`, its shards or `keep_maps` belong to another run.
        StorageError: the disk is full or the place cannot be written.
    """
    task = Segmentation(
        count=count,
        seed=seed,
        part=part,
        channel=channel,
        match_resolution=match_resolution,
        batch_size=batch_size,
        workers=workers,
        skip_broken=skip_broken,
        keep_maps=None if keep_maps is None else Path(keep_maps),
        overwrite=overwrite,
    )
    if out is not None and Path(out).suffix != ".parquet":
        raise RecordError(
            f"{out} is to hold areas; give it the ending .parquet, by which it is known again"
        )
    source = open_source(images)
    network = load_segmenter(segmenter) if isinstance(segmenter, str | Path) else segmenter
    run = _Run(task, source, network, None if out is None else Path(out), progress)
    areas = run.areas()
    if isinstance(source, DrawnImages) and source.keep is not None:
        source.keep_all(run.indices)  # those of areas that an earlier run made
    return areas


def default_segmenter(*images: str | Path | ImageSource) -> str:
    """The spec of the segmenter for these sets: the churchyard's own, else the paper's."""
    specs = [each if isinstance(each, str | Path) else each.spec for each in images]
    churchyard = all(isinstance(spec, str) and _of_the_churchyard(spec) for spec in specs)
    return "churchyard" if churchyard else "upp"


def _of_the_churchyard(spec: str) -> bool:
    """Whether it is the built-in world, or a generator of it: `churchyard-…`."""
    name = spec_name(spec)
    known = {*plugin_names("images"), *plugin_names("generators")}
    return name == "churchyard" or (name.startswith("churchyard-") and name in known)


_OUTSIDE = ("spec", "count", "broken", "left_out")  # of a set of images: no part of its identity


def _identity(header: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal for areas to be reused: contents, not the places they were read from."""
    kept = dict(header)
    kept["images"] = [
        {key: value for key, value in source.items() if key not in _OUTSIDE}
        for source in header.get("images", [])
    ]
    for source in kept["images"]:
        if "drawn" in source:
            source["drawn"] = contents(source["drawn"])
    segmenter = dict(header.get("segmenter") or {})
    if segmenter.get("weights"):
        segmenter.pop("spec", None)
    kept["segmenter"] = segmenter
    kept.pop("label_map", None)  # an outcome
    return kept


@dataclasses.dataclass
class _Counted:
    """A batch that is counted."""

    names: list[str]
    pixels: UInt32[np.ndarray, "n k"]
    broken: list[dict[str, str]]


@dataclasses.dataclass
class _Growing:
    """A shard that grows. A batch joins it in one step, so an interruption finds it whole."""

    start: int  # position of its first image
    batches: list[_Counted] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def images(self) -> int:
        return sum(len(batch.names) + len(batch.broken) for batch in self.batches)

    @property
    def due(self) -> bool:
        return self.images >= _SHARD or time.monotonic() - self.began >= _SHARD_SECONDS


class _Run:
    """One run of a task: which images, where they go, how far it is."""

    def __init__(
        self,
        task: Segmentation,
        source: ImageSource,
        segmenter: Segmenter,
        out: Path | None,
        progress: Progress | None,
    ) -> None:
        self.task, self.source, self.segmenter, self.out = task, source, segmenter, out
        self.progress = progress or silent
        self.class_names = class_names(segmenter, task.channel)
        self.indices = task.indices(source)
        if not self.indices:
            raise ImageError(f"{source.spec} has no image in part {task.part[0]}/{task.part[1]}")
        self.header = task.header(source, segmenter, len(self.indices))
        self.label_map: tuple[int, ...] | None = None  # height, width; known after one batch
        self.done = 0  # images, broken ones too

    def areas(self) -> Areas:
        """The finished areas: read where they are there, made where not."""
        if self.task.keep_maps is not None:
            self._open_maps(self.task.keep_maps)
        if self.out is None:
            return self._join(self._shards(None))
        parts = AreasParts(self.out, {**_identity(self.header), "batch_size": self.task.batch_size})
        areas = self._finished(self.out)
        if areas is None:
            parts.open(overwrite=self.task.overwrite)
            areas = self._join(self._shards(parts))
            write_areas(self.out, areas)
        parts.discard()
        return areas

    def _finished(self, out: Path) -> Areas | None:
        """What `out` holds, if it is what this run would write."""
        if self.task.overwrite or not out.exists():
            return None
        areas = read_areas(out)
        found, asked = _identity(areas.provenance), _identity(self.header)
        if found != asked:
            what, there, here = difference(found, asked)
            raise RecordError(
                f"{out} holds other areas ({what} is {there} there, {here} here); choose another "
                "file, or replace it with overwrite"
            )
        return areas if self._take(areas, areas.provenance["images"][0]["broken"]) else None

    def _shards(self, parts: AreasParts | None) -> list[Areas]:
        """Every shard of the run in order, found or made."""
        found = parts.read() if parts is not None else {}
        shards = {
            start: areas
            for start, areas in found.items()
            if self._take(areas, areas.provenance["broken"])
        }
        gaps = self._gaps(shards)
        self.progress(self.done, len(self.indices))
        indices = [self.indices[position] for gap in gaps for position in gap]
        stream = read_batches(
            self.source,
            indices,
            Preparation(self.segmenter.resolution, self.task.match_resolution),
            batch_size=self.task.batch_size,
            workers=default_workers() if self.task.workers is None else self.task.workers,
            skip_broken=self.task.skip_broken,
        )
        with contextlib.closing(stream):
            for gap in gaps:
                # Shards begin and end with a batch, so every image meets the segmenter in the
                # same company, resumed or not.
                steps = -(-len(gap) // self.task.batch_size)
                self._fill(gap, itertools.islice(stream, steps), indices, shards, parts)
        return [shards[start] for start in sorted(shards)]

    def _gaps(self, shards: Mapping[int, Areas]) -> list[range]:
        """The positions of the run that no shard holds."""
        gaps, position = [], 0
        for start, areas in sorted(shards.items()):
            gaps.append(range(position, start))
            position = start + len(areas) + len(areas.provenance["broken"])
        gaps.append(range(position, len(self.indices)))
        return [gap for gap in gaps if gap]

    def _fill(
        self,
        gap: range,
        stream: Iterable[Batch],
        indices: Sequence[int],
        shards: dict[int, Areas],
        parts: AreasParts | None,
    ) -> None:
        """Make the shards of one gap; what is whole is kept when the run is stopped."""
        growing = _Growing(gap.start)

        def keep() -> None:
            nonlocal growing
            if growing.batches:
                shard = self._areas(growing.batches)
                if parts is not None:
                    parts.write(growing.start, shard)
                shards[growing.start] = shard
                growing = _Growing(growing.start + growing.images)

        try:
            for batch in stream:
                growing.batches.append(self._count(batch, indices))
                if growing.due:
                    keep()
                self.done += len(batch.positions) + len(batch.broken)
                self.progress(self.done, len(self.indices))
            keep()
        except (KeyboardInterrupt, UnseenError) as error:
            if parts is None:
                raise
            if not isinstance(error, StorageError):
                keep()
            kept = sum(len(each) + len(each.provenance["broken"]) for each in shards.values())
            told = f"{kept:,} of {len(self.indices):,} images are kept"
            if kept:
                told += f" in {parts.folder}"
            else:
                parts.discard()
            if isinstance(error, KeyboardInterrupt):
                error.add_note(f"{told}: run the same command again to go on")
            elif kept:
                error.add_note(told)
            raise

    def _count(self, batch: Batch, indices: Sequence[int]) -> _Counted:
        """Label and count one batch."""
        names = [self.source.names[indices[position]] for position in batch.positions]
        pixels = np.zeros((0, len(self.class_names)), np.uint32)
        if names:
            maps = checked_label_maps(self.segmenter, batch.images, self.task.channel)
            self._check_label_map(maps.shape[1:])
            for name, label_map in zip(names, maps, strict=True):
                self._keep_map(name, label_map)
            pixels = count_labels(maps, len(self.class_names))
        broken = [{"name": each.name, "reason": each.reason} for each in batch.broken]
        return _Counted(names, pixels, broken)

    def _areas(self, counted: Sequence[_Counted]) -> Areas:
        height, width = self.label_map or (0, 0)
        broken = [each for batch in counted for each in batch.broken]
        return Areas(
            names=[name for batch in counted for name in batch.names],
            columns=tuple(f"{self.task.channel}/{name}" for name in self.class_names),
            pixels=np.concatenate([batch.pixels for batch in counted]),
            label_map_pixels=height * width,
            provenance={"label_map": [height, width], "broken": broken},
        )

    def _take(self, areas: Areas, broken: Sequence[Mapping[str, str]]) -> bool:
        """Take areas that an earlier run made, unless they lack the label maps asked for."""
        if self.task.keep_maps is not None:
            folder = self.task.keep_maps
            if not all(label_map_path(folder, name).is_file() for name in areas.names):
                return False
        if broken and not self.task.skip_broken:
            raise ImageError(
                f"{broken[0]['reason']}; it was left out with skip_broken before: repair it and "
                "start afresh with overwrite, or skip it again"
            )
        if len(areas):
            self._check_label_map(tuple(areas.provenance["label_map"]))
        self.done += len(areas) + len(broken)
        return True

    def _check_label_map(self, shape: tuple[int, ...]) -> None:
        self.label_map = self.label_map or shape
        if shape != self.label_map:
            raise SegmenterError(
                f"{self.segmenter.provenance.get('spec', 'the segmenter')} gave label maps of "
                f"{shape[0]}×{shape[1]} after {self.label_map[0]}×{self.label_map[1]}; one run "
                "needs one size"
            )

    def _join(self, shards: Sequence[Areas]) -> Areas:
        names = [name for shard in shards for name in shard.names]
        broken = [each for shard in shards for each in shard.provenance["broken"]]
        if not names:
            raise ImageError(
                f"{self.source.spec}: all {len(broken)} images are broken, first "
                f"{broken[0]['reason']}"
            )
        height, width = self.label_map or (0, 0)
        source = {**self.header["images"][0], "count": len(names), "broken": broken}
        return dataclasses.replace(
            shards[0],
            names=names,
            pixels=np.concatenate([shard.pixels for shard in shards]),
            label_map_pixels=height * width,
            provenance={**self.header, "images": [source], "label_map": [height, width]},
        )

    def _open_maps(self, folder: Path) -> None:
        """Make the folder of label maps, or find it as the same run left it."""
        about = folder / "about.json"
        mine = {
            "schema": "label_maps",
            "schema_version": 1,
            "class_names": list(self.class_names),
            "provenance": self.header,
        }
        if about.is_file() and not self.task.overwrite:
            try:
                theirs = json.loads(about.read_text(encoding="utf-8"))["provenance"]
            except (ValueError, KeyError, TypeError) as error:
                raise RecordError(
                    f"{about} cannot be read ({error!r}); choose another folder, or replace it "
                    "with overwrite"
                ) from error
            if _identity(theirs) != _identity(self.header):
                what, there, here = difference(_identity(theirs), _identity(self.header))
                raise RecordError(
                    f"{folder} holds label maps of something else ({what} is {there} there, "
                    f"{here} here); choose another folder, or replace them with overwrite"
                )
        write_json(about, mine)

    def _keep_map(self, name: str, label_map: Integer[np.ndarray, "h w"]) -> None:
        if self.task.keep_maps is not None:
            write_label_map(label_map_path(self.task.keep_maps, name), label_map)


def count_labels(
    label_maps: Integer[np.ndarray, "n h w"], classes: int
) -> UInt32[np.ndarray, "n {classes}"]:
    """Pixels of every class in every label map.

    Args:
        label_maps: labels from 0 to `classes` − 1.
        classes: how many there are.
    """
    # One bincount for the whole batch needs an offset added to every pixel: 4 times as long.
    counts = [np.bincount(label_map.ravel(), minlength=classes) for label_map in label_maps]
    return np.stack(counts).astype(np.uint32)


def label_map_path(folder: Path, name: str) -> Path:
    """Where `keep_maps` puts the label map of the image `name`: `folder/name.png`.

    Raises:
        RecordError: the name leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise RecordError(f"the image name {name!r} leads out of {folder}; rename the image")
    return folder / f"{path}.png"
