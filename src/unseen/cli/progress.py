"""How far a long command is, on stderr: a bar with the speed and the time left.

Where stderr is no terminal, a line says the same every 30 seconds. The first line comes as soon as
the speed is known, after five seconds, if the run will take longer than that.
"""

import contextlib
import sys
import time
from collections.abc import Iterator

from unseen.cli import streams
from unseen.core.progress import Pace, Progress
from unseen.core.wording import printable

_SECONDS = 30.0  # between lines, where stderr is no terminal
_SETTLED = 5.0  # seconds from which on it is not the start alone that tells the speed


@contextlib.contextmanager
def progress_bar(what: str, unit: str = "images") -> Iterator[Progress | None]:
    """Give a function to call with (done, total), or None when nobody watches.

    What the first call reports as done counts as done before (a resumed run), not for the rate.
    """
    if streams.quiet():
        yield None
        return
    if not sys.stderr.isatty():
        yield _lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars

    pace = Pace(unit)
    text = TextColumn("{task.fields[pace]}", markup=False)
    title = TextColumn("{task.description}", markup=False)
    bars = Bars(title, BarColumn(bar_width=20), text, console=Console(stderr=True))
    task: TaskID | None = None

    def report(done: int, total: int) -> None:
        nonlocal task
        pace(done, total)
        if task is None:
            task = bars.add_task(printable(what), total=total, completed=done, pace=pace)
        else:
            bars.update(task, completed=done, total=total)

    with bars:
        yield report


def _lines(what: str, unit: str) -> Progress:
    """Say how far it is in lines, now and then; with --verbose always at the end."""
    pace = Pace(unit)
    began: float | None = None
    said: float | None = None
    ended = False

    def report(done: int, total: int) -> None:
        nonlocal began, said, ended
        pace(done, total)
        now = time.monotonic()
        began = now if began is None else began
        if done >= total:
            due = not ended and (said is not None or streams.verbose())
            ended = True
        elif said is None:
            due = now - began >= _SETTLED and pace.left is not None and pace.left > _SECONDS
        else:
            due = now - said >= _SECONDS
        if due:
            said = now
            streams.note(f"{what}: {pace}")

    return report
