"""The keys of an LMDB database: millions of them, listed once and mapped from a file afterwards.

Listing LSUN's bedrooms takes seconds and, as Python strings, a gigabyte in every process. The list
is kept in the cache; it is used only where its header still describes the database.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.core.errors import StorageError
from unseen.core.files import cache_folder, canonical_json, write_aside

_WORTH_KEEPING = 50_000  # keys; fewer are listed in a tenth of a second
_HEADER = 4096  # bytes, JSON padded with spaces; then the keys, all of one width


class Keys(Sequence[str]):
    """Keys as text, over one array of bytes."""

    def __init__(self, keys: np.ndarray) -> None:
        self._array = keys

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [_text(key) for key in self._array[index]]
        return _text(self._array[index])

    def raw(self, index: int) -> bytes:
        """The key as the database knows it."""
        return bytes(self._array[index])


def list_keys(environment: Any, folder: Path) -> Keys:
    """All keys of an open database, in its order, from the cache where that is up to date."""
    file = folder / "data.mdb"
    status = file.stat()
    identity = {
        "database": os.path.realpath(file),
        "bytes": status.st_size,
        "inode": status.st_ino,
        "changed": status.st_mtime_ns,
        "transaction": environment.info()["last_txnid"],
        "entries": environment.stat()["entries"],
    }
    if identity["entries"] < _WORTH_KEEPING:
        return Keys(_listed(environment))
    digest = hashlib.sha256(identity["database"].encode("utf-8", "surrogateescape")).hexdigest()
    path = cache_folder() / "lmdb-keys" / f"{digest[:32]}.keys"
    kept = _kept(path, identity)
    if kept is None:
        keys = _listed(environment)
        try:
            _keep(path, identity, keys)
        except StorageError:  # no cache can be written here: the list in memory serves as well
            return Keys(keys)
        kept = _kept(path, identity)
    return Keys(keys if kept is None else kept)


def _listed(environment: Any) -> np.ndarray:
    with environment.begin() as transaction, transaction.cursor() as cursor:
        return np.array(list(cursor.iternext(keys=True, values=False)), dtype=np.bytes_)


def _keep(path: Path, identity: Mapping[str, Any], keys: np.ndarray) -> None:
    header = canonical_json({**identity, "width": keys.dtype.itemsize}).encode()
    with write_aside(path) as aside, aside.open("wb") as file:
        file.write(header.ljust(_HEADER))
        keys.tofile(file)


def _kept(path: Path, identity: Mapping[str, Any]) -> np.ndarray | None:
    """The kept keys, or None where there are none, or they are another database's."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER))
        width, count = int(header.pop("width")), int(identity["entries"])
        if header != identity or path.stat().st_size != _HEADER + width * count:
            return None
        return np.memmap(path, dtype=f"S{width}", mode="r", offset=_HEADER, shape=(count,))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
