"""Batches of prepared images, decoded in worker processes while the caller computes.

Order is kept, memory does not grow with the number of images, and workers end with the iterator.
The workers are plain processes (see `child`): one thread each talks to them here, and the pixels go
from the pipe straight into the batch.
"""

import collections
import dataclasses
import itertools
import os
import pickle
import queue
import threading
from collections.abc import Collection, Generator, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, OutOfMemoryError, StoreError
from unseen.images.child import KILLED, Child, ChildEndedError
from unseen.images.preparation import Preparation, Size
from unseen.images.protocol import ImageSource, read_image
from unseen.images.worker import REQUEST, SIZE

_IN_FLIGHT = 3  # requests a worker has at once: it never waits for this process


@dataclasses.dataclass(frozen=True)
class BrokenImage:
    """An image that was skipped."""

    name: str
    reason: str  # one sentence that names the image
    position: int  # in the indices given to `batches`


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive images of a run; those that are broken are listed instead."""

    positions: list[int]  # of each image, in the indices given to `batches`
    images: UInt8[np.ndarray, "n 3 h w"]  # prepared
    sizes: list[Size]  # height and width of each image as it was read
    broken: list[BrokenImage]


def default_workers() -> int:
    """As many decoding processes as this process has cores, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def batches(
    source: ImageSource,
    indices: Sequence[int],
    preparation: Preparation,
    *,
    batch_size: int,
    workers: int,
    skip_broken: bool = False,
    cuts: Collection[int] = (),
) -> Generator[Batch, None, None]:
    """Read, prepare and batch images in the order of `indices`.

    Args:
        source: where the images come from; sent to the workers by pickle. A source with a method
            `batches` of its own, as a generator's, is asked for them here.
        indices: of the images, in the order wanted.
        preparation: what makes them squares of one size.
        batch_size: images a batch; broken ones make a batch smaller, even empty.
        workers: decoding processes; 0 decodes here, without overlap.
        skip_broken: list broken images in the batch instead of stopping at the first.
        cuts: positions in `indices` where a batch ends, whatever its size.

    Raises:
        ImageError: sizes below these; while iterating: a broken image (unless skipped), a
            source that cannot be sent to a worker.
        OutOfMemoryError: memory ran out, or a worker was killed.
    """
    if batch_size < 1 or workers < 0:
        raise ImageError(
            f"batch_size is {batch_size} and workers is {workers}; "
            "at least 1 and at least 0 are needed"
        )
    if own := getattr(source, "batches", None):
        drawn: Generator[Batch, None, None] = own(
            indices, preparation, batch_size=batch_size, cuts=cuts
        )
        return drawn
    workers = min(workers, len(indices))
    slices = batch_slices(len(indices), batch_size, cuts)
    if workers == 0 or getattr(source, "in_memory", False):
        return _in_process(source, indices, preparation, slices, skip_broken)
    ahead = 2 + workers * _IN_FLIGHT // batch_size
    return _in_workers(source, indices, preparation, slices, skip_broken, workers, ahead)


def batch_slices(
    count: int, batch_size: int, cuts: Collection[int] = ()
) -> Iterator[tuple[int, int]]:
    """Where batches of so many images begin and end; none goes beyond a cut.

    >>> list(batch_slices(5, 2, cuts=[3]))
    [(0, 2), (2, 3), (3, 5)]
    """
    for first, last in itertools.pairwise(sorted({0, *cuts, count})):
        for start in range(first, last, batch_size):
            yield start, min(start + batch_size, last)


class _Pending:
    """A batch that is being filled."""

    def __init__(self, start: int, stop: int, shape: Size) -> None:
        self.start = start
        self.images = np.empty((stop - start, 3, *shape), np.uint8)
        self.sizes: list[Size] = [(0, 0)] * (stop - start)
        self.broken: dict[int, str] = {}  # row → reason
        self.remaining = stop - start

    def finish(self, source: ImageSource, indices: Sequence[int], skip_broken: bool) -> Batch:
        if self.broken and not skip_broken:
            raise ImageError(self.broken[min(self.broken)])
        rows = [row for row in range(len(self.images)) if row not in self.broken]
        return Batch(
            positions=[self.start + row for row in rows],
            images=self.images[rows] if self.broken else self.images,
            sizes=[self.sizes[row] for row in rows],
            broken=[
                BrokenImage(
                    source.names[indices[self.start + row]], self.broken[row], self.start + row
                )
                for row in sorted(self.broken)
            ],
        )


def _in_process(
    source: ImageSource,
    indices: Sequence[int],
    preparation: Preparation,
    slices: Iterator[tuple[int, int]],
    skip_broken: bool,
) -> Generator[Batch, None, None]:
    for start, stop in slices:
        pending = _Pending(start, stop, preparation.shape)
        for row in range(stop - start):
            try:
                image = read_image(source, indices[start + row])
                pending.images[row] = preparation.apply(image)
                pending.sizes[row] = image.shape[1], image.shape[2]
            except ImageError as error:
                if not skip_broken:
                    raise
                pending.broken[row] = str(error)
        yield pending.finish(source, indices, skip_broken)


def _in_workers(
    source: ImageSource,
    indices: Sequence[int],
    preparation: Preparation,
    slices: Iterator[tuple[int, int]],
    skip_broken: bool,
    workers: int,
    ahead: int,
) -> Generator[Batch, None, None]:
    # `ahead` batches are under way, to keep every worker busy while the caller holds one.
    pool = _Pool(source, indices, preparation, workers)
    try:
        filling: collections.deque[_Pending] = collections.deque()
        while True:
            while len(filling) < ahead and (batch := next(slices, None)) is not None:
                filling.append(_Pending(*batch, preparation.shape))
                pool.submit(filling[-1])
            if not filling:
                return
            pool.wait(filling[0])
            yield filling.popleft().finish(source, indices, skip_broken)
    finally:
        pool.close()


class _Pool:
    """Worker processes, and the threads that talk to them."""

    def __init__(
        self,
        source: ImageSource,
        indices: Sequence[int],
        preparation: Preparation,
        workers: int,
    ) -> None:
        self._source = source
        self._indices = indices
        self._tasks: queue.SimpleQueue[tuple[_Pending, int]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._closed = False
        self._children: list[Child] = []
        self._threads: list[threading.Thread] = []
        try:
            cargo = pickle.dumps((source, preparation), pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # objects raise nearly anything when they do not pickle
            raise ImageError(
                f"{source.spec} cannot be sent to a worker process ({error}); use workers=0"
            ) from error
        try:
            for _ in range(workers):
                self._children.append(Child("unseen.images.worker"))
            for child in self._children:
                thread = threading.Thread(target=self._talk, args=(child, cargo), daemon=True)
                self._threads.append(thread)
                thread.start()
        except BaseException:
            self.close()
            raise

    def submit(self, pending: _Pending) -> None:
        for row in range(len(pending.images)):
            self._tasks.put((pending, row))

    def wait(self, pending: _Pending) -> None:
        """Until the batch is full, or a worker failed (its error is raised)."""
        with self._changed:
            self._changed.wait_for(lambda: pending.remaining == 0 or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """End the workers now; they hold nothing that could be lost."""
        self._closed = True
        for child in self._children:
            child.kill()
        for _ in self._threads:
            self._tasks.put((_END, 0))
        for thread in self._threads:
            thread.join()
        for child in self._children:
            child.close()

    def _talk(self, child: Child, cargo: bytes) -> None:
        under_way: collections.deque[tuple[_Pending, int]] = collections.deque()
        try:
            child.begin(cargo)
            while True:
                while len(under_way) < _IN_FLIGHT:
                    try:
                        task = self._tasks.get(block=not under_way)
                    except queue.Empty:
                        break
                    if task[0] is _END:
                        return
                    under_way.append(task)
                    child.send(REQUEST.pack(self._index(task)))
                pending, row = under_way[0]
                broken = _receive(child, pending, row)
                under_way.popleft()
                with self._changed:
                    if broken is not None:
                        pending.broken[row] = broken
                    pending.remaining -= 1
                    if pending.remaining == 0:
                        self._changed.notify_all()
        except ChildEndedError:
            if not self._closed:
                near = f" near {self._source.names[self._index(under_way[0])]}" if under_way else ""
                how = child.how_it_ended()
                what = f"{self._source.spec}: a decoding process was ended {how}{near}"
                self._fail(
                    OutOfMemoryError(
                        f"{what}, perhaps because memory ran out; use fewer workers (--workers, "
                        "workers)"
                    )
                    if how == KILLED
                    else ImageError(f"{what}; remove that image, or read it with workers=0")
                )
        except Exception as error:  # noqa: BLE001 raised in the caller's thread
            self._fail(error)

    def _index(self, task: tuple[_Pending, int]) -> int:
        pending, row = task
        return self._indices[pending.start + row]

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()


_END = _Pending(0, 0, (0, 0))


def _receive(child: Child, pending: _Pending, row: int) -> str | None:
    """Fill an image from the worker's answer, or return why it is broken."""
    kind = child.receive(1)
    if kind == b"I":
        pending.sizes[row] = SIZE.unpack(child.receive(SIZE.size))
        child.receive_into(pending.images[row].data.cast("B"))
        return None
    text = child.receive_message().decode()
    if kind == b"B":
        return text
    if kind == b"M":
        raise OutOfMemoryError(text)
    if kind == b"S":
        raise StoreError(text)
    raise ImageError(f"a decoding process failed; use workers=0 to find out where\n{text}")
