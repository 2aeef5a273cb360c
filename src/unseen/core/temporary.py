"""Temporary files and folders: they go with their owner; what a kill left, at the next use.

They lie in one folder a process under TMPDIR. The process holds the lock of its folder, so that
another one can tell what nobody needs any more.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

from unseen.core.errors import StorageError
from unseen.core.files import not_writable
from unseen.core.lock import LOCK, locked

_PREFIX = "unseen-"
_YOUNG = 60.0  # seconds; a folder that is younger may not be locked yet

_held: dict[int, tuple[Path, contextlib.ExitStack]] = {}  # process → its folder, and its lock


def temporary_file(owner: object, suffix: str, size: int) -> Path:
    """The path of a new file that is removed when its owner goes, or the process ends.

    Args:
        owner: the object that needs the file.
        suffix: the file's ending.
        size: how many bytes it will have; they are not taken yet.

    Raises:
        StorageError: TMPDIR has no room for it, or cannot be written.
    """
    place = Path(tempfile.gettempdir())
    _sweep(place)
    folder = _folder(place)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageError(
            f"{place} has {free:,} bytes free of {size:,} that are needed; free some space, or "
            "name another place in TMPDIR"
        )
    handle, name = tempfile.mkstemp(suffix=suffix, dir=folder)
    os.close(handle)
    weakref.finalize(owner, _remove, Path(name), os.getpid())
    return Path(name)


def temporary_folder() -> Path:
    """A new folder that is removed when the process ends (StorageError: TMPDIR takes none)."""
    place = Path(tempfile.gettempdir())
    _sweep(place)
    return Path(tempfile.mkdtemp(dir=_folder(place)))


def remove_temporaries() -> None:
    """Remove this process's temporary files now: for an end that runs no exit functions."""
    if entry := _held.pop(os.getpid(), None):
        folder, stack = entry
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)


def _folder(place: Path) -> Path:
    """The folder of this process in a place, locked."""
    if (entry := _held.get(os.getpid())) and entry[0].parent == place and entry[0].is_dir():
        return entry[0]
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError as error:
        raise not_writable(place, error) from error
    stack = contextlib.ExitStack()
    stack.enter_context(locked(folder / LOCK, patience=0.0))
    if not _held:
        atexit.register(remove_temporaries)
    _held[os.getpid()] = (folder, stack)
    return folder


def _sweep(place: Path) -> None:
    """Remove the folders of processes that have ended."""
    for lock in place.glob(f"{_PREFIX}*/{LOCK}"):
        folder = lock.parent
        with contextlib.suppress(OSError):  # a StorageError is one: its process is alive
            if time.time() - folder.stat().st_mtime < _YOUNG:
                continue
            with locked(lock, patience=0.0):
                pass
            shutil.rmtree(folder)


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            entry = _held.get(process)
            if entry is not None and {file.name for file in entry[0].iterdir()} <= {LOCK}:
                remove_temporaries()  # this was the last file
