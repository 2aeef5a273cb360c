"""The images that hold most of a class, kept beside the record with their label maps.

Files are numbered, never named after images, whose names are anyone's.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.files import write_aside
from unseen.distribution.comparison import Comparison, Exhibit
from unseen.images.writing import write_label_map, write_png

_SMALL = 128  # pixels; below, artefacts of JPEG would show and PNG costs little
_JPEG_QUALITY = 92

Exhibits = Mapping[str, tuple[Exhibit, ...]]  # column → images

# names of images → the same images as they were segmented, each with its label map
Show = Callable[
    [list[str]],
    Iterable[tuple[str, UInt8[np.ndarray, "3 h w"], Integer[np.ndarray, "h2 w2"]]],
]


def keep_side(folder: Path, key: str, comparison: Comparison, show: Show) -> Comparison:
    """Write each exhibited image of one side once; return the record with their paths.

    Args:
        folder: of the record; the files go to its `pictures/KEY/`.
        key: which side: "real", "generated-1", …
        comparison: the record, whose exhibits name images.
        show: gives the pictures of the images named.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    if key == "real":
        (exhibits,) = _keep(folder, key, [comparison.real.exhibits], show)
        return dataclasses.replace(
            comparison, real=dataclasses.replace(comparison.real, exhibits=exhibits)
        )
    sides = list(comparison.generated)
    i = int(key.removeprefix("generated-")) - 1
    exhibits, counterparts = _keep(folder, key, [sides[i].exhibits, sides[i].counterparts], show)
    sides[i] = dataclasses.replace(sides[i], exhibits=exhibits, counterparts=counterparts)
    return dataclasses.replace(comparison, generated=tuple(sides))


def _keep(folder: Path, key: str, groups: Sequence[Exhibits], show: Show) -> list[Exhibits]:
    names = dict.fromkeys(
        one.name for exhibits in groups for held in exhibits.values() for one in held
    )
    paths = dict(_write(folder, key, show(list(names))))
    return [
        {
            column: tuple(
                dataclasses.replace(one, image=paths[one.name][0], label_map=paths[one.name][1])
                if one.name in paths
                else one
                for one in held
            )
            for column, held in exhibits.items()
        }
        for exhibits in groups
    ]


def _write(
    folder: Path,
    side: str,
    pictures: Iterable[tuple[str, UInt8[np.ndarray, "3 h w"], Integer[np.ndarray, "h2 w2"]]],
) -> Iterator[tuple[str, tuple[str, str]]]:
    for i, (name, image, label_map) in enumerate(pictures):
        stem = f"pictures/{side}/{i:05d}"
        yield name, (write_picture(folder, stem, image), write_labels(folder, stem, label_map))


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
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
        picture.save(aside, quality=_JPEG_QUALITY, subsampling=0)
    return f"{stem}.jpg"


def write_labels(folder: Path, stem: str, label_map: Integer[np.ndarray, "h w"]) -> str:
    """Write a picture's label map beside a record; its path (see `write_picture`)."""
    path = labels_path(stem)
    write_label_map(folder / path, label_map)
    return path


def labels_path(stem: str) -> str:
    """Where the label map of a picture lies below the folder of the record."""
    return f"{stem}-labels.png"
