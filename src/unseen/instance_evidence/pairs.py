"""Images with their reconstructions: pairs that any tool made, or the folders of inversions.

Both become a `Collection`: what there is to be read, image by image. Nothing is segmented here.
"""

import dataclasses
import functools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.errors import ImageError, RecordError, SegmenterError
from unseen.core.files import canonical_json, sha256_of_file, sha256_of_parts
from unseen.core.records import build, to_json
from unseen.core.wording import count, listed
from unseen.images import ImageSource, open_images
from unseen.images.protocol import read_image
from unseen.instance_evidence.record import Method, Side
from unseen.inversion.inversions import Inversions, InvertedImage, Role, read_inversions

IN_RANGE = ("a", "b", "c", "d", "e")  # methods whose reconstructions are images G(z)
# Of the photographs: an ODE rebuilds any image from some noise, and only what leads from noise that
# is drawn is drawn. One in a hundred drawn noises is called atypical, too.
_ATYPICAL_NOISE = 0.05
JUDGED_BY = ("f", "nearest")  # methods that verdicts may be about, the first of them unless told
_SHOWN = 3  # names in a message
_GIVEN = Method(
    key="given",
    method="given",
    label="reconstruction",
    cut=None,
    last_perturbed=None,
    depth=None,
    in_range=False,
)

Origin = tuple[ImageSource, str]  # a set, and the name of an image in it
Read = Callable[[], UInt8[np.ndarray, "3 h w"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One image as one method reconstructed it."""

    read: Read | None  # None where the method failed
    label_map: Callable[[], Integer[np.ndarray, "*layers h w"]] | None = (
        None  # None: to be segmented
    )
    origin: Origin | None = None  # by which label maps are found that exist
    path: Path | None = None  # where it lies as a picture that a page can show
    loss: float | None = None
    terms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: int | None = None
    failed: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One image with its reconstructions."""

    role: Role
    name: str
    read: Read
    rebuilt: Mapping[str, Candidate]  # by `Method.key`
    path: Path | None = None
    origin: Origin | None = None
    truth: Callable[[], Integer[np.ndarray, "h w"]] | None = None  # labels of `true_classes`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collection:
    """All images of a piece of evidence."""

    entries: Sequence[Entry]  # photographs, then controls
    methods: tuple[Method, ...]
    photographs: Side
    controls: Side | None
    generator: str = ""  # its spec, or what the user calls it; empty: not known
    identity: Mapping[str, Any]  # JSON: changes when any content changes
    provenance: Mapping[str, Any]
    true_classes: tuple[str, ...] = ()  # of exact label maps
    labelled_by: Mapping[str, Any] | None = None  # segmenter and channel of candidates' label maps

    def of(self, role: Role) -> list[Entry]:
        """The images of one role, in order."""
        return [entry for entry in self.entries if entry.role == role]

    def called(self, photographs: str, generator: str) -> "Collection":
        """The same images under names of the user's."""
        controls = self.controls and dataclasses.replace(self.controls, label=f"by {generator}")
        return dataclasses.replace(
            self,
            photographs=dataclasses.replace(self.photographs, label=photographs),
            controls=controls,
            generator=generator,
        )


def pair_up(
    photographs: ImageSource,
    reconstructions: ImageSource,
    *,
    controls: tuple[ImageSource, ImageSource] | None = None,
    true_label_maps: bool = False,
    only_pairs: bool = False,
) -> Collection:
    """Pairs of images of one name, as any tool leaves them.

    Args:
        photographs: real images.
        reconstructions: what a tool made of them. Names are those of the photographs; only their
            endings may differ.
        controls: images of the generator, and what the same tool made of these.
        true_label_maps: the photographs' source has exact label maps; take them.
        only_pairs: leave out photographs without a reconstruction.

    Raises:
        ImageError: names that do not pair.
        SegmenterError: exact label maps are asked for, and the source has none.
    """
    sides: list[tuple[Role, ImageSource, ImageSource]] = [
        ("photograph", photographs, reconstructions)
    ]
    if controls is not None:
        sides.append(("control", *controls))
    entries = [
        Entry(
            role=role,
            name=images.names[index],
            read=functools.partial(read_image, images, index),
            rebuilt={
                _GIVEN.key: Candidate(
                    read=functools.partial(read_image, rebuilt, of_it),
                    origin=(rebuilt, rebuilt.names[of_it]),
                )
            },
            origin=(images, images.names[index]),
            truth=_truth(images, index) if true_label_maps and role == "photograph" else None,
        )
        for role, images, rebuilt in sides
        for index, of_it in _pairs(images, rebuilt, only_pairs)
    ]
    described = [
        Side(
            label=_short(images.spec),
            images=sum(entry.role == role for entry in entries),
            provenance={
                key: {"spec": source.spec, "fingerprint": source.fingerprint()}
                for key, source in (("images", images), ("reconstructions", rebuilt))
            },
        )
        for role, images, rebuilt in sides
    ]
    return Collection(
        entries=entries,
        methods=(_GIVEN,),
        photographs=described[0],
        controls=described[1] if controls is not None else None,
        identity={
            "sources": [
                source["fingerprint"] for side in described for source in side.provenance.values()
            ],
            "names": [entry.name for entry in entries],
        },
        provenance={"tool": "unknown: the reconstructions were given"},
        true_classes=_true_classes(photographs) if true_label_maps else (),
    )


def _pairs(images: ImageSource, rebuilt: ImageSource, only_pairs: bool) -> list[tuple[int, int]]:
    """Index of an image and of its reconstruction, in the order of the images."""
    reconstructions = _by_stem(rebuilt)
    if images.endless:
        indices = {stem: _index_in(images, stem) for stem in reconstructions}
        originals = {stem: index for stem, index in indices.items() if index is not None}
        missing: list[str] = []
    else:
        originals = _by_stem(images)
        missing = [stem for stem in originals if stem not in reconstructions]
    alone = [stem for stem in reconstructions if stem not in originals]
    if alone:
        raise ImageError(
            f"{rebuilt.spec} holds {_counted(alone, 'reconstruction')} of no image in "
            f"{images.spec}; give every reconstruction its image's name"
        )
    if missing and not only_pairs:
        raise ImageError(
            f"{images.spec} holds {_counted(missing, 'image')} without a reconstruction in "
            f"{rebuilt.spec}; give every reconstruction its image's name, or leave the others out "
            "by only_pairs"
        )
    return sorted(
        (index, reconstructions[stem])
        for stem, index in originals.items()
        if stem in reconstructions
    )


def _by_stem(source: ImageSource) -> dict[str, int]:
    """Names without their ending → index."""
    if source.endless:
        raise ImageError(f"{source.spec} never ends; reconstructions are a folder or an archive")
    indices: dict[str, int] = {}
    for index, name in enumerate(source.names):
        # macOS writes é as two characters, other systems as one.
        stem = unicodedata.normalize("NFC", str(PurePosixPath(name).with_suffix("")))
        if stem in indices:
            raise ImageError(
                f"{source.spec} holds {source.names[indices[stem]]} and {name}, which pair with "
                "the same image; remove one"
            )
        indices[stem] = index
    return indices


def _index_in(source: ImageSource, stem: str) -> int | None:
    """The index of a name of an endless source, whose names end in their index."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    if digits and source.names[int(digits)] == stem:
        return int(digits)
    return None


def _counted(names: Sequence[str], noun: str) -> str:
    return f"{count(len(names), noun)} ({listed(names, _SHOWN)})"


def _truth(source: ImageSource, index: int) -> Callable[[], Integer[np.ndarray, "h w"]]:
    label_map: Any = getattr(source, "label_map", None)
    if label_map is None:
        raise SegmenterError(
            f"{source.spec} has no exact label maps; the churchyard has, other images are "
            "segmented: leave true label maps out"
        )
    return functools.partial(label_map, index)


def _true_classes(source: ImageSource) -> tuple[str, ...]:
    return tuple(getattr(source, "class_names", ()))


def open_runs(
    runs: Sequence[str | Path | Inversions], *, true_label_maps: bool = False
) -> Collection:
    """The images of inversions: of one run, or of several that differ in what was perturbed.

    Args:
        runs: folders that `unseen invert` wrote, or their records. The first one's methods are
            all taken; of the others those that it lacks, and method f under its own last layer.
        true_label_maps: take the exact label maps of the photographs' source.

    Raises:
        RecordError: no such records, runs of different images, two runs alike, or no images.
        SegmenterError: exact label maps are asked for, and the source has none.
    """
    records = [run if isinstance(run, Inversions) else read_inversions(run) for run in runs]
    first = records[0]
    photographs, controls = first.of("photograph"), first.of("control")
    if not photographs:
        raise RecordError(f"{first.folder} holds no inverted photographs; invert some first")
    for record in records[1:]:
        if _images(record) != _images(first):
            raise RecordError(
                f"{record.folder} holds other images than {first.folder}; invert the same ones"
            )
    methods = _methods(records)
    if not any(run_method.method.method in JUDGED_BY for run_method in methods):
        raise RecordError(
            f"{first.folder} was inverted by {listed(first.methods)} alone; verdicts are about "
            "method f or nearest: run `unseen invert` with one of them"
        )
    spec = str(_described(first, "images").get("spec") or "")
    truth = open_images(spec) if true_label_maps else None
    return Collection(
        entries=[_entry(first, image, methods, truth) for image in (*photographs, *controls)],
        methods=tuple(run_method.method for run_method in methods),
        photographs=Side(
            label=_short(spec or str(first.folder)),
            images=len(photographs),
            provenance=_described(first, "images"),
        ),
        controls=Side(
            label="the generator's own images",
            images=len(controls),
            provenance=_described(first, "controls"),
        )
        if controls
        else None,
        generator=str(_described(first, "generator").get("spec") or ""),
        identity={
            "runs": [
                sha256_of_parts(canonical_json(to_json(image)) for image in record.images)
                for record in records
            ],
            "targets": sha256_of_parts(
                sha256_of_file(first.folder / image.image) for image in first.images
            ),
        },
        provenance={"runs": [dict(record.provenance) for record in records]},
        true_classes=_true_classes(truth) if truth is not None else (),
        labelled_by=next(
            (
                run_method.settings.labelled_by
                for run_method in methods
                if run_method.method.method == "nearest"
            ),
            None,
        ),
    )


def _entry(
    run: Inversions,
    image: InvertedImage,
    methods: Sequence["_RunMethod"],
    truth: ImageSource | None,
) -> Entry:
    exact = None
    if truth is not None and image.role == "photograph":
        exact = _truth(truth, image.index)
    return Entry(
        role=image.role,
        name=image.name,
        read=functools.partial(run.target, image),
        path=run.folder / image.image,
        rebuilt={run_method.method.key: run_method.candidate(image) for run_method in methods},
        truth=exact,
    )


def _images(record: Inversions) -> list[tuple[str, int, str, str]]:
    """All that tells whether two runs are of the same images."""
    return [
        (image.role, image.number, image.name, sha256_of_file(record.folder / image.image))
        for image in record.images
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """What a run says of a method, as far as evidence needs it."""

    cut: str | None = None
    layers: tuple[str, ...] = ()  # of the generator, up to the cut
    perturbed: tuple[str, ...] | int | None = None  # those whose output was perturbed
    samples: int = 0
    start: str | None = None  # of methods d, e and f; None in records that knew inverters alone
    labelled_by: Mapping[str, Any] | None = None  # segmenter and channel


@dataclasses.dataclass(frozen=True)
class _RunMethod:
    """One method of one run, and how evidence calls it."""

    method: Method
    record: Inversions
    name: str  # in the record
    settings: _Settings
    images: Mapping[tuple[Role, int], InvertedImage]  # of the record, by role and number

    def candidate(self, image: InvertedImage) -> Candidate:
        """What the method made of an image, which may be another run's record of it."""
        record, name = self.record, self.name
        own = self.images[image.role, image.number]
        result = own.reconstructions.get(name)
        if result is None:
            return Candidate(read=None, failed=f"method {name} has not been run on it")
        if result.failed is not None or result.image is None:
            return Candidate(read=None, failed=result.failed or "there is no picture")
        return Candidate(
            read=functools.partial(record.reconstruction, own, name),
            path=record.folder / result.image,
            label_map=None
            if result.label_map is None
            else functools.partial(record.label_map, own, name),
            loss=result.loss,
            terms=result.terms,
            steps=result.steps,
        )


def _methods(records: Sequence[Inversions]) -> list[_RunMethod]:
    """Each run's methods: those that earlier runs lack, and method f of every run."""
    methods: list[_RunMethod] = []
    for record in records:
        for name in record.methods:
            if name != "f" and any(known.name == name for known in methods):
                continue
            run_method = _method(record, name, numbered=len(records) > 1 and name == "f")
            if any(known.method.key == run_method.method.key for known in methods):
                raise RecordError(
                    f"{record.folder} was perturbed up to {run_method.method.last_perturbed} like "
                    "an earlier run; name every run once"
                )
            methods.append(run_method)
    return methods


def _method(record: Inversions, name: str, *, numbered: bool) -> _RunMethod:
    """A run's method, by the settings that it recorded."""
    settings = build(
        _Settings,
        _described(record, "settings").get(name) or {},
        f"{record.folder} does not say how method {name} was run",
    )
    perturbed = settings.perturbed if isinstance(settings.perturbed, tuple) else ()
    depths = [settings.layers.index(layer) + 1 for layer in perturbed if layer in settings.layers]
    depth = max(depths, default=0) if name == "f" else 0
    last = settings.layers[depth - 1] if depth else None
    begun = {
        "nearest": f"the nearest of {settings.samples:,} samples",
        "noise": "the image run backwards",
    }.get(settings.start or "", "the inverter")
    labels = {
        "a": "optimised latents",
        "b": "the encoder",
        "c": "the encoder, then optimised latents",
        "d": f"{begun} alone",
        "e": f"{begun}, then optimised latents",
        "f": "optimised features" + (f" (layers up to “{last}” are changed)" if last else ""),
        "nearest": f"nearest of {settings.samples:,} samples",
        "reference": f"nearest of {settings.samples:,} other photographs",
    }
    noises = [
        result.noise.atypical
        for image in record.of("photograph")
        if (result := image.reconstructions.get(name)) is not None and result.noise is not None
    ]
    atypical = sum(noises) / len(noises) if noises else None
    method = Method(
        key=f"{name}-{last}" if numbered and last else name,
        method=name,
        label=labels.get(name, f"method {name}"),
        cut=settings.cut,
        last_perturbed=last,
        depth=depth or (0 if name in IN_RANGE else None),
        in_range=name in IN_RANGE and (atypical or 0) <= _ATYPICAL_NOISE,
        atypical_noise=atypical,
    )
    images = {(image.role, image.number): image for image in record.images}
    return _RunMethod(method, record, name, settings, images)


def _described(record: Inversions, key: str) -> Mapping[str, Any]:
    value = record.provenance.get(key)
    return value if isinstance(value, Mapping) else {}


def _short(spec: str) -> str:
    """Of a long path the end."""
    kind, colon, path = spec.partition(":")
    if colon and kind in ("folder", "zip", "lmdb", "npz", "webdataset"):
        spec = path
    return "/".join(Path(spec).parts[-2:]) if Path(spec).is_absolute() else spec
