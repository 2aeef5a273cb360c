"""The folder that belongs to one run: begin it, go on with it, finish it.

A folder of a run holds its header (what the run is of), finished shards or items, and perhaps the
result. A run that is killed and started again finds its folder by the header, sweeps what the kill
left half written, and makes what is missing. Another run is refused in words, and what no run has
made is never removed.
"""

import contextlib
import dataclasses
import errno
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from unseen.core.errors import RecordError, StorageError
from unseen.core.files import (
    canonical_json,
    not_writable,
    package_version,
    remove_asides,
    write_aside,
    write_json,
)
from unseen.core.identity import Identity
from unseen.core.lock import LOCK, PATIENCE, locked
from unseen.core.records import decode
from unseen.core.twins import put, refresh, refresh_folder, remove

Shard = TypeVar("Shard")

_SHARD = re.compile(r"(\d{9})-(\d{9})\.[a-z]+")


def manifest(total: int, size: int) -> list[range]:
    """The shards of a run of so many positions: their boundaries depend on the count alone.

    >>> manifest(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, total)) for start in range(0, total, size)]


def part_of(shards: Sequence[Shard], part: tuple[int, int]) -> Sequence[Shard]:
    """The shards that a part makes: the second quarter for (2, 4).

    >>> part_of([range(0, 2), range(2, 4), range(4, 5)], (2, 2))
    [range(2, 4), range(4, 5)]
    """
    number, parts = part
    return shards[len(shards) * (number - 1) // parts : len(shards) * number // parts]


@dataclasses.dataclass
class RunFolder:
    """A folder that belongs to one run of this identity.

    Nothing is written before `writing`. Inside it this process alone writes to the folder.

    Example:
        >>> import tempfile
        >>> from unseen.core.identity import identify
        >>> squares = identify("squares", 1, options={"upto": 10})
        >>> out = Path(tempfile.mkdtemp()) / "out"
        >>> for _ in range(2):  # the second run finds everything
        ...     run = RunFolder(out, squares, owned=("*.txt",))
        ...     with run.writing():
        ...         for n in range(10):
        ...             if not (out / f"{n}.txt").exists():
        ...                 _ = (out / f"{n}.txt").write_text(str(n * n))
        >>> cubes = identify("cubes", 1, options={"upto": 10})
        >>> RunFolder(out, cubes, owned=("*.txt",)).begun()  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        unseen.core.errors.RecordError: … (kind is squares there, cubes here); choose another folder
    """

    folder: Path
    identity: Identity  # after `begun` or `writing` with the batch size that the run began with
    owned: Sequence[str] = ()  # glob patterns, below the folder, of all that a run writes there
    header: str = "header.json"  # the name of the file that says what the run is of
    before: Sequence[str] = ()  # names of what may lie there before the header does
    also: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # for readers of the header
    overwrite: bool = False  # another run's files may be removed
    # What the header says by the keys of `also`; known after `begun` or `writing`.
    said: dict[str, Any] = dataclasses.field(default_factory=dict, init=False)
    _depth: int = dataclasses.field(default=0, init=False)  # of nested `writing`
    _swept: bool = dataclasses.field(default=False, init=False)

    def begun(self) -> bool:
        """Whether this run has begun the folder; `identity` then has the batch size of then.

        Raises:
            RecordError: another run's folder, and it is not to be overwritten.
            StorageError: there is something else.
        """
        path = self.folder / self.header
        refresh(path)
        if not path.is_file():
            self._refuse_foreign()
            return False
        try:
            earlier, said = self._read(path, self.also)
        except RecordError:
            if self.overwrite:
                return False
            raise
        differing = earlier.difference(self.identity)
        if differing is None:
            self.identity = earlier
            self.said = said
            return True
        if self.overwrite or not self._holds_anything():
            return False
        raise RecordError(
            f"{self.folder} holds another run ({differing}); choose another place, or replace it "
            "with overwrite"
        )

    def check_begun(self) -> None:
        """Refuse to go on where another process has begun the run, and its folder is not here.

        Raises:
            RecordError: the folder holds no run, or another one.
        """
        if not self.begun():
            raise RecordError(
                f"{self.folder} holds no run here, or the run is over; workers need the folder of "
                "the run on a disk that all machines share, or in a store"
            )

    def read_header(self, keys: Sequence[str]) -> dict[str, Any]:
        """What the header says by these keys, whatever run it is of.

        Raises:
            RecordError: there is no header, or it is broken.
        """
        return self._read(self.folder / self.header, keys)[1]

    @contextlib.contextmanager
    def writing(
        self, *, among: str | None = None, patience: float | None = PATIENCE
    ) -> Iterator[None]:
        """Have the folder for this process alone; begin it, or sweep what a kill left in it.

        May be nested.

        Args:
            among: the name of this process among several that write to the folder at once, each
                files of its own; None: it writes alone.
            patience: seconds to wait for another process that is writing; None: until it is done.

        Raises:
            RecordError: another run's folder, and it is not to be overwritten.
            StorageError: another process is writing, there is something else, or the folder cannot
                be written.
        """
        if self._depth:
            yield
            return
        self.begun()  # before a lock is put into someone else's folder
        with contextlib.ExitStack() as held:
            with contextlib.ExitStack() as alone:
                alone.enter_context(locked(self.folder / LOCK, patience=patience))
                if among is None or not self.begun():
                    self._wait_for_others(patience)
                    if not self._swept:
                        remove_asides(self.folder, below=self._below())
                        self._swept = True
                if not self.begun():
                    self._remove_owned()
                    self._write_header()
                    if not self.begun():
                        raise RecordError(
                            f"another run has begun in {self.folder} at the same moment; choose "
                            "another place"
                        )
                if among is None:
                    held.enter_context(alone.pop_all())
                else:
                    held.enter_context(locked(self.folder / f"{LOCK}-{among}", patience=patience))
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
        if not (self.folder / self.header).exists():  # discarded
            with contextlib.suppress(OSError):  # something else is in it
                self.folder.rmdir()

    def discard(self) -> None:
        """Remove, while `writing`, all that the run has written.

        The folder itself goes when `writing` ends, unless it holds something else.
        """
        self._remove_owned()
        remove(self.folder / self.header)

    # Shards: files named by the positions that they cover ----------------------------------------

    def shard(self, covered: range, suffix: str) -> Path:
        """The file of the shard that covers these positions of the run."""
        return self.folder / f"{covered.start:09d}-{covered.stop:09d}{suffix}"

    def tiles(self, within: range, suffix: str) -> dict[range, Path]:
        """The files of this suffix that cover positions of a range, in order.

        A file that overlaps one before it, or goes beyond the range, is left out: its positions are
        made again. Of two that begin at one position the longer counts.
        """
        named = {}
        refresh_folder(self.folder)
        for path in self.folder.glob(f"[0-9]*-[0-9]*{suffix}"):
            match = _SHARD.fullmatch(path.name)
            covered = range(int(match[1]), int(match[2])) if match else range(0)
            if covered and within.start <= covered.start and covered.stop <= within.stop:
                named[covered] = path
        tiles: dict[range, Path] = {}
        end = within.start
        for covered in sorted(named, key=lambda covered: (covered.start, -covered.stop)):
            if end <= covered.start:
                tiles[covered] = named[covered]
                end = covered.stop
        return tiles

    @staticmethod
    def gaps(covered: Iterable[range], within: range) -> list[range]:
        """The positions of a range that none of the others covers, in order."""
        gaps, end = [], within.start
        for tile in sorted(covered, key=lambda tile: tile.start):
            gaps.append(range(end, tile.start))
            end = tile.stop
        gaps.append(range(end, within.stop))
        return [gap for gap in gaps if gap]

    # Inside ---------------------------------------------------------------------------------------

    def _wait_for_others(self, patience: float | None) -> None:
        """Until no process writes among several."""
        for lock in self.folder.glob(f"{LOCK}-*"):
            with locked(lock, patience=patience):
                pass

    def _read(self, path: Path, keys: Iterable[str]) -> tuple[Identity, dict[str, Any]]:
        advice = "choose another place, or replace the run with overwrite"
        try:
            text = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path} cannot be read ({error.strerror}); {advice}") from error
        value = decode(text, str(path), advice)
        identity = Identity.from_json(
            value.get("identity") if isinstance(value, dict) else None, str(path)
        )
        return identity, {key: value[key] for key in keys if key in value}

    def _write_header(self) -> None:
        self.said = json.loads(canonical_json(dict(self.also)))
        write_json(
            self.folder / self.header,
            {
                "schema": self.identity.kind,
                "schema_version": self.identity.version,
                "package_version": package_version(),
                **self.also,
                "identity": self.identity.to_json(),
            },
            once=not (self.folder / self.header).exists(),
        )

    def _refuse_foreign(self) -> None:
        """Refuse a place that holds anything that no run of this kind has made."""
        if self.folder.exists() and not self.folder.is_dir():
            raise StorageError(f"{self.folder} is a file, and a folder is needed; name another")
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            # A run that is killed at its very beginning leaves hidden files.
            if path.name not in self.before and not path.name.startswith("."):
                raise StorageError(
                    f"{self.folder} is not empty and holds no {self.header}; choose another place"
                )

    def _holds_anything(self) -> bool:
        """Whether more than the header is there, and would be lost."""
        names = (path.name for path in self.folder.iterdir())
        return any(name != self.header and not name.startswith(".") for name in names)

    def _below(self) -> list[str]:
        """The folders in the folder that this run writes to; "." for any depth."""
        names: set[str] = set()
        for pattern in self.owned:
            first, slash, _ = pattern.partition("/")
            if slash:
                places = [] if first == "**" else self.folder.glob(first)
                names.update(place.name for place in places if place.is_dir())
                names.update({"."} if first == "**" else ())
        return sorted(names)

    def _files(self) -> Iterator[Path]:
        for pattern in self.owned:
            yield from (path for path in self.folder.glob(pattern) if path.is_file())

    def _remove_owned(self) -> None:
        places: set[Path] = set()
        for path in list(self._files()):
            remove(path)
            places.update(path.relative_to(self.folder).parents)
        for place in sorted(places, reverse=True):  # the deepest first
            if place != Path():
                with contextlib.suppress(OSError):  # something else is in it
                    (self.folder / place).rmdir()


@dataclasses.dataclass(frozen=True)
class Journal:
    """Finished items, a line of JSON each, appended."""

    path: Path

    def read(self) -> list[dict[str, Any]]:
        """Every whole line; the last one may have been cut off by a kill."""
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError), self.path.open(encoding="utf-8") as file:
            for text in file:
                if text.endswith("\n"):
                    with contextlib.suppress(ValueError):
                        lines.append(json.loads(text))
        return lines

    def rewrite(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Replace all lines (StorageError)."""
        with write_aside(self.path) as aside:
            text = "".join(canonical_json(dict(line)) + "\n" for line in lines)
            aside.write_text(text, encoding="utf-8")

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line (StorageError: the disk is full)."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(canonical_json(dict(line)) + "\n")
            put(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise not_writable(self.path, error) from error

    def remove(self) -> None:
        """Remove the file, if it is there."""
        remove(self.path)
