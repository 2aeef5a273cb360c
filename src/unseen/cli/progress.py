"""How far a long command is, on stderr: a bar, the rate and the time left.

Silent when stderr is not a terminal.
"""

import contextlib
import sys
from collections.abc import Iterator

from unseen.core.progress import Progress


@contextlib.contextmanager
def progress_bar(what: str, unit: str = "images") -> Iterator[Progress | None]:
    """Give a function to call with (done, total), or None when nobody watches.

    What the first call reports as done counts as done before (a resumed run), not for the rate.
    """
    if not sys.stderr.isatty():
        yield None
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
        TextColumn("{task.description}"),
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
            task = bars.add_task(what, total=total, completed=done)
        else:
            bars.update(task, completed=done, total=total)

    with bars:
        yield report
