"""The images of a side that the page shows, kept beside the record with their label maps.

Those that hold most of a class, and a few by chance.

Files are numbered, never named after images, whose names are anyone's.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Integer, UInt8, UInt32

from unseen.core.files import sha256_of_parts, write_aside
from unseen.core.identity import Identity, identify
from unseen.core.run_folder import RunFolder
from unseen.core.twins import remove
from unseen.distribution.areas import Areas
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    ExampleImage,
    GeneratedSide,
    KeptImage,
    PairImages,
    Side,
)
from unseen.images.decode import as_picture
from unseen.images.record_pictures import write_label_map, write_png

EXAMPLE_IMAGES = 4  # images shown a class and side
_SAMPLES = 8  # images of a side by chance: a row of a page
_SMALL = 128  # pixels; below, artefacts of JPEG would show and PNG costs little
_JPEG_QUALITY = 92
_MEMORY = 1 << 29  # bytes of pictures that are kept from the pass over the images
_NUMBERED = re.compile(r"(\d{5})(-labels)?\.(png|jpg)")

_KeptT = TypeVar("_KeptT", bound=KeptImage)
_SideT = TypeVar("_SideT", bound=Side)
# Name of an image → paths of its picture and of its label map, where there is one.
PicturePaths = Mapping[str, tuple[str, str | None]]
_Role = Literal["real", "generated"]
Shown = tuple[str, UInt8[np.ndarray, "3 h w"], Integer[np.ndarray, "*layers h2 w2"]]
"""An image by name, as it was segmented, with its label map."""

Show = Callable[[list[str]], Iterable[Shown]]
"""Gives the images of these names."""


def named_images(side: Areas, rows: Iterable[int]) -> tuple[KeptImage, ...]:
    """Images of a side by name, with what they were asked for; their pictures come later."""
    asked = side.conditions
    return tuple(
        KeptImage(name=side.names[row], condition=None if asked is None else asked[row])
        for row in rows
    )


def example_image(side: Areas, row: int, k: int) -> ExampleImage:
    """Image `row` of a side, as one that shows class k."""
    return ExampleImage(
        name=side.names[row],
        fraction=float(side.pixels[row, k] / side.label_map_pixels),
        condition=None if side.conditions is None else side.conditions[row],
    )


def sample_rows(n: int, seed: int) -> list[int]:
    """The rows of n images that are shown as a random sample, ascending.

    Sides of as many images show the same rows, which generators draw from the same latents.
    """
    return sorted(np.random.default_rng(seed).permutation(n)[:_SAMPLES].tolist())


class Candidates:
    """Pictures that are to be shown among those seen so far, while areas are made.

    Told of every batch, it keeps those that hold most of a class, and those that are wanted by
    name. It may lack pictures, where they would take too much memory or where their areas were
    made earlier: those are read again.
    """

    def __init__(self) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._most: UInt32[np.ndarray, "example_images k"] | None = None
        self._names: list[list[str | None]] = []  # as `_most`: who holds so many pixels
        self._pictures: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._bytes = 0
        self._asked: list[int] = []  # of these columns every image is kept that holds them
        self._least = 0.0

    def keep_all(self, columns: Sequence[int], least: float) -> None:
        """Keep every image of which one of these columns covers so much, where memory allows."""
        self._asked, self._least = list(columns), least

    def want(self, names: Iterable[str]) -> None:
        """Keep the pictures of these images, too, when they are seen."""
        self._wanted = frozenset(names)

    def __call__(
        self,
        names: Sequence[str],
        images: Sequence[UInt8[np.ndarray, "3 h2 w2"]],
        label_maps: Integer[np.ndarray, "n *layers h w"],
        pixels: UInt32[np.ndarray, "n k"],
    ) -> None:
        """Keep those images of a batch that hold more of a class than one kept before."""
        if self._most is None:
            self._most = np.zeros((EXAMPLE_IMAGES, pixels.shape[1]), np.uint32)
            self._names = [[None] * EXAMPLE_IMAGES for _ in range(pixels.shape[1])]
        for name, image, label_map, counts in zip(names, images, label_maps, pixels, strict=True):
            better = np.flatnonzero(counts > self._most.min(axis=0))
            for k in better:
                row = int(self._most[:, k].argmin())
                self._most[row, k] = counts[k]
                self._names[k][row] = name
            whole = math.prod(label_map.shape[-2:])
            asked = self._asked and counts[self._asked].max() >= self._least * whole
            if (better.size or asked or name in self._wanted) and self._bytes < _MEMORY:
                small = label_map.astype(np.uint16) if label_map.ndim == 2 else label_map
                kept = image.copy(), small
                self._pictures[name] = kept
                self._bytes += sum(array.nbytes for array in kept)
        if self._bytes >= _MEMORY:
            self._drop()

    def _drop(self) -> None:
        """Let go of pictures that no class needs any more; what is missing is read again."""
        self._asked = []
        needed = self._wanted.union(name for held in self._names for name in held)
        self._pictures = {n: kept for n, kept in self._pictures.items() if n in needed}
        self._bytes = sum(a.nbytes for kept in self._pictures.values() for a in kept)

    def show(self, names: Sequence[str]) -> list[Shown]:
        """Those of the images that are kept here."""
        return [(name, *self._pictures[name]) for name in names if name in self._pictures]


def keep_side(
    folder: Path, key: str, comparison: Comparison, areas: Identity, show: Show
) -> Comparison:
    """Write each image of one side that is shown, once; return the record with their paths.

    Pictures that an earlier run of the same areas wrote are kept.

    Args:
        folder: of the record; the files go to its `pictures/KEY/`.
        key: which side: "real", "generated-1", …
        comparison: the record, which names the images.
        areas: what the areas of the side depend on.
        show: gives the pictures of the images named.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    if key == "real":
        real = comparison.real
        of_pairs = [pair.real for side in comparison.generated for pair in _pairs(side)]
        rare = [kept for side in comparison.generated for kept in _together(side, "real")]
        of_audits = [of for side in comparison.generated for of in _audited(side, "real")]
        held = (*real.example_images.values(), of_pairs, rare, *of_audits)
        names = _names(real.samples, *held)
        paths = _keep(folder, key, names, areas, show)
        return dataclasses.replace(
            comparison,
            real=_with_paths(real, paths),
            generated=tuple(
                with_audited(_with_pairs(side, "real", paths), "real", paths)
                for side in comparison.generated
            ),
        )
    sides = list(comparison.generated)
    i = int(key.removeprefix("generated-")) - 1
    side = sides[i]
    drawn = [pair.generated for pair in _pairs(side)]
    of_pair = (drawn, _together(side, "generated"))
    held = (*side.example_images.values(), *side.counterparts.values(), *of_pair)
    names = _names(side.samples, *held, *_audited(side, "generated"))
    paths = _keep(folder, key, names, areas, show)
    side = _with_paths(side, paths)
    side = dataclasses.replace(side, counterparts=_shown(side.counterparts, paths))
    sides[i] = with_audited(_with_pairs(side, "generated", paths), "generated", paths)
    return dataclasses.replace(comparison, generated=tuple(sides))


def _pairs(side: GeneratedSide) -> list[PairImages]:
    """The pairs that a side shows."""
    return [] if side.pairs is None else [p for of in side.pairs.images.values() for p in of]


def _together(side: GeneratedSide, role: _Role) -> list[KeptImage]:
    """The images of this role that hold two classes which the side holds rarely together."""
    return [
        kept
        for pair in side.together.pairs
        for kept in (pair.real_images if role == "real" else pair.generated_images)
    ]


def _with_pairs(side: GeneratedSide, role: _Role, paths: PicturePaths) -> GeneratedSide:
    """The side with the paths of the pictures that play this role in its pairs."""
    rare = tuple(
        dataclasses.replace(pair, real_images=_found(pair.real_images, paths))
        if role == "real"
        else dataclasses.replace(pair, generated_images=_found(pair.generated_images, paths))
        for pair in side.together.pairs
    )
    side = dataclasses.replace(side, together=dataclasses.replace(side.together, pairs=rare))
    if side.pairs is None:
        return side

    def found(pair: PairImages) -> PairImages:
        if role == "real":
            return dataclasses.replace(pair, real=_found((pair.real,), paths)[0])
        return dataclasses.replace(pair, generated=_found((pair.generated,), paths)[0])

    images = {column: tuple(map(found, pairs)) for column, pairs in side.pairs.images.items()}
    return dataclasses.replace(side, pairs=dataclasses.replace(side.pairs, images=images))


def _audited(side: GeneratedSide, role: _Role) -> list[tuple[KeptImage, ...]]:
    """The images of the real or the generated side that the segmenter got wrong."""
    audits = [real if role == "real" else generated for real, generated in side.audited]
    return [images for audit in audits for images in (audit.missed, audit.invented)]


def with_audited(side: GeneratedSide, role: _Role, paths: PicturePaths) -> GeneratedSide:
    """The side with the paths of the pictures of this role that the segmenter got wrong."""

    def found(row: ClassRow) -> ClassRow:
        if row.audit is None:
            return row
        audited = row.audit.real if role == "real" else row.audit.generated
        missed, invented = (_found(of, paths) for of in (audited.missed, audited.invented))
        audited = dataclasses.replace(audited, missed=missed, invented=invented)
        changes: Any = {role: audited}
        return dataclasses.replace(row, audit=dataclasses.replace(row.audit, **changes))

    return dataclasses.replace(side, classes=tuple(map(found, side.classes)))


def _names(*held: Sequence[KeptImage]) -> list[str]:
    """The names of all these images, each once."""
    return list(dict.fromkeys(kept.name for images in held for kept in images))


def _with_paths(side: _SideT, paths: PicturePaths) -> _SideT:
    """The side with the paths of its pictures, but for counterparts."""
    return dataclasses.replace(
        side,
        example_images=_shown(side.example_images, paths),
        samples=_found(side.samples, paths),
    )


def _shown(
    held: Mapping[str, tuple[ExampleImage, ...]], paths: PicturePaths
) -> dict[str, tuple[ExampleImage, ...]]:
    """The images of every class with the paths of their pictures."""
    return {column: _found(images, paths) for column, images in held.items()}


def _found(held: tuple[_KeptT, ...], paths: PicturePaths) -> tuple[_KeptT, ...]:
    """The images with the paths of those pictures that there are."""
    return tuple(
        dataclasses.replace(kept, image=paths[kept.name][0], label_map=paths[kept.name][1])
        if kept.name in paths
        else kept
        for kept in held
    )


def clear_side(folder: Path, key: str) -> None:
    """Remove the pictures that an earlier run kept of a side, and nothing else."""
    store = _store(folder, key, identify("pictures", 1))
    if (store.folder / store.header).is_file():
        with store.writing():
            store.discard()


def _store(folder: Path, key: str, identity: Identity) -> RunFolder:
    five = "[0-9]" * 5
    return RunFolder(
        folder / "pictures" / key,
        identity,
        owned=(f"{five}.png", f"{five}.jpg", f"{five}-labels.png"),
        header="about.json",
        overwrite=True,  # pictures are made of the areas, which are refused where others are there
    )


def _keep(
    folder: Path, key: str, names: list[str], areas: Identity, show: Show
) -> dict[str, tuple[str, str]]:
    """Write the pictures of these images, but for those that lie there; their paths."""
    options = {**areas.options, "shown": sha256_of_parts(names)}
    store = _store(folder, key, dataclasses.replace(areas, kind="pictures", options=options))
    stems = {name: f"pictures/{key}/{i:05d}" for i, name in enumerate(names)}
    with store.writing():
        paths = {name: found for name in names if (found := _find(folder, stems[name]))}
        missing = [name for name in names if name not in paths]
        for name, image, label_map in show(missing) if missing else ():
            stem = stems[name]
            paths[name] = write_picture(folder, stem, image), write_labels(folder, stem, label_map)
        for path in store.folder.iterdir():  # of more images than are shown now
            match = _NUMBERED.fullmatch(path.name)
            if match and int(match[1]) >= len(names):
                remove(path)
    return paths


def _find(folder: Path, stem: str) -> tuple[str, str] | None:
    """The picture and the label map that lie there, if both do."""
    labels = labels_path(stem)
    for picture in (f"{stem}.png", f"{stem}.jpg"):
        if (folder / picture).is_file() and (folder / labels).is_file():
            return picture, labels
    return None


def write_picture(folder: Path, stem: str, image: UInt8[np.ndarray, "3 h w"]) -> str:
    """Write a picture beside a record, as PNG where it is small, else as JPEG.

    Args:
        folder: of the record.
        stem: its path below the folder, without the ending, with forward slashes.
        image: 8-bit RGB.

    Returns:
        Its path below the folder.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    if max(image.shape[1:]) <= _SMALL:
        write_png(folder / f"{stem}.png", image)
        return f"{stem}.png"
    with write_aside(folder / f"{stem}.jpg") as aside:
        picture = as_picture(image)
        picture.save(aside, quality=_JPEG_QUALITY, subsampling=0)
    return f"{stem}.jpg"


def write_labels(folder: Path, stem: str, label_map: Integer[np.ndarray, "*layers h w"]) -> str:
    """Write a picture's label map beside a record; its path (see `write_picture`)."""
    path = labels_path(stem)
    write_label_map(folder / path, label_map)
    return path


def labels_path(stem: str) -> str:
    """Where the label map of a picture lies below the folder of the record."""
    return f"{stem}-labels.png"
