"""Areas whose shards an engine makes: what travels to its workers, and what they do there.

Networks and images do not travel: a worker opens both by the names that the user gave, and is
refused where they are not those of the run.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseen.core.devices import machine, resolve_device
from unseen.core.errors import SpecError, UnseenError
from unseen.core.files import as_path
from unseen.core.twins import named
from unseen.distribution.areas import areas_identity
from unseen.distribution.areas_run import AreasRun
from unseen.engines.engine import Engine
from unseen.engines.machines import WorkersList, list_beside
from unseen.engines.work import Make, device_of
from unseen.generators.sources import Drawing, keep_drawn
from unseen.segmenters import load_segmenter

if TYPE_CHECKING:
    from unseen.distribution.segment import Segmentation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """How a worker opens what it needs: by name, or from what was sent by pickle."""

    images: Any  # a spec or a path; else a source, a generator or images
    segmenter: Any  # a spec, or a segmenter
    drawing: Drawing = dataclasses.field(default_factory=Drawing)
    device: str = "auto"
    precision: str = "fp32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AreasWork:
    """Shards of a run of areas that has been begun."""

    opening: Opening
    task: "Segmentation"
    out: Path
    fingerprint: str  # of the images, as the driver has computed it
    paired: Sequence[int] | None = None  # as `Segmentation.run` takes it

    def open(self, device: str | None) -> Make:
        """Open images and segmenter, once a worker."""
        opening = self.opening
        device = device_of(opening.device, device)
        drawing = opening.drawing
        source = drawing.open(opening.images, device, skip_broken=self.task.skip_broken)
        if drawing.keep_images is not None:
            source = keep_drawn(source, as_path(drawing.keep_images))
        segmenter = load_segmenter(opening.segmenter, device=device, precision=opening.precision)
        maps = self.task.keep_maps and as_path(self.task.keep_maps)
        task = dataclasses.replace(self.task, overwrite=False, part=(1, 1), keep_maps=maps)
        out = as_path(self.out)
        run = task.run(source, segmenter, self.fingerprint, out=out, paired=self.paired)
        return functools.partial(AreasRun.make, run)


def list_part(run: AreasRun, out: Path, device: str) -> None:
    """Add this machine to the list of a run, if anything of its part is missing."""
    with contextlib.ExitStack() as until:
        run.begin(until)
        if run.missing:
            _workers_of(run, out).add([machine(resolve_device(device))])


def _workers_of(run: AreasRun, out: Path) -> WorkersList:
    """The list of machines that make the areas of a run."""
    return WorkersList(list_beside(out), areas_identity(run.provenance))


def make_apart(
    run: AreasRun, task: "Segmentation", opening: Opening, engine: Engine, paired: Any = None
) -> None:
    """Make the shards of a run by an engine; `make_areas` then finds and joins them.

    Raises:
        SpecError: the run has no place for its shards.
        ShardError: shards that failed three times; the others are kept.
        UnseenError: from the run, or from a worker.
    """
    if run.out is None:
        raise SpecError(f"the engine {engine.engine} needs a place for shards; give out")
    drawing = opening.drawing
    kept = drawing.keep_images and named(drawing.keep_images)
    work = AreasWork(
        opening=dataclasses.replace(
            opening, drawing=dataclasses.replace(drawing, keep_images=kept)
        ),
        task=dataclasses.replace(task, keep_maps=run.maps and named(run.maps)),
        out=named(run.out),
        fingerprint=run.provenance["images"][0]["fingerprint"],
        paired=paired,
    )
    with contextlib.ExitStack() as until:
        run.begin(until)
        run.set_drawing()
        missing = run.missing
        try:
            workers = _workers_of(run, run.out)
            engine.carry_out(work, missing, run.whole, run.images, run.progress, workers=workers)
        except (KeyboardInterrupt, UnseenError) as error:
            run.tell_kept(error)
            raise
