"""The measurement of a folder of very many images, on a small one."""

from pathlib import Path

import pytest
from lab.image_set_size import ImageSetSize, time_image_set


def test_a_small_folder_goes_through_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path))  # restored: the measurement sets its own
    monkeypatch.setattr("time.sleep", lambda _: None)
    table = time_image_set(ImageSetSize(images=2000, place=tmp_path), say=lambda _: None)
    assert len(table.splitlines()) == 2 + 6
    assert list(tmp_path.iterdir()) == []
