"""What the runs of benches share: figures in two formats, and that nothing is optimised again."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def assert_figures(folder: Path, *names: str, pixels: int) -> None:
    """Every figure is there as SVG, and as PNG with more than so many pixels a side."""
    for name in names:
        assert (folder / f"{name}.svg").read_text().startswith("<?xml")
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > pixels


def forbid_optimising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every optimisation fail."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("optimised again")

    monkeypatch.setattr("unseen.inversion.methods.minimise", refuse)
