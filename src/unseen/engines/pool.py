"""Workers that take shards from one list; what becomes of a worker, or a shard, that fails.

One thread a worker talks to it here. The shard of a lost worker goes back to the list, and another
worker takes its place. A shard that fails three times without getting further is given up, and the
rest goes on.
"""

import collections
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unseen.core.errors import UnseenError
from unseen.engines.work import ShardError, Worker, WorkerLostError

TRIES = 3  # of a shard, and of all workers' starts in a row
_REPORT_SECONDS = 0.2  # between two looks of the main thread, which Ctrl-C interrupts
_TOLD = 3  # shards that a message names


class Pool:
    """Makes shards by workers.

    Args:
        shards: to be made.
        start: starts a worker; it is made ready by its thread.
        workers: how many at once.
        unit: what the positions of a shard count.
    """

    def __init__(
        self,
        shards: Sequence[range],
        start: Callable[[int], Worker],
        workers: int,
        unit: str = "images",
    ) -> None:
        self._unit = unit
        self._machines: list[Mapping[str, Any]] = []  # of workers that are ready, to be told
        self._start = start
        self._waiting = collections.deque(shards)
        self._under_way: dict[range, int] = {}  # shard → images that are done
        self._made = 0  # images of finished shards
        self._failures: dict[range, tuple[int, int]] = {}  # how often, at how many images
        self._given_up: dict[range, UnseenError] = {}
        self._lost_in_a_row = 0
        self._fatal: BaseException | None = None
        self._closed = False
        self._live: dict[int, Worker] = {}
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(min(workers, len(shards)))
        ]

    def run(
        self,
        report: Callable[[int], None],
        meet: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None,
    ) -> None:
        """Make all shards.

        Args:
            report: told, in this thread, how many images are done.
            meet: told, in this thread, the machines of workers that have become ready.

        Raises:
            ShardError: shards that were given up; all others are made.
            UnseenError: the work cannot be opened, or no worker stays.
        """
        for thread in self._threads:
            thread.start()
        try:
            over = False
            while not over:
                with self._changed:
                    if not self._over and any(thread.is_alive() for thread in self._threads):
                        self._changed.wait(_REPORT_SECONDS)
                    over = self._over or not any(thread.is_alive() for thread in self._threads)
                    done = self._made + sum(self._under_way.values())
                    fatal = self._fatal
                    machines, self._machines = self._machines, []
                if machines:
                    meet(machines)
                report(done)
                if fatal is not None:
                    raise fatal
        finally:
            self._close()
        if self._given_up:
            raise self._of_given_up()

    @property
    def _over(self) -> bool:
        return self._fatal is not None or not (self._waiting or self._under_way)

    def _close(self) -> None:
        """End the workers now: finished shards are in their places."""
        with self._changed:
            self._closed = True
            live = list(self._live.values())
            self._changed.notify_all()
        for worker in live:
            worker.end()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        """Make shards by one worker after the other, until there are none."""
        worker: Worker | None = None
        try:
            while True:
                try:
                    if worker is None:
                        worker = self._begin(number)
                    shard = self._next()
                    if shard is None:
                        return
                    self._make(worker, shard)
                except WorkerLostError as error:
                    self._end(number, worker)
                    worker = None
                    if not self._go_on_after(error):
                        return
        except Exception as error:  # noqa: BLE001 raised in the main thread
            with self._changed:
                self._fatal = self._fatal or error
                self._changed.notify_all()
        finally:
            self._end(number, worker)

    def _begin(self, number: int) -> Worker:
        with self._changed:
            if self._closed:
                raise WorkerLostError("the run is over")
            worker = self._live[number] = self._start(number)
        machine = worker.ready()
        with self._changed:
            self._machines.append(machine)
        return worker

    def _end(self, number: int, worker: Worker | None) -> None:
        with self._changed:
            worker = self._live.pop(number, worker)
        if worker is not None:
            worker.close()

    def _next(self) -> range | None:
        """The next shard; None when all are made. A worker waits while others may give one back."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._over)
            if self._closed or not self._waiting:
                return None
            shard = self._waiting.popleft()
            self._under_way[shard] = 0
            return shard

    def _make(self, worker: Worker, shard: range) -> None:
        try:
            for images in worker.make(shard):
                with self._changed:
                    self._under_way[shard] = images
                    self._lost_in_a_row = 0
        except UnseenError as error:
            self._fail(shard, error)
            if isinstance(error, WorkerLostError):
                raise
            return
        with self._changed:
            self._under_way.pop(shard)
            self._made += len(shard)
            self._lost_in_a_row = 0
            self._changed.notify_all()

    def _fail(self, shard: range, error: UnseenError) -> None:
        """Put a shard back, or give it up."""
        with self._changed:
            reached = self._under_way.pop(shard)
            times, before = self._failures.get(shard, (0, 0))
            times = 1 if reached > before else times + 1
            self._failures[shard] = times, max(reached, before)
            if times >= TRIES:
                self._given_up[shard] = error
            else:
                self._waiting.append(shard)
            self._changed.notify_all()

    def _go_on_after(self, error: WorkerLostError) -> bool:
        with self._changed:
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= TRIES * len(self._threads):
                self._fatal = self._fatal or error
                self._changed.notify_all()
            return not (self._closed or self._over)

    def _of_given_up(self) -> ShardError:
        shards = sorted(self._given_up, key=lambda shard: shard.start)
        told = "; ".join(
            f"{self._unit} {shard.start:,} to {shard.stop - 1:,}: {self._given_up[shard]}"
            for shard in shards[:_TOLD]
        )
        more = f"; and {len(shards) - _TOLD} more" if len(shards) > _TOLD else ""
        return ShardError(
            f"{len(shards)} shards failed {TRIES} times ({told}{more}); all others are kept: "
            "remove the cause, and run the same command again"
        )
