"""What an engine needs of a run: work that travels to a worker and makes shards there."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from unseen.core.errors import UnseenError

Make = Callable[[range, Callable[[int], None]], None]
"""Makes one shard; the second argument is told how many of its images are done."""


def device_of(asked: str, given: str | None) -> str:
    """Where a worker's networks compute: as the user asked, else where the engine has put it.

    >>> device_of("auto", "cuda:1"), device_of("cpu", "cuda:1"), device_of("auto", None)
    ('cuda:1', 'cpu', 'auto')
    """
    return given if given and asked == "auto" else asked


@runtime_checkable
class Work(Protocol):
    """A run whose shards are made apart. It is sent by pickle."""

    def open(self, device: str | None) -> Make:
        """Load what shards are made with, once a worker.

        Args:
            device: where networks compute; None: as the work itself says.
        """
        ...


@runtime_checkable
class Worker(Protocol):
    """A process that makes shards, one after the other."""

    def ready(self) -> Mapping[str, Any]:
        """Wait until the work is open; what `machine` says there.

        Raises:
            WorkerLostError: the process ended.
            UnseenError: the work cannot be opened.
        """
        ...

    def make(self, shard: range) -> Iterator[int]:
        """Make a shard; gives now and then how many of its images are done.

        Raises:
            WorkerLostError: the process ended.
            UnseenError: the shard cannot be made.
        """
        ...

    def end(self) -> None:
        """End the process now; may be called from another thread."""
        ...

    def close(self) -> None:
        """End it, and let go of all that belongs to it, in the thread that talks to it."""
        ...


class WorkerLostError(UnseenError, ConnectionError):
    """A worker whose process ended while it was at work."""


class ShardError(UnseenError, RuntimeError):
    """A shard that a worker could not make."""
