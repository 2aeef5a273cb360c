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
each, and `inversions.json` has none; at the end the lines become the entries, in order, so a run
that was killed and resumed ends in the bytes of one that was not. No torch.
"""

import contextlib
import dataclasses
import errno
import json
import shutil
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.errors import RecordError, StorageError
from unseen.core.files import (
    canonical_json,
    package_version,
    refuse_foreign,
    remove_asides,
    write_aside,
    write_json,
)
from unseen.core.json_form import MismatchError, build, plain
from unseen.distribution.areas_file import difference
from unseen.images.writing import write_label_map, write_png

SCHEMA_VERSION = 1
RECORD = "inversions.json"
JOURNAL = "entries.jsonl"
POOL = "pool"
CURVE = "upto"
_KINDS = ("images", "reconstructions", "tensors")  # folders of a run's own files
_NOT_IN_JSON = ("folder", "holder")

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
    pool: int  # photographs that were looked at
    chosen: Mapping[str, tuple[str, ...]]  # column → names of the photographs that hold most of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What one method made of one image. Paths are relative to the folder."""

    image: str | None  # PNG; None where the method failed
    tensors: str | None  # safetensors; see `Inversions.tensors`
    loss: float | None  # what was minimised, at the end; of methods b and d: what e would minimise
    terms: Mapping[str, float]  # its summands before weighting: "pixel", "perceptual", "reg…"
    correlation: float | None  # Pearson's, of the pixels of target and reconstruction
    cosine: float | None  # of the same, in [−1, 1]
    steps: int  # evaluations of loss and gradient
    failed: str | None = None  # why there is no reconstruction, in words
    label_map: str | None = None  # 16-bit PNG; a mosaic's; others are to be segmented


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertedImage:
    """One image, and what each method made of it."""

    role: Role
    number: int  # of its files: counts the images of its role from 0
    name: str  # in its source; of a control `seed S, index K`
    index: int  # in its source; of a control the index of its latents
    image: str  # PNG: the prepared target
    reconstructions: Mapping[str, Reconstruction]  # by method
    size: tuple[int, int] | None = None  # height and width in its source, before it was prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inversions:
    """All images of a run: its record, and access to its files."""

    schema_version: int = SCHEMA_VERSION
    package_version: str
    complete: bool  # False: the run is under way, or was ended early
    methods: tuple[str, ...]
    provenance: Mapping[str, Any]  # generator, inverter, encoder, settings, images, controls
    images: tuple[InvertedImage, ...]  # photographs first, then controls
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)  # broken: name → reason
    # Not in the JSON: where it lies, and what keeps a temporary folder.
    folder: Path = dataclasses.field(default=Path(), compare=False)
    holder: Any = dataclasses.field(default=None, compare=False, repr=False)

    def of(self, role: Role) -> tuple[InvertedImage, ...]:
        """The images of one role, in order."""
        return tuple(one for one in self.images if one.role == role)

    @property
    def failures(self) -> list[tuple[InvertedImage, str, str]]:
        """Image, method and reason of every reconstruction that failed."""
        return [
            (one, method, result.failed)
            for one in self.images
            for method, result in one.reconstructions.items()
            if result.failed is not None
        ]

    def target(self, image: InvertedImage) -> UInt8[np.ndarray, "3 h w"]:
        """The prepared image, 8-bit RGB (RecordError where the file is missing or broken)."""
        return _read_png(self.folder / image.image)

    def reconstruction(self, image: InvertedImage, method: str) -> UInt8[np.ndarray, "3 h w"]:
        """What the method made of it, 8-bit RGB.

        Raises:
            RecordError: the method did not run or failed, or the file is missing or broken.
        """
        result = self._result(image, method)
        assert result.image is not None
        return _read_png(self.folder / result.image)

    def label_map(self, image: InvertedImage, method: str) -> Integer[np.ndarray, "h w"]:
        """The labels that the pixels of a mosaic have in their own samples.

        Raises:
            RecordError: the method keeps none, did not run or failed, or the file is missing or
                broken.
        """
        result = self._result(image, method)
        if result.label_map is None:
            raise RecordError(f"method {method} keeps no label maps; segment its reconstructions")
        return _read(self.folder / result.label_map, None).astype(np.int64)

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
        assert result.tensors is not None
        path = self.folder / result.tensors
        try:
            arrays: dict[str, np.ndarray] = load_file(path)
            return arrays
        except (OSError, SafetensorError) as error:
            raise RecordError(f"{path} cannot be read ({error}); invert the image again") from error

    def _result(self, image: InvertedImage, method: str) -> Reconstruction:
        result = image.reconstructions.get(method)
        if result is None:
            found = ", ".join(image.reconstructions) or "none"
            raise RecordError(f"{image.name} was not inverted by method {method}; by: {found}")
        if result.failed is not None:
            raise RecordError(f"{image.name} has no reconstruction by {method}: {result.failed}")
        return result


def read_inversions(path: str | Path) -> Inversions:
    """Read a run, also one that is not complete: then what is finished.

    Args:
        path: the folder, or its `inversions.json`.

    Raises:
        RecordError: there is none, or it is of another schema version or broken.
    """
    path = Path(path)
    file = path / RECORD if path.is_dir() else path
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(
            f"{file} cannot be read ({error.strerror}); name the folder that `unseen invert --out` "
            "wrote"
        ) from error
    except ValueError as error:
        raise RecordError(f"{file} is not JSON; name the folder of an inversion") from error
    if not isinstance(value, dict) or "schema_version" not in value:
        raise RecordError(f"{file} is no record of inversions: it has no schema_version")
    if value["schema_version"] != SCHEMA_VERSION:
        raise RecordError(
            f"{file} has schema version {value['schema_version']!r}, this unseen reads "
            f"{SCHEMA_VERSION}; invert again, or install the unseen that wrote it "
            f"({value.get('package_version', 'unknown')})"
        )
    try:
        record = build(
            Inversions, {k: v for k, v in value.items() if k not in _NOT_IN_JSON}, "inversions"
        )
    except MismatchError as error:
        raise RecordError(f"{file} is no whole record of inversions: {error}") from error
    record = dataclasses.replace(record, folder=file.parent)
    if not record.complete:
        journal = _Journal(file.parent / JOURNAL)
        record = dataclasses.replace(record, images=_images(journal.read(), record.methods))
    return record


def curve_runs(record: Inversions) -> list[Inversions]:
    """The runs of the same images that lie in a run's folder, perturbed up to other layers.

    Raises:
        RecordError: one of them is broken or not complete.
    """
    runs = [read_inversions(file) for file in sorted(record.folder.glob(f"{CURVE}/*/{RECORD}"))]
    for one in runs:
        if not one.complete and record.complete:
            raise RecordError(
                f"{one.folder} is not complete; run the same `unseen invert` again to go on, or "
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
    that is killed loses the images in flight.
    """

    def __init__(
        self,
        folder: Path,
        *,
        provenance: Mapping[str, Any],
        methods: Sequence[str],
        overwrite: bool = False,
    ) -> None:
        """Make the folder, or find it as the same run left it.

        Args:
            folder: new, or an earlier run's.
            provenance: JSON: all that decides the results.
            methods: of `KEPT`.
            overwrite: replace what another run left there.

        Raises:
            RecordError: the folder holds inversions by another generator, inverter or setting.
            StorageError: it cannot be written, or holds something else.
        """
        self.folder = folder
        self.provenance: dict[str, Any] = json.loads(canonical_json(dict(provenance)))
        self.methods = tuple(method for method in KEPT if method in methods)
        self._journal = _Journal(folder / JOURNAL)
        earlier = self._earlier(overwrite)
        remove_asides(folder, below=(*_KINDS, POOL))
        lines = [] if earlier is None else _lines(earlier)
        self._lines = {(line["role"], line["number"], line["method"]): line for line in lines}
        self._journal.rewrite(lines)
        self._write_record(complete=False)

    def _earlier(self, overwrite: bool) -> Inversions | None:
        """What the same run left here; what another left is refused, or removed."""
        if not (self.folder / RECORD).exists():
            refuse_foreign(self.folder, RECORD, also=(JOURNAL, POOL))
            return None
        if overwrite:
            with contextlib.suppress(RecordError):
                earlier = read_inversions(self.folder)
                if self._same(earlier):
                    return earlier
            for kind in (*_KINDS, CURVE):
                shutil.rmtree(self.folder / kind, ignore_errors=True)
            return None
        earlier = read_inversions(self.folder)
        if self._same(earlier):
            return earlier
        found = {**earlier.provenance, "methods": list(earlier.methods)}
        asked = {**self.provenance, "methods": list(self.methods)}
        what, there, here = difference(found, asked)
        raise RecordError(
            f"{self.folder} holds other inversions ({what} is {there} there, {here} here); choose "
            "another folder, or replace them with overwrite"
        )

    def _same(self, earlier: Inversions) -> bool:
        return earlier.methods == self.methods and dict(earlier.provenance) == self.provenance

    def done(self, place: Place, method: str) -> bool:
        """Whether this image has its result, which may be a failure."""
        return (place.role, place.number, method) in self._lines

    @property
    def count(self) -> int:
        """How many results there are."""
        return len(self._lines)

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
        image: UInt8[np.ndarray, "3 h w"] | None = None,
        label_map: Integer[np.ndarray, "h2 w2"] | None = None,
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
            image: the reconstruction, 8-bit; None where it failed.
            label_map: its labels, where the method knows them.
            tensors: as `Inversions.tensors` gives them; None where it failed.

        Raises:
            StorageError: the disk is full, or the place cannot be written.
        """
        if self.done(place, method):
            return
        if image is not None:
            result = dataclasses.replace(result, image=place.reconstruction(method))
            write_png(self.folder / place.reconstruction(method), image)
        if label_map is not None:
            result = dataclasses.replace(result, label_map=place.label_map(method))
            write_label_map(self.folder / place.label_map(method), label_map)
        if tensors is not None:
            result = dataclasses.replace(result, tensors=place.tensors(method))
            _write_tensors(self.folder / place.tensors(method), tensors)
        line = {
            "role": place.role,
            "number": place.number,
            "name": name,
            "index": index,
            "size": size and list(size),
            "image": place.target,
            "method": method,
            "reconstruction": plain(dataclasses.asdict(result)),
        }
        self._journal.append(line)
        self._lines[place.role, place.number, method] = line

    def finish(self, skipped: Mapping[str, str] | None = None) -> Inversions:
        """Write the record with its entries, in order, and remove the list of finished images.

        Args:
            skipped: broken images, name → reason.
        """
        self._write_record(complete=True, skipped=skipped or {})
        self._journal.remove()
        return read_inversions(self.folder)

    def _write_record(
        self, *, complete: bool, skipped: Mapping[str, str] = types.MappingProxyType({})
    ) -> None:
        record = Inversions(
            package_version=package_version(),
            complete=complete,
            methods=self.methods,
            provenance=self.provenance,
            images=_images(list(self._lines.values()), self.methods) if complete else (),
            skipped=dict(skipped),
        )
        value = plain(dataclasses.asdict(record))
        for name in _NOT_IN_JSON:
            del value[name]
        write_json(self.folder / RECORD, value)


def _lines(record: Inversions) -> list[dict[str, Any]]:
    """The journal's lines that give these entries."""
    lines = []
    for image in record.images:
        value = plain(dataclasses.asdict(image))
        reconstructions = value.pop("reconstructions")
        lines += [
            {**value, "method": method, "reconstruction": result}
            for method, result in reconstructions.items()
        ]
    return lines


def _images(
    lines: Sequence[Mapping[str, Any]], methods: Sequence[str]
) -> tuple[InvertedImage, ...]:
    """The entries of these lines: by role and number, their methods in order."""
    grouped: dict[tuple[int, int], dict[str, Any]] = {}
    for line in lines:
        value = {key: line[key] for key in ("role", "number", "name", "index", "size", "image")}
        found = grouped.setdefault(
            (ROLES.index(line["role"]), line["number"]), {**value, "reconstructions": {}}
        )
        found["reconstructions"][line["method"]] = line["reconstruction"]
    for value in grouped.values():
        by_method = value["reconstructions"]
        value["reconstructions"] = {m: by_method[m] for m in methods if m in by_method}
    return tuple(build(InvertedImage, grouped[key], f"image {key}") for key in sorted(grouped))


def _read_png(path: Path) -> UInt8[np.ndarray, "3 h w"]:
    return np.ascontiguousarray(np.moveaxis(_read(path, "RGB"), -1, 0))


def _read(path: Path, mode: str | None) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture if mode is None else picture.convert(mode))
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error}); invert the image again") from error


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    with write_aside(path) as aside:
        aside.write_bytes(save({k: np.ascontiguousarray(tensors[k]) for k in sorted(tensors)}))


class _Journal:
    """Finished images, a line of JSON each, appended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Every whole line; the last one may have been cut off by a kill."""
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError), self.path.open(encoding="utf-8") as file:
            for text in file:
                if text.endswith("\n"):
                    with contextlib.suppress(ValueError):
                        lines.append(json.loads(text))
        return lines

    def rewrite(self, lines: Sequence[Mapping[str, Any]]) -> None:
        with write_aside(self.path) as aside:
            aside.write_text("".join(canonical_json(dict(line)) + "\n" for line in lines))

    def append(self, line: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(canonical_json(dict(line)) + "\n")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageError(
                f"the disk is full while writing {self.path}; free some space and run the same "
                "command again: what was finished is kept"
            ) from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
