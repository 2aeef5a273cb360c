"""Images of a generator, by index, as PNG files or a zip.

Image k of a seed is the same whatever the batch size and count; a folder made in parts is the
folder made at once.
"""

import dataclasses
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from unseen.core.errors import SampleError, StorageError
from unseen.core.files import as_path, check_writable, open_regular, write_aside
from unseen.core.identity import Identity
from unseen.core.options import SEED_MOST, Option, Overwrite, Place
from unseen.core.progress import Progress, shown
from unseen.core.records import decode
from unseen.core.twins import fetched, remove
from unseen.generators import Generator
from unseen.generators.drawn_images import BATCH_SIZE, DrawnImages
from unseen.generators.sample_folder import HEADER, SampleFolder
from unseen.images.captions import METADATA, caption_line
from unseen.images.decode import EXTENSIONS
from unseen.images.inventory import GRID_MARK, is_grid
from unseen.images.pixels import Rounding

_GRIDS = (".png", ".jpg", ".jpeg", ".webp")  # endings of the picture of many samples
_SOFTWARE = 0x0131  # the tag of EXIF that holds the mark of a grid


def parse_indices(text: str) -> list[int]:
    """`0-9999,20000`: ranges with both ends, and single indices, in the order written.

    Raises:
        SampleError: anything else, a range that runs backwards, or an index named twice.
    """
    indices: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else -1
        if last < first:
            raise SampleError(f"{text!r} are no indices; write 0-9999, or 0-99,500")
        indices.extend(range(first, last + 1))
    if len(set(indices)) != len(indices):
        raise SampleError(f"{text!r} names an index twice; name each once")
    return indices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Draw images of a generator into a folder of PNG files, or a `.zip` of them.

    >>> Sampling(generator=load_generator("churchyard-full"), out=folder).seed
    1
    """

    generator: Generator
    out: Annotated[
        Path, Place("Folder for PNG files, or a .zip file of them; a path or a URL.", short="-o")
    ]
    indices: Annotated[
        Sequence[int],
        Option(
            "Images to draw: 0-9999, or 0-99,500. Both ends count.",
            metavar="INDICES",
            parse=parse_indices,
            shown="0-99",
        ),
    ] = range(100)
    seed: Annotated[
        int,
        Option(
            "Seed of the generator's stream of latents; the paper's is 1.",
            name="--sample-seed",
            max=SEED_MOST,
        ),
    ] = 1
    batch_size: Annotated[int, Option("Images in one call of the generator.", min=1)] = BATCH_SIZE
    rounding: Annotated[Rounding, Option("Rounding to 8 bits. The code of 2019 truncates.")] = (
        "nearest"
    )
    overwrite: Overwrite = False


def sample(task: Sampling, *, progress: Progress | None = None) -> Path:
    """Draw the images that are not there yet.

    A folder holds `00000042.png` for image 42, and `sample.json`: generator, seed and rounding. A
    zip holds `00000/img00000042.png` and so on with a `dataset.json` without labels, as NVIDIA's
    tools read it, and the same `sample.json`; it appears when it is whole, and until then
    `OUT.parts` beside it keeps what is drawn.

    Args:
        task: what to draw, and where to.
        progress: called with images done and images in all; None: a bar in a notebook.

    Returns:
        `task.out`.

    Raises:
        SampleError: no indices, or a negative one.
        RecordError: the folder holds samples of another generator, seed or rounding.
        StorageError: something else is there already, another run is writing there, or it cannot be
            written.
        GeneratorError: the generator drew something that is no image, NaN for one.

    >>> generator = load_generator("churchyard-full")
    >>> place = sample(Sampling(generator=generator, out=folder / "drawn", indices=[0, 1]))
    >>> sorted(path.name for path in place.glob("*.png"))
    ['00000000.png', '00000001.png']
    """
    if not task.indices or task.batch_size < 1:
        raise SampleError(
            f"{len(task.indices)} images in batches of {task.batch_size}; at least 1 is needed"
        )
    task = dataclasses.replace(task, out=as_path(task.out))
    check_writable(task.out)
    progress = shown(progress, f"sample {task.out.name}")
    images = drawn_images(task)
    if task.out == images.keep:
        images.keep_all(task.indices, progress=progress)
        return task.out
    with images.folder.run.writing():
        if task.out.exists() and not _is_packed(task.out, images, task.indices):
            if not task.overwrite:
                raise StorageError(f"{task.out} is there already; remove it, or use --overwrite")
            remove(task.out)
        if not task.out.exists():  # else a kill came between the last rename and the clearing
            images.keep_all(task.indices, progress=progress)
            _pack(images.folder, task.out, task.indices)
        images.folder.run.discard()
    return task.out


def drawn_images(task: Sampling) -> DrawnImages:
    """The images of a task, kept in its folder; those of a zip in the folder `OUT.parts` beside."""
    out = as_path(task.out)
    images = DrawnImages(
        task.generator,
        seed=task.seed,
        rounding=task.rounding,
        batch_size=task.batch_size,
        keep=out.with_name(out.name + ".parts") if out.suffix.lower() == ".zip" else out,
        overwrite=task.overwrite,
    )
    if not images.fixes_size and len(task.indices) < task.batch_size:
        images = dataclasses.replace(images, batch_size=len(task.indices))
    return images


def check_grid(path: Path) -> None:
    """Refuse, before anything is drawn, a grid that cannot or should not be written there.

    Raises:
        StorageError: it has the name of no picture, or of a sample; it cannot be written; or its
            folder holds images, and the grid would be taken for one of them.
    """
    if path.suffix.lower() not in _GRIDS:
        raise StorageError(f"{path} names no kind of picture; end it in {', '.join(_GRIDS)}")
    if re.fullmatch(r"\d{8}\.png", path.name):
        raise StorageError(f"{path} has the name of a sample; choose another name for the grid")
    check_writable(path)
    if (path.parent / HEADER).is_file():  # of samples: what else lies there is no image of the set
        return
    for beside in sorted(path.parent.iterdir()):
        if beside.suffix.lower() in EXTENSIONS and beside != path and not _is_grid(beside):
            raise StorageError(
                f"{path.parent} holds images ({beside.name}), and the grid would be taken for one "
                "of them; name another folder for it"
            )


def _is_grid(path: Path) -> bool:
    """Whether a picture is one that `sample_grid` has written."""
    try:
        with open_regular(path) as file:
            return is_grid(file.read())
    except OSError:
        return False


def sample_grid(
    generator: Generator,
    path: Path,
    *,
    indices: Sequence[int],
    seed: int = 1,
    columns: int = 10,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Write a picture of these images, row by row; the last row is filled up with black.

    Raises:
        SampleError: no indices.
        StorageError: from `check_grid`.
    """
    check_grid(path)
    if not indices:
        raise SampleError("a grid of no images was asked for; name at least one")
    columns = min(columns, len(indices))
    rows = -(-len(indices) // columns)
    drawn = DrawnImages(generator, seed=seed, batch_size=batch_size).images(indices)
    images = np.stack(list(drawn))
    tiles = np.zeros((rows * columns, *images.shape[1:]), np.uint8)
    tiles[: len(images)] = images
    height, width = tiles.shape[2:]
    grid = tiles.reshape(rows, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    with write_aside(path) as aside:
        mark = Image.Exif()
        mark[_SOFTWARE] = GRID_MARK
        picture = Image.fromarray(grid.reshape(rows * height, columns * width, 3))
        picture.save(aside, exif=mark)


def _pack(folder: SampleFolder, out: Path, indices: Sequence[int]) -> None:
    """Stored, since PNG is compressed already; equal samples make equal files."""
    with (
        write_aside(out, within=folder.run.folder) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive,
    ):
        for index, name in _packed_names(indices).items():
            archive.writestr(zipfile.ZipInfo(name), fetched(folder.path(index)).read_bytes())
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps({"labels": None}))
        conditions = folder.captions()
        if conditions:
            lines = [
                caption_line(name, conditions[folder.path(index).name])
                for index, name in _packed_names(indices).items()
            ]
            archive.writestr(zipfile.ZipInfo(METADATA), "".join(lines))
        header = (folder.run.folder / HEADER).read_bytes()
        archive.writestr(zipfile.ZipInfo(HEADER), header)


def _packed_names(indices: Sequence[int]) -> dict[int, str]:
    return {index: f"{index // 1000:05}/img{index:08}.png" for index in sorted(indices)}


def _is_packed(out: Path, images: DrawnImages, indices: Sequence[int]) -> bool:
    """Whether the zip holds these images, as this run would write them."""
    try:
        with zipfile.ZipFile(out) as archive:
            names = [name for name in archive.namelist() if name.endswith(".png")]
            value = decode(archive.read(HEADER), str(out), "choose another place")
        identity = Identity.from_json(value["identity"], str(out))
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return False
    same = identity.difference(images.folder.run.identity) is None
    return same and names == list(_packed_names(indices).values())
