"""Every error that unseen raises on purpose: one tree, each leaf also a built-in.

A message says what was found, what was needed and what to do next, in one line.
"""

import contextlib
import re
from collections.abc import Iterator

# Local folder of this process → the URL that users know it by.
SPOKEN: dict[str, str] = {}

_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET = re.compile(
    r"(?i)([?&](?:[\w.-]*(?:signature|token|secret|credential|password)|sig)=)[^&\s'\"]+"
)


def public(text: str) -> str:
    """A message without passwords and tokens of URLs, and with URLs instead of local copies.

    >>> public("https://me:pass@host/a.zip?token=123")
    'https://…@host/a.zip?token=…'
    """
    for folder, url in SPOKEN.items():
        text = text.replace(folder, url)
    return _SECRET.sub(r"\1…", _USER.sub("…@", text)) if "://" in text else text


class UnseenError(Exception):
    """Base class: the command line prints its message as one line, without a traceback."""

    def __str__(self) -> str:
        return public(super().__str__())


class SpecError(UnseenError, ValueError):
    """A spec (`name:argument?key=value`) that names nothing known, or is malformed."""


class ImageError(UnseenError, ValueError):
    """An image, or a set of images, that is missing, broken or too small for the question."""


class SegmenterError(UnseenError, ValueError):
    """A segmenter that is unusable, or whose label maps are not integers in range."""


class GeneratorError(UnseenError, ValueError):
    """A generator that is unusable, or whose images are not finite or not of its resolution."""


class CheckpointError(UnseenError, ValueError):
    """A weights file that is unreadable, does not fit, or asks to run code."""


class DownloadError(UnseenError, OSError):
    """Published weights or data that cannot be fetched."""


class RecordError(UnseenError, ValueError):
    """A record (areas, comparison) that is unreadable, or that does not match another."""


class SampleError(UnseenError, ValueError):
    """A sample too small or too degenerate for the statistic asked for."""


class StorageError(UnseenError, OSError):
    """A result that cannot be written; what was finished before it is kept."""


class StoreError(UnseenError, RuntimeError):
    """An object store that cannot be reached, or that refuses; no image of it is broken."""


class MissingExtraError(UnseenError, ImportError):
    """An optional dependency that the asked-for feature needs."""


def missing_package(what: str, *packages: str) -> MissingExtraError:
    """The error of who needs packages that are not installed, with the command that installs them.

    >>> print(missing_package("photos_lmdb/", "lmdb"))
    photos_lmdb/ needs the package lmdb, which is not installed; run: pip install lmdb
    """
    names = " and ".join(packages)
    needed = f"the package {names}, which is" if len(packages) == 1 else f"{names}, which are"
    return MissingExtraError(
        f"{what} needs {needed} not installed; run: pip install {' '.join(packages)}"
    )


class TrainingError(UnseenError, ArithmeticError):
    """A training whose loss is no longer a number."""


class UserCodeError(UnseenError, RuntimeError):
    """A user's module that ended the interpreter instead of returning or raising."""


class OutOfMemoryError(UnseenError, MemoryError):
    """Memory that a step needed and that this machine, or its GPU, does not have."""


# What MemoryError's relatives say that are none by class: those of torch and onnxruntime.
_MEMORY = re.compile(
    r"out of memory|not enough memory|allocate memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error of any library, or what caused it, says that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    True
    """
    while error is not None:
        if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def memory_for(what: str, advice: str) -> Iterator[None]:
    """Say what to lower where memory runs out in the block.

    Args:
        what: is under way, e.g. "segmenting 16 images at once".
        advice: e.g. "use a smaller --batch-size".

    Raises:
        OutOfMemoryError: memory ran out in the block.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"memory ran out while {what}; {advice}") from error


def first_line(error: BaseException) -> str:
    """An error's class and the first line of its text, for a message of one line.

    >>> first_line(KeyError("sky"))
    "KeyError: 'sky'"
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
