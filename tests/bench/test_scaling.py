"""The bench of workers: what its clock counts, and what it says of each way."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from unseen.bench import scaling
from unseen.bench.scaling import Scaling, _Clock, measure, table
from unseen.core.identity import identify
from unseen.core.progress import silent
from unseen.core.run_folder import manifest
from unseen.engines.engine import Engine
from unseen.engines.machines import WorkersList
from unseen.engines.work import Make


def test_the_clock_begins_when_the_last_worker_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = _Clock(2, began=100.0)
    clock.meet([{}])
    clock.report(6)  # by the first worker, while the second one loads
    now[0] = 104.0
    clock.meet([{}])
    clock.report(26)
    now[0] = 114.0
    assert clock.read() == (2.0, 4.0)  # 20 images in 10 s, after a start of 4 s


class Images:
    """Work that makes nothing."""

    def open(self, device: str | None) -> Make:
        return lambda shard, report: report(len(shard))


def test_every_way_has_its_own_workers_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []  # workers, threads

    class InThisProcess:
        """In place of a pool: makes every shard here."""

        def __init__(self, shards: Sequence[range], start: Any, workers: int, unit: str) -> None:
            self.shards, self.workers, self.work = shards, workers, start(0)

        def run(self, report: Callable[[int], None], meet: Callable[[Any], None]) -> None:
            meet([{}] * self.workers)
            make = self.work.open("cpu")
            begun.append((self.workers, torch.get_num_threads()))
            for shard in self.shards:
                make(shard, lambda _: None)
            report(sum(map(len, self.shards)))

    def segment(*_: Any, out: Path, engine: Engine, count: int, shard: int, **__: Any) -> None:
        workers = WorkersList(out, identify("areas", 1))
        engine.carry_out(Images(), manifest(count, shard), 0, count, silent, workers=workers)

    monkeypatch.setattr(scaling, "segment", segment)
    monkeypatch.setattr(scaling, "Pool", InThisProcess)
    monkeypatch.setattr("unseen.engines.engine.LocalWorker", lambda work, device: work)
    threads = torch.get_num_threads()
    try:
        result = measure(Scaling(segmenter="churchyard", count=4, rounds=2, shard=2, ray=False))
    finally:
        torch.set_num_threads(threads)
    assert json.loads(json.dumps(result)) == result
    assert begun == 2 * [(1, 1), (2, 1), (1, 2)]
    ways = result["measured"]
    assert [way["ratio"] is None for way in ways] == [True, False, False]
    assert all(way["images_per_second"] > 0 for way in ways)
    assert table(result).count("\n") == 4  # heading, rule, three ways
