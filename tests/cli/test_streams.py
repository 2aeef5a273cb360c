"""Results on stdout, the rest on stderr, whatever a user's module prints and however they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import sys, os
print("module")
class Noisy:
    channels = {"object": ("dark", "bright")}
    resolution = None
    provenance = {}
    def __init__(self):
        self.resolution = 8
    def label_maps(self, images, channel):
        print("noise of a module")
        os.system("echo child")
        return (images.mean(axis=1) > 128).astype("int64")
def leaves():
    sys.exit(0)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "noisy.py").write_text(MODULE)
    return tmp_path


def unseen(place: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's command line, in which $U is `unseen`."""
    source = Path(__file__).parents[2] / "src"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        errors="replace",
        env={
            **os.environ,
            "PYTHONPATH": str(source),
            "U": f"{sys.executable} -m unseen",
            **environment,
        },
    )


COMPARE = (
    "$U compare 'churchyard?seed=1' 'churchyard?seed=2' -n 4 --no-pictures --workers 0 "
    "--segmenter python:noisy:Noisy"
)


def test_json_on_stdout_is_json_whatever_a_module_prints(place):
    done = unseen(place, f"{COMPARE} --json -")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["real"]["images"] == 4
    assert "noise of a module" in done.stderr
    assert "child" in done.stderr


def test_a_module_that_ends_the_interpreter_does_not_pass(place):
    done = unseen(place, COMPARE.replace("Noisy", "leaves") + " --fail-on omitted")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "status"),
    [(">&-", 1), ("2>&-", 0), (">&- 2>&-", 1), ("> /dev/full", 1), ("2> /dev/full", 0)],
)
@pytest.mark.parametrize("command", ["$U list", "$U --version"])
def test_closed_and_full_streams_end_with_a_status(place, command, redirection, status):
    done = unseen(place, f"{command} {redirection}")
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_file_does_not_take_the_place_of_a_closed_stderr(place):
    done = unseen(place, f"{COMPARE} 2>&- -o out")
    assert done.returncode == 0
    for path in (place / "out").rglob("*.*"):
        assert b"noise of a module" not in path.read_bytes()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp437", "ascii"])
def test_help_results_and_errors_are_written_in_any_encoding(place, encoding):
    for command, status in (("$U compare --help", 0), ("$U list", 0), ("$U segment λ x", 1)):
        done = unseen(place, command, PYTHONIOENCODING=encoding)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_names_of_files_do_not_steer_the_terminal(place):
    (place / "a\x1b[31m\x9b1mb").mkdir()
    (place / "a\x1b[31m\x9b1mb" / "c\x1b]0;title\x07.png").write_bytes(b"broken")
    done = unseen(
        place,
        "$U segment a*b out.parquet --skip-broken --workers 0 --segmenter python:noisy:Noisy",
    )
    assert done.returncode == 1
    for character in "\x1b\x07\x9b":
        assert character not in done.stdout + done.stderr


def test_quiet_leaves_results_and_errors_and_verbose_says_how_far_it_is(place):
    command = "$U segment churchyard a.parquet -n 3 --workers 0 --segmenter python:noisy:Noisy"
    assert "3 of 3" in unseen(place, f"{command} -v").stderr
    done = unseen(place, f"$U -q {command[3:].replace('a.parquet', 'b.parquet')}")
    assert "3 images" in done.stdout
    assert "unseen:" not in done.stderr
    assert "error" in unseen(place, "$U segment nowhere c.parquet -q").stderr
