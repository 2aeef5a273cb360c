"""Images with their reconstructions: pairs that any tool made, or the folders of inversions.

Both become a `Collection`: what there is to be read, image by image. Nothing is segmented here.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.errors import ImageError, RecordError, SegmenterError
from unseen.core.files import sha256_of_file
from unseen.images import ImageSource, open_images
from unseen.instance_evidence.record import Method, Role, Side
from unseen.inversion.inversions import Inversions, InvertedImage, read_inversions

IN_RANGE = ("a", "b", "c", "d", "e")  # methods whose reconstructions are images G(z)
JUDGED_BY = ("f", "nearest")  # methods that verdicts may be about, the first of them unless told
_SHOWN = 3  # names in a message

Read = Callable[[], UInt8[np.ndarray, "3 h w"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One image as one method reconstructed it."""

    read: Read | None  # None where the method failed
    label_map: Callable[[], Integer[np.ndarray, "h w"]] | None = None  # None: to be segmented
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
    truth: Callable[[], Integer[np.ndarray, "h w"]] | None = None  # labels of `true_classes`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collection:
    """All images of a piece of evidence."""

    entries: Sequence[Entry]  # photographs, then controls
    methods: tuple[Method, ...]
    photographs: Side
    controls: Side | None
    identity: Mapping[str, Any]  # JSON: changes when any content changes
    provenance: Mapping[str, Any]
    true_classes: tuple[str, ...] = ()  # of exact label maps
    labelled_by: Mapping[str, Any] | None = None  # segmenter and channel of candidates' label maps

    def of(self, role: Role) -> list[Entry]:
        """The images of one role, in order."""
        return [one for one in self.entries if one.role == role]


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
    method = Method(
        key="given",
        method="given",
        label="reconstruction",
        cut=None,
        last_perturbed=None,
        depth=None,
        in_range=False,
    )
    sides: list[tuple[Role, ImageSource, ImageSource]] = [
        ("photograph", photographs, reconstructions)
    ]
    if controls is not None:
        sides.append(("control", *controls))
    entries: list[Entry] = []
    for role, images, rebuilt in sides:
        for index, other in _pairs(images, rebuilt, only_pairs):
            entries.append(
                Entry(
                    role=role,
                    name=images.names[index],
                    read=functools.partial(images.read, index),
                    rebuilt={"given": Candidate(read=functools.partial(rebuilt.read, other))},
                    truth=_truth(images, index)
                    if true_label_maps and role == "photograph"
                    else None,
                )
            )
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
        methods=(method,),
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
    others = _by_stem(rebuilt)
    if images.endless:
        found = {stem: _index_in(images, stem) for stem in others}
        alone = [stem for stem, index in found.items() if index is None]
        pairs = sorted((index, others[stem]) for stem, index in found.items() if index is not None)
        missing: list[str] = []
    else:
        ours = _by_stem(images)
        alone = [stem for stem in others if stem not in ours]
        missing = [stem for stem in ours if stem not in others]
        pairs = [(index, others[stem]) for stem, index in ours.items() if stem in others]
    if alone:
        raise ImageError(
            f"{rebuilt.spec} holds {_listed(alone, 'reconstruction')} of no image in "
            f"{images.spec}; give every reconstruction its image's name"
        )
    if missing and not only_pairs:
        raise ImageError(
            f"{images.spec} holds {_listed(missing, 'image')} without a reconstruction in "
            f"{rebuilt.spec}; give every reconstruction its image's name, or leave the others out "
            "by only_pairs"
        )
    return pairs


def _by_stem(source: ImageSource) -> dict[str, int]:
    """Names without their ending → index."""
    if source.endless:
        raise ImageError(f"{source.spec} never ends; reconstructions are a folder or an archive")
    found: dict[str, int] = {}
    for index, name in enumerate(source.names):
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in found:
            raise ImageError(
                f"{source.spec} holds {source.names[found[stem]]} and {name}, which pair with the "
                "same image; remove one"
            )
        found[stem] = index
    return found


def _index_in(source: ImageSource, stem: str) -> int | None:
    """The index of a name of an endless source, whose names end in their index."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    if digits and source.names[int(digits)] == stem:
        return int(digits)
    return None


def _listed(names: Sequence[str], noun: str) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({shown})"


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
    records = [one if isinstance(one, Inversions) else read_inversions(one) for one in runs]
    first = records[0]
    if not first.of("photograph"):
        raise RecordError(f"{first.folder} holds no inverted photographs; invert some first")
    for other in records[1:]:
        if _images(other) != _images(first):
            raise RecordError(
                f"{other.folder} holds other images than {first.folder}; invert the same ones"
            )
    sources = _sources(records)
    if not any(name in JUDGED_BY for _, _, name in sources):
        found = ", ".join(first.methods)
        raise RecordError(
            f"{first.folder} was inverted by {found} alone; verdicts are about method f or "
            "nearest: run `unseen invert` with one of them"
        )
    truth = None
    if true_label_maps:
        spec = _photograph_spec(first)
        truth = open_images(spec)
    entries = []
    for image in (*first.of("photograph"), *first.of("control")):
        rebuilt = {}
        for method, record, key in sources:
            twin = next(
                one for one in record.of(image.role) if one.number == image.number
            )  # in `record`
            rebuilt[method.key] = _candidate(record, twin, key)
        entries.append(
            Entry(
                role=image.role,
                name=image.name,
                read=functools.partial(first.target, image),
                path=first.folder / image.image,
                rebuilt=rebuilt,
                truth=_truth(truth, image.index)
                if truth is not None and image.role == "photograph"
                else None,
            )
        )
    controls = len(first.of("control"))
    return Collection(
        entries=entries,
        methods=tuple(method for method, _, _ in sources),
        photographs=Side(
            label=_short(_photograph_spec(first) or str(first.folder)),
            images=len(first.of("photograph")),
            provenance=_described(first, "images"),
        ),
        controls=Side(
            label="the generator's own images",
            images=controls,
            provenance=_described(first, "controls"),
        )
        if controls
        else None,
        identity={
            "runs": [sha256_of_file(record.folder / "inversions.json") for record in records],
            "complete": [record.complete for record in records],
            "images": len(entries),
        },
        provenance={"runs": [dict(record.provenance) for record in records]},
        true_classes=_true_classes(truth) if truth is not None else (),
        labelled_by=next(
            (
                _described(record, "settings")["nearest"]["labelled_by"]
                for _, record, name in sources
                if name == "nearest"
            ),
            None,
        ),
    )


def _images(record: Inversions) -> list[tuple[str, int, str, str]]:
    """All that tells whether two runs are of the same images."""
    return [
        (one.role, one.number, one.name, sha256_of_file(record.folder / one.image))
        for one in record.images
    ]


def _sources(records: Sequence[Inversions]) -> list[tuple[Method, Inversions, str]]:
    """What each method of the evidence is: its record, and its name there."""
    found: list[tuple[Method, Inversions, str]] = []
    for record in records:
        for name in record.methods:
            taken = [method for method, _, _ in found if method.method == name]
            if taken and name != "f":
                continue
            method = _method(record, name, numbered=len(records) > 1 and name == "f")
            if any(one.key == method.key for one in taken):
                raise RecordError(
                    f"{record.folder} was perturbed up to {method.last_perturbed} like an earlier "
                    "run; name every run once"
                )
            found.append((method, record, name))
    return found


def _method(record: Inversions, name: str, *, numbered: bool) -> Method:
    """How a run's method is told in evidence, by the settings that it recorded."""
    settings = _described(record, "settings").get(name) or {}
    layers = list(settings.get("layers") or ())
    perturbed = sorted(settings.get("perturbed") or (), key=layers.index) if name == "f" else []
    last = perturbed[-1] if perturbed else None
    return Method(
        key=f"{name}-{last}" if numbered and last else name,
        method=name,
        label=_label(name, last, settings),
        cut=settings.get("cut"),
        last_perturbed=last,
        depth=layers.index(last) + 1 if last else 0 if name in IN_RANGE else None,
        in_range=name in IN_RANGE,
    )


def _label(name: str, last: str | None, settings: Mapping[str, Any]) -> str:
    if name == "nearest":
        return f"nearest of {settings['samples']:,} samples"
    if name == "reference":
        return f"nearest of {settings['samples']:,} other photographs"
    return f"method {name}" + (f", up to {last}" if last else "")


def _candidate(record: Inversions, image: InvertedImage, method: str) -> Candidate:
    result = image.reconstructions.get(method)
    if result is None:
        return Candidate(read=None, failed=f"method {method} has not been run on it")
    if result.failed is not None or result.image is None:
        return Candidate(read=None, failed=result.failed or "there is no picture")
    return Candidate(
        read=functools.partial(record.reconstruction, image, method),
        path=record.folder / result.image,
        label_map=None
        if result.label_map is None
        else functools.partial(record.label_map, image, method),
        loss=result.loss,
        terms=result.terms,
        steps=result.steps,
    )


def _photograph_spec(record: Inversions) -> str:
    described = _described(record, "images")
    return str(described.get("spec") or "")


def _described(record: Inversions, key: str) -> Mapping[str, Any]:
    value = record.provenance.get(key)
    return value if isinstance(value, Mapping) else {}


def _short(spec: str) -> str:
    """Of a long path the end."""
    kind, colon, path = spec.partition(":")
    if colon and kind in ("folder", "zip", "lmdb", "npz"):
        spec = path
    return "/".join(Path(spec).parts[-2:]) if Path(spec).is_absolute() else spec
