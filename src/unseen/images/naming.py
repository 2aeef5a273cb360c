"""Names of images: made from the index, put in the authors' order, hashed with the contents."""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from typing import overload

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


def row_names(count: int) -> NumberedNames:
    """The names of images that are known by their row alone: `000000`, `000001` and so on."""
    return NumberedNames(f"{{:0{max(6, len(str(count - 1)))}d}}", count)


def index_order(names: Iterable[str]) -> list[str]:
    """The authors' order: sorted by directory, then by name, both as plain strings."""
    return sorted(names, key=lambda name: (name.rpartition("/")[0], name.rpartition("/")[2]))


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
