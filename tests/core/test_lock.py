"""One process at a time, whatever becomes of the other."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unseen.core.errors import StorageError
from unseen.core.lock import LOCK, locked

_HOLDING = """
import pathlib, sys, time
from unseen.core.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

_COUNTING = """
import pathlib, sys
from unseen.core.lock import locked
count = pathlib.Path(sys.argv[1])
for _ in range(100):
    with locked(count.with_name(".unseen-lock")):
        count.write_text(str(int(count.read_text()) + 1))
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDING, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_which_place_is_taken(tmp_path: Path) -> None:
    process = holder(tmp_path / LOCK)
    try:
        with (
            pytest.raises(StorageError, match=str(tmp_path)),
            locked(tmp_path / LOCK, patience=0.1),
        ):
            pass
    finally:
        process.kill()
        process.communicate()
    with locked(tmp_path / LOCK, patience=5.0):  # a killed process holds nothing
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_many_processes_add_is_all_counted(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", _COUNTING, str(count)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert count.read_text() == "400"
    assert list(tmp_path.iterdir()) == [count]


def test_two_threads_exclude_each_other_too(tmp_path: Path) -> None:
    inside: list[int] = []
    together: list[int] = []

    def work() -> None:
        for _ in range(50):
            with locked(tmp_path / LOCK):
                inside.append(1)
                together.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 150


def test_it_works_where_there_is_no_fcntl(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import pathlib\n"
        "from unseen.core.lock import locked\n"
        f"with locked(pathlib.Path({str(tmp_path / LOCK)!r})): print('held')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr, answer.returncode) == ("held\n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"), locked(tmp_path / "file" / LOCK):
        pass
