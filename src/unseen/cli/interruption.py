"""Ctrl-C and SIGTERM: a command ends within two seconds and says how to go on.

The signal is raised as one KeyboardInterrupt. Code on its way may add a note to it that says
what was kept (`error.add_note(...)`); the note is printed. Where a single long call of a library
(one run of a network) keeps the interpreter from answering, a watching thread ends the process:
finished files are in their places, because every file is renamed into it whole.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_PATIENCE = 1.5  # seconds from the signal to the hard end; the promise is 2


class Interruptible:
    """A context in which SIGINT and SIGTERM raise one KeyboardInterrupt, with a hard end."""

    def __init__(self) -> None:
        self.signal: int | None = None  # the signal that came
        self._error = KeyboardInterrupt()
        self._owner = os.getpid()
        self._stack = contextlib.ExitStack()

    @property
    def message(self) -> str:
        """One line: what happened, what was kept."""
        notes = getattr(self._error, "__notes__", [])
        what = "interrupted" if self.signal == signal.SIGINT else "ended by a signal"
        return "; ".join([f"unseen: {what}", *notes])

    def __enter__(self) -> "Interruptible":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.signal(number, self._receive)
                self._stack.callback(signal.signal, number, previous)
            if os.name == "posix":
                self._stack.enter_context(_hard_end())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _receive(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked worker: its parent does the talking
            os._exit(128 + number)
        self.signal = number
        raise self._error


@contextlib.contextmanager
def _hard_end() -> Iterator[None]:
    """Watch for a signal from a thread; end the process when it does not end by itself."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    over = threading.Event()

    def watch() -> None:
        numbers = os.read(reading, 1)  # blocks until a signal comes, or the context closes
        if not numbers or not numbers[0] or over.wait(_PATIENCE):
            return
        print(  # noqa: T201
            "unseen: interrupted in the middle of a step; what was finished is kept: "
            "run the same command again",
            file=sys.stderr,
            flush=True,
        )
        os._exit(128 + numbers[0])

    # A forked worker must not write its own signals into this pipe.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    thread = threading.Thread(target=watch, daemon=True, name="unseen-interruption")
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(previous)
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)
