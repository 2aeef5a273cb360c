"""Images of a generator, by index, as PNG files or a zip.

Image k of a seed is the same whatever the batch size and count; a folder made in parts is the
folder made at once.
"""

import dataclasses
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.errors import RecordError, SampleError, StorageError
from unseen.generators import Generator
from unseen.images.pixels import Rounding, to_uint8
from unseen.provenance import package_version, write_aside, write_json

HEADER = "sample.json"
HEADER_VERSION = 1
_ENCODERS = 2  # threads that write PNG while the generator draws; zlib lets go of Python's lock
_COMPRESSION = 1  # of PNG's 0 to 9: four times as fast as the default, a tenth larger


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
    """Draw images of a generator into a folder of PNG files, or a `.zip` of them."""

    generator: Generator
    out: Path
    indices: Sequence[int]
    seed: int = 1  # of the latents; 1 is the paper's
    batch_size: int = 32
    rounding: Rounding = "nearest"  # to 8 bits; "truncate" is what the code of 2019 did
    overwrite: bool = False


def sample(task: Sampling, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Draw the images that are not there yet.

    A folder holds `00000042.png` for image 42, and `sample.json`: generator, seed and rounding. A
    zip holds `00000/img00000042.png` and so on with a `dataset.json` without labels, as NVIDIA's
    tools read it, and the same `sample.json`; it appears when it is whole, and until then
    `OUT.parts` beside it keeps what is drawn.

    Args:
        task: what to draw, and where to.
        progress: called with images done and images in all.

    Returns:
        `task.out`.

    Raises:
        SampleError: no indices, or a negative one.
        RecordError: the folder holds samples of another generator, seed or rounding.
        StorageError: something else is there already, or it cannot be written.
        ImageError: the generator drew NaN.
    """
    if not task.indices or task.batch_size < 1:
        raise SampleError(
            f"{len(task.indices)} images in batches of {task.batch_size}; at least 1 is needed"
        )
    zipped = task.out.suffix.lower() == ".zip"
    folder = task.out.with_name(task.out.name + ".parts") if zipped else task.out
    if zipped and task.out.exists():
        if not task.overwrite:
            raise StorageError(f"{task.out} is there already; remove it, or use --overwrite")
        task.out.unlink()
    header = _header(task)
    _claim(folder, header, overwrite=task.overwrite)
    _draw(task, folder, progress)
    if zipped:
        _pack(folder, task.out, task.indices)
        shutil.rmtree(folder)
    return task.out


def sample_grid(
    generator: Generator, path: Path, *, indices: Sequence[int], seed: int = 1, columns: int = 10
) -> None:
    """Write a picture of these images, row by row; the last row is filled up with black.

    Raises:
        SampleError: no indices.
        StorageError: the picture cannot be written.
    """
    if not indices:
        raise SampleError("a grid of no images was asked for; name at least one")
    columns = min(columns, len(indices))
    rows = -(-len(indices) // columns)
    tiles = np.zeros((rows * columns, 3, generator.resolution, generator.resolution), np.uint8)
    for start in range(0, len(indices), 32):
        chosen = indices[start : start + 32]
        tiles[start : start + len(chosen)] = _images(generator, chosen, seed, "nearest")
    height, width = tiles.shape[2:]
    grid = tiles.reshape(rows, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    with write_aside(path) as aside:
        Image.fromarray(grid.reshape(rows * height, columns * width, 3)).save(aside)


def _header(task: Sampling) -> dict[str, Any]:
    header = {
        "schema": HEADER_VERSION,
        "generator": dict(task.generator.provenance),
        "seed": task.seed,
        "rounding": task.rounding,
    }
    if task.generator.provenance.get("batch_norm") == "batch":
        header["batch_size"] = task.batch_size  # there an image depends on its batch
    return json.loads(json.dumps(header))  # type: ignore[no-any-return]


def _claim(folder: Path, header: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder, or make sure that what it holds is part of this sample."""
    path = folder / HEADER
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file; name a folder, or a file that ends in .zip")
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        found.pop("version", None)
        if found == header:
            return
        if not overwrite:
            differing = ", ".join(
                key for key in {**header, **found} if header.get(key) != found.get(key)
            )
            raise RecordError(
                f"{folder} holds samples that differ in {differing}; choose another folder, or use "
                "--overwrite"
            )
        for image in folder.glob("*.png"):
            image.unlink()
    elif folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} is not empty and holds no {HEADER}; choose another folder")
    write_json(path, {**header, "version": package_version()})


def _draw(task: Sampling, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    done = 0
    with ThreadPoolExecutor(_ENCODERS) as encoders:
        for chosen in _batches(task.indices, task.batch_size):
            paths = [folder / f"{index:08}.png" for index in chosen]
            if not all(path.exists() for path in paths):
                # The whole batch anew, so that batch norm by the batch gives the same images.
                images = _images(task.generator, chosen, task.seed, task.rounding)
                list(encoders.map(_write, paths, images))
            done += len(chosen)
            if progress is not None:
                progress(done, len(task.indices))


def _batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _images(
    generator: Generator, indices: Sequence[int], seed: int, rounding: Rounding
) -> UInt8[np.ndarray, "n 3 h w"]:
    images = generator(generator.latents(indices, seed=seed))
    return to_uint8(images.float().cpu().numpy(), rounding)


def _write(path: Path, image: UInt8[np.ndarray, "3 h w"]) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.save(file, "PNG", compress_level=_COMPRESSION)
    with write_aside(path) as aside:
        aside.write_bytes(file.getvalue())


def _pack(folder: Path, out: Path, indices: Sequence[int]) -> None:
    """Stored, since PNG is compressed already; equal samples make equal files."""
    with write_aside(out) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
        for index in sorted(indices):
            name = f"{index // 1000:05}/img{index:08}.png"
            archive.writestr(zipfile.ZipInfo(name), (folder / f"{index:08}.png").read_bytes())
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps({"labels": None}))
        archive.writestr(zipfile.ZipInfo(HEADER), (folder / HEADER).read_bytes())
