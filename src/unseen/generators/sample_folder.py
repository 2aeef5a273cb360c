"""A folder of a generator's images: `00000042.png` for image 42, and `sample.json`.

What images were asked for stands in `metadata.jsonl`, where the generator says it. `sample.json`
says what drew them; images of another generator, seed or rounding are refused.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.files import not_writable, write_aside, write_text
from unseen.core.identity import Identity, identify
from unseen.core.run_folder import RunFolder
from unseen.core.twins import put
from unseen.images.captions import METADATA, caption_line, read_captions
from unseen.images.decode import as_picture, decode_file

NAME = "{:08}.png"  # of an image's file, from its index
HEADER = "sample.json"
_FORMAT = 1  # version of the folder
_ENCODERS = 2  # threads that write PNG; zlib lets go of Python's lock
_COMPRESSION = 1  # of PNG's 0 to 9: four times as fast as the default, a tenth larger


def samples_identity(drawn: Mapping[str, Any], batch_size: int | None) -> Identity:
    """What samples depend on.

    Args:
        drawn: JSON: the generator's provenance, the seed and the rounding.
        batch_size: images a call, where images depend on the others in their batch.
    """
    options = {key: value for key, value in drawn.items() if key not in ("generator", "batch_size")}
    parts = {"generator": drawn.get("generator")}
    return identify("samples", _FORMAT, parts=parts, options=options, batch_size=batch_size)


class SampleFolder:
    """The images in one folder, all drawn in one way. Several runs may fill it at once.

    Args:
        folder: made if it is not there; else it is empty, or holds images drawn in this way.
        drawn: JSON: all that decides the images.
        batch_size: images a call, where images depend on the others in their batch.
        conditions: whether the generator says what images are asked for; the header then names
            the file where that stands.
        overwrite: remove images that were drawn in another way.

    Raises:
        RecordError: it holds images that were drawn in another way.
        StorageError: it holds something else.
    """

    def __init__(
        self,
        folder: Path,
        drawn: Mapping[str, Any],
        batch_size: int | None,
        *,
        conditions: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.run = RunFolder(
            folder,
            samples_identity(drawn, batch_size),
            owned=("[0-9]" * 8 + ".png", METADATA),
            header=HEADER,
            also={**drawn, "conditions": METADATA} if conditions else drawn,
            overwrite=overwrite,
        )
        self.begun = self.run.begun()

    def path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.run.folder / NAME.format(index)

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Those of the images that are not there."""
        if not self.begun:
            return list(indices)
        return [index for index in indices if not self.path(index).is_file()]

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` (ImageError: its file is damaged)."""
        return decode_file(self.path(index))

    def write(
        self,
        indices: Sequence[int],
        images: UInt8[np.ndarray, "n 3 h w"],
        conditions: Sequence[str] | None = None,
    ) -> None:
        """Write images as PNG files, and before these what they were asked for.

        After a kill the conditions of some images may stand there twice, and those of no image are
        missing.

        Raises:
            StorageError: the disk is full.
        """
        # Another run that fills the folder waits for the time of these images.
        with self.run.writing(patience=None), ThreadPoolExecutor(_ENCODERS) as encoders:
            self.begun = True
            if conditions is not None:
                self._append(indices, conditions)
            list(encoders.map(_write, map(self.path, indices), images))

    def captions(self) -> dict[str, str]:
        """What the images were asked for, by the names of their files; empty where nobody says."""
        path = self.run.folder / METADATA
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            return read_captions(file, str(path))

    def indices(self) -> list[int]:
        """The images that are there."""
        if not self.begun:
            return []
        return sorted(int(path.stem) for path in self.run.folder.glob("[0-9]" * 8 + ".png"))

    def write_captions(self, more: Mapping[int, str]) -> None:
        """Write what images were asked for, in the order of their names, each once.

        Args:
            more: what the file does not say yet, by index.
        """
        captions = self.captions() | {NAME.format(index): text for index, text in more.items()}
        lines = "".join(caption_line(name, captions[name]) for name in sorted(captions))
        path = self.run.folder / METADATA
        if path.is_file() and path.read_text(encoding="utf-8") == lines:
            put(path)  # what was appended has not been put into a store
        elif captions:
            with self.run.writing(patience=None):
                write_text(path, lines)

    def _append(self, indices: Sequence[int], conditions: Sequence[str]) -> None:
        path = self.run.folder / METADATA
        lines = (
            caption_line(NAME.format(index), condition)
            for index, condition in zip(indices, conditions, strict=True)
        )
        try:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            raise not_writable(path, error) from error


def _write(path: Path, image: UInt8[np.ndarray, "3 h w"]) -> None:
    file = io.BytesIO()
    picture = as_picture(image)
    picture.save(file, "PNG", compress_level=_COMPRESSION)
    with write_aside(path, once=True) as aside:
        aside.write_bytes(file.getvalue())
