"""A training's log for TensorBoard: one folder of event files a stage."""

from pathlib import Path
from typing import Any

from unseen.core.errors import missing_package
from unseen.core.files import not_writable
from unseen.inversion.training_loop import TrainingProgress


class ScalarEvents:
    """A progress callback that keeps every logged number in `FOLDER/STAGE/events.…`.

    A resumed training opens another file beside the first; TensorBoard reads both, and drops what
    the first one says of later steps.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_package("--tensorboard", "tensorboard") from error
        self._open = SummaryWriter
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def __call__(self, progress: TrainingProgress) -> None:
        """Add the metrics of a logged step (StorageError: the folder cannot be written)."""
        if not progress.metrics:
            return
        folder = self._folder / progress.stage
        try:
            if progress.stage not in self._writers:
                self._writers[progress.stage] = self._open(folder, purge_step=progress.step)
            writer = self._writers[progress.stage]
            for name, value in progress.metrics.items():
                writer.add_scalar(name, value, progress.step)
            writer.flush()  # a training that is killed keeps what it has logged
        except OSError as error:
            raise not_writable(folder, error) from error

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
