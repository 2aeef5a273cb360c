import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import types

import pytest

from unseen.cli import main
from unseen.core.errors import SampleError


def python(program: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.fixture
def mounted(monkeypatch):
    """Mount functions as commands of the real command line."""
    # the package re-exports the function `main` under the module's own name
    module = sys.modules["unseen.cli.main"]

    def mount(name, command):
        plug = types.ModuleType(f"mounted_{name}")
        plug.command = command
        monkeypatch.setitem(sys.modules, plug.__name__, plug)
        monkeypatch.setitem(module.COMMANDS, name, (f"{plug.__name__}:command", f"Do {name}."))
        return module.run

    return mount


def test_help_and_import_leave_the_heavy_packages_alone():
    heavy = "{'torch', 'numpy', 'pyarrow', 'scipy', 'matplotlib', 'transformers', 'onnxruntime'}"
    listing = python(f"import unseen, sys; print(sorted({heavy} & set(sys.modules)))")
    assert listing.stdout.strip() == "[]"
    listing = python(
        f"""
        import sys
        from unseen.cli.main import run
        assert run(["--help"]) == 0
        print(sorted({heavy} & set(sys.modules)))
        """
    )
    assert listing.stdout.strip().endswith("[]"), listing


def test_every_line_of_the_help_page_is_whole(capsys):
    module = sys.modules["unseen.cli.main"]
    assert module.run(["--help"]) == 0
    page = capsys.readouterr().out
    for name, (_, line) in module.COMMANDS.items():
        if " " not in name:
            assert re.search(rf"^  {name} +{re.escape(line)}$", page, re.MULTILINE), page


def test_the_command_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "unseen", "list", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "unseen list" in done.stdout


def test_an_error_is_one_line_and_status_1(mounted, capsys):
    def command():
        """Fail."""
        raise SampleError("generated has 1 image;\na covariance needs at least 2")

    run = mounted("fail", command)
    assert run(["fail"]) == 1
    expected = "unseen: error: generated has 1 image; a covariance needs at least 2\n"
    assert capsys.readouterr().err == expected
    assert run(["fail", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_wrong_usage_is_status_2_and_names_the_nearest_command(mounted, capsys):
    run = mounted("succeed", lambda: None)
    assert run(["suceed"]) == 2
    assert "succeed" in capsys.readouterr().err
    assert run(["succeed", "--nonsense"]) == 2


def test_a_warning_is_one_line(mounted, capsys):
    def command():
        """Warn."""
        import warnings

        warnings.simplefilter("always")
        warnings.warn("3 images\nwere skipped", UserWarning, stacklevel=1)

    assert mounted("warn", command)(["warn"]) == 0
    assert capsys.readouterr().err == "unseen: warning: 3 images were skipped\n"


def test_the_version_is_printed(capsys):
    assert sys.modules["unseen.cli.main"].run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unseen 0.")


def test_a_closed_pipe_is_quiet():
    done = python(
        f"""
        import subprocess, sys
        writer = subprocess.Popen(
            [{sys.executable!r}, "-m", "unseen", "--help"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        writer.stdout.close()
        sys.stdout.write(writer.stderr.read().decode())
        """
    )
    assert done.stdout == ""


_STUCK = """
import hashlib, os, signal, sys, time, types
from unseen.cli import streams
from unseen.cli.main import COMMANDS, run

def command():
    "Wait."
    try:
        streams.write("ready")
        {wait}
    except KeyboardInterrupt as error:
        error.add_note("5 images are kept: run the same command again")
        raise

sys.modules["waiting"] = types.ModuleType("waiting")
sys.modules["waiting"].command = command
COMMANDS["wait"] = ("waiting:command", "Wait.")
sys.exit(run(["wait"]))
"""


def interrupted(wait: str, number: int, delay: float = 0) -> tuple[int, str, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", _STUCK.format(wait=wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)  # between the line and the step that it announces
    os.kill(process.pid, number)
    start = time.perf_counter()
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors, time.perf_counter() - start


def test_ctrl_c_says_what_was_kept_and_is_status_130():
    status, errors, seconds = interrupted("time.sleep(60)", signal.SIGINT, delay=0.3)
    assert status == 130
    assert errors == "unseen: interrupted; 5 images are kept: run the same command again\n"
    assert seconds < 5  # the promise is 2 on an idle machine


def test_sigterm_ends_likewise_with_143():
    status, errors, _ = interrupted("time.sleep(60)", signal.SIGTERM, delay=0.3)
    assert status == 143
    assert errors.startswith("unseen: ended by a signal; 5 images are kept")


def test_a_step_that_does_not_answer_is_ended_all_the_same():
    # one C call of minutes that neither holds the interpreter's lock nor looks at signals
    wait = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
    status, errors, seconds = interrupted(wait, signal.SIGINT, delay=1)
    assert status == 130
    assert "what was finished is kept: run the same command again" in errors
    assert seconds < 5


def test_ending_a_forked_worker_does_not_end_the_command():
    # 2.2 s: longer than the hard end waits
    wait = (
        "import multiprocessing as m; w = m.get_context('fork').Process(target=time.sleep, "
        "args=(60,)); w.start(); time.sleep(0.3); w.terminate(); w.join(); time.sleep(2.2)"
    )
    done = python(_STUCK.format(wait=wait))
    assert (done.returncode, done.stderr) == (0, "")


def test_main_is_the_entry_point():
    assert main.__module__ == "unseen.cli.main"
