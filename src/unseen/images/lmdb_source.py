"""LSUN's LMDB databases: one category a folder, whose values are encoded images.

A damaged database can end the process that reads it. It is therefore read in a child process, whose
end is an error that names the database and the image.
"""

import importlib.util
import io
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, first_line, missing_package
from unseen.core.hashes import cached_sha256, file_state
from unseen.images.child import Caller, Child, ChildEndedError
from unseen.images.decode import decode
from unseen.images.inventory import LeftOut, no_images
from unseen.images.keys import list_keys

_LIST = b""  # the request for all keys; LMDB has no empty key
_SMALLEST_ENTRY = 8  # bytes of a node's header: a file holds no more entries than fit into it
_OF_THE_DATABASE = ("data.mdb", "lock.mdb")


class LmdbSource:
    """Images of one LSUN category: values are encoded images, in the order of their keys."""

    endless = False

    def __init__(self, folder: Path, spec: str) -> None:
        if importlib.util.find_spec("lmdb") is None:
            raise missing_package(spec, "lmdb")
        self.spec = spec
        self._folder = folder
        self._reader: Child | None = None
        about = json.loads(self._ask("about"))
        self._keys = list_keys(about, folder, lambda: self._ask("its keys", _LIST))
        if not self._keys:
            raise no_images(str(folder), {})
        beside = LeftOut()
        for path in sorted(folder.iterdir()):
            if path.name not in _OF_THE_DATABASE and not path.name.startswith("."):
                beside.add("beside the database", path.name)
        self.left_out = beside.record()

    @property
    def names(self) -> Sequence[str]:
        """The keys as text."""
        return self._keys

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        name = self._keys[index]
        value = self._ask(name, self._keys.raw(index))
        return decode(io.BytesIO(value), f"{self._folder}: {name}")

    def fingerprint(self) -> str:
        """SHA-256 of the bytes of `data.mdb`."""
        return cached_sha256(self._folder / "data.mdb")

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of the file, for every image."""
        return [file_state(self._folder / "data.mdb")] * len(indices)

    def __reduce__(self) -> tuple[Any, ...]:
        return (LmdbSource, (self._folder, self.spec))  # the keys are listed there, or mapped

    def _ask(self, what: str, request: bytes | None = None) -> bytes:
        """The child's answer to a request; without one to its start.

        Raises:
            ImageError: the child says what is wrong, or the database ended it.
        """
        try:
            if self._reader is None:
                self._reader = Child("unseen.images.lmdb_source", quiet=True)
                weakref.finalize(self, self._reader.close)
                self._reader.begin(str(self._folder).encode("utf-8", "surrogateescape"))
                about = self._answer()
                if request is None:
                    return about
            self._reader.send_message(request or _LIST)
            return self._answer()
        except ChildEndedError as error:
            assert self._reader is not None
            how, self._reader = self._reader.how_it_ended(), None
            raise ImageError(
                f"{self._folder} is damaged: reading {what} ended a process {how}; restore it"
            ) from error

    def _answer(self) -> bytes:
        assert self._reader is not None
        kind, content = self._reader.receive(1), bytes(self._reader.receive_message())
        if kind == b"E":
            raise ImageError(content.decode("utf-8", "replace"))
        return content


def main() -> None:
    """The child: open the database that the first message names, then serve its values."""
    caller = Caller()
    folder = Path((caller.receive_message() or b"").decode("utf-8", "surrogateescape"))
    environment: Any = None
    request: bytes | None = _LIST
    while request is not None:
        try:
            if environment is None:
                environment, answer = _open(folder)
            elif request == _LIST:
                answer = _listed(environment, folder)
            else:
                answer = _value(environment, folder, request)
            kind = b"V"
        except ImageError as error:
            kind, answer = b"E", str(error).encode("utf-8", "replace")
        except Exception as error:  # noqa: BLE001 lmdb's own, on a damaged database
            kind = b"E"
            answer = f"{folder} cannot be read as an LMDB database ({first_line(error)})".encode(
                "utf-8", "replace"
            )
        caller.answer_message(kind, answer)
        request = caller.receive_message()


def _open(folder: Path) -> tuple[Any, bytes]:
    """The open database, and what it says of itself as JSON."""
    import lmdb

    try:
        environment = lmdb.open(
            str(folder), readonly=True, lock=False, readahead=False, create=False
        )
    except lmdb.Error as error:
        raise ImageError(
            f"{folder} cannot be opened as an LMDB database ({error}); restore it"
        ) from error
    size = (folder / "data.mdb").stat().st_size
    about = {
        "transaction": environment.info()["last_txnid"],
        "entries": environment.stat()["entries"],
    }
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:  # reading beyond the end of a map ends the process
        raise ImageError(
            f"{folder} is truncated: data.mdb has {size:,} bytes of {needed:,}; restore it"
        )
    if about["entries"] > size // _SMALLEST_ENTRY:
        raise ImageError(
            f"{folder} is damaged: data.mdb claims {about['entries']:,} entries in {size:,} bytes; "
            "restore it"
        )
    return environment, json.dumps(about).encode()


def _listed(environment: Any, folder: Path) -> bytes:
    """All keys, as `keys.pack` packs them."""
    from unseen.images.keys import pack

    entries = environment.stat()["entries"]

    def keys() -> Iterator[bytes]:
        with environment.begin() as transaction, transaction.cursor() as cursor:
            for count, key in enumerate(cursor.iternext(keys=True, values=False)):
                if count >= entries:
                    raise ImageError(
                        f"{folder} is damaged: it holds more than its {entries:,} entries; "
                        "restore it"
                    )
                yield key

    return pack(list(keys()), folder)


def _value(environment: Any, folder: Path, key: bytes) -> bytes:
    with environment.begin() as transaction:
        value = transaction.get(key)
    if value is None:
        raise ImageError(
            f"{folder}: the key {key.decode('utf-8', 'backslashreplace')} has gone; open it again"
        )
    return bytes(value)
