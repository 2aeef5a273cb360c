"""Samples of a generator that an engine draws: shards are ranges of the indices.

A worker draws into the folder of the run, which every image enters whole. `sample` then finds all
of them there.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from unseen.core.files import as_path
from unseen.core.progress import Progress, silent
from unseen.core.run_folder import manifest
from unseen.core.twins import named, refresh_folder
from unseen.engines.engine import Engine
from unseen.engines.machines import WORKERS, WorkersList, list_beside
from unseen.engines.work import Make, device_of
from unseen.generators import load_generator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sample import Sampling, drawn_images

SHARD = 256  # images: a diffusion pipeline takes minutes for them


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingWork:
    """Images of a generator, drawn into a folder."""

    generator: Any  # a spec, or one that is sent by pickle
    settings: Mapping[str, Any]  # the other fields of `Sampling`
    device: str = "auto"
    precision: str = "fp32"

    def open(self, device: str | None) -> Make:
        """Load the generator, once a worker."""
        device = device_of(self.device, device)
        precision: Any = self.precision
        generator = load_generator(self.generator, device=device, precision=precision)
        task = Sampling(generator=generator, **self.settings)
        images, indices = drawn_images(task), task.indices

        def make(shard: range, report: Callable[[int], None]) -> None:
            mine = [indices[position] for position in shard]
            images.keep_all(mine, progress=lambda done, _: report(done), captions=False)

        return make


def sample_apart(
    task: Sampling, work: SamplingWork, engine: Engine, *, progress: Progress | None = None
) -> None:
    """Draw by an engine the images that are missing; `sample` then packs or counts them.

    Raises:
        ShardError: images that no worker could draw; all others are kept.
        UnseenError: as in `sample`.
    """
    images: DrawnImages = drawn_images(task)
    with images.folder.run.writing():
        images.folder.begun = True
    missing = {*images.folder.missing(task.indices)}
    shards = [
        shard
        for shard in manifest(len(task.indices), SHARD)
        if any(task.indices[position] in missing for position in shard)
    ]
    done = len(task.indices) - sum(map(len, shards))
    out, folder = as_path(task.out), images.folder.run
    place = out / WORKERS if out == images.keep else list_beside(out)
    engine.carry_out(
        work,
        shards,
        done,
        len(task.indices),
        progress or silent,
        workers=WorkersList(place, folder.identity),
    )
    refresh_folder(folder.folder)
    images.complete_captions()


def work_of(task: Sampling, generator: Any, device: str, precision: str) -> SamplingWork:
    """The work of a task whose generator is opened anew by every worker."""
    names = [field.name for field in dataclasses.fields(Sampling) if field.name != "generator"]
    settings = {name: getattr(task, name) for name in names}
    settings |= {"out": named(as_path(task.out)), "overwrite": False}
    return SamplingWork(generator=generator, settings=settings, device=device, precision=precision)
