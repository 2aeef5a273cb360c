"""A folder of a generator's images: `00000042.png` for image 42, and `sample.json`.

`sample.json` says what drew them; images of another generator, seed or rounding are refused.
"""

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.core.errors import ImageError, RecordError, StorageError
from unseen.core.files import package_version, refuse_foreign, write_aside, write_json
from unseen.images.decode import decode

NAME = "{:08}.png"  # of an image's file, from its index
HEADER = "sample.json"
_SCHEMA = 1  # version of the header
_ENCODERS = 2  # threads that write PNG; zlib lets go of Python's lock
_COMPRESSION = 1  # of PNG's 0 to 9: four times as fast as the default, a tenth larger


class SampleFolder:
    """The images in one folder, all drawn in one way.

    Args:
        folder: made if it is not there; else it is empty, or holds images drawn in this way.
        header: all that decides the images.
        overwrite: remove images that were drawn in another way.

    Raises:
        RecordError: it holds images that were drawn in another way.
        StorageError: it holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        mine = {"schema": _SCHEMA, **header}
        path = folder / HEADER
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder} is a file; name a folder, or a file that ends in .zip")
        if path.exists():
            found = _read(path)
            if contents(found) == contents(mine):
                return
            if not overwrite:
                differing = ", ".join(
                    key for key in {**mine, **found} if mine.get(key) != found.get(key)
                )
                raise RecordError(
                    f"{folder} holds samples that differ in {differing}; choose another folder, or "
                    "use --overwrite"
                )
            for image in folder.glob("*.png"):
                image.unlink()
        else:
            refuse_foreign(folder, HEADER)
        write_json(path, {**mine, "version": package_version()})

    def path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.folder / NAME.format(index)

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Those of the images that are not there."""
        return [index for index in indices if not self.path(index).is_file()]

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` (ImageError: its file is damaged)."""
        path = self.path(index)
        try:
            with path.open("rb") as file:
                return decode(file, str(path))
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror or error})") from error

    def write(self, indices: Sequence[int], images: UInt8[np.ndarray, "n 3 h w"]) -> None:
        """Write images as PNG files (StorageError: the disk is full)."""
        with ThreadPoolExecutor(_ENCODERS) as encoders:
            list(encoders.map(_write, map(self.path, indices), images))


def contents(header: Mapping[str, Any]) -> dict[str, Any]:
    """What of a header decides the images: of a spec whose weights are known, its options alone."""
    generator = dict(header.get("generator") or {})
    if generator.get("weights_sha256"):
        generator["spec"] = str(generator.get("spec", "")).partition("?")[2]
    return {**header, "generator": generator}


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    found.pop("version", None)
    return found


def _write(path: Path, image: UInt8[np.ndarray, "3 h w"]) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.save(file, "PNG", compress_level=_COMPRESSION)
    with write_aside(path) as aside:
        aside.write_bytes(file.getvalue())
