"""Commands from and to an S3 server on this machine, killed and resumed: the bytes of a disk."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unseen.core.storage import stored
from unseen.distribution.comparison_run import compare
from unseen.distribution.segment import segment
from unseen.engines.engine import Engine
from unseen.generators import load_generator
from unseen.generators.sample import Sampling, sample

pytestmark = pytest.mark.integrations
IMAGES = 24
BATCHES = ["--batch-size", "2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoProcesses(Engine):
    """The engine local as on a machine with two devices; both are the processor here."""

    @property
    def devices(self) -> list[str]:
        return ["cpu", "cpu"]


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """The file system of a server that knows no key beside those of this process."""
    moto_server = pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as environment:
        server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import fsspec

        files = fsspec.filesystem("s3", use_listings_cache=False)
        files.mkdir("bucket")
        yield files
        server.stop()


@pytest.fixture(scope="module")
def photos(store: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("drawn")
    generator = load_generator("churchyard-full")
    sample(Sampling(generator=generator, out=folder / "photos", indices=range(IMAGES), seed=7))
    for path in (folder / "photos").glob("*.png"):
        store.put_file(str(path), f"bucket/photos/{path.name}")
    return "s3://bucket/photos"


def unseen(*words: str, kill: Any = None) -> str:
    """Run a command; kill it when `kill` says that enough is there."""
    script = "from unseen.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], text=True, stdout=-1, stderr=-1
    )
    if kill is not None:
        while process.poll() is None and not kill():
            time.sleep(0.01)
        process.kill()
    said, complained = process.communicate()
    expected = 0 if kill is None else -signal.SIGKILL
    assert process.returncode == expected, complained
    assert "of-the-test" not in said + complained
    return said


def files(folder: str, pattern: str) -> int:
    """How many there are so far; the folder may come into being meanwhile."""
    return len(list(stored(folder).glob(pattern)))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_segment(store: Any, photos: str, tmp_path: Path) -> None:
    out, here = "s3://bucket/runs/areas.parquet", tmp_path / "areas.parquet"
    words = ["segment", photos, out, "--segmenter", "churchyard", "--shard-size", "4"]
    words += ["--workers", "0", *BATCHES]
    unseen(*words, kill=lambda: files(f"{out}.parts", "*.parquet") >= 2)
    kept = store.glob(f"{out}.parts/*.parquet")
    assert 2 <= len(kept) < IMAGES / 4
    assert out in unseen(*words)
    segment(photos, "churchyard", out=here, shard=4, workers=0, batch_size=2)
    content = store.cat_file(out)
    assert sha256(content) == sha256(here.read_bytes())
    assert b"of-the-test" not in content
    assert store.find("bucket/runs") == ["bucket/runs/areas.parquet"]
    made = store.info(out)["LastModified"]
    unseen(*words)
    assert store.info(out)["LastModified"] == made


def test_workers_that_share_nothing_but_the_store(store: Any, photos: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"shard": 4, "workers": 0, "batch_size": 2}
    out, here = "s3://bucket/apart/areas.parquet", tmp_path / "areas.parquet"
    segment(photos, "churchyard", out=out, engine=TwoProcesses(), **settings)
    segment(photos, "churchyard", out=here, **settings)
    assert sha256(store.cat_file(out)) == sha256(here.read_bytes())
    assert [Path(path).name for path in store.find("bucket/apart")] == [
        "areas.parquet",
        "areas.parquet.workers.json",
    ]


def test_sample(store: Any, tmp_path: Path) -> None:
    out = "s3://bucket/drawn"
    words = ["sample", "churchyard-full", out, "--indices", f"0-{IMAGES - 1}", *BATCHES]
    unseen(*words, kill=lambda: files(out, "*.png") >= 4)
    kept = {path: store.info(path)["LastModified"] for path in store.glob(f"{out}/*.png")}
    unseen(*words)
    assert {path: store.info(path)["LastModified"] for path in kept} == kept
    generator = load_generator("churchyard-full")
    sample(Sampling(generator=generator, out=tmp_path / "drawn", indices=range(IMAGES)))
    here = {path.name: sha256(path.read_bytes()) for path in (tmp_path / "drawn").iterdir()}
    away = {Path(path).name: sha256(store.cat_file(path)) for path in store.find(out)}
    assert away == here


def test_compare(store: Any, photos: str, tmp_path: Path) -> None:
    out, here = "s3://bucket/comparison", tmp_path / "comparison"
    words = ["compare", photos, "churchyard?without=person", "--out", out, "--segmenter"]
    words += ["churchyard", "--count", str(IMAGES), "--workers", "0", *BATCHES]
    unseen(*words, kill=lambda: store.exists(f"{out}/areas/real.parquet"))
    assert not store.exists(f"{out}/comparison.json")
    assert out in unseen(*words)
    compare(
        photos,
        "churchyard?without=person",
        "churchyard",
        out=here,
        count=IMAGES,
        workers=0,
        batch_size=2,
    )
    for name in ("comparison.json", "areas/real.parquet", "areas/generated-1.parquet"):
        assert sha256(store.cat_file(f"{out}/{name}")) == sha256((here / name).read_bytes()), name
    temporary = os.environ.get("TMPDIR", "/tmp").encode() + b"/unseen-"
    for path in store.find(out):
        assert temporary not in store.cat_file(path), path
