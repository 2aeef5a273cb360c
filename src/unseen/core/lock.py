"""One process at a time: a lock file in a folder, on Linux, macOS and Windows.

The system lets go of the lock when its process ends, however that ends; the lock file is removed
when the lock is released.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from unseen.core.errors import StorageError
from unseen.core.files import not_writable

LOCK = ".unseen-lock"  # the name of the lock file of a folder
PATIENCE = 5.0  # seconds in which a run that was just ended has let go


@contextlib.contextmanager
def locked(path: Path, *, patience: float | None = None) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Args:
        path: of the lock file. Its folder is made if it is missing.
        patience: seconds to wait for another process; None waits until that process is done.

    Raises:
        StorageError: another process holds the lock after so long, or its file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with locked(folder / LOCK):
        ...     _ = (folder / "result.txt").write_text("by one process alone")
    """
    with warnings.catch_warnings():
        # It warns where there is no flock, and takes the file's existence for the lock.
        warnings.simplefilter("ignore", UserWarning)
        import filelock
    lock = filelock.FileLock(path, timeout=-1 if patience is None else patience)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except FileNotFoundError:  # the process that was waited for has removed its folder
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except filelock.Timeout as error:
        raise StorageError(
            f"another process is writing to {path.parent}; wait until it ends, or choose another "
            "place"
        ) from error
    except OSError as error:
        raise not_writable(path.parent, error) from error
    try:
        yield
    finally:
        # Removed while it is held: who waits for it sees that and makes it anew.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
