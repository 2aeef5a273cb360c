"""Photographs of streets: which are held out, and how those of the training look at 64 pixels.

A photograph is held out by its name alone, so every run on any machine holds out the same ones.
"""

import dataclasses
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from unseen.core.files import as_path, write_aside
from unseen.core.options import Argument, Option
from unseen.images import Preparation, open_images, subset
from unseen.images.record_pictures import write_png

HELD_OUT = 0.08  # of the photographs: 306 of 3,752
RESOLUTION = 64  # pixels, of the generator


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreetPhotographs:
    """Divide a zip of photographs into folders. Files that are there already stay."""

    photographs: Annotated[Path, Argument("Zip of the photographs.")]
    folder: Annotated[Path, Argument("Folder for train/, held_out/ and train-64/.")]
    count: Annotated[
        int | None, Option("Photographs to take, a seeded subset. Default: all.", short="-n", min=1)
    ] = None


def divide_photographs(task: StreetPhotographs) -> Iterator[Path]:
    """Write `train/` and `held_out/`, byte for byte, and `train-64/`, PNG; yields each folder.

    Raises:
        ImageError: the zip holds no images, or fewer than asked for.
        StorageError: the folder cannot be written.
    """
    source = open_images(task.photographs)
    small = Preparation(RESOLUTION)
    with zipfile.ZipFile(as_path(task.photographs)) as archive:
        for index in subset(source, task.count, seed=0):
            name = source.names[index]
            side = "held_out" if is_held_out(name) else "train"
            _write(task.folder / side / name, archive.read(name))
            path = (task.folder / "train-64" / name).with_suffix(".png")
            if side == "train" and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(path, small.apply(source.read(index)))
    yield from (task.folder / side for side in ("train", "held_out", "train-64"))


def is_held_out(name: str) -> bool:
    """Whether the SHA-256 of the name lies in the lowest 8 % of its range.

    >>> [is_held_out(f"street/train-{index:04}.jpg") for index in range(4)]
    [False, False, False, False]
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64


def _write(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(path) as aside:
            aside.write_bytes(content)
