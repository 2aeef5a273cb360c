"""Which worker makes which shard, and what becomes of those that fail."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from unseen.core.errors import ImageError, UnseenError
from unseen.core.identity import identify
from unseen.core.run_folder import manifest
from unseen.engines.engine import Engine
from unseen.engines.machines import WorkersList, warn_of_machines
from unseen.engines.pool import Pool
from unseen.engines.work import ShardError, WorkerLostError

SHARDS = manifest(20, 4)


class FakeWorker:
    """Makes a shard by a function of the shard and of the worker's number."""

    def __init__(self, number: int, what: Callable[[int, range], Iterator[int]]) -> None:
        self.number, self._what = number, what
        self.over = threading.Event()

    def ready(self) -> Mapping[str, Any]:
        return {"gpu": self.number}

    def make(self, shard: range) -> Iterator[int]:
        yield from self._what(self.number, shard)

    def end(self) -> None:
        self.over.set()

    def close(self) -> None:
        self.over.set()


def run(
    what: Callable[[int, range], Iterator[int]],
    workers: int = 2,
    met: list[Mapping[str, Any]] | None = None,
) -> list[int]:
    reports: list[int] = []
    started: list[int] = []

    def start(number: int) -> FakeWorker:
        started.append(number)
        return FakeWorker(len(started), what)

    Pool(SHARDS, start, workers).run(reports.append, ([] if met is None else met).extend)
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_work)")]
    return reports


def test_every_shard_is_made_once_and_all_images_are_reported() -> None:
    made: list[range] = []

    def what(_: int, shard: range) -> Iterator[int]:
        yield 2
        made.append(shard)

    met: list[Mapping[str, Any]] = []
    reports = run(what, met=met)
    assert met  # the second worker may come when all is done
    assert {machine["gpu"] for machine in met} <= {1, 2}
    assert sorted(made, key=lambda shard: shard.start) == SHARDS
    assert reports[-1] == 20
    assert reports == sorted(reports)


def test_the_shard_of_a_lost_worker_goes_to_another() -> None:
    made: list[tuple[int, range]] = []

    def what(number: int, shard: range) -> Iterator[int]:
        if number == 1:
            raise WorkerLostError("killed")
        yield 1
        made.append((number, shard))

    assert run(what)[-1] == 20
    assert sorted(shard.start for _, shard in made) == [shard.start for shard in SHARDS]
    assert all(number > 1 for number, _ in made)


@pytest.mark.parametrize("error", [ImageError("broken.png"), WorkerLostError("killed")])
def test_a_shard_that_fails_three_times_is_named_and_the_rest_is_made(error: UnseenError) -> None:
    made, tried = [], []

    def what(_: int, shard: range) -> Iterator[int]:
        if shard.start == 8:
            tried.append(shard)
            raise error
        yield 4
        made.append(shard)

    with pytest.raises(ShardError, match=r"images 8 to 11: (broken\.png|killed)"):
        run(what)
    assert len(tried) == 3
    assert len(made) == len(SHARDS) - 1


def test_a_shard_that_gets_further_every_time_is_not_given_up() -> None:
    reached = {"8": 0}

    def what(_: int, shard: range) -> Iterator[int]:
        if shard.start == 8 and reached["8"] < 4:
            reached["8"] += 1
            yield reached["8"]
            raise WorkerLostError("killed")
        yield 4

    assert run(what)[-1] == 20
    assert reached["8"] == 4


def test_workers_that_never_stay_end_the_run() -> None:
    def what(_: int, shard: range) -> Iterator[int]:
        raise WorkerLostError("memory")
        yield

    with pytest.raises(UnseenError, match="memory"):
        run(what)


def test_ctrl_c_ends_the_workers() -> None:
    workers: list[FakeWorker] = []

    def what(number: int, shard: range) -> Iterator[int]:
        yield 1
        workers[number].over.wait(60)
        raise WorkerLostError("ended")

    def start(number: int) -> FakeWorker:
        workers.append(FakeWorker(len(workers), what))
        return workers[-1]

    def interrupt(images: int) -> None:
        if images:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Pool(SHARDS, start, 2).run(interrupt)
    assert time.monotonic() - began < 30
    assert all(worker.over.is_set() for worker in workers)


def test_machines_that_change_bytes_are_warned_of() -> None:
    first = {"torch": "2.8", "instructions": "AVX512", "gpu": None, "processor": "A"}
    warn_of_machines([first, {**first, "processor": "B"}])
    with pytest.warns(UserWarning, match="instructions .AVX2, AVX512."):
        warn_of_machines([first, {**first, "instructions": "AVX2"}])


def test_machines_of_a_run_are_listed_and_one_that_comes_later_is_warned_of(
    tmp_path: Path,
) -> None:
    first = {"torch": "2.8", "gpu": "H200", "package_version": "1"}
    path = tmp_path / "workers.json"

    def listed() -> list[Any]:
        machines: list[Any] = json.loads(path.read_text())["machines"]
        return machines

    workers = WorkersList(path, identify("areas", 1, options={"seed": 0}))
    workers.add([first, first])
    workers.add([first])
    assert listed() == [first]
    with pytest.warns(UserWarning, match="gpu .A100, H200."):  # as in a call on another day
        workers.add([{**first, "gpu": "A100"}])
    assert len(listed()) == 2
    WorkersList(path, identify("areas", 1, options={"seed": 1})).add([first])
    assert listed() == [first]  # another run in the same place


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "ray", "gpus": (0,)},
        {"ray_workers": 2},
        {"ray_address": "auto"},
        {"gpus": (99,)},
        {"engine": "ray", "gpus_per_worker": 0.001},
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Any) -> None:
    with pytest.raises(UnseenError):
        Engine(**options)
