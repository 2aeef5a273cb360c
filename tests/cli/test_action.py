"""The action for GitHub: its step runs, and every input reaches the command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def folder(place: Path, *, high: int) -> None:
    place.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, high, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")


def test_the_step_compares_judges_and_tells(tmp_path: Path) -> None:
    folder(tmp_path / "real images", high=256)
    folder(tmp_path / "$(touch no)", high=100)
    (tmp_path / "unseen").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unseen "$@"\n')
    (tmp_path / "unseen").chmod(0o755)
    inputs = {
        "REAL": "real images",
        "GENERATED": "$(touch no)\n",
        "SEGMENTER": "churchyard",
        "FAIL_ON": "omitted, fsd>100000",
        "REQUIRE_POWER": "presence>=1%,drop<=50%",
        "OPTIONS": "--workers 0 --device cpu",
        "OUT": "comparison",
        "GITHUB_OUTPUT": "output",
        "GITHUB_STEP_SUMMARY": "step",
    }
    ran = subprocess.run(
        ["bash", str(ROOT / ".ci" / "action")],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **inputs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 4, ran.stderr  # four images show nothing
    assert (tmp_path / "output").read_text() == "status=4\n"
    assert "real images" in (tmp_path / "step").read_text()
    assert not (tmp_path / "no").exists()
    kept = {path.name for path in (tmp_path / "comparison").iterdir()}
    assert kept >= {"report.html", "comparison.json", "summary.md", "junit.xml"}


@pytest.mark.parametrize("file", ["action.yml"])
def test_every_input_is_read_by_the_step(file: str) -> None:
    action = (ROOT / file).read_text(encoding="utf-8")
    declared = re.findall(
        r"^  ([a-z-]+):\n    description: .*\n    (?:required|default)", action, re.M
    )
    read = {name.upper().replace("-", "_") for name in declared}
    script = (ROOT / ".ci" / "action").read_text(encoding="utf-8")
    assert {"REAL", "GENERATED", "OUT"} < read
    assert read == set(re.findall(r"\$([A-Z_]+)", script)) - {
        "GITHUB_OUTPUT",
        "GITHUB_STEP_SUMMARY",
    }
