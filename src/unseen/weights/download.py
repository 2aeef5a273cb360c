"""Published files on this machine: downloaded once by pooch, resumed where they broke off, checked.

The cache is `UNSEEN_CACHE`, or pooch's folder for this user. With `UNSEEN_OFFLINE=1` nothing is
downloaded, and the error says which file to put where.
"""

import contextlib
import errno
import json
import logging
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from unseen.core.errors import DownloadError, SpecError, StorageError
from unseen.core.files import as_path, cache_folder, sha256_of_file, write_json
from unseen.core.lock import locked
from unseen.weights.known import Published, published

_log = logging.getLogger(__name__)

_TIMEOUT = 30  # seconds without a byte
_ATTEMPTS = 3  # in a row without progress
_CHUNK = 1 << 16  # bytes; what a broken line may cost


def locate(argument: str, names: Collection[str], prefix: str, *, spec: str) -> Path:
    """The path of what a spec's argument names: a file, or a published file by its short name.

    Args:
        argument: a path, or one of `names`.
        names: published here: `church` of the entry `progan-church`.
        prefix: of the entries, `progan-`.
        spec: what the user wrote, for the message.

    Raises:
        SpecError: it is neither.
        DownloadError, StorageError: as `fetch`.
    """
    if argument in names:
        return fetch(f"{prefix}{argument}")
    path = as_path(argument)
    if not path.is_file():
        raise SpecError(
            f"{spec!r}: {argument} is neither a file nor a published name; "
            f"published: {', '.join(names)}"
        )
    return path


def fetch(name: str, *, offline: bool | None = None) -> Path:
    """The path of a published file, downloaded if it is not here yet, and checked.

    Args:
        name: an entry of `unseen.weights.KNOWN`, e.g. "progan-church".
        offline: download nothing; None: whether `UNSEEN_OFFLINE` is set (to anything but 0).

    Raises:
        DownloadError: an unknown name, a server that cannot be reached, a file that is not the one
            published, or one that is missing while offline.
        StorageError: the disk is full, or the cache cannot be written.
    """
    entry = published(name)
    target = cache_folder() / "weights" / entry.file
    if offline is None:
        offline = os.environ.get("UNSEEN_OFFLINE", "0") not in ("", "0")
    if not target.exists():
        if offline:
            raise DownloadError(
                f"{entry.name} is not here and downloads are switched off; put {entry.url} at "
                f"{target}, or unset UNSEEN_OFFLINE"
            )
        with _storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(_beside(target, ".lock")):  # other processes wait here
                if not target.exists():  # another process may have been faster
                    _download(entry, target)
    _check(entry, target)
    return target


def _download(entry: Published, target: Path) -> None:
    part = _beside(target, ".part")
    _log.info("downloading %s from %s", entry.name, entry.url)
    failures = 0
    while True:
        before = _size(part)
        try:
            _get(entry.url, part)
            break
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            if _status(error) in (None, 500, 502, 503, 504) and _size(part) > before:
                failures = 0  # the line broke, but it moves
                continue
            failures += 1
            again = _status(error) == 416 or (_status(error) is None and _size(part) > 0)
            if again and failures < _ATTEMPTS:
                continue
            if _size(part) == 0:
                part.unlink(missing_ok=True)
            raise DownloadError(_cannot_fetch(entry, target, part, error)) from error
    digest = sha256_of_file(part)
    fault = _fault(entry, part, digest)
    if fault:
        part.unlink()
        _beside(part, ".json").unlink(missing_ok=True)
        raise DownloadError(
            f"{entry.url} is not the published {entry.name}: {fault}; nothing was kept. Try "
            "again; if it stays so, the publisher changed the file"
        )
    _record(entry, target, digest)
    part.replace(target)
    _beside(part, ".json").unlink(missing_ok=True)


def _get(url: str, part: Path) -> None:
    """Append what is missing to `part`; start again where the server's file is another one."""
    import pooch

    state = _beside(part, ".json")
    headers = {"Accept-Encoding": "identity"}
    if part.exists() and _size(part):
        version = _read_json(state)
        if not isinstance(version, str):
            part.unlink()  # which file it began is not known
        else:
            headers |= {"Range": f"bytes={_size(part)}-", "If-Range": version}
    expected: list[int] = []
    with part.open("ab") as file:

        def answered(response: Any, *_: Any, **__: Any) -> None:
            if response.status_code in (200, 416):
                file.truncate(0)  # the whole file comes, or what we have is not its beginning
            if response.status_code in (200, 206):
                version = response.headers.get("ETag") or response.headers.get("Last-Modified")
                if version and not version.startswith("W/"):
                    write_json(state, version)
                else:
                    state.unlink(missing_ok=True)
                length = response.headers.get("Content-Length")
                if length is not None:
                    file.seek(0, os.SEEK_END)
                    expected.append(file.tell() + int(length))

        download = pooch.HTTPDownloader(
            progressbar=_Progress(part.stem),
            timeout=_TIMEOUT,
            chunk_size=_CHUNK,
            headers=headers,
            hooks={"response": answered},
        )
        download(url, file, None)
    if expected and _size(part) != expected[-1]:
        raise ConnectionError(f"{_size(part):,} of {expected[-1]:,} bytes arrived")


class _Progress:
    """One line on stderr that counts up, in the form that pooch calls; silent elsewhere."""

    total = 0  # set by pooch to the bytes of this answer

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = 0
        self._shown = -1
        self._visible = sys.stderr.isatty()

    def update(self, count: int) -> None:
        self._done += count
        if self._visible and self._done >> 20 != self._shown:
            self._shown = self._done >> 20
            sys.stderr.write(f"\r{self._name}: {self._shown} of {self.total >> 20} MiB")
            sys.stderr.flush()

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        if self._visible and self._shown >= 0:
            sys.stderr.write("\n")


def _check(entry: Published, target: Path) -> None:
    """The file's bytes against the published hash, else against the one recorded at first use."""
    digest = sha256_of_file(target)
    fault = _fault(entry, target, digest)
    if fault is None:
        record = _beside(target, ".json")
        if not record.exists():
            _record(entry, target, digest)  # put here by hand: first use
        elif _recorded(record) != digest:
            fault = f"its SHA-256 is {digest}, and {record.name} says otherwise"
    if fault:
        raise DownloadError(
            f"{target} is not the published {entry.name}: {fault}; delete it and run again"
        )


def _fault(entry: Published, path: Path, sha256: str) -> str | None:
    """What differs from what was published."""
    if entry.size is not None and _size(path) != entry.size:
        return f"it has {_size(path):,} bytes instead of {entry.size:,}"
    if entry.sha256 is not None and not sha256.startswith(entry.sha256):
        return f"its SHA-256 is {sha256} and should begin with {entry.sha256}"
    if entry.md5 is not None:
        import pooch

        digest = pooch.file_hash(str(path), alg="md5")
        if digest != entry.md5:
            return f"its MD5 is {digest} instead of {entry.md5}"
    return None


def _record(entry: Published, target: Path, digest: str) -> None:
    write_json(_beside(target, ".json"), {"name": entry.name, "url": entry.url, "sha256": digest})


def _recorded(record: Path) -> str | None:
    content = _read_json(record)
    return str(content.get("sha256")) if isinstance(content, dict) else None


def _read_json(path: Path) -> Any:
    """A file's content; None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _cannot_fetch(entry: Published, target: Path, part: Path, error: OSError) -> str:
    status = _status(error)
    if status == 404:
        what = f"{entry.url} is no longer there (404)"
    elif status is not None:
        what = f"{entry.url} answered with {status}"
    else:
        what = f"{entry.url} cannot be reached ({type(error).__name__})"
    kept = _size(part)
    next_time = f"; {kept:,} bytes are kept and the next try goes on from there" if kept else ""
    return f"{what}{next_time}. Try again later, or put the file at {target}"


def _status(error: OSError) -> int | None:
    """The HTTP status of a requests error, if there was an answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextlib.contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except (DownloadError, StorageError):
        raise
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written ({error.strerror or error}); free some space, or name "
            "another folder in UNSEEN_CACHE"
        ) from error
