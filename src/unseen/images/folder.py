"""A folder of images, searched recursively."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError
from unseen.core.files import as_place, open_regular
from unseen.core.hashes import FileHashes, file_state
from unseen.core.registry import Spec, takes
from unseen.core.storage import Stored
from unseen.images.captions import METADATA, captions_of, read_captions
from unseen.images.decode import decode_file
from unseen.images.inventory import HIDDEN, LeftOut, is_hidden, take_images, tell_left_out
from unseen.images.naming import fingerprint_of, in_unicode
from unseen.images.stored_folder import StoredFolderSource

UNREADABLE = "folder that cannot be read"


class FolderSource:
    """Images of a folder and its subfolders; names are paths below it, with `/`."""

    endless = False

    def __init__(self, folder: Path, spec: str) -> None:
        self.spec = spec
        self._folder = folder
        self._captions: dict[str, str] | None = None  # read when first asked for
        others = LeftOut()
        unreadable: list[ImageError] = []
        self._on_disk: dict[str, str] = {}  # names that are not UTF-8 there: name → as on disk
        names = []
        for raw in _walk(folder, others, unreadable):
            name = in_unicode(raw)
            if name != raw:
                self._on_disk[name] = raw
            names.append(name)
        self.unreadable = unreadable[0] if unreadable else None  # the first subfolder
        if self._on_disk and len(set(names)) < len(names):
            raise ImageError(f"{folder} holds two files that are both called {name!r}; rename one")
        self.names: Sequence[str] = take_images(names, str(folder), self._peek, others)
        self.left_out = others.record()

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        return decode_file(self._path(self.names[index]))

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The texts of `metadata.jsonl` in the folder; None where there is no such file."""
        path = self._folder / METADATA
        if not path.is_file():
            return None
        if self._captions is None:
            with open_regular(path) as file:
                self._captions = read_captions(file, str(path))
        return captions_of([self.names[index] for index in indices], self._captions, str(path))

    def fingerprint(self) -> str:
        """SHA-256 over every name and the SHA-256 of every file's bytes."""
        with FileHashes(self._folder) as hashes:
            return fingerprint_of(self.names, hashes.sha256(map(self._raw, self.names)))

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of every image's file."""
        # As text: of a million files a `Path` each would take longer than all else.
        return [file_state(f"{self._folder}/{self._raw(self.names[index])}") for index in indices]

    def _path(self, name: str) -> Path:
        return self._folder / self._raw(name)

    def _raw(self, name: str) -> str:
        return self._on_disk.get(name, name)

    def _peek(self, name: str, count: int) -> bytes:
        with open_regular(self._path(name)) as file:
            return file.read(count)


@takes()
def open_folder(spec: Spec) -> FolderSource | StoredFolderSource:
    """The entry point `folder:FOLDER`."""
    folder = as_place(spec.require_argument("folder"))
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ImageError(f"{folder} {what}; give a folder of images")
    if isinstance(folder, Stored):
        return tell_left_out(StoredFolderSource(folder, spec.text))
    source = FolderSource(folder, spec.text)
    return source if source.unreadable else tell_left_out(source)


def _walk(folder: Path, others: LeftOut, unreadable: list[ImageError]) -> Iterator[str]:
    """Relative names of all files; every folder is walked once, whatever links lead to it.

    Folders come before links to folders, and links in the order of their names, so that the names
    do not depend on the file system's order. A link that leads nowhere counts as a file: its name
    says whether it is an image that was lost. A subfolder that cannot be listed is left out, and
    the error is added to `unreadable`.
    """
    seen = set()
    waiting, links = [""], list[str]()
    while waiting or links:
        if waiting:
            prefix = waiting.pop()
        else:
            links.sort(reverse=True)
            prefix = links.pop()
        place = folder / prefix
        try:
            status = place.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                others.add("reached twice", in_unicode(prefix))
                continue
            seen.add(identity)
            with os.scandir(place) as entries:
                for entry in entries:
                    name, kind = prefix + entry.name, _kind(entry)
                    if is_hidden(entry.name):
                        others.add(HIDDEN, in_unicode(name))
                    elif kind == "file":
                        yield name
                    elif kind == "special":  # a FIFO, a socket or a device: it may never end
                        others.add("no regular file", in_unicode(name))
                    else:
                        (links if kind == "link to a folder" else waiting).append(f"{name}/")
        except OSError as error:
            failure = ImageError(f"{place} cannot be read ({error.strerror or error})")
            if not prefix:
                raise failure from error
            unreadable.append(failure)
            others.add(UNREADABLE, in_unicode(prefix))


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is: a link to a file is a file, and so is a link that leads nowhere."""
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if not entry.is_symlink():
        return "special"
    try:
        mode = entry.stat().st_mode
    except OSError:  # the target is missing, may not be seen, or is the link itself
        return "file"
    if stat.S_ISDIR(mode):
        return "link to a folder"
    return "file" if stat.S_ISREG(mode) else "special"
