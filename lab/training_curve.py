"""Quality along a training: the corrected FSD of every snapshot, as a share of tr Σ_t.

The snapshots of `python -m lab train generator` are sampled and segmented, and each is compared
with the same real scenes, of a world that the training never saw. tr Σ_t, the total variance of the
real areas, makes the distance a share: 0 is the real distribution, and 1 is about what a generator
reaches that draws one average image for ever.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from unseen.core.errors import RecordError
from unseen.core.figure_style import save_figure, styled_figure, svg_and_png
from unseen.core.files import write_text
from unseen.core.options import Argument, Device, Option
from unseen.core.tables import csv_text
from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.segment import segment
from unseen.generators import load_generator
from unseen.segmenters import Precision, Segmenter, load_segmenter

REAL_WORLD = 1  # seed of the real scenes
_AIM = 0.05  # of tr Σ_t
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_COLOUR = "#2f7fb8"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One snapshot's distance from the real scenes, in percent² of area."""

    images: int  # real scenes shown in training
    fsd: float  # plug-in
    corrected: float
    low: float  # 95 % interval of the corrected value
    high: float
    floor: float  # of the plug-in value
    variance: float  # tr Σ_t of the real areas

    @property
    def share(self) -> float:
        """Corrected FSD over tr Σ_t."""
        return self.corrected / self.variance


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
        snapshots = sorted((self.folder / "snapshots").glob("*.safetensors"))
        if not snapshots:
            raise RecordError(
                f"{self.folder} has no snapshots/*.safetensors; name the folder of "
                "`python -m lab train generator`"
            )
        return snapshots[::-1][:: self.every][::-1]


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
        RecordError: no snapshots, areas of another run in `quality/`, or a finished training on
            other images than the churchyard's.
    """
    snapshots = task.snapshots()
    record = task.folder / "generator.json"
    if record.exists():
        source = json.loads(record.read_text(encoding="utf-8"))["source"]
        if not source.startswith("churchyard?"):
            raise RecordError(
                f"{task.folder} was trained on {source}, and churchyard scenes are its real side "
                "here; measure its snapshots by `unseen compare`"
            )
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
    if record.exists():
        from lab.model_card import generator_card  # which takes `Checkpoint` from here

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
        corrected=np.nan if side.fsd.corrected is None else side.fsd.corrected,
        low=np.nan if low is None else low,
        high=np.nan if high is None else high,
        floor=side.fsd.floor,
        variance=float(real.percent.var(axis=0, ddof=1).sum()),
    )


def _line(row: Checkpoint) -> str:
    share = f"{row.corrected:.3g} = {row.share:.3f} tr Σ"
    return f"{row.images:,} scenes: corrected FSD {share} (floor {row.floor:.2g})"


def checkpoints_csv(rows: Sequence[Checkpoint]) -> str:
    """Every snapshot as a row of CSV, with its share of tr Σ_t."""
    tables = ({**dataclasses.asdict(row), "share": row.share} for row in rows)
    return csv_text(
        {name: value if name == "images" else f"{value:.6g}" for name, value in table.items()}
        for table in tables
    )


def draw_checkpoints(folder: Path, rows: Sequence[Checkpoint]) -> Iterator[Path]:
    """Draw `quality.svg` and `quality.png`: share of tr Σ_t against images shown."""
    with styled_figure(6.0, 3.2) as figure:
        figure.set_layout_engine("constrained")
        axis = figure.subplots()
        images = [row.images / 1000 for row in rows]
        low = [row.low / row.variance for row in rows]
        high = [row.high / row.variance for row in rows]
        axis.fill_between(images, low, high, color=_COLOUR, alpha=0.2, linewidth=0)
        axis.plot(images, [row.share for row in rows], "o-", color=_COLOUR, markersize=4)
        axis.axhline(_AIM, color="#999999", linestyle=":", linewidth=1)
        axis.annotate(f"aim {_AIM:g}", (images[0], _AIM * 1.04), fontsize=8, color="#777777")
        axis.set_yscale("log")
        least, most = axis.get_ylim()
        ticks = [tick for tick in _TICKS if least <= tick <= most]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("thousand scenes shown")
        axis.set_ylabel("corrected FSD / tr Σ_t")
        axis.grid(axis="y", linewidth=0.7)
        yield from save_figure(figure, svg_and_png(folder / "quality"))
