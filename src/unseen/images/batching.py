"""Batches of prepared images, decoded in worker processes while the caller computes.

Order is kept, memory does not grow with the number of images, and workers end with the iterator.
The workers are plain processes (see `worker`): one thread each talks to them here, and the pixels
go from the pipe straight into the batch.
"""

import collections
import contextlib
import dataclasses
import fcntl
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError
from unseen.images import worker
from unseen.images.preparation import Preparation
from unseen.images.protocol import ImageSource

_IN_FLIGHT = 3  # requests a worker has at once: it never waits for this process
_PIPE_BYTES = 1 << 20  # Linux's limit for a pipe of an ordinary user
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from unseen.images.worker import main; main()"
)


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
    images: UInt8[np.ndarray, "n 3 s s"]
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
) -> Generator[Batch, None, None]:
    """Read, prepare and batch images in the order of `indices`.

    Args:
        source: where the images come from; sent to the workers by pickle.
        indices: of the images, in the order wanted.
        preparation: what makes them squares of one size.
        batch_size: images a batch; broken ones make a batch smaller, even empty.
        workers: decoding processes; 0 decodes here, without overlap.
        skip_broken: list broken images in the batch instead of stopping at the first.

    Raises:
        ImageError: sizes below these; while iterating: a broken image (unless skipped), a worker
            that was killed, a source that cannot be sent to a worker.
    """
    if batch_size < 1 or workers < 0:
        raise ImageError(
            f"batch_size is {batch_size} and workers is {workers}; "
            "at least 1 and at least 0 are needed"
        )
    workers = min(workers, len(indices))
    if workers == 0:
        return _in_process(source, indices, preparation, batch_size, skip_broken)
    return _in_workers(source, indices, preparation, batch_size, skip_broken, workers)


class _Pending:
    """A batch that is being filled."""

    def __init__(self, start: int, stop: int, side: int) -> None:
        self.start = start
        self.images = np.empty((stop - start, 3, side, side), np.uint8)
        self.broken: dict[int, str] = {}  # row → reason
        self.remaining = stop - start

    def finish(self, source: ImageSource, indices: Sequence[int], skip_broken: bool) -> Batch:
        if self.broken and not skip_broken:
            raise ImageError(self.broken[min(self.broken)])
        rows = [row for row in range(len(self.images)) if row not in self.broken]
        return Batch(
            positions=[self.start + row for row in rows],
            images=self.images[rows] if self.broken else self.images,
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
    batch_size: int,
    skip_broken: bool,
) -> Generator[Batch, None, None]:
    for start in range(0, len(indices), batch_size):
        stop = min(start + batch_size, len(indices))
        pending = _Pending(start, stop, preparation.resolution)
        for row in range(stop - start):
            try:
                pending.images[row] = preparation.apply(source.read(indices[start + row]))
            except ImageError as error:
                if not skip_broken:
                    raise
                pending.broken[row] = str(error)
        yield pending.finish(source, indices, skip_broken)


def _in_workers(
    source: ImageSource,
    indices: Sequence[int],
    preparation: Preparation,
    batch_size: int,
    skip_broken: bool,
    workers: int,
) -> Generator[Batch, None, None]:
    # Enough batches under way to keep every worker busy while the caller holds one.
    ahead = 2 + workers * _IN_FLIGHT // batch_size
    starts = iter(range(0, len(indices), batch_size))
    pool = _Pool(source, indices, preparation, workers)
    try:
        filling: collections.deque[_Pending] = collections.deque()
        while True:
            while len(filling) < ahead and (start := next(starts, None)) is not None:
                stop = min(start + batch_size, len(indices))
                filling.append(_Pending(start, stop, preparation.resolution))
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
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        try:
            cargo = pickle.dumps((source, preparation), pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # objects raise nearly anything when they do not pickle
            raise ImageError(
                f"{source.spec} cannot be sent to a worker process ({error}); use workers=0"
            ) from error
        paths = json.dumps([str(path) or str(Path.cwd()) for path in sys.path]).encode() + b"\n"
        start = paths + worker.START.pack(len(cargo)) + cargo
        try:
            for _ in range(workers):
                self._processes.append(_start_worker())
            for process in self._processes:
                thread = threading.Thread(target=self._talk, args=(process, start), daemon=True)
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
        for process in self._processes:
            process.kill()
        for _ in self._threads:
            self._tasks.put((_END, 0))
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _talk(self, process: subprocess.Popen[bytes], start: bytes) -> None:
        under_way: collections.deque[tuple[_Pending, int]] = collections.deque()
        try:
            _send(process, start)
            while True:
                while len(under_way) < _IN_FLIGHT:
                    try:
                        task = self._tasks.get(block=not under_way)
                    except queue.Empty:
                        break
                    if task[0] is _END:
                        return
                    under_way.append(task)
                    _send(process, worker.REQUEST.pack(self._index(task)))
                pending, row = under_way[0]
                broken = _receive(process, pending.images[row])
                under_way.popleft()
                with self._changed:
                    if broken is not None:
                        pending.broken[row] = broken
                    pending.remaining -= 1
                    if pending.remaining == 0:
                        self._changed.notify_all()
        except _WorkerEndedError:
            if not self._closed:
                status = process.wait()
                how = f"by signal {-status}" if status < 0 else f"with status {status}"
                near = f" near {self._source.names[self._index(under_way[0])]}" if under_way else ""
                self._fail(
                    ImageError(
                        f"a decoding process was ended {how}{near}, perhaps because memory ran "
                        "out; use fewer workers"
                    )
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


_END = _Pending(0, 0, 0)


class _WorkerEndedError(Exception):
    """The pipe to a worker closed."""


def _start_worker() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _START],  # -P: no json.py of the working directory
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        process_group=0,  # Ctrl-C in a terminal reaches the caller alone, who ends the workers
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(_pipe(process.stdout), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _pipe(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    return pipe


def _send(process: subprocess.Popen[bytes], data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[_pipe(process.stdin).write(rest) :]
    except OSError as error:
        raise _WorkerEndedError from error


def _receive(process: subprocess.Popen[bytes], image: UInt8[np.ndarray, "3 s s"]) -> str | None:
    """Fill `image` from the worker's answer, or return why the image is broken."""
    kind = _read(process, 1)
    if kind == b"I":
        _read_into(process, image.data.cast("B"))
        return None
    (length,) = worker.LENGTH.unpack(_read(process, worker.LENGTH.size))
    text = bytes(_read(process, length)).decode()
    if kind == b"B":
        return text
    raise ImageError(f"a decoding process failed; use workers=0 to find out where\n{text}")


def _read(process: subprocess.Popen[bytes], length: int) -> bytearray:
    data = bytearray(length)
    _read_into(process, memoryview(data))
    return data


def _read_into(process: subprocess.Popen[bytes], rest: memoryview) -> None:
    while rest:
        count = _pipe(process.stdout).readinto(rest)
        if not count:
            raise _WorkerEndedError
        rest = rest[count:]
