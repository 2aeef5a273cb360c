"""What image sources share: which names are images, in which order, and what else was found."""

import collections
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import overload

from unseen.core.errors import ImageError
from unseen.images.decode import EXTENSIONS, EXTENSIONS_IN_WORDS


@dataclasses.dataclass(frozen=True)
class NumberedNames(Sequence[str]):
    """The names of an endless set, made from the index: no list of them."""

    form: str  # for str.format, e.g. "churchyard-seed1-{:06d}"

    def __len__(self) -> int:
        return sys.maxsize

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if index < 0:
            raise IndexError("an endless set has no last image")
        return self.form.format(index)


def is_image_name(name: str) -> bool:
    """Whether a relative name is an image's: by its extension, and not hidden.

    Hidden are names that begin with a dot (thumbnails, macOS's `._photo.jpg`) and `__MACOSX`.
    """
    path = PurePosixPath(name)
    if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
        return False
    return path.suffix.lower() in EXTENSIONS


def index_order(names: Iterable[str]) -> list[str]:
    """The authors' order: sorted by directory, then by name, both as plain strings."""
    return sorted(names, key=lambda name: (name.rpartition("/")[0], name.rpartition("/")[2]))


def no_images(where: str, others: Iterable[str]) -> ImageError:
    """The error for a place that holds no image: it says what was found there."""
    counts = collections.Counter(
        PurePosixPath(name).suffix.lower() or "no extension" for name in others
    )
    if not counts:
        return ImageError(f"{where} is empty; put images into it ({EXTENSIONS_IN_WORDS})")
    listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common(5))
    more = ", …" if len(counts) > 5 else ""
    return ImageError(
        f"{where} holds no images, but {listed}{more}; needed are {EXTENSIONS_IN_WORDS}"
    )


def check_text(name: str, where: str) -> str:
    """The name, if records can hold it: it must be valid Unicode (ImageError otherwise)."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"{where} holds {name!r}, whose name is not UTF-8; rename it") from error
    return name
