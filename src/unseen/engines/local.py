"""Workers of this machine: processes that make shards, one a GPU.

`main` is what such a process runs. It ends when its caller does.
"""

import json
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from typing import Any

from unseen.core.devices import machine
from unseen.core.errors import UnseenError, first_line
from unseen.core.freed_memory import keep_freed_memory
from unseen.engines.work import ShardError, Work, WorkerLostError
from unseen.images.child import Caller, Child, ChildEndedError

REPORT_SECONDS = 0.5  # between two reports of a worker


class LocalWorker:
    """A process on this machine.

    Args:
        work: what it does.
        device: where its networks compute.
    """

    def __init__(self, work: Work, device: str) -> None:
        self._cargo = pickle.dumps((work, device), pickle.HIGHEST_PROTOCOL)
        self._child = Child("unseen.engines.local")

    def ready(self) -> Mapping[str, Any]:
        """As `Worker` says."""
        try:
            self._child.begin(self._cargo)
            kind, content = self._answer()
        except ChildEndedError as error:
            raise self._lost() from error
        if kind != b"R":
            raise ShardError(content.decode())
        ready: dict[str, Any] = json.loads(content)
        return ready

    def make(self, shard: range) -> Iterator[int]:
        """As `Worker` says."""
        try:
            self._child.send_message(pickle.dumps(shard))
            while True:
                kind, content = self._answer()
                if kind == b"D":
                    return
                if kind == b"F":
                    raise ShardError(content.decode())
                yield int(content)
        except ChildEndedError as error:
            raise self._lost() from error

    def end(self) -> None:
        """As `Worker` says."""
        self._child.kill()

    def close(self) -> None:
        """As `Worker` says."""
        self._child.close()

    def _answer(self) -> tuple[bytes, bytes]:
        return bytes(self._child.receive(1)), bytes(self._child.receive_message())

    def _lost(self) -> WorkerLostError:
        return WorkerLostError(f"a worker was ended {self._child.how_it_ended()}")


def main() -> None:
    """Serve until the input ends."""
    keep_freed_memory()
    caller = Caller()
    try:
        work, device = pickle.loads(caller.receive_message() or b"")
        make = work.open(device)
    except Exception as error:  # noqa: BLE001 the caller raises it
        caller.answer_message(b"F", told(error).encode())
        return
    caller.answer_message(b"R", json.dumps(machine(device)).encode())
    while request := caller.receive_message():
        reported = time.monotonic()

        def report(images: int) -> None:
            nonlocal reported
            if time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                caller.answer_message(b"P", str(images).encode())

        try:
            make(pickle.loads(request), report)
        except Exception as error:  # noqa: BLE001 the caller raises it
            caller.answer_message(b"F", told(error).encode())
        else:
            caller.answer_message(b"D", b"")
    os._exit(0)  # the caller is gone: nothing is worth waiting for


def told(error: Exception) -> str:
    """An error of a worker, in a line."""
    return str(error) if isinstance(error, UnseenError) else first_line(error)
