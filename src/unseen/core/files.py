"""Where a file comes from, and how a finished file is put in its place.

Every record says which version, seed, source, segmenter and weights made it. A cached file is
valid only if that header matches; a finished file appears under its name only when it is whole.
"""

import contextlib
import errno
import hashlib
import importlib.metadata
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

from unseen.core.errors import StorageError
from unseen.core.storage import Stored, is_url, stored
from unseen.core.twins import check_twin, fetched, put, twin_path

_ASIDE = ".unseen-aside-"  # how the name of a file begins that is being written
_LONGEST_SUFFIX = 12  # characters: an ending; what is longer is the rest of a sentence with a dot
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EROFS, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ)


def expand_home(text: str) -> str:
    """The text with a leading `~/` replaced by the home folder, as a shell does."""
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text


def as_path(place: str | Path) -> Path:
    """The path that a user of the library gave; a leading `~/` is the home folder.

    A URL of a store (`s3://bucket/run`) has a local folder of this process, which is filled from
    there. What is written below it with `write_aside` is put there.

    Raises:
        SpecError: a URL that holds credentials, or names no file or folder in a bucket.
        StoreError: the store cannot be reached, or refuses.

    >>> as_path("~/photos") == Path.home() / "photos"
    True
    """
    return twin_path(place) if is_url(place) else Path(expand_home(str(place)))


def as_place(place: str | Path) -> Path | Stored:
    """As `as_path`, for those who read in place: a URL stays what it is, and nothing is copied."""
    return stored(place) if is_url(place) else as_path(place)


def package_version() -> str:
    """The version of the installed package."""
    return importlib.metadata.version("unseen")


def cache_folder() -> Path:
    """Where downloads and lists are kept: `UNSEEN_CACHE`, or the user's cache folder."""
    import pooch

    chosen = os.environ.get("UNSEEN_CACHE")
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("unseen"))


def open_regular(path: Path | Stored) -> BufferedReader:
    """Open a regular file for reading; OSError for a pipe or a device, which may never end."""
    if isinstance(path, Stored):
        return path.open()
    file = open(fetched(path), "rb", opener=_open_at_once)  # noqa: SIM115 Path.open has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def read_range(path: Path | Stored, start: int, count: int) -> bytes:
    """So many bytes of a regular file from a position on; fewer at its end (OSError)."""
    if isinstance(path, Stored):
        return path.read(start, count)
    with open_regular(path) as file:
        file.seek(start)
        return file.read(count)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_parts(parts: Iterable[str]) -> str:
    """SHA-256 of a sequence of strings; ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON whose bytes depend on the value alone: sorted keys, no NaN, no spaces."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


@contextlib.contextmanager
def write_aside(path: Path, *, within: Path | None = None, once: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block succeeds.

    Of a path that stands for a URL the file is then put into the store.

    Nothing half-written is left: on an error the temporary file is removed and `path` stays as
    it was. A process that is killed can remove nothing: `remove_asides` does.

    Args:
        path: of the finished file.
        within: folder for the temporary file, on the same disk; None: that of `path`.
        once: as `unseen.core.twins.put` takes it.

    Raises:
        StorageError: the folder or the store cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name of the finished file has no room for more: it may be as long as names can be.
        suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
        handle, name = tempfile.mkstemp(suffix, _ASIDE, within or path.parent)
    except OSError as error:
        raise not_writable(path, error) from error
    os.close(handle)
    aside = Path(name)
    try:
        aside.chmod(0o644)
        yield aside
        aside.replace(path)
        put(path, once=once)
    except OSError as error:
        if error.errno in (*_FULL, *_REFUSED):
            raise not_writable(path, error) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Refuse a name that no file can have (StorageError): too long, or no text."""
    try:
        str(path).encode()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
    except UnicodeEncodeError as error:
        raise StorageError(f"{str(path)!r} is not UTF-8; choose another name") from error
    except OSError as error:
        raise not_writable(path, error) from error


def check_writable(path: Path) -> None:
    """Refuse, before any work, a place where a result cannot be put.

    Raises:
        StorageError: the name is too long or no text, or its folder cannot be made or written.
    """
    check_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp("", _ASIDE, path.parent)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise not_writable(path, error) from error
    check_twin(path)


def remove_asides(folder: Path, below: Sequence[str] = ()) -> None:
    """Remove what processes that were killed while they wrote have left in a folder.

    Args:
        folder: one that belongs to one run at a time: another that is writing there would lose its
            file.
        below: names of folders in it that are searched to the bottom, too.
    """
    left = [folder.glob(f"{_ASIDE}*"), *((folder / name).rglob(f"{_ASIDE}*") for name in below)]
    for aside in itertools.chain(*left):
        aside.unlink(missing_ok=True)


def not_writable(path: Path, error: OSError) -> StorageError:
    """What to raise where a file cannot be written: a full disk, or no permission."""
    if error.errno in _FULL:
        return StorageError(
            f"the disk is full while writing {path}; free some space and run the same command "
            "again: what was finished is kept"
        )
    return StorageError(f"{path} cannot be written ({error.strerror}); choose another place")


def write_text(path: Path, text: str, *, once: bool = False) -> None:
    """Write UTF-8 text aside, then rename it into place, as `write_aside` does."""
    with write_aside(path, once=once) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, once: bool = False) -> None:
    """Write indented JSON (no NaN) aside, then rename it into place, as `write_aside` does."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, once=once)
