"""A folder of images in an object store: listed once, and each image read in one request."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError
from unseen.core.files import sha256_of_parts
from unseen.core.storage import REQUESTS, Stored
from unseen.images.captions import METADATA, captions_of, read_captions
from unseen.images.decode import EXTENSIONS, decode
from unseen.images.inventory import LeftOut, is_grid, take_images

_ENDINGS = tuple(EXTENSIONS)


class StoredFolderSource:
    """Images of a folder in a store and its subfolders; names are paths below it, with `/`."""

    endless = False

    def __init__(self, folder: Stored, spec: str) -> None:
        self.spec = spec
        self._folder = folder
        self._captions: dict[str, str] | None = None  # read when first asked for
        versions = {file.name: file.version for file in folder.files()}
        self._has_captions = METADATA in versions
        others = LeftOut()
        self._peeked = self._read_firsts(versions)
        self.names: Sequence[str] = take_images(versions, str(folder), self._peek, others)
        self._peeked.clear()
        self.left_out = others.record()
        # 16 bytes an image, in one array.
        self._versions = np.array([np.frombuffer(versions[name], np.uint8) for name in self.names])

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution.

        Raises:
            ImageError: it is gone, or cannot be decoded.
            StoreError: the store cannot be reached, or refuses.
        """
        place = self._folder / self.names[index]
        try:
            content = place.read()
        except FileNotFoundError as error:
            raise ImageError(f"{place} is no longer there; restore it") from error
        return decode(io.BytesIO(content), str(place))

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The texts of `metadata.jsonl` in the folder; None where there is no such file."""
        if not self._has_captions:
            return None
        place = self._folder / METADATA
        if self._captions is None:
            self._captions = read_captions(place.read().splitlines(), str(place))
        return captions_of([self.names[index] for index in indices], self._captions, str(place))

    def fingerprint(self) -> str:
        """SHA-256 over every name, and the store's hash of every file's bytes."""
        versions = self._versions.tobytes().hex()
        return sha256_of_parts([*self.names, versions])

    def states(self, indices: Sequence[int]) -> list[str]:
        """The store's hash of every image's file."""
        return [self._versions[index].tobytes().hex() for index in indices]

    def _read_firsts(self, names: Iterable[str]) -> dict[str, bytes]:
        """The first image of every folder, at once; of one that is no picture of many, nothing.

        `take_images` looks into each.
        """
        firsts: dict[str, str] = {}
        for name in names:
            if name.lower().endswith(_ENDINGS):
                folder = name.rpartition("/")[0]
                firsts[folder] = min(name, firsts.get(folder, name))

        def picture_of_many(name: str) -> bytes:
            try:
                content = (self._folder / name).read()
            except FileNotFoundError:  # said where it is read
                return b""
            return content if is_grid(content) else b""

        with ThreadPoolExecutor(REQUESTS) as threads:
            contents = threads.map(picture_of_many, firsts.values())
            return dict(zip(firsts.values(), contents, strict=True))

    def _peek(self, name: str, count: int) -> bytes:
        if name in self._peeked:
            return self._peeked[name]
        return (self._folder / name).read(0, count)
