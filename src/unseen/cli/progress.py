"""How far a long command is, on stderr: a bar, the rate and the time left.

Where stderr is no terminal it is silent, or with --verbose a line every ten seconds.
"""

import contextlib
import sys
import time
from collections.abc import Iterator

from unseen.cli import streams
from unseen.core.progress import Progress
from unseen.core.wording import printable

_SECONDS = 10  # between lines, where stderr is no terminal


@contextlib.contextmanager
def progress_bar(what: str, unit: str = "images") -> Iterator[Progress | None]:
    """Give a function to call with (done, total), or None when nobody watches.

    What the first call reports as done counts as done before (a resumed run), not for the rate.
    """
    if streams.quiet():
        yield None
        return
    if not sys.stderr.isatty():
        yield _lines(printable(what), unit) if streams.verbose() else None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}/s" if speed else "")

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task: TaskID | None = None

    def report(done: int, total: int) -> None:
        nonlocal task
        if task is None:
            task = bars.add_task(printable(what), total=total, completed=done)
        else:
            bars.update(task, completed=done, total=total)

    with bars:
        yield report


def _lines(what: str, unit: str) -> Progress:
    """Say how far it is in lines, now and then."""
    said = -float(_SECONDS)

    def report(done: int, total: int) -> None:
        nonlocal said
        if done == total or time.monotonic() - said >= _SECONDS:
            said = time.monotonic()
            streams.remark(f"{what}: {done:,} of {total:,} {unit}")

    return report
