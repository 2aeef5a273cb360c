"""Twins: local folders of this process for what a command reads whole, or writes, in a store.

A twin is filled from the store when its URL is first named. Each file is put into the store as one
object when it is finished, hence never half-written, and removed there when it is removed here.
Pictures and archives come when they are opened. Functions here do nothing to any other path.
"""

import contextlib
import dataclasses
import functools
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from unseen.core.errors import SPOKEN, SpecError, StorageError
from unseen.core.storage import ObjectState, Stored, asking, stored

# What may be large, and is never more than looked for or opened: it comes when it is opened.
_LATER = re.compile(r".*\.(png|jpe?g|webp|bmp|tiff?|zip|tar|npz|mdb)", re.IGNORECASE)
_PARTS = ".parts"  # ends the name of the folder beside a result, which keeps what is finished of it
_RECENT = 1 << 30  # seconds: times of twins' files, which their versions decide, are below

_twins: dict[Path, "Twin"] = {}  # by the folder above what the URL names


@dataclasses.dataclass(frozen=True)
class Twin:
    """A local folder, and the place in a store that it stands for."""

    place: Stored  # a file or a folder; `.parts` beside it belongs to it
    folder: Path  # the local one, which holds it under its own name
    # Version of each object that is here; None: this process has put it, and does not know.
    _here: dict[str, bytes | None] = dataclasses.field(default_factory=dict)
    _empty: set[str] = dataclasses.field(default_factory=set)  # until they are opened

    @property
    def path(self) -> Path:
        """Where the file or folder lies here."""
        return self.folder / self.place.name

    def url(self, path: Path) -> Stored:
        """The place of a local path in the store."""
        return Stored(f"{self.place.parent}/{self._name(path)}")

    def fill(self) -> None:
        """Bring here all that is there and differs."""
        self.refresh(self.path)
        if not self.path.is_file():
            self.fill_folder(self.path)
        self.fill_folder(self.folder / (self.place.name + _PARTS))

    def fill_folder(self, folder: Path) -> None:
        """Bring here what is in a folder there and differs, and remove here what is gone."""
        within = self._name(folder)
        there = set()
        for state in self._listed(self.url(folder)):
            name = f"{within}/{state.name}"
            there.add(name)
            self._take(name, state, later=_LATER.fullmatch(name) is not None)
        for name in [name for name in self._here if name.startswith(f"{within}/")]:
            if name not in there:
                self._forget(name)

    def refresh(self, path: Path) -> None:
        """Bring one file here as it is there now."""
        state, name = self.url(path).state(), self._name(path)
        if state is not None:
            self._take(name, state, later=False)
        elif name in self._here:  # else it is this process's own, and nothing was put
            self._forget(name)

    def fetch(self, path: Path) -> None:
        """Bring the contents of a file here that is empty until it is opened."""
        name = self._name(path)
        if name in self._empty:
            self._get(name)

    def put(self, path: Path, *, once: bool) -> None:
        """Put a finished file there, or take the one that is there already, if `once`."""
        place, name = self.url(path), self._name(path)
        self._empty.discard(name)
        with asking(place.url, StorageError, "written"):
            try:
                mode = "create" if once else "overwrite"
                place.filesystem.put_file(str(path), place.url, mode=mode)
                self._here[name] = None
            except FileExistsError:
                self._here[name] = None
                self._get(name)
            except FileNotFoundError as error:
                raise _no_bucket(place) from error

    def remove(self, path: Path) -> None:
        """Remove a file there."""
        place = self.url(path)
        with asking(place.url, StorageError, "removed"), contextlib.suppress(FileNotFoundError):
            place.filesystem.rm_file(place.url)
        self._here.pop(self._name(path), None)
        self._empty.discard(self._name(path))

    def check_writable(self, path: Path) -> None:
        """Refuse a file, or a folder, in whose place no object can be made (StorageError)."""
        place = self.url(path)
        folder = place.parent if place.suffix else place  # credentials may be for a folder alone
        probe = folder / f".unseen-probe-{uuid.uuid4().hex}"
        with asking(place.url, StorageError, "written"):
            try:
                probe.filesystem.pipe_file(probe.url, b"")
            except FileNotFoundError as error:
                raise _no_bucket(probe) from error
            probe.filesystem.rm_file(probe.url)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    @staticmethod
    def _listed(folder: Stored) -> Iterator[ObjectState]:
        try:
            yield from folder.files()
        except FileNotFoundError as error:
            raise _no_bucket(folder) from error

    def _take(self, name: str, state: ObjectState, *, later: bool) -> None:
        if self._here.get(name) == state.version:
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if later:
            path.touch()
            self._empty.add(name)
        else:
            try:
                self._get(name)
            except FileNotFoundError:  # another machine has just removed it
                self._forget(name)
                return
        # The same on all machines, as the states of images are.
        time = int.from_bytes(state.version[:4]) % _RECENT
        os.utime(path, (time, time))
        self._here[name] = state.version

    def _get(self, name: str) -> None:
        path, place = self.folder / name, Stored(f"{self.place.parent}/{name}")
        aside = path.with_name(f".unseen-got-{uuid.uuid4().hex}")
        try:
            with asking(place.url):
                place.filesystem.get_file(place.url, str(aside))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        self._empty.discard(name)

    def _forget(self, name: str) -> None:
        """Remove here what is no longer there."""
        (self.folder / name).unlink(missing_ok=True)
        self._here.pop(name, None)
        self._empty.discard(name)


def twin_path(url: str | Path) -> Path:
    """The local path that stands for a URL, filled from the store.

    Raises:
        SpecError: it names no file or folder in a bucket.
        StoreError, StorageError: the store cannot be reached, or refuses.
    """
    place = stored(url)
    if place.url == place.bucket:
        raise SpecError(f"{place} is a whole bucket; name a file or a folder in it")
    twin = _twin_of(place)
    twin.fill()
    return twin.path


@functools.cache
def _twin_of(place: Stored) -> Twin:
    from unseen.core.temporary import temporary_folder

    folder = temporary_folder().resolve()
    SPOKEN[str(folder)] = place.parent.url
    return _twins.setdefault(folder, Twin(place, folder))


def _twin(path: Path) -> Twin | None:
    """The twin that holds a path."""
    if not _twins:
        return None
    return next((_twins[folder] for folder in path.parents if folder in _twins), None)


def named(path: Path) -> Path:
    """How other processes know a path: the URL of one in a twin, any other as absolute path."""
    twin = _twin(path)
    return path.absolute() if twin is None else Path(twin.url(path).url)


def put(path: Path, *, once: bool = False) -> None:
    """Put a finished file into the store.

    Args:
        path: of the file.
        once: whoever makes it makes the same: where the store has it already, it stays, and comes
            here.

    Raises:
        StorageError: the store cannot be reached, or refuses.
    """
    if (twin := _twin(path)) is not None:
        twin.put(path, once=once)


def remove(path: Path) -> None:
    """Remove a file, if it is there, also from the store (StorageError)."""
    path.unlink(missing_ok=True)
    if (twin := _twin(path)) is not None:
        twin.remove(path)


def fetched(path: Path) -> Path:
    """The path, after the file's contents came from the store (StoreError)."""
    if (twin := _twin(path)) is not None:
        twin.fetch(path)
    return path


def refresh(path: Path) -> None:
    """Bring a file to what it is in the store now; other machines write there, too (StoreError)."""
    if (twin := _twin(path)) is not None:
        twin.refresh(path)


def refresh_folder(folder: Path) -> None:
    """Bring all files of a folder to what they are in the store now (StoreError)."""
    if (twin := _twin(folder / "any")) is not None:
        twin.fill_folder(folder)


def check_twin(path: Path) -> None:
    """Refuse a place in a store that cannot be written (StorageError)."""
    if (twin := _twin(path)) is not None:
        twin.check_writable(path)


def _no_bucket(place: Stored) -> StorageError:
    return StorageError(f"{place.bucket} does not exist; make it, or name another bucket")
