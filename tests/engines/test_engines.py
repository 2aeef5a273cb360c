"""Runs whose shards other processes make have the bytes of one process."""

import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unseen.core import devices
from unseen.core.errors import ImageError
from unseen.distribution.areas_run import AreasRun
from unseen.distribution.segment import Segmentation, segment
from unseen.engines.engine import Engine
from unseen.engines.sampling import sample_apart, work_of
from unseen.generators import load_generator
from unseen.generators.sample import Sampling, sample
from unseen.images import open_images
from unseen.segmenters import load_segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoProcesses(Engine):
    """The engine local as on a machine with two devices; both are the processor here."""

    @property
    def devices(self) -> list[str]:
        return ["cpu", "cpu"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_processes_make_the_bytes_of_one(tmp_path: Path) -> None:
    whole, apart = tmp_path / "whole.parquet", tmp_path / "apart.parquet"
    settings: dict[str, Any] = {"count": 24, "workers": 0, "batch_size": 4, "shard": 8}
    segment("churchyard", "churchyard", out=whole, **settings)
    reports: list[tuple[int, int]] = []
    segment(
        "churchyard",
        "churchyard",
        out=apart,
        engine=TwoProcesses(),
        progress=lambda done, total: reports.append((done, total)),
        **settings,
    )
    assert sha256(apart) == sha256(whole)
    assert reports[-1] == (24, 24)
    workers = tmp_path / "apart.parquet.workers.json"
    assert {path.name for path in tmp_path.iterdir()} == {apart.name, whole.name, workers.name}
    (machine,) = json.loads(workers.read_text())["machines"]  # both worked on this one
    assert machine == devices.machine("cpu")


def test_images_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for k in range(6):
        Image.new("RGB", (64, 64), (40 * k, 0, 0)).save(tmp_path / "photos" / f"{k}.png")
    source, network = open_images(tmp_path / "photos"), load_segmenter("churchyard", device="cpu")
    task = Segmentation(shard=3, workers=0)

    def run() -> AreasRun:
        out = tmp_path / "a.parquet"
        return task.run(source, network, "the fingerprint of before", out=out)

    run().claim()
    done: list[int] = []
    run().make(range(3), done.append)
    assert done[-1] == 3
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "4.png")
    with pytest.raises(ImageError, match="images 3 to 5"):
        run().make(range(3, 6), done.append)


def test_two_processes_draw_the_images_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unseen.engines.sampling.SHARD", 8)

    def task(generator: Any, name: str) -> Sampling:
        return Sampling(generator=generator, out=tmp_path / name, indices=range(20), batch_size=4)

    generator = load_generator("churchyard-full", device="cpu")
    sample(task(generator, "whole"))
    apart = task(generator, "apart")
    sample_apart(apart, work_of(apart, "churchyard-full", "auto", "fp32"), TwoProcesses())
    names = [{path.name for path in (tmp_path / side).iterdir()} for side in ("whole", "apart")]
    assert names[0] | {"workers.json"} == names[1]
    assert all(
        (tmp_path / "whole" / name).read_bytes() == (tmp_path / "apart" / name).read_bytes()
        for name in names[0]
    )


# --- Ray: two nodes on this machine ---------------------------------------------------------------

_COMMAND = """
import sys
from unseen.cli.main import run
sys.exit(run(["segment", "churchyard", sys.argv[1], "-n", "640", "--shard-size", "16",
              "--batch-size", "4", "--segmenter", "python:slow:segmenter", "--workers", "0",
              *sys.argv[2:]]))
"""
_SLOW = """
import os, time
from unseen.segmenters import load_segmenter
class Slow:  # long enough for twenty kills, on whatever machine
    def __init__(self):
        self.inner = load_segmenter("churchyard", device="cpu")
        self.channels, self.resolution = self.inner.channels, self.inner.resolution
        self.provenance = dict(self.inner.provenance)
    def label_maps(self, images, channel):
        time.sleep(float(os.environ["SECONDS"]))
        return self.inner.label_maps(images, channel)
def segmenter():
    return Slow()
"""


def start(folder: Path, out: str, *options: str, seconds: int = 2) -> "subprocess.Popen[bytes]":
    with (folder / "errors.txt").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, out, *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SECONDS": str(seconds)},
        )


# Ray's patience with its own processes, for a machine that is busy; and no niceness, which a
# container may not allow.
_PATIENCE = {
    "RAY_worker_niceness": "0",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "SECONDS": "2",  # for the workers, whose surroundings are those of the node
}


def processes(of: str) -> list[int]:
    """Processes of Ray on this machine whose command line holds a text."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if of in line:
                found.append(int(place.name))
    return found


@pytest.mark.slow
@pytest.mark.integrations
@pytest.mark.timeout(3600)
def test_twenty_kills_of_workers_nodes_and_the_driver_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _PATIENCE.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    (tmp_path / "slow.py").write_text(_SLOW)
    plain = start(tmp_path, "whole.parquet", seconds=0)
    assert plain.wait() == 0
    cluster: Any = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    options = ("--engine", "ray", "--ray-address", cluster.address, "--ray-workers", "2")
    chance = random.Random(17)
    kills = {"worker": 0, "node": 0, "driver": 0}
    driver = start(tmp_path, "ray.parquet", *options)
    try:
        while sum(kills.values()) < 20:
            end = time.monotonic() + 300
            while driver.poll() is None and not processes("ray::_Actor"):
                assert time.monotonic() < end, (tmp_path / "errors.txt").read_text()
                time.sleep(0.2)
            time.sleep(chance.uniform(0, 6))
            if driver.poll() is not None:  # a kill was too much for it
                assert driver.returncode != 0, f"done after {kills}"
                driver = start(tmp_path, "ray.parquet", *options)
            kind = chance.choices(list(kills), (12, 3, 5))[0]
            if kind == "worker":
                victims = processes("ray::_Actor")
                if not victims:
                    continue
                os.kill(chance.choice(victims), signal.SIGKILL)
            elif kind == "driver":
                driver.kill()
                driver.wait()
                driver = start(tmp_path, "ray.parquet", *options)
            else:
                node = nodes.pop(chance.randrange(len(nodes)))
                cluster.remove_node(node, allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1))
            kills[kind] += 1
        while driver.wait() != 0:
            driver = start(tmp_path, "ray.parquet", *options)
        before = (tmp_path / "ray.parquet").stat().st_mtime_ns
        second = start(tmp_path, "ray.parquet", *options)
        assert second.wait() == 0
    finally:
        driver.kill()
        driver.wait()
        cluster.shutdown()
    print(f"kills: {kills}")  # noqa: T201
    assert (tmp_path / "ray.parquet").stat().st_mtime_ns == before
    assert sha256(tmp_path / "ray.parquet") == sha256(tmp_path / "whole.parquet")
    assert not (tmp_path / "ray.parquet.parts").exists()
