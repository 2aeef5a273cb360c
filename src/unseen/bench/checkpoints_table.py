"""The snapshots of a training, measured: their table and their figure."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.provenance import write_aside


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


def checkpoints_csv(rows: Sequence[Checkpoint]) -> str:
    """Every snapshot as a row of CSV, with its share of tr Σ_t."""
    buffer = io.StringIO()
    names = [field.name for field in dataclasses.fields(Checkpoint)]
    writer = csv.DictWriter(buffer, [*names, "share"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = {**dataclasses.asdict(row), "share": row.share}
        writer.writerow({k: v if k == "images" else f"{v:.6g}" for k, v in values.items()})
    return buffer.getvalue()


def draw_checkpoints(folder: Path, rows: Sequence[Checkpoint]) -> Iterator[Path]:
    """Draw `quality.svg` and `quality.png`: share of tr Σ_t against images shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    images = [row.images / 1000 for row in rows]
    axis.fill_between(
        images,
        [row.low / row.variance for row in rows],
        [row.high / row.variance for row in rows],
        color="#2f7fb8",
        alpha=0.2,
        linewidth=0,
    )
    axis.plot(images, [row.share for row in rows], "o-", color="#2f7fb8", markersize=4)
    axis.axhline(0.05, color="#999999", linestyle=":", linewidth=1)
    axis.annotate("0.05", (images[0], 0.052), fontsize=8, color="#777777")
    axis.set_yscale("log")
    axis.set_xlabel("thousand scenes shown")
    axis.set_ylabel("corrected FSD / tr Σ_t")
    axis.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axis.spines[["top", "right"]].set_visible(False)
    for suffix in (".svg", ".png"):
        path = folder / f"quality{suffix}"
        with write_aside(path) as aside:
            figure.savefig(aside, dpi=150, metadata={"Date": None} if suffix == ".svg" else None)
        yield path
