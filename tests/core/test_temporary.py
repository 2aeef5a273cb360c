"""Large temporary files go with their owner, and with their process at the latest."""

import subprocess
import sys
import textwrap

import pytest

from unseen.core import temporary
from unseen.core.errors import StorageError
from unseen.core.temporary import temporary_file


class _Owner:
    pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    temporary.remove_temporaries()


def test_a_file_goes_with_its_owner(place):
    first, second = _Owner(), _Owner()
    paths = [temporary_file(owner, ".npy", 10) for owner in (first, second)]
    assert all(path.is_file() and path.suffix == ".npy" for path in paths)
    del first
    assert not paths[0].exists()
    assert paths[1].exists()
    del second
    assert list(place.iterdir()) == []


def test_room_is_asked_for_before_it_is_taken(place):
    with pytest.raises(StorageError, match=f"{1 << 60:,}"):
        temporary_file(_Owner(), ".npy", 1 << 60)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(1)", "raise SystemExit"])
def test_what_a_killed_process_left_is_removed_at_the_next_use(place, monkeypatch, end):
    script = f"""
        import os, tempfile
        tempfile.tempdir = {str(place)!r}
        from unseen.core.temporary import temporary_file
        class Owner: pass
        owner = Owner()
        temporary_file(owner, ".npy", 10).write_bytes(b"large")
        {end}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    left = list(place.rglob("*.npy"))
    assert len(left) == ("Exit" not in end)
    mine = place / "unseen-mine"  # a folder of somebody else that is called alike
    mine.mkdir()
    (mine / "a.npy").write_bytes(b"")
    owner = _Owner()
    temporary_file(owner, ".npy", 10)
    assert len(list(place.rglob("*.npy"))) == len(left) + 2  # it could still be at its beginning
    monkeypatch.setattr(temporary, "_YOUNG", -1.0)
    other = _Owner()
    temporary_file(other, ".npy", 10)
    assert {path.parent.name for path in place.rglob("*.npy")} == {
        "unseen-mine",
        next(iter(temporary._held.values()))[0].name,
    }
    assert len(list(place.rglob("*.npy"))) == 3
