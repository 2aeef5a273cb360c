"""A folder of a run: gone on with by its own run, refused to others, swept of what a kill left."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.kills import killed_while_writing

from unseen.core.errors import RecordError, StorageError
from unseen.core.identity import identify
from unseen.core.lock import LOCK
from unseen.core.run_folder import Journal, RunFolder, manifest


def run_of(
    folder: Path, seed: int = 0, batch_size: int | None = None, **settings: Any
) -> RunFolder:
    identity = identify("test", 1, options={"seed": seed}, batch_size=batch_size)
    return RunFolder(folder, identity, owned=("*.part", "pictures/*/*.png"), **settings)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_goes_on_and_another_is_refused_or_replaces_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with run_of(folder).writing():
        (folder / "1.part").write_text("")
        (folder / "pictures" / "a").mkdir(parents=True)
        (folder / "pictures" / "a" / "1.png").write_text("")
        (folder / "mine.txt").write_text("not of the run")
    assert run_of(folder).begun()
    with run_of(folder).writing():
        assert "1.part" in files(folder)
    with pytest.raises(RecordError, match="seed is 0 there, 1 here"), run_of(folder, 1).writing():
        pass
    with run_of(folder, 1, overwrite=True).writing():
        assert files(folder) == {"header.json", "mine.txt", LOCK}
    assert files(folder) == {"header.json", "mine.txt"}


def test_the_batch_size_is_the_one_that_the_run_began_with(tmp_path: Path) -> None:
    with run_of(tmp_path / "run", batch_size=4).writing():
        pass
    again = run_of(tmp_path / "run", batch_size=2)
    assert again.begun()
    assert again.identity.batch_size == 4


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_no_run_has_made_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "photo.png").write_text("mine")
    with (
        pytest.raises(StorageError, match=r"header\.json"),
        run_of(tmp_path, overwrite=overwrite).writing(),
    ):
        pass
    assert files(tmp_path) == {"photo.png"}
    with (
        pytest.raises(StorageError, match=r"photo\.png"),
        run_of(tmp_path / "photo.png", overwrite=overwrite).writing(),
    ):
        pass
    assert (tmp_path / "photo.png").read_text() == "mine"


def test_what_may_precede_the_header_is_no_foreign_thing(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    with run_of(tmp_path, before=("pool",)).writing():
        pass
    assert run_of(tmp_path).begun()


def test_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with run_of(folder).writing():
        (folder / "pictures" / "a").mkdir(parents=True)
    killed_while_writing(folder / "1.part")
    killed_while_writing(folder / "pictures" / "a" / "1.png")
    with run_of(folder).writing():
        pass
    assert files(folder) == {"header.json"}


def test_a_discarded_folder_is_gone_unless_something_else_is_in_it(tmp_path: Path) -> None:
    for name, others in (("run", set()), ("shared", {"mine.txt"})):
        run = run_of(tmp_path / name)
        with run.writing():
            (run.folder / "1.part").write_text("")
            for other in others:
                (run.folder / other).write_text("")
            run.discard()
        assert run.folder.exists() == bool(others)
        assert files(run.folder) == others


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 3}', "\udcff"])
def test_a_header_that_says_nothing_is_refused_or_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "header.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(RecordError, match=r"header\.json"):
        run_of(tmp_path).begun()
    with run_of(tmp_path, overwrite=True).writing():
        pass
    assert run_of(tmp_path).begun()


_WRITING = """
import os, pathlib, signal, sys
from unseen.core.identity import identify
from unseen.core.run_folder import RunFolder
with RunFolder(pathlib.Path(sys.argv[1]), identify("test", 1, options={"seed": 0})).writing():
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_of_two_processes_the_second_is_refused_and_after_a_kill_it_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITING, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    with (
        pytest.raises(StorageError, match="another process is writing"),
        run_of(tmp_path / "run").writing(patience=0.1),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with run_of(tmp_path / "run").writing():
        assert (tmp_path / "run" / "header.json").is_file()
    assert not (tmp_path / "run" / LOCK).exists()


@settings(deadline=None)  # a file each
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
def test_tiles_and_gaps_cover_a_range_once(
    tmp_path_factory: Any, named: list[tuple[int, int]]
) -> None:
    run = run_of(tmp_path_factory.mktemp("run"))
    for start, stop in named:  # whatever lies there: overlapping, empty, backwards, too far
        run.shard(range(start, stop), ".part").write_text("")
    within = range(3, 25)
    tiles = run.tiles(within, ".part")
    assert all(path == run.shard(covered, ".part") for covered, path in tiles.items())
    whole = sorted([*tiles, *run.gaps(tiles, within)], key=lambda tile: tile.start)
    assert list(itertools.chain(*whole)) == list(within)


@given(st.integers(0, 3000), st.integers(1, 1100))
def test_shards_depend_on_the_count_alone_and_cover_it_once(total: int, size: int) -> None:
    shards = manifest(total, size)
    assert list(itertools.chain(*shards)) == list(range(total))
    assert all(len(shard) == size for shard in shards[:-1])


def test_several_processes_write_at_once_and_one_alone_waits_for_them(tmp_path: Path) -> None:
    def run() -> RunFolder:
        return run_of(tmp_path / "run", also={"shard": 4})

    first, second, same, alone = (run() for _ in range(4))
    with first.writing(among="1-2"), second.writing(among="2-2"):
        assert second.said == {"shard": 4}
        (tmp_path / "run" / ".unseen-aside-of-a-live-one.part").write_text("")
        with (
            pytest.raises(StorageError, match="another process"),
            same.writing(among="2-2", patience=0.1),
        ):
            pass
        with pytest.raises(StorageError, match="another process"), alone.writing(patience=0.1):
            pass
        assert (tmp_path / "run" / ".unseen-aside-of-a-live-one.part").exists()
    with alone.writing():
        assert files(tmp_path / "run") == {"header.json", LOCK}


def test_a_journal_keeps_whole_lines_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "entries.jsonl")
    assert journal.read() == []
    journal.append({"a": 1})
    journal.append({"a": "ü"})
    with journal.path.open("a") as file:
        file.write('{"a": 3')  # a kill
    assert journal.read() == [{"a": 1}, {"a": "ü"}]
    journal.rewrite([{"a": 2}])
    assert journal.read() == [{"a": 2}]
    journal.remove()
    journal.remove()
    assert list(tmp_path.iterdir()) == []
