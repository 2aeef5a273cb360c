"""Hashes of files, kept beside their sizes and times: an unchanged file is hashed once."""

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import UInt64

from unseen.core.errors import StorageError
from unseen.core.files import cache_folder, sha256_of_file, sha256_of_parts, write_aside
from unseen.core.storage import Stored

# A file that was changed less than this before it was hashed may change again within the same tick
# of the clock of its file system: it is hashed anew the next time.
_SETTLED_NS = 3_000_000_000
_THREADS = 4  # hashing and reading both let go of Python's lock
_TOGETHER = 4096  # files whose states are compared at once
_AT_ONCE = 64  # files a thread is given: handing small ones over takes longer than hashing them
_KEPT_EVERY = 60.0  # seconds: a kill loses no more of the hashing

# 72 bytes a file. Of its name the first 64 bits of a hash: where two files share them, one of both
# is hashed each time.
_ROW = np.dtype([("name", "<u8"), ("state", "<u8", 4), ("sha256", "V32")])
_BITS = 2**64 - 1  # of a state's numbers: times before 1970 are negative


class FileHashes:
    """The SHA-256 of the files of one place, from the cache folder where they have not changed.

    A file counts as unchanged while its size, its number on the disk and both its times are. What
    cannot be kept, in a cache folder that cannot be written, is hashed again the next time. Files
    that were not asked about are forgotten.

    Example:
        >>> with FileHashes(Path("photos")) as hashes:  # doctest: +SKIP
        ...     list(hashes.sha256(["a.jpg", "holiday/b.jpg"]))
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        name = sha256_of_parts([str(place.resolve())])
        self._file = cache_folder() / "hashes" / f"{name}.npy"
        self._known = np.zeros(0, _ROW)  # ordered by the name's hash
        self._asked: list[np.ndarray] = []  # rows of files that are as they were, and of others
        self._changed = False
        self._kept_at = time.monotonic()

    def __enter__(self) -> "FileHashes":
        with contextlib.suppress(OSError, ValueError, EOFError):  # hashed again
            rows = np.load(self._file, allow_pickle=False)
            if rows.dtype == _ROW and rows.ndim == 1:
                self._known = np.sort(rows, order="name")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._changed:
            self._keep(whole=kind is None)

    def sha256(self, names: Iterable[str] = ("",)) -> Iterator[str | None]:
        """SHA-256 of each file's bytes, in hexadecimal; None for a file that cannot be read.

        Args:
            names: of the files below the place; the empty name is the place itself.
        """
        with ThreadPoolExecutor(_THREADS) as threads:
            waiting = iter(names)
            while together := [*itertools.islice(waiting, _TOGETHER)]:
                yield from self._of(together, threads)
                if self._changed and time.monotonic() - self._kept_at > _KEPT_EVERY:
                    self._keep(whole=False)

    def _of(self, names: list[str], threads: ThreadPoolExecutor) -> list[str | None]:
        now = time.time_ns()
        paths = [f"{self._place}/{name}" if name else str(self._place) for name in names]
        rows = np.zeros(len(names), _ROW)
        rows["name"] = _hashes_of(names)
        states = [_state(path) for path in paths]
        rows["state"] = [state for state, _ in states]
        there = np.array([changed is not None for _, changed in states])
        known = there & self._fill_known(rows)
        unknown = np.flatnonzero(there & ~known)
        cut = [unknown[k : k + _AT_ONCE] for k in range(0, len(unknown), _AT_ONCE)]
        digests = threads.map(_digests, ([paths[k] for k in some] for some in cut))
        for k, digest in zip(unknown, itertools.chain.from_iterable(digests), strict=True):
            rows["sha256"][k] = digest or b""
            there[k] = digest is not None
        settled = np.array([now - (changed or 0) > _SETTLED_NS for _, changed in states])
        kept = there & (known | settled)
        self._changed = self._changed or bool((kept & ~known).any())
        self._asked.append(rows[kept])
        text = rows["sha256"].tobytes().hex()
        return [
            text[64 * k : 64 * k + 64] if is_there else None for k, is_there in enumerate(there)
        ]

    def _fill_known(self, rows: np.ndarray) -> np.ndarray:
        """Which files are as they were; their rows get the hash."""
        if not len(self._known):
            return np.zeros(len(rows), bool)
        place = np.searchsorted(self._known["name"], rows["name"])
        candidates = self._known[np.minimum(place, len(self._known) - 1)]
        same = (candidates["name"] == rows["name"]) & (candidates["state"] == rows["state"]).all(
            axis=1
        )
        rows["sha256"][same] = candidates["sha256"][same]
        return np.asarray(same)

    def _keep(self, *, whole: bool) -> None:
        """Write what is known; before all files were asked about, the rest as it was, too."""
        asked = np.concatenate(self._asked)
        if not whole:
            rest = ~np.isin(self._known["name"], asked["name"])
            asked = np.concatenate([asked, self._known[rest]])
        with contextlib.suppress(StorageError), write_aside(self._file) as aside:
            np.save(aside, np.sort(asked, order="name"), allow_pickle=False)
        self._kept_at = time.monotonic()


def _hashes_of(names: Iterable[str]) -> UInt64[np.ndarray, " n"]:
    joined = b"".join(hashlib.blake2b(os.fsencode(name), digest_size=8).digest() for name in names)
    return np.frombuffer(joined, "<u8")


def _state(path: str) -> tuple[tuple[int, int, int, int], int | None]:
    """What tells that a file has changed, and when it last did; None where it cannot be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 a `Path` takes longer than the rest
    except OSError:
        return (0, 0, 0, 0), None
    written, changed = status.st_mtime_ns, status.st_ctime_ns
    state = status.st_size, status.st_ino & _BITS, written & _BITS, changed & _BITS
    return state, max(written, changed)


def _digests(paths: Iterable[str]) -> list[bytes | None]:
    digests: list[bytes | None] = []
    for path in paths:
        try:
            digests.append(bytes.fromhex(sha256_of_file(Path(path))))
        except OSError:
            digests.append(None)
    return digests


def cached_sha256(path: Path | Stored) -> str:
    """SHA-256 of one file's bytes, from the cache folder where it has not changed (OSError).

    Of a file in a store it is that of its version there.
    """
    if isinstance(path, Stored):
        return path.sha256()
    with FileHashes(path) as hashes:
        (digest,) = hashes.sha256()
    return sha256_of_file(path) if digest is None else digest  # which says why it cannot be read


def file_state(path: str | Path | Stored) -> str:
    """Size and time of a file, which tell cheaply that it was changed; "missing" where it is not.

    >>> file_state(Path("no such file"))
    'missing'
    """
    if isinstance(path, Stored):
        state = path.state()
        return "missing" if state is None else f"{state.st_size} {state.version.hex()}"
    try:
        status = os.stat(path)  # noqa: PTH116 as above
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
