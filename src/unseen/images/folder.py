"""A folder of images, searched recursively."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError
from unseen.core.files import sha256_of_file, sha256_of_parts
from unseen.core.registry import Spec, takes
from unseen.images.decode import decode
from unseen.images.naming import check_text, index_order, is_image_name, no_images

_HASHING_THREADS = 4  # hashing and reading both let go of Python's lock


class FolderSource:
    """Images of a folder and its subfolders; names are paths below it, with `/`."""

    endless = False

    def __init__(self, folder: Path, spec: str) -> None:
        self.spec = spec
        self._folder = folder
        others: list[str] = []
        names: list[str] = []
        for name in _walk(folder):
            (names if is_image_name(name) else others).append(name)
        if not names:
            raise no_images(str(folder), others)
        self.names: Sequence[str] = index_order(check_text(name, str(folder)) for name in names)

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        path = self._folder / self.names[index]
        try:
            with path.open("rb") as file:
                return decode(file, str(path))
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror or error})") from error

    def fingerprint(self) -> str:
        """SHA-256 over every name and the SHA-256 of every file's bytes."""
        with ThreadPoolExecutor(_HASHING_THREADS) as threads:
            digests = threads.map(self._digest, self.names)
            return sha256_of_parts(
                part for pair in zip(self.names, digests, strict=True) for part in pair
            )

    def _digest(self, name: str) -> str:
        path = self._folder / name
        try:
            return sha256_of_file(path)
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror or error})") from error


@takes()
def open_folder(spec: Spec) -> FolderSource:
    """The entry point `folder:FOLDER`."""
    folder = Path(spec.require_argument("folder")).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ImageError(f"{folder} {what}; give a folder of images")
    return FolderSource(folder, spec.text)


def _walk(folder: Path) -> Iterator[str]:
    """Relative names of all regular files; links are followed, but never in a circle."""
    root = folder.stat()
    waiting = [("", frozenset({(root.st_dev, root.st_ino)}))]
    while waiting:
        prefix, above = waiting.pop()
        place = folder / prefix
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir():
                        status = entry.stat()
                        identity = (status.st_dev, status.st_ino)
                        if identity not in above:
                            waiting.append((f"{prefix}{entry.name}/", above | {identity}))
                    elif entry.is_file() or entry.is_symlink():
                        yield prefix + entry.name
        except OSError as error:
            raise ImageError(f"{place} cannot be read ({error.strerror or error})") from error
