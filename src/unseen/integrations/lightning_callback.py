"""The comparison of `unseen.compare` in a training by Lightning, every so many steps.

Every rank draws and segments its part of the generated images; the first compares all of them with
the real ones, and logs. The training itself is as without: modes and torch's random state are put
back.
"""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image

from unseen.core.errors import SampleError, missing_package
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import read_areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.segment import segment
from unseen.images import Images, ImageSource, open_images
from unseen.images.arrays import ValueRange, rgb_of_array
from unseen.integrations.segmentation_statistics import SegmentationStatistics, numbers
from unseen.segmenters import Segmenter
from unseen.statistics import PRESENCE_THRESHOLD

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
except ImportError as error:
    raise missing_package("SegmentationCallback", "lightning") from error

Draw = Callable[[LightningModule, int], Shaped[torch.Tensor, "n 3 h w"]]
"""Draws n images of a module, by torch's random state."""

_SHEET = 16  # generated images in the logged picture, in rows of the next
_ROW = 8


class SegmentationCallback(Callback):  # type: ignore[misc]
    """Log what the generator in training leaves out, every n steps.

    Every logger of the trainer gets the numbers of `SegmentationStatistics`. TensorBoard, Weights &
    Biases and MLflow also get the summary, which names the classes that are left out, the
    histogram, and a sheet of the generated images.

    Args:
        segmenter: a segmenter, or its spec.
        real: areas, an areas file, or images as `unseen.segment` takes them. They are measured
            once, at the first step that is due.
        draw: called with the module and n; returns n images.
        count: images a side: of the real side at most so many, drawn in all by all ranks.
        every_n_steps: of the optimiser, as the trainer's `global_step` counts.
        value_range: black and white in generated images of floats.
        channel: of the segmenter.
        presence_threshold: fraction of the image from which on a class counts as present.
        seed: of the drawn images, the same every time; and of permutations and resampling.
        batch_size: images drawn, and segmented, at once.
        prefix: before the names of what is logged.

    Raises:
        SegmenterError: no such segmenter or channel.
        SampleError: fewer than two images, or steps below one.
        MissingExtraError: lightning or torchmetrics is not installed.
    """

    def __init__(
        self,
        segmenter: str | Path | Segmenter,
        *,
        real: str | Path | Areas | ImageSource | Images,
        draw: Draw,
        count: int = 1_000,
        every_n_steps: int = 1_000,
        value_range: ValueRange = (-1, 1),
        channel: str = "object",
        presence_threshold: float = PRESENCE_THRESHOLD,
        seed: int = 0,
        batch_size: int = 16,
        prefix: str = "unseen",
    ) -> None:
        if count < 2 or every_n_steps < 1 or batch_size < 1:
            raise SampleError(
                f"count={count}, every_n_steps={every_n_steps}, batch_size={batch_size} were "
                "given; at least 2, 1 and 1 are needed"
            )
        self.metric = SegmentationStatistics(
            segmenter, channel=channel, value_range=value_range, batch_size=batch_size
        )
        self.real, self.draw, self.count = real, draw, count
        self.every_n_steps, self.value_range = every_n_steps, value_range
        self.presence_threshold, self.seed = presence_threshold, seed
        self.batch_size, self.prefix = batch_size, prefix
        self.comparison: Comparison | None = None  # the newest, on the first rank
        self._measured_at = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Count from here on: of a resumed training, from its step."""
        self._measured_at = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        *batch: Any,  # noqa: ARG002 outputs, the batch and its index
        **named: Any,  # noqa: ARG002
    ) -> None:
        """Measure where a multiple of `every_n_steps` was passed."""
        step = trainer.global_step
        if step // self.every_n_steps > self._measured_at // self.every_n_steps:
            self._measured_at = step
            self.measure(trainer, pl_module)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, compare and log now; every rank has to call it."""
        self.metric.to(pl_module.device)
        self.metric.reset()
        rank, world = trainer.global_rank, trainer.world_size
        mine = self.count * (rank + 1) // world - self.count * rank // world
        sheet: list[torch.Tensor] = []
        with _undisturbed(pl_module, self.seed + rank):
            for start in range(0, mine, self.batch_size):
                images = self.draw(pl_module, min(self.batch_size, mine - start))
                self.metric.update(images, real=False)
                sheet += [image.cpu() for image in images[: _SHEET - len(sheet)]]
        with self.metric.sync_context():
            generated = self.metric.areas(real=False) if trainer.is_global_zero else None
        if generated is not None:
            self.comparison = compare(
                self._real_areas(),
                [generated],
                labels=["real", f"step {trainer.global_step}"],
                seed=self.seed,
                presence_threshold=self.presence_threshold,
            )
            pictures = {
                "histogram": _figure(self.comparison.plot()),
                "generated": self._sheet(sheet),
            }
            for logger in trainer.loggers:
                log(logger, self.comparison, pictures, trainer.global_step, self.prefix)
        trainer.strategy.barrier("SegmentationCallback")

    def _real_areas(self) -> Areas:
        if not isinstance(self.real, Areas):
            if isinstance(self.real, str | Path) and str(self.real).endswith(".parquet"):
                self.real = read_areas(Path(self.real))
            else:
                self.real = self._segmented(self.real)
        return self.real

    def _segmented(self, images: str | Path | ImageSource | Images) -> Areas:
        source = open_images(images)
        few = not source.endless and len(source.names) <= self.count
        return segment(
            source,
            self.metric.segmenter,
            count=None if few else self.count,
            seed=self.seed,
            channel=self.metric.channel,
            batch_size=self.batch_size,
        )

    def _sheet(self, images: list[Float[torch.Tensor, "3 h w"]]) -> Image.Image:
        """The images side by side, in rows."""
        shown = [
            rgb_of_array(
                image.numpy(), "a drawn image", value_range=self.value_range, channels_first=True
            )
            for image in images
        ]
        blank = np.zeros_like(shown[0])
        shown += [blank] * (-len(shown) % _ROW)
        rows = [np.concatenate(shown[i : i + _ROW], axis=2) for i in range(0, len(shown), _ROW)]
        return Image.fromarray(np.moveaxis(np.concatenate(rows, axis=1), 0, -1))


def log(
    logger: Logger,
    comparison: Comparison,
    pictures: dict[str, Image.Image],
    step: int,
    prefix: str,
) -> None:
    """Give a comparison to a logger: numbers to any, text and pictures to the three that can."""
    defined = {name: value for name, value in numbers(comparison).items() if not math.isnan(value)}
    logger.log_metrics({f"{prefix}/{name}": value for name, value in defined.items()}, step=step)
    summary, experiment = comparison.summary(), logger.experiment
    if isinstance(logger, TensorBoardLogger):
        # Four spaces before a line keep it as it is in TensorBoard's Markdown.
        text = "\n".join(f"    {line}" for line in summary.splitlines())
        experiment.add_text(f"{prefix}/summary", text, step)
        for name, picture in pictures.items():
            pixels = np.asarray(picture.convert("RGB"))
            experiment.add_image(f"{prefix}/{name}", pixels, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_text(f"{prefix}/summary", columns=["summary"], data=[[summary]], step=step)
        for name, picture in pictures.items():
            logger.log_image(f"{prefix}/{name}", [picture], step=step)
    elif isinstance(logger, MLFlowLogger):
        run = logger.run_id
        experiment.log_text(run, summary, f"{prefix}/summary-{step:08d}.txt")
        for name, picture in pictures.items():
            experiment.log_image(run, picture, f"{prefix}/{name}-{step:08d}.png")


def _figure(figure: Any) -> Image.Image:
    """A figure of matplotlib as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


@contextlib.contextmanager
def _undisturbed(module: LightningModule, seed: int) -> Iterator[None]:
    """Draw in evaluation mode and from a seed of its own; then all is as it was."""
    training = [part for part in module.modules() if part.training]
    devices = [module.device] if module.device.type == "cuda" else []
    module.eval()
    try:
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(seed)
            yield
    finally:
        for part in training:
            part.training = True
