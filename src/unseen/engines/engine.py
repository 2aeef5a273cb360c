"""The engine of a command: its options, and how it carries out work."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from unseen.core.devices import gpu_count
from unseen.core.errors import SpecError
from unseen.core.options import Option, check_options
from unseen.core.progress import Progress
from unseen.engines.local import LocalWorker
from unseen.engines.machines import WorkersList
from unseen.engines.pool import Pool
from unseen.engines.work import Work, Worker


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """Where the shards of a run are made; whatever it is, the result has the same bytes.

    >>> Engine().apart
    False
    """

    engine: Annotated[
        Literal["local", "ray"],
        Option("Where shards are made: local (here, one process for each GPU), or ray."),
    ] = "local"
    gpus: Annotated[
        Sequence[int] | None,
        Option("GPUs of the engine local, e.g. 0,1. Default: all. One process computes on each."),
    ] = None
    ray_address: Annotated[
        str | None,
        Option(
            "Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Default: the one of this machine, or "
            "one that is started for the time of the command.",
            metavar="ADDRESS",
        ),
    ] = None
    ray_workers: Annotated[
        int | None,
        Option("Workers on the Ray cluster. Default: as many as it has room for.", min=1),
    ] = None
    gpus_per_worker: Annotated[
        float,
        Option("GPUs of one Ray worker; 0.5 puts two on a GPU.", min=0.01, max=64),
    ] = 1.0

    def __post_init__(self) -> None:
        check_options(self)
        if self.engine == "ray" and self.gpus is not None:
            raise SpecError("--gpus is of the engine local; Ray places its workers by itself")
        if self.engine == "local" and (self.ray_address or self.ray_workers):
            raise SpecError("--ray-address and --ray-workers need --engine ray")
        if self.gpus is not None and not all(gpu < gpu_count() for gpu in self.gpus):
            listed = ",".join(map(str, self.gpus))
            raise SpecError(f"--gpus {listed} was given; torch sees {gpu_count()} here")

    @property
    def apart(self) -> bool:
        """Whether shards are made by other processes than this one."""
        return self.engine == "ray" or self.gpus is not None or len(self.devices) > 1

    @property
    def devices(self) -> list[str]:
        """Where the engine local computes, beside this process; none where this process does."""
        if self.engine == "ray":
            return []
        gpus = range(gpu_count()) if self.gpus is None else self.gpus
        return [f"cuda:{gpu}" for gpu in gpus]

    def carry_out(
        self,
        work: Work,
        shards: Sequence[range],
        done: int,
        total: int,
        progress: Progress,
        *,
        workers: WorkersList,
        unit: str = "images",
    ) -> None:
        """Make shards apart.

        Args:
            work: what makes them.
            shards: those that are not there.
            done: images that are done already.
            total: images of all shards.
            progress: called with images done, and of how many.
            workers: the run's list of machines, which those of the workers join.
            unit: what the positions of a shard count.

        Raises:
            ShardError: shards that failed three times; all others are made.
            UnseenError: the work cannot be opened.
        """
        if not shards:
            return
        start, count = self._workers(work)
        pool = Pool(shards, start, count, unit)
        pool.run(lambda images: progress(min(done + images, total), total), workers.add)

    def _workers(self, work: Work) -> tuple[Callable[[int], Worker], int]:
        """What starts a worker, and how many there are."""
        if self.engine == "local":
            devices = self.devices
            return lambda number: LocalWorker(work, devices[number % len(devices)]), len(devices)
        from unseen.engines.ray_workers import RayWorker, connect, places

        ray = connect(self.ray_address)
        stored = ray.put(work)
        gpus = self.gpus_per_worker if ray.cluster_resources().get("GPU") else 0.0
        count = self.ray_workers or places(ray, self.gpus_per_worker)
        return lambda _: RayWorker(ray, stored, gpus), count
