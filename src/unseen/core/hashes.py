"""Hashes of files, kept beside their sizes and times: an unchanged file is hashed once."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from unseen.core.errors import StorageError
from unseen.core.files import (
    cache_folder,
    canonical_json,
    sha256_of_file,
    sha256_of_parts,
    write_text,
)

# A file that was changed less than this before it was hashed may change again within the same tick
# of the clock of its file system: it is hashed anew the next time.
_SETTLED_NS = 3_000_000_000


class FileHashes:
    """The SHA-256 of the files of one place, from the cache folder where they have not changed.

    A file counts as unchanged while its size, its number on the disk and both its times are. What
    cannot be kept, in a cache folder that cannot be written, is hashed again the next time.

    Example:
        >>> with FileHashes(Path("photos")) as hashes:  # doctest: +SKIP
        ...     hashes.sha256(Path("photos/a.jpg"))
    """

    def __init__(self, place: Path) -> None:
        name = sha256_of_parts([str(place.resolve())])
        self._file = cache_folder() / "hashes" / f"{name}.json"
        self._known: dict[str, tuple[Sequence[int], str]] = {}
        self._changed = False

    def __enter__(self) -> "FileHashes":
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeError):  # hashed again
            self._known = msgspec.json.decode(
                self._file.read_bytes(), type=dict[str, tuple[tuple[int, ...], str]]
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._changed:
            with contextlib.suppress(StorageError, UnicodeError):
                write_text(self._file, canonical_json(self._known))

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes; may be called by several threads (OSError)."""
        status = path.stat()
        state = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(str(path))
        if known is not None and list(known[0]) == state:
            return known[1]
        now = time.time_ns()
        digest = sha256_of_file(path)
        if now - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._known[str(path)] = (state, digest)
            self._changed = True
        return digest


def cached_sha256(path: Path) -> str:
    """SHA-256 of one file's bytes, from the cache folder where it has not changed (OSError)."""
    with FileHashes(path) as hashes:
        return hashes.sha256(path)


def file_state(path: Path) -> str:
    """Size and time of a file, which tell cheaply that it was changed; "missing" where it is not.

    >>> file_state(Path("no such file"))
    'missing'
    """
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
