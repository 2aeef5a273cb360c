"""The keys of an LMDB database: millions of them, listed once and mapped from a file afterwards.

Listing LSUN's bedrooms takes seconds and, as Python strings, a gigabyte in every process. The list
is kept in the cache; it is used only where its header still describes the database.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.core.errors import ImageError, StorageError
from unseen.core.files import cache_folder, canonical_json, write_aside

_WORTH_KEEPING = 50_000  # keys; fewer are listed in a tenth of a second
_HEADER = 4096  # bytes, JSON padded with spaces; then the keys, all of one width
_PACKED = struct.Struct("<QB")  # width in bytes, and whether every key has it


class Keys(Sequence[str]):
    """Keys as text, over one array of bytes.

    Args:
        keys: padded with zero bytes to the length of the longest.
        equal: whether all are of that length, so that zero bytes at their end are their own.
    """

    def __init__(self, keys: np.ndarray, *, equal: bool) -> None:
        self._array = keys
        self._width = keys.dtype.itemsize if equal else 0

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [_text(self.raw(k)) for k in range(*index.indices(len(self)))]
        return _text(self.raw(index))

    def raw(self, index: int) -> bytes:
        """The key as the database knows it."""
        return bytes(self._array[index]).ljust(self._width, b"\0")


def pack(keys: Sequence[bytes], folder: Path) -> bytes:
    """Keys as bytes that travel between processes: see `_PACKED`, then the padded keys.

    Raises:
        ImageError: keys of several lengths that end in zero bytes cannot be padded with them.
    """
    array = np.array(keys, dtype=np.bytes_)
    equal = len({len(key) for key in keys}) <= 1
    if not equal and any(key.endswith(b"\0") for key in keys):
        raise ImageError(f"{folder} has keys that end in zero bytes; write it with other keys")
    return _PACKED.pack(array.dtype.itemsize, equal) + array.tobytes()


def list_keys(about: Mapping[str, int], folder: Path, listed: Callable[[], bytes]) -> Keys:
    """All keys of a database, in its order, from the cache where that is up to date.

    Args:
        about: the database's last transaction, and its number of entries.
        folder: of the database.
        listed: gives its keys, packed.
    """
    file = folder / "data.mdb"
    status = file.stat()
    identity: dict[str, Any] = {
        "database": os.path.realpath(file),
        "bytes": status.st_size,
        "inode": status.st_ino,
        "changed": status.st_mtime_ns,
        **about,
    }
    if identity["entries"] < _WORTH_KEEPING:
        return _unpacked(listed())
    digest = hashlib.sha256(identity["database"].encode("utf-8", "surrogateescape")).hexdigest()
    path = cache_folder() / "lmdb-keys" / f"{digest[:32]}.keys"
    kept = _kept(path, identity)
    if kept is None:
        packed = listed()
        try:
            _keep(path, identity, packed)
        except StorageError:  # no cache can be written here: the list in memory serves as well
            return _unpacked(packed)
        kept = _kept(path, identity) or _unpacked(packed)
    return kept


def _unpacked(packed: bytes) -> Keys:
    width, equal = _PACKED.unpack_from(packed)
    return Keys(np.frombuffer(packed, f"S{width}", offset=_PACKED.size), equal=bool(equal))


def _keep(path: Path, identity: Mapping[str, Any], packed: bytes) -> None:
    width, equal = _PACKED.unpack_from(packed)
    header = canonical_json({**identity, "width": width, "equal": bool(equal)}).encode()
    with write_aside(path) as aside, aside.open("wb") as file:
        file.write(header.ljust(_HEADER))
        file.write(memoryview(packed)[_PACKED.size :])


def _kept(path: Path, identity: Mapping[str, Any]) -> Keys | None:
    """The kept keys, or None where there are none, or they are another database's."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER))
        width, equal, count = int(header.pop("width")), header.pop("equal"), identity["entries"]
        if header != identity or path.stat().st_size != _HEADER + width * count:
            return None
        array = np.memmap(path, dtype=f"S{width}", mode="r", offset=_HEADER, shape=(count,))
        return Keys(array, equal=equal)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
