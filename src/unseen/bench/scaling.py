"""Images a second of one worker, two workers, one process with two threads, and Ray's workers.

All ways segment the same images on the processor, turn by turn in one run, and end in one areas
file. The clock starts when all workers of a way have loaded their networks, since a long run pays
for that once; what the start takes is told beside it.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch

from unseen.bench.throughput import Segmenting
from unseen.bench.timing import machine
from unseen.core.files import package_version
from unseen.core.options import Option, check_options
from unseen.core.progress import Progress
from unseen.core.records import to_json
from unseen.core.tables import markdown_table
from unseen.distribution.areas_work import Opening
from unseen.distribution.segment import segment
from unseen.engines.engine import Engine
from unseen.engines.machines import WorkersList
from unseen.engines.pool import Pool
from unseen.engines.work import Make, Work

_BASELINE = "1 worker"
_LOCAL = "2 workers"
_RAY = "2 workers of Ray"
_WAYS = {  # way → workers, threads of each
    _BASELINE: (1, 1),
    _LOCAL: (2, 1),
    "1 worker, 2 threads": (1, 2),
    _RAY: (2, 1),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling(Segmenting):
    """Measure how workers of an engine share the processors of this machine."""

    shard: Annotated[int, Option("Images in a shard.", name="--shard-size", min=1)] = 8
    ray: Annotated[bool, Option("Measure two workers of Ray, too.")] = True

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaled:
    """One way's speed."""

    way: str
    workers: int
    threads: int  # of each worker
    images_per_second: float  # median over rounds, from the moment when all workers are ready
    start_seconds: float  # median over rounds: until then
    ratio: float | None = None  # to one worker: median over pairs of turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pinned:
    """Work whose networks compute with so many threads. It is sent by pickle."""

    work: Work
    threads: int

    def open(self, device: str | None) -> Make:
        """As `Work` says."""
        torch.set_num_threads(self.threads)
        return self.work.open(device)


@dataclasses.dataclass
class _Clock:
    """Seconds of a pool, and images that its workers made after all of them were ready."""

    workers: int
    began: float = dataclasses.field(default_factory=time.perf_counter)
    ready: float | None = None
    images: int = 0  # done so far
    before: int = 0  # done when the last worker became ready

    def meet(self, machines: Sequence[Mapping[str, Any]]) -> None:
        """Count workers that have become ready."""
        self.workers -= len(machines)
        if self.workers <= 0 and self.ready is None:
            self.ready, self.before = time.perf_counter(), self.images

    def report(self, images: int) -> None:
        """Know how many images are done."""
        self.images = images

    def read(self) -> tuple[float, float]:
        """Images a second, and seconds of the start."""
        ready = self.began if self.ready is None else self.ready
        seconds = time.perf_counter() - ready
        return (self.images - self.before) / seconds, ready - self.began


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured(Engine):
    """An engine whose workers all compute on the processor, by a clock."""

    processes: int
    threads: int
    readings: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        """One for each worker."""
        return ["cpu"] * self.processes

    @property
    def apart(self) -> bool:
        """Also one worker is a process of its own, as the others are."""
        return True

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
        """As `Engine` does, but for progress and the list of workers; keeps what the clock says."""
        del done, total, progress, workers
        clock = _Clock(self.processes)
        start, count = self._workers(_Pinned(work=work, threads=self.threads))
        Pool(shards, start, count, unit).run(clock.report, clock.meet)
        self.readings.append(clock.read())


def measure(task: Scaling, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Segment by every way, turn by turn.

    Args:
        task: what to measure.
        say: told of every turn.

    Returns:
        JSON: the task, the machine, and for each way its speed and the seconds of its start.

    Raises:
        MissingExtraError: Ray is to be measured, and is not installed.
        UnseenError: from the image source or the segmenter.
    """
    engines = {
        way: _Measured(
            engine="ray" if way == _RAY else "local",
            ray_workers=workers if way == _RAY else None,
            processes=workers,
            threads=threads,
        )
        for way, (workers, threads) in _WAYS.items()
        if task.ray or way != _RAY
    }
    opening = Opening(images=task.images, segmenter=task.segmenter, device="cpu")
    for turn in range(1, task.rounds + 1):
        for way, engine in engines.items():
            with tempfile.TemporaryDirectory() as folder:
                segment(
                    task.images,
                    task.segmenter,
                    out=Path(folder) / "areas.parquet",
                    engine=engine,
                    opening=opening,
                    count=task.count,
                    seed=task.seed,
                    shard=task.shard,
                    workers=0,
                )
            speed, seconds = engine.readings[-1]
            say(f"turn {turn}: {way} {speed:.3g} images/s after {seconds:.1f} s")
    return {
        "task": to_json(task),
        "package_version": package_version(),
        "machine": machine(),
        "measured": [to_json(_scaled(way, engines)) for way in engines],
    }


def table(result: Mapping[str, Any]) -> str:
    """The measurements as a table in Markdown, and what Ray takes of the local engine's speed."""
    speeds = {way["way"]: way for way in result["measured"]}
    rows = [
        [
            way["way"],
            way["threads"],
            f"{way['images_per_second']:.3g}",
            "" if way["ratio"] is None else f"{way['ratio']:.2f}",
            f"{way['start_seconds']:.1f}",
        ]
        for way in speeds.values()
    ]
    headings = ("way", "threads each", "images/s", "× 1 worker", "start, s")
    told = markdown_table(headings, rows, right=range(1, 5))
    if _RAY in speeds:
        rays, local = (speeds[way]["images_per_second"] for way in (_RAY, _LOCAL))
        told += f"\n\nRay takes {100 * (1 - rays / local):.1f} % of the speed of the engine local."
    return told


def _scaled(way: str, engines: Mapping[str, _Measured]) -> Scaled:
    workers, threads = _WAYS[way]
    readings, baseline = engines[way].readings, engines[_BASELINE].readings
    ratios = [own[0] / first[0] for own, first in zip(readings, baseline, strict=True)]
    return Scaled(
        way=way,
        workers=workers,
        threads=threads,
        images_per_second=statistics.median(speed for speed, _ in readings),
        start_seconds=statistics.median(seconds for _, seconds in readings),
        ratio=None if way == _BASELINE else statistics.median(ratios),
    )
