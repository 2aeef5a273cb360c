"""What a command says: results on stdout, the rest on stderr, nothing that steers a terminal.

While a command runs, what a user's module prints goes to stderr, so stdout holds results alone.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from unseen.core.errors import StorageError, public
from unseen.core.wording import printable

_QUIET = False
_VERBOSE = False
_kept: list[Any] = []  # stdout, while a command runs; None where it is closed


def _stdout() -> Any:
    return _kept[-1] if _kept else sys.stdout


def write(text: str = "") -> None:
    """Write a result, and end the line.

    Raises:
        StorageError: stdout is closed or full.
        BrokenPipeError: nobody reads it any more.
    """
    _write_out(_lines(text))


def write_json(value: Any) -> None:
    """Write a result as JSON; characters that steer a terminal are escaped."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    encoding = getattr(_stdout(), "encoding", None) or "ascii"
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        text = json.dumps(value, indent=1, allow_nan=False)
    escaped = (c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    _write_out("".join(escaped) + "\n")


def _lines(text: str) -> str:
    return "".join(f"{printable(line)}\n" for line in public(text).split("\n"))


def _write_out(text: str) -> None:
    stream = _stdout()
    try:
        if stream is None:
            raise OSError("it is closed")
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the result cannot be written to stdout ({getattr(error, 'strerror', None) or error})"
        ) from error


def note(text: str) -> None:
    """Say something on stderr that is no result; not with --quiet."""
    if not _QUIET:
        complain(f"unseen: {text}")


def complain(text: str) -> None:
    """Say something on stderr that must be said; nothing where stderr is closed or full."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(_lines(text))
        sys.stderr.flush()


def quiet() -> bool:
    """Whether --quiet was given."""
    return _QUIET


def verbose() -> bool:
    """Whether --verbose was given."""
    return _VERBOSE


@contextlib.contextmanager
def volume(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """How much is said on stderr."""
    global _QUIET, _VERBOSE
    before = _QUIET, _VERBOSE
    _QUIET, _VERBOSE = quiet, verbose
    try:
        yield
    finally:
        _QUIET, _VERBOSE = before


@contextlib.contextmanager
def results_alone() -> Iterator[None]:
    """Keep stdout for results: what anything else prints goes to stderr."""
    _kept.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _kept.pop()


def own_streams() -> None:
    """Make the process's streams safe, once, before anything is opened.

    A closed stream becomes a place that swallows what is written, lest a file that is opened later
    take its number. Characters that a stream cannot hold are replaced. The number of stdout becomes
    that of stderr, for libraries and child processes that print; results have their own number.
    """
    closed = []
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            closed.append(number)
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    if 2 in closed or sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is not None and 1 not in closed:
        encoding = sys.stdout.encoding
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        own = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = open(own, "w", encoding=encoding, errors="replace")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def end_streams() -> bool:
    """Write out what is left; False, and nothing is left, where a stream takes no more."""
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            whole = False
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return whole
