"""How a long run says how far it is: to who asks for it, and to a notebook by itself."""

import collections
import contextlib
import html
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from unseen.core.wording import cut, duration, printable

Progress = Callable[[int, int], None]
"""Called with what is done and of how many; what the first call reports was done before."""

Watch = Callable[[str], AbstractContextManager[Progress | None]]
"""Gives the progress of one of several runs by its title; None: nobody watches."""

_WINDOW = 30.0  # seconds over which the speed is taken: it follows a run that slows down
_REFRESH = 0.25  # seconds between two pictures of a notebook's bar
_LONGEST_TITLE = 60  # characters in a notebook


def silent(_: int, __: int) -> None:
    """Report to nobody."""


def part_of(progress: Progress, before: int, total: int) -> Progress:
    """Progress of one of several runs, reported as progress of all of them.

    Args:
        progress: of all runs together.
        before: what the runs before this one do.
        total: what all of them do.
    """
    return lambda done, _: progress(before + done, total)


class Pace:
    """How far a run is, how fast it goes, and how long it still takes; a `Progress` itself.

    >>> pace = Pace("images")
    >>> pace(200, 1_000)
    >>> str(pace)
    '200 of 1,000 images'
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.done = self.total = 0
        self._began: float | None = None
        self._reports: collections.deque[tuple[float, int]] = collections.deque()

    def __call__(self, done: int, total: int) -> None:
        """Take a report."""
        self.done, self.total = done, total
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self._reports.append((now, done))
        # Of a batch that took longer than the window the first image alone would tell no speed.
        window = max(_WINDOW, 0.5 * (now - self._began))
        while len(self._reports) > 2 and now - self._reports[1][0] > window:
            self._reports.popleft()

    @property
    def rate(self) -> float | None:
        """What is done a second; None before the second report."""
        if not self._reports:
            return None
        (began, before), (now, done) = self._reports[0], self._reports[-1]
        return (done - before) / (now - began) if done > before and now > began else None

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None while the rate is not known."""
        return None if self.rate is None else (self.total - self.done) / self.rate

    def __str__(self) -> str:
        said = [f"{self.done:,} of {self.total:,} {self.unit}"]
        if self.rate is not None:
            said.append(f"{self.rate:.1f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each")
        if self.left:
            said.append(f"{duration(self.left)} left")
        return ", ".join(said)


def shown(progress: Progress | None, what: str, unit: str = "images") -> Progress:
    """The caller's progress; without it a bar below the cell of a notebook, and elsewhere nothing.

    Args:
        progress: the caller's, or None.
        what: the title of the bar, e.g. "segment photos/".
        unit: what is counted.
    """
    if progress is not None:
        return progress
    return silent if _notebook() is None else _NotebookBar(what, unit)


@contextlib.contextmanager
def watch_in_notebook(what: str) -> Iterator[Progress]:
    """A `Watch` of who gave none: a bar in a notebook, and elsewhere nothing."""
    yield shown(None, what)


def _notebook() -> Any:
    """IPython's display functions where a notebook's kernel runs the program; else None."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    from IPython import display

    return display


class _NotebookBar:
    """A bar below the cell, drawn anew in its place; no bar where all was done before."""

    def __init__(self, what: str, unit: str) -> None:
        self._title = printable(cut(what, _LONGEST_TITLE))
        self._pace = Pace(unit)
        self._began = self._drawn = time.monotonic()
        self._handle: str | None = None

    def __call__(self, done: int, total: int) -> None:
        self._pace(done, total)
        now, ended = time.monotonic(), done >= total
        if ended and self._handle is None:
            return
        if not ended and self._handle is not None and now - self._drawn < _REFRESH:
            return
        text = f"{self._title}: {self._pace}"
        if ended:
            text = f"{self._title}: {total:,} {self._pace.unit} in {duration(now - self._began)}"
        shown = {"text/plain": text, "text/html": self._html(text)}
        if self._handle is None:
            self._handle = uuid.uuid4().hex
            _notebook().display(shown, raw=True, display_id=self._handle)
        else:
            _notebook().update_display(shown, raw=True, display_id=self._handle)
        self._drawn = now

    def _html(self, text: str) -> str:
        bar = f'<progress value="{self._pace.done}" max="{self._pace.total}"></progress>'
        return f"<div>{bar} {html.escape(text)}</div>"
