"""Names of images: made from the index, put in the authors' order, hashed with the contents."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from unseen.core.files import sha256_of_parts

_UNREADABLE = "unreadable"


@dataclasses.dataclass(frozen=True)
class NumberedNames(Sequence[str]):
    """Names made from the index: no list of them, whatever their number."""

    form: str  # for str.format, e.g. "churchyard-seed1-{:06d}"
    images: int | None = None  # None: without end

    def __len__(self) -> int:
        return sys.maxsize if self.images is None else self.images

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if index < 0 and self.images is None:
            raise IndexError("an endless set has no last image")
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self):,} images, and none has the index {index:,}")
        return self.form.format(index % len(self))


class PackedNames(Sequence[str]):
    """Names as one piece of UTF-8: a fifth of the memory of strings, and quick to send elsewhere.

    >>> names = PackedNames(["a.png", "sub/b.png"])
    >>> names[1], names[:1], len(names)
    ('sub/b.png', ['a.png'], 2)
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])  # of a name, where the next begins

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]  # IndexError where there is none
        return self._text[self._ends[k] : self._ends[k + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends[1:].tolist():
            yield self._text[start:end].decode("utf-8", "surrogatepass")
            start = end


def row_names(count: int) -> NumberedNames:
    """The names of images that are known by their row alone: `000000`, `000001` and so on."""
    return NumberedNames(f"{{:0{max(6, len(str(count - 1)))}d}}", count)


def index_order(names: Iterable[str]) -> list[str]:
    """The authors' order: sorted by directory, then by name, both as plain strings."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    return [name for folder in sorted(folders) for name in sorted(folders[folder])]


def in_unicode(name: str) -> str:
    """The name as records hold it; what is not UTF-8 is written in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fingerprint_of(names: Sequence[str], digests: Iterable[str | None]) -> str:
    """SHA-256 over every name and the digest of every image's content.

    Args:
        names: of the images, in index order.
        digests: of their contents, in the same order; None for an image that cannot be read. Such
            an image is an error where it is read, and there `skip_broken` decides; it is part of
            the set all the same, so that the set changes when the image comes back.
    """
    return sha256_of_parts(
        part
        for name, digest in zip(names, digests, strict=True)
        for part in (name, _UNREADABLE if digest is None else digest)
    )
