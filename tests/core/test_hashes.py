"""Hashes that are kept, and never taken for those of a file that has changed."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unseen.core import hashes as module
from unseen.core.files import sha256_of_file
from unseen.core.hashes import FileHashes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were read."""
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(module, "sha256_of_file", counting)
    return read


def sha256(path: Path) -> str | None:
    with FileHashes(path.parent) as hashes:
        (digest,) = hashes.sha256([path.name])
    return digest


def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"1")
    return path


def test_an_unchanged_file_is_hashed_once(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    path = photo(tmp_path)
    assert sha256(path) == sha256(path) == sha256_of_file(path)
    assert hashed == [path]


def test_a_changed_file_is_hashed_again_though_size_and_time_are_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    path = photo(tmp_path)
    before, status = sha256(path), path.stat()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_bytes(b"2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sha256(path) != before
    assert sha256(path) == sha256_of_file(path)


def test_a_file_that_was_just_written_is_not_kept(tmp_path: Path, hashed: list[Path]) -> None:
    path = photo(tmp_path)
    sha256(path)
    sha256(path)
    assert hashed == [path, path]


@pytest.mark.parametrize("content", [b"", b"[]", b"\x93NUMPY\x01\x00", b"numbers"])
def test_a_broken_cache_is_made_anew(
    tmp_path: Path, cache: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    path = photo(tmp_path)
    sha256(path)
    (file,) = (cache / "hashes").iterdir()
    if content == b"numbers":
        np.save(file, np.arange(3))
    else:
        file.write_bytes(content)
    assert sha256(path) == sha256_of_file(path)


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file")
    path = photo(tmp_path)
    assert sha256(path) == sha256_of_file(path)


def test_files_are_told_apart_by_name_and_one_that_is_missing_has_no_hash(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    monkeypatch.setattr(module, "_TOGETHER", 4)
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    names = [f"sub/{k}" for k in range(9)]
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_text(name)
    expected = [sha256_of_file(tmp_path / name) for name in names]
    for asked, unknown in ((names[:5], 5), (names, 4), (names[::-1], 0)):
        hashed.clear()
        with FileHashes(tmp_path) as hashes:
            digests = [*hashes.sha256([*asked, "missing"])]
        assert sorted(filter(None, digests)) == sorted(expected[: len(asked)])
        assert digests[0] == expected[names.index(asked[0])]
        assert digests[-1] is None
        assert len(hashed) == unknown


def test_any_number_on_the_disk_and_any_time_can_be_kept(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo(tmp_path)
    os.utime(path, ns=(-1, -(10**18)))  # 1938
    whole = os.stat

    def elsewhere(place: str | Path, **options: bool) -> os.stat_result | SimpleNamespace:
        said = whole(place, **options)
        if place != str(path):
            return said
        return SimpleNamespace(
            st_size=said.st_size, st_ino=2**64 - 1, st_mtime_ns=said.st_mtime_ns, st_ctime_ns=0
        )

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", elsewhere)
        digests = [sha256(path), sha256(path)]
    assert digests == [sha256_of_file(path)] * 2
    assert hashed == [path]


def test_what_was_hashed_before_an_error_is_kept(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    for name in "ab":
        (tmp_path / name).write_text(name)
    with FileHashes(tmp_path) as hashes:
        list(hashes.sha256("a"))
    with pytest.raises(KeyError), FileHashes(tmp_path) as hashes:
        list(hashes.sha256("b"))
        raise KeyError
    hashed.clear()
    with FileHashes(tmp_path) as hashes:
        assert len([*hashes.sha256("ab")]) == 2
    assert hashed == []
