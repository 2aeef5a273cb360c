"""Blocks of the runs of a call of `invert`: what one worker, or one part, makes at a time.

A block is a batch of images by some methods. All blocks stand on one line, a position for every
reconstruction, so a range of positions names a block. It is made as a whole and listed in a file of
its own.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from unseen.core.devices import machine, resolve_device
from unseen.core.errors import ImageError, UnseenError
from unseen.core.progress import Progress
from unseen.core.run_folder import part_of
from unseen.engines.engine import Engine
from unseen.engines.machines import WORKERS, WorkersList
from unseen.engines.work import Make, device_of
from unseen.inversion.inversions import InversionsWriter, Method, Place
from unseen.segmenters import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionOpening:
    """How a worker opens what it needs: by name, or from what was sent by pickle."""

    images: Any  # a spec or a path; else a source or images
    generator: Any
    inverter: Any = None
    encoder: Any = None
    segmenter: Any = None
    device: str = "auto"
    precision: Precision = "fp32"  # of the segmenter

    def on(self, device: str | None) -> "InversionOpening":
        """The same on a worker's device, unless the user has named one."""
        return dataclasses.replace(self, device=device_of(self.device, device))


@runtime_checkable
class BlockRun(Protocol):
    """A run into one folder, as far as blocks know it."""

    writer: InversionsWriter

    def batches(self) -> Iterator[tuple[list[Method], list[Place]]]:
        """Images that go together, and the methods that they go through."""
        ...

    def missing(self, methods: Sequence[Method], places: Sequence[Place]) -> list[Method]:
        """Those of the methods by which one of these images has not been inverted."""
        ...

    def make_batch(
        self, methods: Sequence[Method], places: Sequence[Place], report: Callable[[], None]
    ) -> None:
        """Invert what is missing of a batch; `report` is called after every image."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockWork:
    """Blocks of runs that have been begun. It is sent by pickle."""

    opened: Callable[[InversionOpening], "Blocks"]  # a function that is known by its name
    opening: InversionOpening

    def open(self, device: str | None) -> Make:
        """Open images and networks, once a worker."""
        return self.opened(self.opening.on(device)).make


class Blocks:
    """All blocks of some runs. Their writers have read their folders.

    Attributes:
        total: reconstructions of all runs.
    """

    def __init__(self, runs: Sequence[BlockRun]) -> None:
        self._runs = runs
        self._blocks: dict[range, tuple[BlockRun, list[Method], list[Place]]] = {}
        self.total = 0
        for run in runs:
            for methods, places in run.batches():
                block = range(self.total, self.total + len(methods) * len(places))
                self._blocks[block] = run, methods, places
                self.total = block.stop

    def missing(self, blocks: Sequence[range]) -> list[range]:
        """Those of which anything is not there."""
        missing = []
        for block in blocks:
            run, methods, places = self._blocks[block]
            if run.missing(methods, places):
                missing.append(block)
        return missing

    def make(self, block: range, report: Callable[[int], None]) -> None:
        """Make one block, and list it in a file of its own.

        Args:
            block: of the runs.
            report: told how many of its reconstructions are done.

        Raises:
            RecordError: the folder is not there, or is another run's.
            UnseenError: from the images or the networks.
        """
        run, methods, places = self._blocks[block]
        with run.writer.block(block):
            before = run.writer.count
            run.make_batch(methods, places, lambda: report(run.writer.count - before))

    def make_all(
        self, part: tuple[int, int], engine: Engine, work: BlockWork, progress: Progress
    ) -> None:
        """Make what is missing of a part, by an engine or here.

        Raises:
            ShardError: blocks that failed three times; all others are made.
            UnseenError: from the images or the networks.
        """
        mine = part_of(list(self._blocks), part)
        if not mine:
            raise ImageError(
                "the run has {} blocks of images, and none is in part {}/{}; ask for fewer "
                "parts".format(len(self._blocks), *part)
            )
        home = self._runs[0].writer
        workers = WorkersList(home.folder / WORKERS, home.identity)
        missing = self.missing(mine)
        total = sum(map(len, mine))
        done = total - sum(map(len, missing))
        progress(done, total)
        try:
            if engine.apart:
                engine.carry_out(
                    work, missing, done, total, progress, workers=workers, unit="reconstructions"
                )
                return
            if missing:
                workers.add([machine(resolve_device(work.opening.device))])
            for block in missing:

                def report(made: int, before: int = done) -> None:
                    progress(before + made, total)

                self.make(block, report)
                done += len(block)
        except (KeyboardInterrupt, UnseenError) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            error.add_note(
                f"finished reconstructions are kept in {home.folder}"
                + (": run the same command again to go on" if interrupted else "")
            )
            raise


@contextlib.contextmanager
def writing(runs: Sequence[BlockRun], *, among: str | None = None) -> Iterator[None]:
    """Have the folders of all runs, as `InversionsWriter.writing` says."""
    with contextlib.ExitStack() as held:
        for run in runs:
            held.enter_context(run.writer.writing(among=among))
        yield
