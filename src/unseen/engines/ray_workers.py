"""Workers on a Ray cluster: actors that open the work once and make shards.

Ray places them, starts them and tells when one is lost; what a shard is, and which is next, stays
here. Source: https://docs.ray.io, "Actors" and "Fault tolerance".
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unseen.core.devices import machine
from unseen.core.errors import SpecError, missing_package
from unseen.core.freed_memory import keep_freed_memory
from unseen.engines.local import told
from unseen.engines.work import Make, ShardError, Work, WorkerLostError

_POLL_SECONDS = 1.0  # between two questions how far a shard is
_ANSWER_SECONDS = 30.0  # a worker that does not answer for so long is asked again


def connect(address: str | None) -> Any:
    """Ray, connected to a cluster; it reports its usage to nobody.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None: the cluster that `RAY_ADDRESS` or
            this machine has, or one that is started here for the time of the command.

    Raises:
        MissingExtraError: Ray is not installed.
        SpecError: there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise missing_package("--engine ray", "ray") from error
    if not ray.is_initialized():
        main = threading.current_thread() is threading.main_thread()
        ends = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SpecError(
                f"there is no Ray cluster at {address or 'this machine'} ({error}); start one with "
                "`ray start --head`, or name another --ray-address"
            ) from error
        if main:
            signal.signal(signal.SIGTERM, ends)  # Ray has put its own in its place
    return ray


def places(ray: Any, gpus_per_worker: float) -> int:
    """How many workers the cluster has room for now."""
    resources: Mapping[str, float] = ray.cluster_resources()
    if resources.get("GPU"):
        return max(1, int(resources["GPU"] / gpus_per_worker))
    return max(1, int(resources.get("CPU", 1)))


class RayWorker:
    """An actor.

    Args:
        ray: the connected package.
        work: what it does, as `ray.put` gave it.
        gpus: GPUs of a worker, perhaps a fraction; 0 where the cluster has none.
    """

    def __init__(self, ray: Any, work: Any, gpus: float) -> None:
        self._ray = ray
        options = {
            "num_cpus": 1,
            "num_gpus": gpus,
            "max_restarts": 0,  # a lost worker is replaced by the pool, which counts
            "max_concurrency": 2,  # it says how far it is while it makes a shard
        }
        here = str(Path.cwd())
        path = [place or here for place in sys.path]
        self._actor = ray.remote(_Actor).options(**options).remote(work, here, path)

    def ready(self) -> Mapping[str, Any]:
        """As `Worker` says."""
        with self._lost():
            fault, found = self._ray.get(self._actor.ready.remote())
        if fault is not None:
            raise ShardError(fault)
        ready: Mapping[str, Any] = found
        return ready

    def make(self, shard: range) -> Iterator[int]:
        """As `Worker` says."""
        with self._lost():
            made = self._actor.make.remote(shard.start, shard.stop)
            while not self._ray.wait([made], timeout=_POLL_SECONDS)[0]:
                with contextlib.suppress(self._ray.exceptions.GetTimeoutError):
                    yield self._ray.get(self._actor.done.remote(), timeout=_ANSWER_SECONDS)
            fault = self._ray.get(made)
        if fault is not None:
            raise ShardError(fault)

    def end(self) -> None:
        """As `Worker` says."""
        with contextlib.suppress(Exception):  # of a cluster that is gone
            self._ray.kill(self._actor)

    close = end

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except self._ray.exceptions.GetTimeoutError:
            raise
        except self._ray.exceptions.RayError as error:
            raise WorkerLostError(f"a worker was lost ({type(error).__name__})") from error


class _Actor:
    """What a worker runs; `make` and `done` are called at once, by two threads."""

    def __init__(self, work: Work, here: str, path: list[str]) -> None:
        sys.path[:] = [*dict.fromkeys([*path, *sys.path])]
        keep_freed_memory()
        with contextlib.suppress(OSError):  # places that the user named are below it, or absolute
            os.chdir(here)
        self._work = work
        self._make: Make | None = None
        self._done = 0
        self._opening = threading.Lock()

    def ready(self) -> tuple[str | None, Mapping[str, Any]]:
        """Open the work: why it cannot be opened, or None; and the machine."""
        import torch

        torch.set_num_threads(1)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with self._opening:
                self._make = self._make or self._work.open(device)
        except Exception as error:  # noqa: BLE001 raised by the caller
            return told(error), {}
        return None, machine(device)

    def make(self, start: int, stop: int) -> str | None:
        """Make a shard: why it cannot be made, or None."""
        assert self._make is not None
        self._done = 0
        try:
            self._make(range(start, stop), self._report)
        except Exception as error:  # noqa: BLE001 raised by the caller
            return told(error)
        return None

    def done(self) -> int:
        """How many images of the shard are done."""
        return self._done

    def _report(self, images: int) -> None:
        self._done = images
