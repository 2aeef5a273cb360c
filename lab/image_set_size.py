"""How long a folder of very many images takes to list, to choose from, to hash and to go on with.

The files are pictures of a pixel each, a thousand a folder. The segmenter knows one class alone:
what is timed is all that the package does around it. The run that is gone on with lacks its last
shard.
"""

import contextlib
import dataclasses
import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.core.options import Option
from unseen.core.tables import markdown_table
from unseen.distribution.segment import Segmentation, segment
from unseen.images import Batch, open_images, subset

_FOLDER = 1000  # files of a folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSetSize:
    """Time a folder of so many images."""

    images: Annotated[int, Option("Images in the folder.", min=2000)] = 1_000_000
    place: Annotated[
        Path | None,
        Option("Folder for the files, which are removed in the end. Default: a temporary one."),
    ] = None


class _Nothing:
    """A segmenter for which every pixel is of one class."""

    channels: Mapping[str, tuple[str, ...]] = {"object": ("nothing",)}
    resolution = 8
    provenance: Mapping[str, Any] = {"spec": "nothing"}

    def label_maps(
        self,
        images: UInt8[np.ndarray, "n 3 h w"],
        channel: str = "object",  # noqa: ARG002
    ) -> UInt8[np.ndarray, "n h w"]:
        return np.zeros((len(images), *images.shape[2:]), np.uint8)


def time_image_set(task: ImageSetSize, say: Callable[[str], None] = print) -> str:
    """Measure, and give a table."""
    rows: list[tuple[str, str, str, str]] = []

    @contextlib.contextmanager
    def timed(what: str) -> Iterator[None]:
        started, used = time.perf_counter(), time.process_time()
        yield
        cpu, wall = time.process_time() - used, time.perf_counter() - started
        rows.append((what, f"{cpu:.1f}", f"{wall:.1f}", f"{_peak():.2f}"))
        say(f"{what}: {cpu:.1f} s of processor time")

    with tempfile.TemporaryDirectory(prefix="unseen-image-set-", dir=task.place) as place:
        folder, out = Path(place, "photos"), Path(place, "photos.parquet")
        os.environ["UNSEEN_CACHE"] = str(Path(place, "cache"))
        _write_files(folder, task.images)
        time.sleep(4)  # a file that was just written is not remembered
        with timed("nothing yet"):
            pass
        with timed("list"):
            source = open_images(folder)
        with timed("choose a tenth"):
            subset(source, task.images // 10, 0)
        with timed("hash every file"):
            fingerprint = source.fingerprint()
        with timed("begin a run"):
            _stop_before_the_last_shard(source, fingerprint, out)
        del source
        with timed("go on with it, to the end"):
            areas = segment(folder, _Nothing(), out=out, workers=1)
    assert len(areas) == task.images
    heading = (f"{task.images:,} files", "s of processor time", "s by the clock", "peak so far, GB")
    return markdown_table(heading, rows)


def _write_files(folder: Path, images: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    for index in range(images):
        if index % _FOLDER == 0:
            below = folder / f"{index // _FOLDER // 100:03}" / f"{index // _FOLDER % 100:02}"
            below.mkdir(parents=True)
        (below / f"{index:08}.png").write_bytes(file.getvalue())


def _stop_before_the_last_shard(source: Any, fingerprint: str, out: Path) -> None:
    """The shards of a run but the last, without reading their images."""
    run = Segmentation().run(source, _Nothing(), fingerprint, out=out)
    positions = range(len(run.indices))
    side = _Nothing.resolution
    with contextlib.ExitStack() as until:
        run.begin(until)
        for shard in run.manifest[:-1]:
            images = np.zeros((len(shard), 3, side, side), np.uint8)
            batch = Batch([*shard], images, [(1, 1)] * len(shard), [])
            run.take(batch, images, positions)


def _peak() -> float:
    """The most memory that this process has had, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes there
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
