"""How a long run says how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and of how many; what the first call reports was done before."""


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
