"""Every command of a tutorial runs as it is printed, one after the other in one folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
# Blocks of the language `shell` install the package; the tests run where it is installed.
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tutorial", sorted(path.name for path in TUTORIALS.glob("*.md")))
def test_the_commands_of_a_tutorial_run(tutorial: str, tmp_path: Path) -> None:
    blocks = _BLOCK.findall((TUTORIALS / tutorial).read_text(encoding="utf-8"))
    assert blocks
    for language, block in blocks:
        shell = f'unseen() {{ "{sys.executable}" -m unseen "$@"; }}\n'
        command = (
            ["bash", "-euo", "pipefail", "-c", shell + block]
            if language == "sh"
            else [sys.executable, "-c", block]
        )
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{block}{ran.stdout}{ran.stderr}"
