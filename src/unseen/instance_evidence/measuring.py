"""Instance evidence: what reconstructions of photographs no longer have.

Every image and every reconstruction is segmented and kept with its label map; instances are
measured; classes are judged where there are controls; the record is written last. What the
numbers mean is defined in docs/evidence.md.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.errors import ImageError, RecordError, SegmenterError, memory_for
from unseen.core.files import as_path, remove_asides
from unseen.core.identity import identify, part_difference
from unseen.core.options import Device, Labels, Option, Overwrite, check_labels, check_options
from unseen.core.progress import Progress, shown
from unseen.core.records import build
from unseen.core.run_folder import RunFolder
from unseen.distribution.designs import GROUPS_HELP, Said
from unseen.distribution.example_images import labels_path, write_labels, write_picture
from unseen.distribution.segment import BatchSize, Channel, default_segmenter
from unseen.images import Images, ImageSource, Preparation, open_images
from unseen.images.decode import as_picture
from unseen.images.preparation import Fit, FitName, Size, check_one_square
from unseen.images.record_pictures import read_label_map
from unseen.instance_evidence.grouping import group_images
from unseen.instance_evidence.judging import Instrument, MeasuredImage, MeasuredInstance, compose
from unseen.instance_evidence.pairs import (
    JUDGED_BY,
    Candidate,
    Collection,
    Entry,
    Origin,
    open_runs,
    pair_up,
)
from unseen.instance_evidence.record import FILE, Evidence, Fate, Rebuilt, write_evidence
from unseen.inversion.inversions import ROLES, Inversions, Selection, curve_runs, read_inversions
from unseen.segmenters import Segmenter, checked_label_maps, class_names, load_segmenter
from unseen.segmenters.protocol import LabelsByName, Precision, SegmenterPrecision
from unseen.statistics.instances import (
    LEAST_AREA,
    Region,
    became,
    contrast,
    find_instances,
    intersection_over_union,
    perimeter_ratio,
    retention,
)
from unseen.statistics.retention import Judging

LabelMaps = Literal["segmenter", "true"]
ImageSet = str | Path | ImageSource | Images

LabelMap = Callable[[], Integer[np.ndarray, "*layers h w"]]

_PICTURES = "pictures"
_OWNED = tuple(f"{role}*/[0-9]*.{ending}" for role in ROLES for ending in ("png", "jpg"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceTask:
    """How images and their reconstructions become evidence.

    >>> EvidenceTask(label_maps="true").channel
    'object'
    """

    labels: Labels = None  # photographs, generator
    channel: Channel = "object"
    label_maps: Annotated[
        LabelMaps,
        Option(
            "Where the instances of photographs come from: segmenter, or true for a source with "
            "exact label maps (the churchyard). Reconstructions are always segmented."
        ),
    ] = "segmenter"
    least_area: Annotated[
        float,
        Option("Fraction of the image that an instance covers at least.", min=1e-6, max=0.99),
    ] = LEAST_AREA
    classes: Annotated[
        Sequence[str] | None,
        Option("Take this class alone. It may be repeated.", name="--class", repeated=True),
    ] = None
    judged_by: Annotated[
        str | None,
        Option("Method that the verdicts are about. Default: f, or else nearest."),
    ] = None
    judging: Judging = dataclasses.field(default_factory=Judging)
    groups: Annotated[
        Said,
        Option(
            f"{GROUPS_HELP} For one kind of images: photographs=folder.",
            metavar="GROUPS",
            parse=str,
        ),
    ] = None
    device: Device = "auto"
    precision: SegmenterPrecision = "fp32"
    batch_size: BatchSize = 16
    fit: Fit = "crop"
    overwrite: Overwrite = False
    selection: Selection | None = None  # how the photographs were chosen
    cut_rule: Annotated[
        str | None, Option("How the cut was chosen: a sentence for the record and the page.")
    ] = None

    def __post_init__(self) -> None:
        check_options(self, ImageError)
        check_one_square(self.fit)
        if self.labels is not None:
            check_labels(self.labels, 2)


class EvidenceOptions(TypedDict, total=False):
    """The fields of `EvidenceTask`, as keywords."""

    labels: Sequence[str] | None
    channel: str
    label_maps: LabelMaps
    least_area: float
    classes: Sequence[str] | None
    judged_by: str | None
    judging: Judging
    device: str
    precision: Precision
    batch_size: int
    fit: FitName
    overwrite: bool
    selection: Selection | None
    cut_rule: str | None
    groups: Said


def evidence(
    images: ImageSet | Inversions | Sequence[str | Path | Inversions],
    reconstructions: ImageSet | None = None,
    segmenter: str | Path | Segmenter | None = None,
    *,
    out: str | Path | None = None,
    controls: tuple[ImageSet, ImageSet] | None = None,
    only_pairs: bool = False,
    task: EvidenceTask | None = None,
    progress: Progress | None = None,
    **options: Unpack[EvidenceOptions],
) -> Evidence:
    """Evidence from inversions, or from images and their reconstructions by any tool.

    Args:
        images: without reconstructions what `unseen.invert` returned, or the folder that it wrote,
            with the runs for the curve that lie in it; or several of these, of the same images,
            that differ in the last perturbed layer. Verdicts are about the first. With
            reconstructions a set of images: a source, its spec, the path of a folder or an
            archive, or images in memory.
        reconstructions: of the same names; only their endings may differ.
        segmenter: a segmenter, or its spec; None: the churchyard's where the photographs are,
            else upp.
        out: folder for the record `evidence.json` and the pictures of its page. A run that was
            interrupted goes on from what is there. None: the first run's own, or `evidence`.
        controls: images of the generator, chosen as the photographs were, and what the same tool
            made of them. None: no verdicts, but what vanished. Inversions have their own.
        only_pairs: leave out photographs without a reconstruction.
        task: how; None: the default. Where it says nothing of how the photographs were chosen, the
            run does.
        progress: called with images done, and of how many; None: a bar in a notebook.
        options: fields of `EvidenceTask`, in place of those of `task`, e.g. `classes=["car"]`.

    Returns:
        The record, as written.

    Raises:
        ImageError: names that do not pair, images that cannot be read or hold no instances.
        SegmenterError: a segmenter that is unusable, or does not know a class asked for.
        RecordError: the folder holds other evidence; no such run, or runs of different images.
        StorageError: the disk is full, or the folder cannot be written.

    >>> evidence("photos/", "rebuilt/", "upp")  # doctest: +SKIP
    20 photographs (photos/), rebuilt by reconstruction: 3 without a verdict
    """
    task = dataclasses.replace(task or EvidenceTask(), **options)
    if reconstructions is None:
        if controls is not None or only_pairs:
            raise ImageError("inversions hold their controls and pairs; leave controls out")
        runs: Any = images  # whatever else it is, reading the record says so
        return _of_inversions(runs, segmenter, out, task, progress)
    photographs: Any = images
    source = open_images(photographs)
    collection = pair_up(
        source,
        open_images(reconstructions),
        controls=None if controls is None else (open_images(controls[0]), open_images(controls[1])),
        true_label_maps=task.label_maps == "true",
        only_pairs=only_pairs,
    )
    network = _segmenter(segmenter or default_segmenter(source), task)
    return _gather(collection, network, as_path(out or "evidence"), task, progress)


def _of_inversions(
    runs: str | Path | Inversions | Sequence[str | Path | Inversions],
    segmenter: str | Path | Segmenter | None,
    out: str | Path | None,
    task: EvidenceTask,
    progress: Progress | None,
) -> Evidence:
    """Evidence from what `unseen invert` left."""
    given = [runs] if isinstance(runs, str | Path | Inversions) else list(runs)
    several = [run if isinstance(run, Inversions) else read_inversions(run) for run in given]
    first = several[0]
    if len(several) == 1:
        several += curve_runs(first)
    collection = open_runs(several, true_label_maps=task.label_maps == "true")
    if task.selection is None:
        task = dataclasses.replace(task, selection=_selection(first))
    if out is None:
        out = first.folder
    images = collection.photographs.provenance.get("spec")
    network = _segmenter(segmenter or default_segmenter(str(images or "")), task)
    return _gather(collection, network, as_path(out), task, progress)


def _selection(run: Inversions) -> Selection | None:
    """How the run says that its photographs were chosen."""
    described = run.provenance.get("images")
    recorded = described.get("selection") if isinstance(described, Mapping) else None
    if recorded is None:
        return None
    return build(Selection, recorded, f"{run.folder} does not say how images were chosen")


def _segmenter(segmenter: str | Path | Segmenter, task: EvidenceTask) -> Segmenter:
    if isinstance(segmenter, str | Path):
        return load_segmenter(segmenter, device=task.device, precision=task.precision)
    return segmenter


def _gather(
    collection: Collection,
    segmenter: Segmenter,
    folder: Path,
    task: EvidenceTask,
    progress: Progress | None,
) -> Evidence:
    if task.labels is not None:
        collection = collection.called(*task.labels)
    measuring = _Measuring(collection, segmenter, folder, task, shown(progress, "segment"))
    remove_asides(folder)
    with measuring.pictures.writing():
        images = list(measuring.measure())
        record = compose(collection, images, measuring.instrument(), task.judging)
        write_evidence(folder / FILE, record)
    return record


@dataclasses.dataclass(frozen=True)
class _Shown:
    """One image, or one reconstruction of it, as it is kept."""

    stem: str  # of its files below the folder
    image: UInt8[np.ndarray, "3 s s"]
    path: str | None  # where it lies below the folder already
    label_map: LabelMap | None = None  # None: to be segmented


class _Measuring:
    """Segments, keeps and measures a collection."""

    def __init__(
        self,
        collection: Collection,
        segmenter: Segmenter,
        folder: Path,
        task: EvidenceTask,
        progress: Progress,
    ) -> None:
        self.collection, self.segmenter, self.task = collection, segmenter, task
        self.folder, self.progress = folder, progress
        self._preparation = Preparation(segmenter.resolution, fit=task.fit)
        self.names = class_names(segmenter, task.channel)
        self.columns = tuple(f"{task.channel}/{name}" for name in self.names)
        self.sizes: dict[str, set[tuple[int, int]]] = {}  # role or method → native sizes
        self.size: tuple[int, int] | None = None  # of label maps
        self.truth = self._true_labels()
        self._check_labels()
        self.groups = group_images(collection, task.groups)
        self.pictures = self._run_folder()
        for name in task.classes or ():
            if name not in self.names:
                known = ", ".join(self.names[:12]) + (", …" if len(self.names) > 12 else "")
                raise SegmenterError(
                    f"{segmenter.provenance.get('spec', 'the segmenter')} knows no class "
                    f"{name!r}; its classes are: {known}"
                )

    def instrument(self) -> Instrument:
        """What the whole collection was measured with."""
        assert self.size is not None
        task = self.task
        return Instrument(
            columns=self.columns,
            label_map_size=self.size,
            least_area=task.least_area,
            classes=None
            if task.classes is None
            else tuple(f"{task.channel}/{name}" for name in task.classes),
            true_label_maps=task.label_maps == "true",
            sizes=self.sizes,
            preparation=self._preparation,
            segmenter={**self.segmenter.provenance, "channel": task.channel},
            selection=task.selection,
            cut_rule=task.cut_rule,
            judged_by=self._judged_by(),
            notes=self.groups.notes,
        )

    def _judged_by(self) -> str:
        """The key of the method that verdicts are about."""
        keys = {method.method: method.key for method in reversed(self.collection.methods)}
        known = [name for name in JUDGED_BY if name in keys]
        asked = self.task.judged_by
        if asked is not None and asked not in known:
            raise RecordError(
                f"verdicts were asked for by method {asked}; of the methods that were run they may "
                f"be about {', '.join(known) or 'the given one alone'}"
            )
        if asked is None and not known:
            return self.collection.methods[0].key
        return keys[asked or known[0]]

    def _check_labels(self) -> None:
        """Label maps that were made before must be this segmenter's."""
        made = self.collection.labelled_by
        if made is None:
            return
        ours = {**self.segmenter.provenance, "channel": self.task.channel}
        differing = part_difference(made, ours, "segmenter")
        if differing is not None:
            raise RecordError(
                f"the samples of method nearest were labelled by another segmenter ({differing}); "
                "name that one, or run `unseen invert` again"
            )

    def _run_folder(self) -> RunFolder:
        """The pictures and label maps, which lie beside those of a comparison."""
        folder = self.folder / _PICTURES
        beside = [path.name for path in folder.glob("*") if not path.name.startswith(ROLES)]
        identity = identify(
            "pictures of evidence",
            1,
            parts={"segmenter": self.segmenter.provenance},
            options={
                "channel": self.task.channel,
                "collection": self.collection.identity,
                "fit": self.task.fit,
                "maps": self._maps_fingerprints(),
            },
            batch_size=self.task.batch_size,
        )
        return RunFolder(
            folder, identity, _OWNED, FILE, before=beside, overwrite=self.task.overwrite
        )

    def _maps_fingerprints(self) -> list[str]:
        """Of label maps that exist, all that they hold."""
        if not isinstance(self.segmenter, LabelsByName):
            return []
        entries = self.collection.entries
        origins = [entry.origin for entry in entries]
        origins += [rebuilt.origin for entry in entries for rebuilt in entry.rebuilt.values()]
        sources = {origin[0].spec: origin[0] for origin in origins if origin is not None}
        return [self.segmenter.maps_fingerprint(source) for source in sources.values()]

    def _existing_map(self, origin: Origin | None, size: Size) -> LabelMap | None:
        """The label map of an image that has one already; None: it is to be segmented."""
        if origin is None or not isinstance(self.segmenter, LabelsByName):
            return None
        source, name = origin
        maps = functools.partial(self.segmenter.maps_of, source, [name], [size], self._preparation)
        return lambda: maps()[0]

    @property
    def _at_once(self) -> int:
        """Images a call of the segmenter: what the run began with, or fewer."""
        return min(self.task.batch_size, self.pictures.identity.batch_size or self.task.batch_size)

    def measure(self) -> Iterator[MeasuredImage]:
        """Every image with its label maps and its instances; kept as they come."""
        entries = self.collection.entries
        a_call = max(1, self._at_once // (1 + len(self.collection.methods)))
        self.progress(0, len(entries))
        for start in range(0, len(entries), a_call):
            chunk = range(start, min(start + a_call, len(entries)))
            shown = [self._read(number) for number in chunk]
            maps = self._label_maps([picture for row in shown for picture in row.values()])
            for number, row in zip(chunk, shown, strict=True):
                labelled = {key: maps[picture.stem] for key, picture in row.items()}
                yield self._measure(number, row, labelled)
            self.progress(chunk.stop, len(entries))

    def _read(self, number: int) -> dict[str, _Shown]:
        """An image under "" and its reconstructions, all squares of one size."""
        entry = self.collection.entries[number]
        raw = {"": entry.read()}
        for key, candidate in entry.rebuilt.items():
            if candidate.read is not None:
                raw[key] = candidate.read()
        for key, image in raw.items():
            height, width = image.shape[1:]
            self.sizes.setdefault(key or entry.role, set()).add((height, width))
        side = min(self.segmenter.resolution, *(min(image.shape[1:]) for image in raw.values()))
        prepare = Preparation(side, fit=self.task.fit)
        shown = {}
        for key, image in raw.items():
            path = entry.path if key == "" else entry.rebuilt[key].path
            kept = image.shape[1:] == (side, side) and path is not None
            of: Entry | Candidate = entry.rebuilt[key] if key else entry
            size = image.shape[1], image.shape[2]
            shown[key] = _Shown(
                stem=f"{_PICTURES}/{entry.role}{key and '-'}{key}/{self._in_role(number):05d}",
                image=prepare.apply(image),
                path=self._below(path) if kept and path is not None else None,
                label_map=self._existing_map(of.origin, size)
                or (entry.rebuilt[key].label_map if key else None),
            )
        return shown

    def _in_role(self, number: int) -> int:
        """The number of an image among those of its role; photographs come first."""
        if self.collection.entries[number].role == "photograph":
            return number
        return number - len(self.collection.of("photograph"))

    def _below(self, path: Path) -> str | None:
        """The path below the folder of the record, if it is there."""
        try:
            return path.resolve().relative_to(self.folder.resolve()).as_posix()
        except ValueError:
            return None

    def _label_maps(self, shown: Sequence[_Shown]) -> dict[str, Integer[np.ndarray, "*layers h w"]]:
        """Label maps by stem: read where a whole chunk is kept, made where not."""
        kept = [self._kept_map(picture) for picture in shown]
        maps = [label_map for label_map in kept if label_map is not None]
        if len(maps) < len(shown):
            maps = self._make_maps(shown)
        for label_map in maps:
            height, width = label_map.shape[-2:]
            self.size = self.size or (height, width)
            if (height, width) != self.size:
                raise SegmenterError(
                    f"{self.segmenter.provenance.get('spec', 'the segmenter')} gave label maps of "
                    f"{height}×{width} after {self.size[0]}×{self.size[1]}; one record needs one "
                    "size"
                )
        return {picture.stem: label_map for picture, label_map in zip(shown, maps, strict=True)}

    def _make_maps(self, shown: Sequence[_Shown]) -> list[Integer[np.ndarray, "*layers h w"]]:
        """Segment what has no label map, and keep pictures and label maps."""
        prepare = Preparation(self.segmenter.resolution)  # of squares
        without = [picture for picture in shown if picture.label_map is None]
        segmented: list[Integer[np.ndarray, "*layers h w"]] = []
        for start in range(0, len(without), self._at_once):
            images = [
                prepare.apply(picture.image) for picture in without[start : start + self._at_once]
            ]
            with memory_for(
                f"segmenting {len(images)} images at once", "use a smaller --batch-size"
            ):
                segmented += list(
                    checked_label_maps(self.segmenter, np.stack(images), self.task.channel)
                )
        made = iter(segmented)
        maps = [
            next(made) if picture.label_map is None else picture.label_map() for picture in shown
        ]
        for picture, label_map in zip(shown, maps, strict=True):
            if picture.path is None:
                write_picture(self.folder, picture.stem, picture.image)
            write_labels(self.folder, picture.stem, label_map)
        return maps

    def _kept_map(self, picture: _Shown) -> Integer[np.ndarray, "*layers h w"] | None:
        if self._picture(picture) is None:
            return None
        labels = labels_path(picture.stem)
        return read_label_map(self.folder, labels) if (self.folder / labels).is_file() else None

    def _picture(self, picture: _Shown) -> str | None:
        """Where the picture lies below the folder."""
        if picture.path is not None:
            return picture.path
        names = (f"{picture.stem}.{ending}" for ending in ("png", "jpg"))
        return next((name for name in names if (self.folder / name).is_file()), None)

    def _measure(
        self,
        number: int,
        shown: Mapping[str, _Shown],
        maps: Mapping[str, Integer[np.ndarray, "*layers h w"]],
    ) -> MeasuredImage:
        """The instances of one image, and what its reconstructions made of them."""
        entry = self.collection.entries[number]
        label_map, image = maps[""], shown[""].image
        truth = self._true_map(entry, label_map.shape[-2:])
        true_path = None
        if truth is not None:
            true_path = write_labels(self.folder, f"{shown[''].stem}-true", truth)
        regions = find_instances(
            label_map if truth is None else truth,
            least_area=self.task.least_area,
            seen=None if truth is None else label_map,
        )
        picture_path = self._picture(shown[""])
        assert picture_path is not None
        own_id = f"{entry.role}-{self._in_role(number):05d}"
        size = label_map.shape[-2:]
        sized = _resized(image, size)  # contrast is taken on the label map's pixels
        return MeasuredImage(
            id=own_id,
            role=entry.role,
            name=entry.name,
            group=self.groups.labels[number],
            image=picture_path,
            label_map=labels_path(shown[""].stem),
            true_label_map=true_path,
            rebuilt=tuple(self._rebuilt(entry, key, shown, image) for key in entry.rebuilt),
            instances=tuple(
                MeasuredInstance(
                    id=f"{own_id}-{i:02d}",
                    picture=own_id,
                    number=number,
                    group=self.groups.numbers[number],
                    role=entry.role,
                    column=self.columns[region.label],
                    box=region.box,
                    area_pixels=region.pixels,
                    area=region.pixels / math.prod(size),
                    perimeter_ratio=perimeter_ratio(region),
                    contrast=contrast(region, sized),
                    fates=tuple(
                        self._fate(key, region, rebuilt) for key, rebuilt in maps.items() if key
                    ),
                )
                for i, region in enumerate(regions)
            ),
        )

    def _fate(self, key: str, region: Region, rebuilt: Integer[np.ndarray, "*layers h w"]) -> Fate:
        return Fate(
            method=key,
            retention=retention(region, rebuilt),
            iou=intersection_over_union(region, rebuilt),
            became={self.columns[label]: share for label, share in became(region, rebuilt).items()},
        )

    def _rebuilt(
        self, entry: Entry, key: str, shown: Mapping[str, _Shown], image: np.ndarray
    ) -> Rebuilt:
        candidate = entry.rebuilt[key]
        there = shown.get(key)
        return Rebuilt(
            method=key,
            image=None if there is None else self._picture(there),
            label_map=None if there is None else labels_path(there.stem),
            pixel_error=None
            if there is None
            else float(np.abs(there.image.astype(np.int64) - image).mean() / 255),
            loss=candidate.loss,
            loss_terms=dict(candidate.terms),
            steps=candidate.steps,
            failed=candidate.failed,
        )

    def _true_labels(self) -> Integer[np.ndarray, " k"] | None:
        """For every label of the exact label maps the segmenter's; none where these are unused."""
        if self.task.label_maps != "true":
            return None
        unknown = [name for name in self.collection.true_classes if name not in self.names]
        if unknown or not self.collection.true_classes:
            listed = ", ".join(unknown) or "any"
            raise SegmenterError(
                f"{self.segmenter.provenance.get('spec', 'the segmenter')} does not know classes "
                f"of the exact label maps ({listed}); use one that does, or leave them out"
            )
        return np.array([self.names.index(name) for name in self.collection.true_classes])

    def _true_map(
        self, entry: Entry, shape: tuple[int, ...]
    ) -> Integer[np.ndarray, "*layers h w"] | None:
        """The exact label map in the segmenter's labels and size."""
        if self.truth is None or entry.truth is None:
            return None
        exact = entry.truth()
        if exact.shape[0] != exact.shape[1]:
            raise ImageError(
                f"the exact label map of {entry.name} is {exact.shape[0]}×{exact.shape[1]}; only "
                "squares, which are not cropped, can be used"
            )
        rows = (np.arange(shape[0]) + 0.5) * exact.shape[0] / shape[0]
        columns = (np.arange(shape[1]) + 0.5) * exact.shape[1] / shape[1]
        nearest = exact[rows.astype(int)[:, None], columns.astype(int)]
        mapped: np.ndarray = self.truth[nearest]
        return mapped


def _resized(image: UInt8[np.ndarray, "3 s s"], size: tuple[int, ...]) -> np.ndarray:
    """The image on the pixels of a label map (h, w)."""
    if image.shape[1:] == size:
        return image
    picture = as_picture(image)
    resized = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.moveaxis(np.asarray(resized), -1, 0)
