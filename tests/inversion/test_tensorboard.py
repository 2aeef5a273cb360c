"""Event files, as TensorBoard itself reads them."""

import contextlib
import sys
from pathlib import Path

import pytest

from unseen.core.errors import MissingExtraError, StorageError
from unseen.inversion.tensorboard import ScalarEvents
from unseen.inversion.training_loop import TrainingProgress


def progress(step: int, **metrics: float) -> TrainingProgress:
    return TrainingProgress("joint", step, 300, (step, 300), metrics)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The steps and values that TensorBoard shows, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    names = events.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def test_every_logged_number_is_an_event_at_once(tmp_path: Path) -> None:
    with contextlib.closing(ScalarEvents(tmp_path)) as events:
        events(progress(50, loss=0.5))
        events(progress(300, loss=0.25, x=1.0))
        assert scalars(tmp_path / "joint") == {"loss": [(50, 0.5), (300, 0.25)], "x": [(300, 1.0)]}


def test_what_was_logged_after_the_last_checkpoint_is_dropped_by_a_resumed_training(
    tmp_path: Path,
) -> None:
    for logged in (((50, 0.5), (100, 0.75), (150, 0.875)), ((100, 0.25), (150, 0.125))):
        with contextlib.closing(ScalarEvents(tmp_path)) as events:
            for step, loss in logged:
                events(progress(step, loss=loss))
    assert scalars(tmp_path / "joint") == {"loss": [(50, 0.5), (100, 0.25), (150, 0.125)]}


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        ScalarEvents(tmp_path / "file")(progress(1, loss=0.0))


def test_without_tensorboard_it_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="tensorboard"):
        ScalarEvents(tmp_path)
