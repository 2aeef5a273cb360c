"""Pictures and label maps beside a record: written as PNG, read by fixed formats alone.

A record may come from anyone. Its paths are relative and stay in its folder; only regular files
are opened; only PNG, JPEG and WebP are decoded, whose decoders start no program; and the size in
pixels is checked before anything is decoded.
"""

import contextlib
import functools
import io
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, Integer, UInt8
from PIL import Image, PngImagePlugin

from unseen.core.errors import ImageError, RecordError
from unseen.core.files import as_path, write_aside
from unseen.core.records import RecordFile
from unseen.core.results import Html, html_picture, html_text
from unseen.core.twins import fetched
from unseen.images.decode import as_picture, check_size, rgb_array
from unseen.statistics.label_layers import NOTHING

_T = TypeVar("_T")

_FORMATS = ("PNG", "JPEG", "WEBP")
_LAYERS = "layers"  # text entry of a PNG file: how many label maps stand below each other
_NO_CLASS = 2**16 - 1  # in a 16-bit file of layers
_NOT_IN_PATHS = frozenset('\\:%?#"<>|*')  # a drive, an address, an escape of one, or a pattern


def write_png(path: Path, image: UInt8[np.ndarray, "3 h w"]) -> None:
    """Write a picture as PNG.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with write_aside(path) as aside:
        as_picture(image).save(aside, format="PNG")


def write_label_map(
    path: Path, label_map: Integer[np.ndarray, "*layers h w"], within: Path | None = None
) -> None:
    """Write a label map as 16-bit PNG, whose values are its labels.

    Layers stand below each other, and the file says how many they are; 65535 is no class there.

    Args:
        path: of the file.
        label_map: labels below 2^16 − 1.
        within: folder for the file while it is being written; None: that of `path`.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with write_aside(path, within=within) as aside:
        said = None
        if label_map.ndim == 3:
            said = PngImagePlugin.PngInfo()
            said.add_text(_LAYERS, str(len(label_map)))
            label_map = np.where(label_map == NOTHING, _NO_CLASS, label_map)
            label_map = label_map.reshape(-1, label_map.shape[-1])
        Image.fromarray(label_map.astype(np.uint16)).save(aside, format="PNG", pnginfo=said)


def picture_path(folder: Path, relative: str) -> Path:
    """Where a picture lies that a record names.

    Args:
        folder: of the record.
        relative: the path in the record: relative, with forward slashes.

    Raises:
        RecordError: the path is absolute, an address, or leads out of the folder, also by a link.
    """
    parts = relative.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    if not plain or not relative.isprintable() or _NOT_IN_PATHS & set(relative):
        raise RecordError(
            f"the record names the picture {relative[:100]!r}; needed is a path inside the folder "
            "of the record, such as 'pictures/00000.png'"
        )
    path = folder / relative
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # links that lead to one another
        raise _broken(path) from error
    if not inside:
        raise RecordError(
            f"{path} is a link that leads out of the record's folder; copy the picture itself there"
        )
    return fetched(path)


def picture_size(folder: Path, relative: str) -> tuple[int, int]:
    """Width and height of a picture, of which nothing is decoded.

    Raises:
        RecordError: as in `picture_path`; or it is missing, no PNG, JPEG or WebP, or too large.
    """
    with _opened(folder, relative) as image:
        return image.size


def read_picture(folder: Path, relative: str) -> UInt8[np.ndarray, "3 h w"]:
    """A picture as 8-bit RGB.

    Raises:
        RecordError: as in `picture_size`, or it is damaged.
    """
    with _opened(folder, relative) as image:
        return np.ascontiguousarray(rgb_array(image, relative))


def read_label_map(
    folder: Path, relative: str, classes: int | None = None
) -> Int64[np.ndarray, "*layers h w"]:
    """A label map: an 8-bit or 16-bit grey PNG, whose values are labels; or its layers.

    Args:
        folder: of the record.
        relative: the path in the record.
        classes: how many the record has; None: any label is taken.

    Raises:
        RecordError: as in `read_picture`, or it is no label map of so many classes.
    """
    with _opened(folder, relative) as image:
        grey = image.mode in ("1", "L", "P", "I", "I;16", "I;16B")
        labels = np.asarray(image).astype(np.int64) if grey else None
        layers = image.info.get(_LAYERS)
    least = 0
    if labels is not None and layers is not None:
        least = NOTHING
        count = int(layers) if str(layers).isdecimal() else 0
        whole = count > 0 and len(labels) % count == 0
        labels = labels.reshape(count, -1, labels.shape[1]) if whole else None
    if labels is not None and layers is not None:
        labels = np.where(labels == _NO_CLASS, NOTHING, labels)
    if labels is None or labels.min() < least or (classes is not None and labels.max() >= classes):
        of = "" if classes is None else f" of the record's {classes:,} classes"
        raise RecordError(
            f"{folder / relative} is no label map{of}; copy the whole folder again, or write the "
            "record again"
        )
    return labels


def thumbnail(
    read: Callable[[], UInt8[np.ndarray, "3 h w"]], description: str, side: int = 192
) -> Html:
    """A small picture for a notebook, or why it cannot be shown.

    Args:
        read: gives the pixels, as `read_picture` does (RecordError).
        description: what is to be seen.
        side: at most so many pixels.
    """
    try:
        image = Image.fromarray(np.moveaxis(read(), 0, -1))
    except RecordError as error:
        return html_text(str(error), "span")
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=85)
    return html_picture(buffer.getvalue(), description)


def kept_thumbnail(folder: Path, relative: str, description: str) -> Html:
    """A picture of a record for a notebook, as in `thumbnail`."""
    return thumbnail(functools.partial(read_picture, folder, relative), description)


def copy_pictures(source: Path | None, target: Path, relatives: Iterable[str | None]) -> None:
    """Copy files that a record names to another folder, each whole.

    Args:
        source: the record's folder; None: it is not known, and nothing may be named.
        target: the other folder, where they get the same paths.
        relatives: the paths in the record; None is passed over.

    Raises:
        RecordError: as in `picture_path`, or a file is missing, or `source` is None.
        StorageError: the disk is full, or the place cannot be written.
    """
    for relative in dict.fromkeys(relative for relative in relatives if relative is not None):
        if source is None:
            raise RecordError(
                f"the folder that holds {relative} is not known; read the record from its folder"
            )
        path = picture_path(source, relative)
        if not path.is_file():
            raise _broken(path)
        if path.resolve() != (target / relative).resolve():
            copy_picture(path, target / relative)


def copy_picture(path: Path, target: Path) -> None:
    """Copy one file that a record names, whole.

    Raises:
        RecordError: it is missing.
        StorageError: the disk is full, or the place cannot be written.
    """
    if not path.is_file():
        raise _broken(path)
    with write_aside(target) as aside:
        shutil.copyfile(path, aside)


def save_record(
    kind: RecordFile[_T],
    record: _T,
    files: Iterable[str | None],
    source: Path | None,
    target: str | Path,
) -> Path:
    """Write a record and the files that it names to a folder; reading it gives the same record.

    Args:
        kind: what file the record is.
        record: the record.
        files: the paths in it; None is passed over.
        source: the folder that they lie in; None: it is not known.
        target: the other folder.

    Returns:
        The record's file in `target`.

    Raises:
        RecordError: a file is missing, or its path leads out of the folder.
        StorageError: the disk is full, or the place cannot be written.
    """
    target = as_path(target)
    copy_pictures(source, target, files)
    kind.write(target / kind.file, record)
    return target / kind.file


@contextlib.contextmanager
def _opened(folder: Path, relative: str) -> Iterator[Image.Image]:
    path = picture_path(folder, relative)
    try:
        if not path.is_file():  # a FIFO would be waited for
            raise _broken(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, notes are not needed
            with Image.open(path, formats=_FORMATS) as image:
                check_size(*image.size, str(path))
                yield image
    except (RecordError, MemoryError):
        raise
    except ImageError as error:
        raise RecordError(f"a picture of the record cannot be read: {error}") from error
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise _broken(path) from error


def _broken(path: Path) -> RecordError:
    return RecordError(
        f"{path} is missing or no PNG, JPEG or WebP file, but the record names it; copy the whole "
        "folder, or write the record again"
    )
