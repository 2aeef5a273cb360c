import errno

import pytest
from tests.support.kills import killed_while_writing

from unseen.core.errors import StorageError
from unseen.core.files import (
    check_writable,
    remove_asides,
    sha256_of_parts,
    write_aside,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="boom"), write_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError("boom")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(StorageError, match="disk is full while writing"), write_aside(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder cannot be written"):
        write_text(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "below" / "deep").mkdir(parents=True)
    (tmp_path / "another's").mkdir()
    names = ["a.txt", ".hidden", "below/b.png", "below/deep/c.png", "another's/d.png"]
    kept = {tmp_path / name for name in names}
    for path in kept:
        path.write_text("whole")
        killed_while_writing(path)
    remove_asides(tmp_path, below=["below", "is not there"])
    left = {path for path in tmp_path.rglob("*") if path.is_file()} - kept
    assert {path.parent.name for path in left} == {"another's"}
    assert len(left) == 1
    remove_asides(tmp_path / "is not there")
    assert all(path.read_text() == "whole" for path in kept)


def test_the_digest_keeps_parts_apart():
    assert sha256_of_parts(["ab", "c"]) != sha256_of_parts(["a", "bc"])


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("a" * 251 + ".png")
    write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 256, "\udcff.parquet", "file/below"])
def test_a_place_that_cannot_be_written_is_known_before_the_work(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        check_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    check_writable(tmp_path / "new" / "a.parquet")
    assert list((tmp_path / "new").iterdir()) == []
