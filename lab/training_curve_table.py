"""The snapshots of a training, measured: their table and their figure."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseen.core.figure_style import LIGHT, save_figure, styled_figure, svg_and_png

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
        axis.grid(axis="y", color=LIGHT.faint, linewidth=0.7)
        yield from save_figure(figure, svg_and_png(folder / "quality"))
