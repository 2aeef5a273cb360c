"""Quality along a training: the corrected FSD of every snapshot, as a share of tr Σ_t.

The snapshots of `python -m lab train generator` are sampled and segmented, and each is compared
with the same real scenes, of a world that the training never saw. tr Σ_t, the total variance of the
real areas, makes the distance a share: 0 is the real distribution, and 1 is about what a generator
reaches that draws one average image for ever.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np

from lab.model_card import generator_card
from lab.training_curve_table import Checkpoint, checkpoints_csv, draw_checkpoints
from unseen.core.errors import RecordError
from unseen.core.files import write_text
from unseen.core.options import Argument, Device, Option
from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.segment import segment
from unseen.generators import load_generator
from unseen.segmenters import Precision, Segmenter, load_segmenter

REAL_WORLD = 1  # seed of the real scenes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Measure the snapshots of a training."""

    folder: Annotated[Path, Argument("Folder of `lab train generator`.")]
    count: Annotated[int, Option("Images on each side.", short="-n", min=2)] = 10_000
    every: Annotated[int, Option("Measure every k-th snapshot, counting from the last.", min=1)] = 1
    without: Annotated[
        str, Option("Classes that the world of the training is without, e.g. car,fence.")
    ] = ""
    segmenter: str = "churchyard"
    device: Device = "cpu"
    precision: Precision = "bf16"  # of generator and segmenter

    @property
    def real(self) -> str:
        """The real scenes, as a spec: the training's world under another seed."""
        return f"churchyard?seed={REAL_WORLD}" + (
            f"&without={self.without}" if self.without else ""
        )

    def snapshots(self) -> list[Path]:
        """The weights to measure, oldest first.

        Raises:
            RecordError: the folder has none.
        """
        found = sorted((self.folder / "snapshots").glob("*.safetensors"))
        if not found:
            raise RecordError(
                f"{self.folder} has no snapshots/*.safetensors; name the folder of "
                "`python -m lab train generator`"
            )
        return found[::-1][:: self.every][::-1]


def measure_checkpoints(
    task: Checkpoints, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Sample, segment and compare; write the table and the figure.

    Areas stay in the folder's `quality/`, so that a later run measures new snapshots only.

    Args:
        task: what to measure.
        say: told the result of every snapshot.

    Yields:
        The paths written: `quality.csv`, `quality.svg`, `quality.png` and, where the training has
        ended, the model card `generator.md`.

    Raises:
        RecordError: no snapshots, or areas of another run in `quality/`.
    """
    snapshots = task.snapshots()
    segmenter = load_segmenter(task.segmenter, device=task.device, precision=task.precision)
    real = segment(
        task.real, segmenter, count=task.count, out=task.folder / "quality" / "real.parquet"
    )
    rows = []
    for path in snapshots:
        comparison = compare(real, [_areas(task, path, segmenter)])
        rows.append(checkpoint(int(path.stem), real, comparison))
        say(_line(rows[-1]))
    write_text(task.folder / "quality.csv", checkpoints_csv(rows))
    yield task.folder / "quality.csv"
    yield from draw_checkpoints(task.folder, rows)
    if (task.folder / "generator.json").exists():
        card = task.folder / "generator.md"
        write_text(card, generator_card(task.folder, task.real, rows, comparison))
        yield card


def _areas(task: Checkpoints, path: Path, segmenter: Segmenter) -> Areas:
    generator = load_generator(f"progan:{path}", device=task.device, precision=task.precision)
    out = task.folder / "quality" / f"{path.stem}.parquet"
    return segment(generator, segmenter, count=task.count, out=out)


def checkpoint(images: int, real: Areas, comparison: Comparison) -> Checkpoint:
    """The row of a snapshot that has seen so many images."""
    (side,) = comparison.generated
    low, high = side.fsd.interval
    return Checkpoint(
        images=images,
        fsd=side.fsd.value,
        corrected=side.fsd.corrected,
        low=np.nan if low is None else low,
        high=np.nan if high is None else high,
        floor=side.fsd.floor,
        variance=float(real.percent.var(axis=0, ddof=1).sum()),
    )


def _line(row: Checkpoint) -> str:
    share = f"{row.corrected:.3g} = {row.share:.3f} tr Σ"
    return f"{row.images:,} scenes: corrected FSD {share} (floor {row.floor:.2g})"
