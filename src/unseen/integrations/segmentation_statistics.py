"""The comparison of `unseen.compare` as a metric of TorchMetrics.

The state is the areas of both sides, a row an image; images are not kept. Between processes the
rows are gathered, those of the first rank first, so the numbers are those of all images in this
order.
"""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Shaped

from unseen.core.errors import SampleError, missing_package
from unseen.core.wording import count as counted
from unseen.distribution.areas import MEASURED, Areas
from unseen.distribution.areas_run import make_areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.segment import Segmentation
from unseen.images.arrays import ValueRange
from unseen.images.custom import ObjectSource
from unseen.images.naming import row_names
from unseen.segmenters import Segmenter, class_names, load_segmenter, overlaps
from unseen.statistics import PRESENCE_THRESHOLD

try:
    from torchmetrics import Metric
except ImportError as error:
    raise missing_package("SegmentationStatistics", "torchmetrics") from error

_SIDES = ("real", "generated")


def numbers(comparison: Comparison) -> dict[str, float]:
    """What a logger keeps of a comparison of two sides; NaN where it says nothing.

    `SegmentationStatistics.compute` says what they are.
    """
    (side,) = comparison.generated
    low, high = side.fsd.interval
    found: dict[str, float | None] = {
        "fsd": side.fsd.corrected,
        "fsd_low": low,
        "fsd_high": high,
        "fsd_floor": side.fsd.floor,
        "fsd_plug_in": side.fsd.value,
        "fsd_p_value": side.fsd.p_value,
    }
    found.update({str(verdict): number for verdict, number in side.counts.items()})
    return {name: math.nan if number is None else number for name, number in found.items()}


class SegmentationStatistics(Metric):
    """What generated images lack, batch by batch: Fréchet Segmentation Distance and verdicts.

    Args:
        segmenter: a segmenter, or its spec.
        channel: of the segmenter.
        value_range: black and white in images of floats, e.g. (0, 1) or (−1, 1); 8-bit images need
            none.
        presence_threshold: fraction of the image from which on a class counts as present.
        reset_real: whether `reset` forgets the real side. Without, it is measured once.
        seed: of permutations and resampling.
        batch_size: images in one call of the segmenter.
        **options: of `torchmetrics.Metric`.

    Raises:
        SegmenterError: no such segmenter or channel.

    >>> metric = SegmentationStatistics("churchyard")
    >>> pictures = torch.randint(0, 256, (20, 3, 64, 64), dtype=torch.uint8)
    >>> metric.update(pictures[:10], real=True)
    >>> metric.update(pictures[10:], real=False)
    >>> sorted(metric.compute())[:3]
    ['fsd', 'fsd_floor', 'fsd_high']
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self,
        segmenter: str | Path | Segmenter,
        *,
        channel: str = "object",
        value_range: ValueRange | None = None,
        presence_threshold: float = PRESENCE_THRESHOLD,
        reset_real: bool = True,
        seed: int = 0,
        batch_size: int = 16,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.segmenter = load_segmenter(segmenter)
        self.channel, self.value_range = channel, value_range
        self.presence_threshold, self.seed = presence_threshold, seed
        self.reset_real, self.batch_size = reset_real, batch_size
        names = class_names(self.segmenter, channel)
        self.columns = tuple(f"{channel}/{name}" for name in names)
        self._record: Comparison | None = None
        # height × width, known after one batch; a rank that saw nothing takes it from the others
        self.add_state("label_map_pixels", torch.tensor(0), dist_reduce_fx="max")
        for side in _SIDES:
            self.add_state(f"{side}_pixels", default=[], dist_reduce_fx="cat")
            self.add_state(f"{side}_measured", default=[], dist_reduce_fx="cat")
            self._forget(side)

    def update(self, images: Shaped[torch.Tensor, "n 3 h w"], *, real: bool) -> None:
        """Segment a batch, and add its areas to one side.

        Args:
            images: 8-bit RGB, or floats in `value_range`.
            real: which side they belong to.

        Raises:
            ImageError: no images, or values outside the range.
            SegmenterError: label maps that are not labels.
        """
        source = ObjectSource(images, "a batch", value_range=self.value_range)
        task = Segmentation(channel=self.channel, batch_size=self.batch_size, workers=0)
        # Nothing is kept that could be taken for this batch again, so it is not fingerprinted.
        (areas,) = make_areas([task.run(source, self.segmenter, "")])
        side = _SIDES[not real]
        measured = np.stack([areas.measured[name] for name in MEASURED], axis=1)
        for name, rows in (("pixels", areas.pixels.astype(np.int64)), ("measured", measured)):
            getattr(self, f"{side}_{name}").append(torch.as_tensor(rows, device=self.device))
        self.label_map_pixels = torch.tensor(areas.label_map_pixels, device=self.device)
        self._record = None

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Only `update`: a batch of one side alone has no distance."""
        self.update(*args, **kwargs)

    def compute(self) -> dict[str, torch.Tensor]:
        """Numbers for a logger; `comparison` has the whole record.

        Returns:
            Scalars: `fsd` (corrected, percent²) with `fsd_low` and `fsd_high` (95 %), `fsd_floor`,
            `fsd_plug_in` and `fsd_p_value`; then the number of classes of each verdict, such as
            `omitted` and `under`. NaN where too few images say nothing.

        Raises:
            SampleError: fewer than two images on a side.
        """
        self._record = compare(
            self.areas(real=True),
            [self.areas(real=False)],
            seed=self.seed,
            presence_threshold=self.presence_threshold,
        )
        return {
            name: torch.tensor(number, dtype=torch.float64)
            for name, number in numbers(self._record).items()
        }

    def comparison(self) -> Comparison:
        """The record that `unseen.compare` gives of the same images, without their pictures."""
        self.compute()
        assert self._record is not None
        return self._record

    def plot(self, kind: Literal["histogram", "intervals"] = "histogram") -> Any:
        """The figure of the comparison, as `Comparison.plot` draws it."""
        return self.comparison().plot(kind)

    def areas(self, *, real: bool) -> Areas:
        """The areas of one side so far.

        Raises:
            SampleError: fewer than two images.
        """
        side = _SIDES[not real]
        pixels, measured = (
            self._rows(f"{side}_{name}").cpu().numpy() for name in ("pixels", "measured")
        )
        if len(pixels) < 2:
            raise SampleError(
                f"the {side} side has {counted(len(pixels), 'image')}; a covariance needs at least "
                f"2: call update(images, real={real}) before compute()"
            )
        return Areas(
            names=list(row_names(len(pixels))),
            columns=self.columns,
            pixels=pixels.astype(np.uint32),
            label_map_pixels=int(self.label_map_pixels),
            overlapping=overlaps(self.segmenter),
            provenance={"segmenter": {**self.segmenter.provenance, "channel": self.channel}},
            measured=dict(zip(MEASURED, measured.T, strict=True)),
        )

    def reset(self) -> None:
        """Forget the generated images, and the real ones where `reset_real` is set."""
        # Copied, since TorchMetrics empties the lists themselves.
        kept = {} if self.reset_real else {name: [self._rows(name)] for name in self._of("real")}
        pixels = self.label_map_pixels
        super().reset()
        for side in _SIDES:
            self._forget(side)
        for name, rows in kept.items():
            setattr(self, name, rows)
            self.label_map_pixels = pixels
        self._record = None

    def _of(self, side: str) -> tuple[str, str]:
        return f"{side}_pixels", f"{side}_measured"

    def _forget(self, side: str) -> None:
        # A table without rows instead of no table: a rank that saw nothing gathers like the others.
        pixels, measured = self._of(side)
        setattr(self, pixels, [torch.zeros((0, len(self.columns)), dtype=torch.int64)])
        setattr(self, measured, [torch.zeros((0, len(MEASURED)))])

    def _rows(self, name: str) -> torch.Tensor:
        rows = getattr(self, name)
        return torch.cat(rows) if isinstance(rows, list) else rows
