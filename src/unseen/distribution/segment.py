"""Segment images into areas: the task, and the function of the same name.

`areas_run` carries it out.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict, Unpack

from unseen.core.errors import RecordError, SampleError
from unseen.core.files import (
    as_path,
    canonical_json,
    check_name,
    package_version,
    sha256_of_parts,
)
from unseen.core.lock import LOCK, locked
from unseen.core.options import (
    Count,
    Option,
    Overwrite,
    Part,
    Seed,
    SkipBroken,
    Workers,
    check_options,
    check_part,
)
from unseen.core.progress import Progress, shown, silent
from unseen.core.registry import plugin_names, spec_name
from unseen.distribution.areas import Areas
from unseen.distribution.areas_run import AreasRun, See, make_areas
from unseen.distribution.areas_shards import SHARD, known_fingerprint
from unseen.distribution.areas_work import Opening, list_part, make_apart
from unseen.distribution.instrument import VIEWS, Wear, WornPreparation
from unseen.engines.engine import Engine
from unseen.generators import Generator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sources import Drawing
from unseen.images import Images, ImageSource, Preparation, default_workers, left_out, subset
from unseen.images.preparation import Fit, FitName
from unseen.segmenters import LabelsByName, Segmenter, load_segmenter

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
CheckSegmenter = Annotated[
    bool,
    Option(
        "Segment every image also mirrored, and moved by a few pixels: three times the work. A "
        "comparison then calls no class that the segmenter may have missed."
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmentation:
    """How a set of images is segmented into areas."""

    count: Count = None
    seed: Seed = 0
    part: Part = (1, 1)
    shard: Annotated[
        int,
        Option(
            "Images in a shard, which one process makes at a time. Choose so many that it takes "
            "minutes at most.",
            name="--shard-size",
            min=1,
        ),
    ] = SHARD
    channel: Channel = "object"
    match_resolution: MatchResolution = None
    fit: Fit = "crop"
    batch_size: BatchSize = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    check_segmenter: CheckSegmenter = False
    keep_maps: Annotated[
        Path | None, Option("Folder for the label maps, one 16-bit PNG file for each image.")
    ] = None
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_part(self.part, SampleError)
        check_options(self, SampleError)

    def indices(self, source: ImageSource) -> list[int]:
        """The images of this run, in the source's index."""
        return subset(source, self.count, self.seed)

    def run(
        self,
        source: ImageSource,
        segmenter: Segmenter,
        fingerprint: str,
        *,
        out: Path | None = None,
        progress: Progress | None = None,
        see: See | None = None,
        wear: Wear | None = None,
        paired: Sequence[int] | None = None,
    ) -> AreasRun:
        """The run that this task is of these images and this segmenter.

        Args:
            source: the images.
            segmenter: anyone's.
            fingerprint: of the images, which are read for it.
            out: the areas file.
            progress: called with images done and images in all.
            see: told of every batch that is segmented.
            wear: what makes the images like those of another side, where they are to be.
            paired: the images instead of a subset, in the source's index: those with partners on
                other sides.

        Raises:
            ImageError: fewer images than asked for.
            SegmenterError: no such channel.
            SpecError: what is no number of pixels or images.
            RecordError: the name of the file is none of areas.
        """
        if out is not None and out.suffix != ".parquet":
            raise RecordError(
                f"{out} is to hold areas; give it the ending .parquet, by which it is known again"
            )
        indices = self.indices(source) if paired is None else list(paired)
        described: dict[str, Any] = {
            "spec": source.spec,
            "fingerprint": fingerprint,
            "asked": len(indices),
            "seed": self.seed,
            "resolution": segmenter.resolution,
            "match_resolution": self.match_resolution,
            "fit": self.fit,
            "left_out": left_out(source),
        }
        if paired is not None:
            described["paired"] = sha256_of_parts([canonical_json(indices)])
        views = tuple(VIEWS) if self.check_segmenter else ()
        preparation = Preparation(segmenter.resolution, self.match_resolution, self.fit)
        if views:
            described["views"] = list(views)
        if wear is not None:
            described["worn"] = dataclasses.asdict(wear)
            preparation = WornPreparation(
                segmenter.resolution, self.match_resolution, self.fit, wear
            )
        if isinstance(source, DrawnImages):
            described["drawn"] = source.header
        if isinstance(segmenter, LabelsByName):
            described["maps"] = segmenter.maps_fingerprint(source)
        provenance: dict[str, Any] = json.loads(  # as it is read back
            canonical_json(
                {
                    "package_version": package_version(),
                    "images": [described],
                    "segmenter": {**segmenter.provenance, "channel": self.channel},
                }
            )
        )
        return AreasRun(
            source=source,
            segmenter=segmenter,
            channel=self.channel,
            indices=indices,
            preparation=preparation,
            views=views,
            shard=self.shard,
            part=self.part,
            provenance=provenance,
            batch_size=self.batch_size,
            workers=default_workers() if self.workers is None else self.workers,
            skip_broken=self.skip_broken,
            out=out,
            maps=self.keep_maps,
            overwrite=self.overwrite,
            progress=progress or silent,
            see=see,
        )


class SegmentationOptions(TypedDict, total=False):
    """The fields of `Segmentation`, as keywords, but for the place of the label maps."""

    count: int | None
    seed: int
    part: tuple[int, int]
    shard: int
    channel: str
    match_resolution: int | None
    fit: FitName
    batch_size: int
    workers: int | None
    skip_broken: bool
    check_segmenter: bool
    overwrite: bool


def segment(
    images: str | Path | ImageSource | Generator | Images,
    segmenter: str | Path | Segmenter,
    *,
    out: str | Path | None = None,
    keep_maps: str | Path | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    opening: Opening | None = None,
    **options: Unpack[SegmentationOptions],
) -> Areas:
    """The areas of every class in every image.

    Args:
        images: a source or a generator, the spec of either, the path of a folder or an archive, or
            images in memory (a list, an array, a dataset; see `unseen.open_images`).
            A generator draws as many as `count` says, from index 0; `unseen.DrawnImages` has the
            settings of its drawing.
        segmenter: a segmenter, or its spec.
        out: the Parquet file to write, in resumable shards. An `out` of the same header is
            complete and is only read.
        keep_maps: a folder for the label maps, as 16-bit PNG.
        progress: called with images done and images in all; None: a bar in a notebook.
        engine: where the shards are made; None: here. One with other processes needs `out`.
        opening: how such a process opens images and segmenter; None: as they are given here, by
            their names or sent by pickle.
        options: fields of `Segmentation`.
            count: how many images: the index shuffled by `seed`, the first n; of a set without end
            the first n. None for all.
            seed: of the subset.
            part: (2, 4) makes the second quarter of the shards, on whatever machine; the areas
            that are given are those of the part alone, and `merge_areas(out)` joins the parts.
            shard: images of a shard; a run is finished with the number that it began with.
            channel: of the segmenter.
            match_resolution: degrade every image to this side first, in pixels.
            fit: how an image that is not square becomes squares: "crop", "squash", "tiles", "pad".
            batch_size: images a call of the segmenter.
            workers: decoding processes; None for one a core, 0 to decode here.
            skip_broken: count and list images that cannot be decoded, and subfolders that cannot be
            read, instead of stopping.
            check_segmenter: segment every image also mirrored and moved, so that `compare` can
            check the segmenter.
            overwrite: replace areas, shards or maps that another run left there.

    Returns:
        One row an image, one column a class; the provenance lists skipped images.

    Raises:
        ImageError: a broken image (what was finished is kept), fewer images than asked for, or no
            count where there is no end.
        GeneratorError: the generator drew something that is no image.
        SegmenterError: no such channel, or label maps that are not labels.
        RecordError: `out`, its shards or `keep_maps` belong to another run.
        StorageError: the disk is full or the place cannot be written.
        ShardError: shards that an engine's workers could not make; all others are kept.

    >>> segment(photos, "churchyard", workers=0)
    Areas of 8 images and ... classes: ...
    """
    maps = None if keep_maps is None else as_path(keep_maps)
    task = dataclasses.replace(Segmentation(), keep_maps=maps, **options)
    source = Drawing().open(images, skip_broken=task.skip_broken)
    network = load_segmenter(segmenter)
    place = None if out is None else as_path(out)
    progress = shown(progress, f"segment {source.spec}")
    run = _begun(task, source, network, place, progress)
    if engine is not None and engine.apart:
        make_apart(run, task, opening or Opening(images=images, segmenter=segmenter), engine)
    elif place is not None and task.part != (1, 1):
        list_part(run, place, "auto" if opening is None else opening.device)
    (areas,) = make_areas([run])
    if isinstance(source, DrawnImages) and source.keep is not None:
        source.keep_all(run.indices)  # those of areas that an earlier run made
    return areas


def _begun(
    task: Segmentation,
    source: ImageSource,
    segmenter: Segmenter,
    out: Path | None,
    progress: Progress,
) -> AreasRun:
    """The run; of several parts the first computes the fingerprint, and the others wait for it."""
    if out is None or task.part == (1, 1):
        return task.run(source, segmenter, source.fingerprint(), out=out, progress=progress)
    check_name(out)
    with locked(out.with_name(f".{out.name}{LOCK}")):
        indices = task.indices(source)
        fingerprint = known_fingerprint(out, source, indices, task.part) or source.fingerprint()
        run = task.run(source, segmenter, fingerprint, out=out, progress=progress)
        run.claim()
    return run


def default_segmenter(*images: str | Path | ImageSource) -> str:
    """The spec of the segmenter for these sets: the churchyard's own, else the paper's."""
    specs = [side if isinstance(side, str | Path) else side.spec for side in images]
    churchyard = all(isinstance(spec, str) and _of_the_churchyard(spec) for spec in specs)
    return "churchyard" if churchyard else "upp"


def _of_the_churchyard(spec: str) -> bool:
    """Whether it is the built-in world, or a generator of it: `churchyard-…`."""
    name = spec_name(spec)
    known = {*plugin_names("images"), *plugin_names("generators")}
    return name == "churchyard" or (name.startswith("churchyard-") and name in known)
