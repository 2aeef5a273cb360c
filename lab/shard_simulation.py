"""How long a run of many shards takes on many workers that differ, straggle and fail.

Workers take shards from one list, as `unseen.engines.pool` gives them. A worker that fails loses
what it has not kept as a piece, its shard goes back to the list, and another worker takes its place
after the time that a start takes. A Monte Carlo simulation: no formula has all of these.
"""

import dataclasses
import heapq
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np

from unseen.core.options import SEED_MOST, Option
from unseen.core.run_folder import manifest
from unseen.core.tables import markdown_table
from unseen.core.wording import duration

_PIECE = 10.0  # seconds of work that a failure loses at most, as areas_run._PIECE_SECONDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardSimulation:
    """Predict how long many images take on many GPUs."""

    images: Annotated[int, Option("Images of the run.", min=1)] = 10_000_000
    workers: Annotated[Sequence[int], Option("Numbers of workers.", min=1)] = (1, 8, 64)
    shards: Annotated[Sequence[int], Option("Images in a shard.", min=1)] = (256, 1024, 8192)
    rate: Annotated[
        float, Option("Images a second of one worker, as `unseen bench throughput` says.", min=1e-6)
    ] = 100.0
    spread: Annotated[
        float, Option("Standard deviation of the logarithm of a shard's time.", max=3)
    ] = 0.1
    slow: Annotated[float, Option("Share of the workers that run at half speed.", max=1)] = 0.02
    hours: Annotated[
        float, Option("Mean hours of a worker between failures.", min=0.01, max=1e6)
    ] = 24.0
    start: Annotated[float, Option("Seconds until a worker is ready.", max=1e5)] = 120.0
    repeats: Annotated[int, Option("Runs of each row.", min=1)] = 20
    seed: Annotated[int, Option("Seed of the simulation.", max=SEED_MOST)] = 0


def simulate_shards(task: ShardSimulation, say: Callable[[str], None] = print) -> str:
    """Simulate, and give a table: medians, and the longest of all runs."""
    rows = []
    for size in task.shards:
        for workers in task.workers:
            rng = np.random.default_rng([task.seed, size, workers])
            runs = [one_run(task, size, workers, rng) for _ in range(task.repeats)]
            times, lost, failures = (np.array(column) for column in zip(*runs, strict=True))
            ideal = task.images / task.rate / workers
            median = float(np.median(times))
            rows.append(
                (
                    f"{size:,}",
                    f"{workers:,}",
                    duration(ideal),
                    duration(median),
                    duration(float(times.max())),
                    f"{ideal / median:.1%}",
                    f"{np.median(failures):.0f}",
                    f"{np.median(lost / 3600):.2f}",
                )
            )
            say(f"{size} images a shard, {workers} workers: {duration(median)}")
    heading = (
        "images a shard",
        "workers",
        "without loss",
        "median",
        "longest",
        "efficiency",
        "failures",
        "worker hours lost by these",
    )
    return markdown_table(heading, rows)


def one_run(
    task: ShardSimulation, size: int, workers: int, rng: np.random.Generator
) -> tuple[float, float, int]:
    """Seconds until the last shard is made, seconds of work lost by failures, their number."""
    # The longest-tailed part of a run is its end, so every shard has a time of its own.
    shards = manifest(task.images, size)
    spread = rng.normal(-(task.spread**2) / 2, task.spread, len(shards))  # the mean stays
    work = [len(shard) / task.rate * np.exp(x) for shard, x in zip(shards, spread, strict=True)]
    pace = np.where(rng.random(workers) < task.slow, 2.0, 1.0)
    waiting = list(range(len(shards)))[::-1]
    returned: list[tuple[float, int]] = []  # when, and which shard a failure gave back
    free = [(task.start, worker) for worker in range(workers)]
    heapq.heapify(free)
    end = lost = 0.0
    failures = 0
    while waiting or returned:
        now, worker = heapq.heappop(free)
        if waiting:
            shard = waiting.pop()
        else:
            given_back, shard = heapq.heappop(returned)
            now = max(now, given_back)
        needed = work[shard] * pace[worker]
        until = rng.exponential(task.hours * 3600)
        if until < needed:
            failures += 1
            lost += min(until, _PIECE) + task.start
            work[shard] -= max(0.0, until - _PIECE) / pace[worker]  # the pieces that were kept
            heapq.heappush(returned, (now + until, shard))
            heapq.heappush(free, (now + until + task.start, worker))
            continue
        end = max(end, now + needed)
        heapq.heappush(free, (now + needed, worker))
    return end, lost, failures
