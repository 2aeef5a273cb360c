import os
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unseen.core.errors import ImageError, OutOfMemoryError
from unseen.images import Preparation, batches, open_images, subset
from unseen.images.batching import default_workers

SIDE = 8  # pixels: what is tested is order, not pictures


def _write(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (SIDE, SIDE), (index, 2 * index, 255 - index)).save(
            folder / f"{index:03d}.png"
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    _write(folder, 40)
    return open_images(folder)


@pytest.fixture
def broken(tmp_path):
    _write(tmp_path / "set", 6)
    (tmp_path / "set" / "002.png").write_bytes(b"not a picture")
    return open_images(tmp_path / "set")


def _reds(found):
    return [int(image[0, 0, 0]) for batch in found for image in batch.images]


@settings(max_examples=10, deadline=None)  # each example with workers starts processes
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 3),
    batch_size=st.integers(1, 50),
    workers=st.integers(0, 2),
)
def test_neither_batch_size_nor_workers_change_images_or_order(
    source, count, seed, batch_size, workers
):
    indices = subset(source, count, seed) if count else []
    found = list(
        batches(source, indices, Preparation(SIDE), batch_size=batch_size, workers=workers)
    )
    assert _reds(found) == indices
    assert [position for batch in found for position in batch.positions] == list(range(count))
    assert all(len(batch.images) == batch_size for batch in found[:-1])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_stops_the_run_with_its_name_after_the_batches_before_it(broken, workers):
    found = batches(
        broken, list(range(6)), Preparation(SIDE), batch_size=2, workers=workers, skip_broken=False
    )
    assert _reds([next(found)]) == [0, 1]
    with pytest.raises(ImageError, match=r"002\.png is no PNG"):
        next(found)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_listed_and_skipped_when_asked_for(broken, workers):
    found = list(
        batches(
            broken, [5, 2, 1], Preparation(SIDE), batch_size=2, workers=workers, skip_broken=True
        )
    )
    assert _reds(found) == [5, 1]
    assert [batch.positions for batch in found] == [[0], [2]]
    (entry,) = found[0].broken
    assert (entry.name, entry.position) == ("002.png", 1)
    assert "002.png is no PNG" in entry.reason


def _children(parent):
    """Process numbers of a process's workers, as Linux lists them."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(status.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return {pid for pid in found if _is_worker(pid)}


def _is_worker(pid):
    try:
        return "unseen.images.worker" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_closing_the_iterator_ends_its_workers(source):
    before = _children(os.getpid())
    found = batches(source, list(range(40)), Preparation(SIDE), batch_size=2, workers=2)
    next(found)
    during = _children(os.getpid()) - before
    found.close()
    assert len(during) == 2
    assert not during & _children(os.getpid())


def test_a_killed_worker_is_noticed(source):
    before = _children(os.getpid())
    found = batches(source, list(range(40)), Preparation(SIDE), batch_size=1, workers=1)
    next(found)
    (worker,) = _children(os.getpid()) - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(OutOfMemoryError, match=r"ended by signal 9"):
        list(found)


def _start_run(tmp_path, source):
    """A run of its own, as a terminal starts it: one group, two workers; at work on return."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import signal
            from unseen.images import Preparation, batches, open_images
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
            source = open_images({str(source._folder)!r})
            for batch in batches(source, list(range(40)) * 10_000, Preparation(8), batch_size=4,
                                 workers=2):
                print("ready", flush=True)
            """
        )
    )
    run = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout.readline() == "ready\n"
    workers = _children(run.pid)
    assert len(workers) == 2
    return run, workers


def test_ctrl_c_ends_the_run_and_its_workers_in_seconds(tmp_path, source):
    run, workers = _start_run(tmp_path, source)
    assert run.pid not in {os.getpgid(pid) for pid in workers}  # Ctrl-C does not reach them
    started = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # what a terminal does
    _, errors = run.communicate(timeout=20)
    assert time.monotonic() - started < 10  # the promise is 2 on an idle machine
    assert errors.count("KeyboardInterrupt") == 1  # no worker says anything
    assert not any(_is_worker(pid) for pid in workers)


def test_workers_end_when_the_run_is_killed(tmp_path, source):
    run, workers = _start_run(tmp_path, source)
    run.kill()
    run.communicate(timeout=20)
    until = time.monotonic() + 10
    while any(_is_worker(pid) for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.05)


class _Unpicklable:
    spec = "mine"
    names = ("a",)
    endless = False

    def __init__(self):
        self.lock = lambda: None

    def read(self, index):
        return np.zeros((3, 4, 4), np.uint8)

    def fingerprint(self):
        return "0"


def test_a_source_that_cannot_travel_is_said_so():
    with pytest.raises(ImageError, match=r"mine cannot be sent to a worker.*use workers=0"):
        next(batches(_Unpicklable(), [0], Preparation(4), batch_size=1, workers=1))
    assert len(list(batches(_Unpicklable(), [0], Preparation(4), batch_size=1, workers=0))) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_whatever_a_source_raises_or_returns_is_a_broken_image(tmp_path, monkeypatch, workers):
    (tmp_path / "foreign_source.py").write_text(
        "import numpy as np\n"
        "class Stop(KeyboardInterrupt): pass\n"
        "class Foreign:\n"
        "    spec, names, endless = 'foreign', tuple('abcdef'), False\n"
        "    def read(self, index):\n"
        "        print('this must not garble the answers')\n"
        "        if index == 0: raise ZeroDivisionError('a fault of this source')\n"
        "        if index == 1: raise SystemExit(0)\n"
        "        if index == 2: raise Stop\n"
        "        if index == 3: return np.zeros((4, 4, 3), np.uint8)\n"
        "        if index == 4: return None\n"
        "        return np.full((3, 4, 4), 9, np.uint8)\n"
        "    def fingerprint(self):\n"
        "        return '0'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from foreign_source import Foreign

    found = {"batch_size": 6, "workers": workers}
    (batch,) = batches(Foreign(), range(6), Preparation(4), skip_broken=True, **found)
    assert _reds([batch]) == [9]
    reasons = ["ZeroDivisionError: a fault", "sys.exit(0)", "Stop", "(4, 4, 3)", "NoneType"]
    for entry, reason, name in zip(batch.broken, reasons, "abcde", strict=True):
        assert reason in entry.reason
        assert f"foreign: {name}" in entry.reason
    with pytest.raises(ImageError, match="foreign: a"):
        list(batches(Foreign(), range(6), Preparation(4), **found))


def test_an_abandoned_run_leaves_no_pool_behind(source):
    found = batches(source, list(range(40)), Preparation(SIDE), batch_size=2, workers=1)
    next(found)
    gone = weakref.ref(found)
    del found
    assert gone() is None


def test_nonsense_sizes_are_refused(source):
    with pytest.raises(ImageError, match="batch_size is 0"):
        batches(source, [0], Preparation(4), batch_size=0, workers=0)
    assert 1 <= default_workers() <= 8


def test_no_more_is_decoded_ahead_than_a_few_batches(tmp_path, monkeypatch):
    (tmp_path / "counting_source.py").write_text(
        "import numpy as np, pathlib\n"
        "class Counting:\n"
        "    spec, names, endless = 'counting', ('a',) * 1000, False\n"
        "    def __init__(self, path):\n"
        "        self.path = path\n"
        "    def read(self, index):\n"
        "        with pathlib.Path(self.path).open('a') as file:\n"
        "            file.write('.')\n"
        "        return np.zeros((3, 4, 4), np.uint8)\n"
        "    def fingerprint(self):\n"
        "        return '0'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from counting_source import Counting

    count = tmp_path / "count"
    found = batches(Counting(str(count)), range(1000), Preparation(4), batch_size=4, workers=2)
    next(found)
    time.sleep(0.5)  # as long as the caller likes
    read_ahead = count.stat().st_size
    found.close()
    # 3 requests a worker under way make 1.5 batches; 2 + 1 batches of 4 are begun, none more.
    assert 4 <= read_ahead <= 12


def test_files_of_the_working_directory_do_not_shadow_what_a_worker_imports(
    source, tmp_path, monkeypatch
):
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path, ""])  # a Path, as some scripts put there
    (batch,) = batches(source, [3], Preparation(SIDE), batch_size=1, workers=1)
    assert _reds([batch]) == [3]
