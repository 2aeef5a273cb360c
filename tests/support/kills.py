"""A process that is killed."""

import signal
import subprocess
import sys
from pathlib import Path

_WRITING = """
import os, pathlib, signal, sys
from unseen.core.files import write_aside
with write_aside(pathlib.Path(sys.argv[1])) as aside:
    aside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> None:
    """Leave what a process leaves that is killed while it writes `path` aside."""
    before = set(path.parent.glob("*"))
    process = subprocess.run([sys.executable, "-c", _WRITING, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(set(path.parent.glob("*")) - before) == 1
