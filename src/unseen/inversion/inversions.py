"""The folder that an inversion leaves: targets, reconstructions, what was found, and the record.

    inversions.json                                  header and one entry an image
    images/ROLE/00000.png                            the prepared 8-bit target
    reconstructions/METHOD/ROLE/00000.png            what the method made of it, 8-bit
    reconstructions/METHOD/ROLE/00000-labels.png     of a mosaic (nearest, reference): the labels
                                                     that its pixels had where they are from, 16-bit
    tensors/METHOD/ROLE/00000.safetensors            latents, features at the cut, perturbations
    pool/ROLE.parquet                                areas that images were chosen by, if they were
    upto/LAYER/                                      another run of the same images, for the curve

ROLE is `photograph` or `control` (the generator's own images); the number counts the images of a
role in this run. While a run is under way finished images are listed in `entries.jsonl`, a line
each, or by several processes in `entries/START-STOP.jsonl`, a file for each block of images; and
`inversions.json` has none. At the end the lines become the entries, in order, so a run that was
killed and resumed ends in the bytes of one that was not. No torch.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.errors import RecordError, SpecError
from unseen.core.files import canonical_json, package_version, write_aside
from unseen.core.identity import Identity, identify
from unseen.core.records import Count, FilePath, RecordFile, build, to_json
from unseen.core.results import LocatedResult
from unseen.core.run_folder import Journal, RunFolder
from unseen.core.twins import remove
from unseen.engines.machines import WORKERS
from unseen.images.record_pictures import (
    picture_path,
    read_label_map,
    read_picture,
    save_record,
    write_label_map,
    write_png,
)
from unseen.statistics.noise_typicality import NoiseTypicality

SCHEMA_VERSION = 1
RECORD = "inversions.json"
JOURNAL = "entries.jsonl"
BLOCKS = "entries"
_LISTED = ".jsonl"  # ending of the list of a block
POOL = "pool"
CURVE = "upto"
_OWNED = (  # what a run writes beside its record
    JOURNAL,
    f"{BLOCKS}/*{_LISTED}",
    WORKERS,
    "images/*/*.png",
    "reconstructions/*/*/*.png",
    "tensors/*/*/*.safetensors",
)
_PARTS_OF_SETTINGS = ("perceptual", "labelled_by")  # networks that a method uses

Role = Literal["photograph", "control"]
Method = Literal["a", "b", "c", "d", "e", "f", "nearest", "reference"]
ROLES: tuple[Role, ...] = ("photograph", "control")
KEPT: tuple[Method, ...] = get_args(Method)  # what a folder may hold
PAPER_METHODS: tuple[Method, ...] = KEPT[: KEPT.index("nearest")]  # those of its figure 6
METHODS: tuple[Method, ...] = KEPT[:-1]  # what can be asked for; the reference comes with nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """How the photographs were chosen; the controls were chosen by the same rule."""

    rule: str  # a sentence
    seed: int
    pool: Count  # photographs that were looked at
    chosen: Mapping[str, tuple[str, ...]]  # column → names of the photographs that hold most of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What one method made of one image. Paths are relative to the folder."""

    image: FilePath | None  # PNG; None where the method failed
    tensors: FilePath | None  # safetensors; see `Inversions.tensors`
    loss: float | None  # what was minimised, at the end; of methods b and d: what e would minimise
    terms: Mapping[str, float]  # its summands before weighting: "pixel", "perceptual", "reg…"
    correlation: float | None  # Pearson's, of the pixels of target and reconstruction
    cosine: float | None  # of the same, in [−1, 1]
    steps: Count  # evaluations of loss and gradient
    failed: str | None = None  # why there is no reconstruction, in words
    label_map: FilePath | None = None  # 16-bit PNG; a mosaic's; others are to be segmented
    # of a diffusion pipeline: whether the latents look like noise that it draws from
    noise: NoiseTypicality | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertedImage:
    """One image, and what each method made of it."""

    role: Role
    number: Count  # of its files: counts the images of its role from 0
    name: str  # in its source; of a control `seed S, index K`
    index: Count  # in its source; of a control the index of its latents
    image: FilePath  # PNG: the prepared target
    reconstructions: Mapping[str, Reconstruction]  # by method
    size: tuple[int, int] | None = None  # height and width in its source, before it was prepared
    condition: str | None = None  # its prompt or class, where the generator has several


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Inversions(LocatedResult):
    """All images of a run: its record, and access to its files.

    >>> inversions
    Inversions of 1 photograph and 1 control by method f
    """

    folder: ClassVar[Path] = Path()  # where the record lies
    schema_version: int = SCHEMA_VERSION
    package_version: str
    complete: bool  # False: the run is under way, or was ended early
    methods: tuple[str, ...]
    provenance: Mapping[str, Any]  # generator, inverter, encoder, settings, images, controls
    images: tuple[InvertedImage, ...]  # photographs first, then controls
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)  # broken: name → reason
    # what decides the results, and the smallest batch size that images were inverted in
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def of(self, role: Role) -> tuple[InvertedImage, ...]:
        """The images of one role, in order."""
        return tuple(image for image in self.images if image.role == role)

    @property
    def failures(self) -> list[tuple[InvertedImage, str, str]]:
        """Image, method and reason of every reconstruction that failed."""
        return [
            (image, method, result.failed)
            for image in self.images
            for method, result in image.reconstructions.items()
            if result.failed is not None
        ]

    def target(self, image: InvertedImage) -> UInt8[np.ndarray, "3 h w"]:
        """The prepared image, 8-bit RGB (RecordError where the file is missing or broken)."""
        return read_picture(self.folder, image.image)

    def reconstruction(self, image: InvertedImage, method: str) -> UInt8[np.ndarray, "3 h w"]:
        """What the method made of it, 8-bit RGB.

        Raises:
            RecordError: the method did not run or failed, or the file is missing or broken.
        """
        result = self._result(image, method)
        assert result.image is not None  # `_result` looked
        return read_picture(self.folder, result.image)

    def label_map(self, image: InvertedImage, method: str) -> Integer[np.ndarray, "*layers h w"]:
        """The labels that the pixels of a mosaic have in their own samples.

        Raises:
            RecordError: the method keeps none, did not run or failed, or the file is missing or
                broken.
        """
        result = self._result(image, method)
        if result.label_map is None:
            raise RecordError(f"method {method} keeps no label maps; segment its reconstructions")
        return read_label_map(self.folder, result.label_map)

    def tensors(self, image: InvertedImage, method: str) -> dict[str, np.ndarray]:
        """Float32 arrays of one image, without a batch axis.

        `reconstruction` (3 h w, in [−1, 1], before it was made 8-bit); of methods a to f `latents`
        (z) and `features` (r* at the cut), method f's `delta.LAYER`; of a mosaic `samples`
        (cells cells, the number of each); and of a control `true_latents` (z).

        Raises:
            RecordError: the method did not run or failed, or the file is missing or broken.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        result = self._result(image, method)
        if result.tensors is None:
            raise RecordError(f"the record names no tensors of {image.name} by {method}")
        path = picture_path(self.folder, result.tensors)
        try:
            arrays: dict[str, np.ndarray] = load_file(path)
            return arrays
        except (OSError, SafetensorError) as error:
            raise RecordError(f"{path} cannot be read ({error}); invert the image again") from error

    def summary(self) -> str:
        """Per method and role how many images, their mean error, and the failures.

        >>> print(inversions.summary())
        Inversions of 1 photograph and 1 control by method f
          method f: 1 photograph: loss 0.2500 (pixels 0.2000), ...
          method f: 1 control: ...
        """
        from unseen.inversion.inversions_views import as_lines

        return as_lines(self)

    def plot(self, most: int = 6) -> Any:
        """The first photographs beside what was rebuilt of them, as a figure of matplotlib.

        Raises:
            RecordError: a picture is missing or broken.

        >>> inversions.plot().savefig(folder / "inversions.png")
        """
        from unseen.inversion.inversions_views import draw_pairs

        return draw_pairs(self, most)

    def save(self, folder: str | Path) -> Path:
        """Write `inversions.json` and its files as `save_record` does; gives the path.

        >>> read_inversions(inversions.save(folder / "kept")) == inversions
        True
        """
        files: list[str | None] = []
        for image in self.images:
            files.append(image.image)
            for result in image.reconstructions.values():
                files += [result.image, result.tensors, result.label_map]
        return save_record(RECORD_FILE, self, files, self.folder, folder)

    def _views(self) -> ModuleType:
        from unseen.inversion import inversions_views

        return inversions_views

    def _result(self, image: InvertedImage, method: str) -> Reconstruction:
        result = image.reconstructions.get(method)
        if result is None:
            known = ", ".join(image.reconstructions) or "none"
            raise RecordError(f"{image.name} was not inverted by method {method}; by: {known}")
        if result.failed is not None or result.image is None:
            why = result.failed or "its picture is not named"
            raise RecordError(f"{image.name} has no reconstruction by {method}: {why}")
        return result


RECORD_FILE = RecordFile(
    Inversions, "record of inversions", RECORD, "unseen invert", SCHEMA_VERSION
)


def read_inversions(path: str | Path) -> Inversions:
    """Read a run, also one that is not complete: then what is finished.

    Args:
        path: the folder, or its `inversions.json`.

    Raises:
        RecordError: there is none, or it is of another schema version or broken.

    >>> read_inversions(folder / "inversions").complete
    True
    """
    record = RECORD_FILE.read(path)
    if record.complete:
        return record
    images = [
        image
        for journal in (record.folder / JOURNAL, *_block_lists(record.folder))
        for image in _listed(Journal(journal))
    ]
    merged = dataclasses.replace(record, images=_merged(images, record.methods))
    return merged.at(record.folder)


def _block_lists(folder: Path) -> list[Path]:
    """The lists of the blocks that several processes have made."""
    return sorted((folder / BLOCKS).glob(f"*{_LISTED}"))


def _listed(journal: Journal) -> list[InvertedImage]:
    return [
        build(InvertedImage, line, f"line {number} of {journal.path} is no image")
        for number, line in enumerate(journal.read(), start=1)
    ]


def curve_runs(record: Inversions) -> list[Inversions]:
    """The runs of the same images that lie in a run's folder, perturbed up to other layers.

    Raises:
        RecordError: one of them is broken or not complete.
    """
    runs = [read_inversions(file) for file in sorted(record.folder.glob(f"{CURVE}/*/{RECORD}"))]
    for run in runs:
        if not run.complete and record.complete:
            raise RecordError(
                f"{run.folder} is not complete; run the same `unseen invert` again to go on, or "
                "remove the folder"
            )
    return runs


@dataclasses.dataclass(frozen=True)
class Place:
    """One image in one run: what its files are named by."""

    role: Role
    number: int

    @property
    def target(self) -> str:
        """Of the prepared image."""
        return f"images/{self.role}/{self.number:05d}.png"

    def reconstruction(self, method: str) -> str:
        """Of what the method made of it."""
        return f"reconstructions/{method}/{self.role}/{self.number:05d}.png"

    def label_map(self, method: str) -> str:
        """Of its labels."""
        return f"reconstructions/{method}/{self.role}/{self.number:05d}-labels.png"

    def tensors(self, method: str) -> str:
        """Of what the method found."""
        return f"tensors/{method}/{self.role}/{self.number:05d}.safetensors"


class InversionsWriter:
    """Writes a run's folder, image by image; opened again, it knows what is there.

    A file is written aside and renamed, and an image is listed when its files are in place: a run
    that is killed loses the images in flight. Nothing is written before `writing`.

    Attributes:
        folder: of the run.
        methods: in the order of `KEPT`.
        batch_size: images that are inverted at once: what the run began with, or fewer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        provenance: Mapping[str, Any],
        methods: Sequence[str],
        batch_size: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Say which run it is (SpecError: the provenance is no JSON).

        The provenance holds all that decides the results but the batch size, which decides their
        last bits. With `overwrite` what another run left in the folder is replaced.
        """
        self.folder = folder
        self.methods = tuple(method for method in KEPT if method in methods)
        self.batch_size = batch_size
        self.provenance, identity = _identified(provenance, self.methods, batch_size)
        self._run = RunFolder(
            folder,
            identity,
            owned=(*_OWNED, *(f"{CURVE}/*/{pattern}" for pattern in (*_OWNED, RECORD))),
            header=RECORD,
            before=(POOL, JOURNAL),
            also={
                "complete": False,
                "methods": list(self.methods),
                "provenance": self.provenance,
                "images": [],
            },
            overwrite=overwrite,
        )
        self._journal = Journal(folder / JOURNAL)
        self._block: list[InvertedImage] | None = None  # listed in the block that is being made
        self._images: dict[tuple[Role, int], InvertedImage] = {}

    @property
    def identity(self) -> Identity:
        """What decides the results."""
        return self._run.identity

    @contextlib.contextmanager
    def writing(self, *, among: str | None = None) -> Iterator["InversionsWriter"]:
        """Have the folder for this process alone; begin it, or find it as the same run left it.

        May be nested: then it reads again what the folder lists.

        Args:
            among: the name of this process among several that write blocks; None: it writes alone.

        Raises:
            RecordError: the folder holds inversions by another generator, inverter or setting, or
                a record that is broken.
            StorageError: it cannot be written, holds something else, or another process writes it.
        """
        with self._run.writing(among=among):
            earlier = self._take_up()
            if not earlier.complete and among is None:
                self._journal.rewrite([to_json(image) for image in earlier.images])
                self._remove_block_lists()
            began = self._run.identity.batch_size
            if began is not None and self.batch_size is not None:
                self.batch_size = min(self.batch_size, began)
                self._run.identity = dataclasses.replace(
                    self._run.identity, batch_size=self.batch_size
                )
                if self.batch_size < began:
                    self._write_record(complete=earlier.complete, skipped=earlier.skipped)
            yield self

    def join(self) -> None:
        """Take part, by `block`, in a run whose folder another process holds.

        Raises:
            RecordError: the folder is not there, or holds another run.
        """
        self._run.check_begun()
        self.batch_size = self._run.identity.batch_size
        self._take_up()

    @contextlib.contextmanager
    def block(self, covered: range) -> Iterator[None]:
        """List what is written inside in a file of its own, which appears whole.

        Args:
            covered: the place of the block among all blocks, which names the file.

        Raises:
            RecordError: the run is over, or another one has its folder.
        """
        journal = Journal(self.folder / BLOCKS / f"{covered.start:09d}-{covered.stop:09d}{_LISTED}")
        self._check_under_way()
        self._block = _listed(journal)
        for image in self._block:
            self._add(image)
        try:
            yield
        finally:
            self._check_under_way()
            if self._block:
                journal.rewrite([to_json(image) for image in _merged(self._block, self.methods)])
            self._block = None

    def done(self, place: Place, method: str) -> bool:
        """Whether this image has its result, which may be a failure."""
        image = self.begun(place)
        return image is not None and method in image.reconstructions

    def begun(self, place: Place) -> InvertedImage | None:
        """An image that some method has inverted."""
        return self._images.get((place.role, place.number))

    @property
    def count(self) -> int:
        """How many results there are."""
        return sum(len(image.reconstructions) for image in self._images.values())

    def read_target(self, place: Place) -> UInt8[np.ndarray, "3 h w"]:
        """The prepared image (RecordError: it is missing or broken)."""
        return read_picture(self.folder, place.target)

    def write_target(self, place: Place, image: UInt8[np.ndarray, "3 h w"]) -> None:
        """Keep the prepared image (StorageError)."""
        write_png(self.folder / place.target, image)

    def write(
        self,
        place: Place,
        method: str,
        result: Reconstruction,
        *,
        name: str,
        index: int,
        size: tuple[int, int] | None = None,
        condition: str | None = None,
        image: UInt8[np.ndarray, "3 h w"] | None = None,
        label_map: Integer[np.ndarray, "*layers h2 w2"] | None = None,
        tensors: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep one result, unless it is there already.

        Args:
            place: of the image; its target is there already.
            method: one of the run's.
            result: its paths are filled in here; `failed` is set where there is no reconstruction.
            name: of the image in its source.
            index: of the image in its source.
            size: height and width there.
            condition: what the generator is asked for, where that is not always the same.
            image: the reconstruction, 8-bit; None where it failed.
            label_map: its labels, where the method knows them.
            tensors: as `Inversions.tensors` gives them; None where it failed.

        Raises:
            StorageError: the disk is full, or the place cannot be written.
        """
        if self.done(place, method):
            return
        # In the order in which the terms are read back from the list of what is finished.
        result = dataclasses.replace(result, terms=dict(sorted(result.terms.items())))
        if image is not None:
            result = dataclasses.replace(result, image=place.reconstruction(method))
            write_png(self.folder / place.reconstruction(method), image)
        if label_map is not None:
            result = dataclasses.replace(result, label_map=place.label_map(method))
            write_label_map(self.folder / place.label_map(method), label_map)
        if tensors is not None:
            result = dataclasses.replace(result, tensors=place.tensors(method))
            _write_tensors(self.folder / place.tensors(method), tensors)
        finished = InvertedImage(
            role=place.role,
            number=place.number,
            name=name,
            index=index,
            image=place.target,
            reconstructions={method: result},
            size=size,
            condition=condition,
        )
        if self._block is None:
            self._journal.append(to_json(finished))
        else:
            self._block.append(finished)
        self._add(finished)

    def finish(self, skipped: Mapping[str, str] | None = None) -> Inversions:
        """Write the record with its images, in order, and remove the list of finished ones.

        Args:
            skipped: broken images, name → reason.
        """
        record = self._write_record(complete=True, skipped=skipped or {})
        self._journal.remove()
        self._remove_block_lists()
        return RECORD_FILE.parse(to_json(record)).at(self.folder)  # NaN is null

    def _check_under_way(self) -> None:
        self._run.check_begun()
        if self._run.said["complete"]:
            raise RecordError(f"{self.folder} is complete, and a worker was still at it; it ends")

    def _take_up(self) -> Inversions:
        """Know what the folder lists."""
        earlier = read_inversions(self.folder)
        self._images = {(image.role, image.number): image for image in earlier.images}
        return earlier

    def _add(self, image: InvertedImage) -> None:
        earlier = self._images.get((image.role, image.number))
        known = () if earlier is None else (earlier,)
        (self._images[image.role, image.number],) = _merged((*known, image), self.methods)

    def _remove_block_lists(self) -> None:
        for path in _block_lists(self.folder):
            remove(path)
        with contextlib.suppress(OSError):  # it is not there
            (self.folder / BLOCKS).rmdir()

    def _write_record(self, *, complete: bool, skipped: Mapping[str, str]) -> Inversions:
        record = Inversions(
            package_version=package_version(),
            complete=complete,
            methods=self.methods,
            provenance=self.provenance,
            images=_merged(self._images.values(), self.methods) if complete else (),
            skipped=dict(skipped),
            identity=self._run.identity.to_json(),
        )
        RECORD_FILE.write(self.folder / RECORD, record)
        return record


def _identified(
    provenance: Mapping[str, Any], methods: Sequence[str], batch_size: int | None
) -> tuple[dict[str, Any], Identity]:
    """The provenance as JSON, and what of it decides the results."""
    try:
        plain: dict[str, Any] = json.loads(canonical_json(dict(provenance)))
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"what the generator, the inverter or the images say of themselves is no JSON "
            f"({error}); give provenance of texts, numbers, lists and mappings"
        ) from error
    parts = {name: plain.get(name) for name in ("generator", "inverter", "encoder")}
    options: dict[str, Any] = {"methods": list(methods)}
    for method, settings in (plain.get("settings") or {}).items():
        options[method] = {
            key: value for key, value in settings.items() if key not in _PARTS_OF_SETTINGS
        }
        parts |= {f"{method} {key}": settings.get(key) for key in _PARTS_OF_SETTINGS}
    images = dict(plain.get("images") or {})
    images.pop("spec", None)  # the place; the fingerprint decides
    fingerprint = images.pop("fingerprint", None)
    options |= {"photographs": images, "controls": plain.get("controls")}
    return plain, identify(
        "inversions",
        SCHEMA_VERSION,
        images={"photographs": fingerprint},
        parts=parts,
        options=options,
        batch_size=batch_size,
    )


def _merged(images: Iterable[InvertedImage], methods: Sequence[str]) -> tuple[InvertedImage, ...]:
    """Each image once, by role and number, with what every method made of it, in order."""
    merged: dict[tuple[int, int], InvertedImage] = {}
    for image in images:
        place = ROLES.index(image.role), image.number
        earlier = merged[place].reconstructions if place in merged else {}
        results = {**earlier, **image.reconstructions}
        ordered = {method: results[method] for method in methods if method in results}
        merged[place] = dataclasses.replace(image, reconstructions=ordered)
    return tuple(merged[place] for place in sorted(merged))


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    with write_aside(path) as aside:
        aside.write_bytes(save({k: np.ascontiguousarray(tensors[k]) for k in sorted(tensors)}))
