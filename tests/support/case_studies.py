"""The small form of a case study, as a shell runs it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(real: Path) -> dict[str, str]:
    """Of a shell that finds the real inputs, and this Python's commands first."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "UNSEEN_REAL": str(real), "PATH": path}


def run_study(name: str, real: Path, folder: Path, images: int) -> None:
    """Run all of its commands on so many images a side."""
    command = ["bash", "lab/case_studies/run.sh", name, str(folder), str(images)]
    subprocess.run(command, cwd=ROOT, env=environment(real), check=True)
