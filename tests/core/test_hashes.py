"""Hashes that are kept, and never taken for those of a file that has changed."""

import os
import time
from pathlib import Path

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


def sha256(path: Path) -> str:
    with FileHashes(path.parent) as hashes:
        return hashes.sha256(path)


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


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": [[1], 2]}', "\x00"])
def test_a_broken_cache_is_made_anew(
    tmp_path: Path, cache: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    path = photo(tmp_path)
    sha256(path)
    (file,) = (cache / "hashes").iterdir()
    file.write_text(text)
    assert sha256(path) == sha256_of_file(path)


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file")
    path = photo(tmp_path)
    assert sha256(path) == sha256_of_file(path)
