"""Images in one file: zip (plain, StyleGAN's) and `.npz` arrays.

Each source travels to a worker process as its path and index alone and opens the file again there.
What a file claims of itself is checked before memory or disk is taken for it.
"""

import collections
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, StorageError, StoreError, UnseenError, first_line
from unseen.core.files import as_path, as_place, open_regular
from unseen.core.hashes import cached_sha256, file_state
from unseen.core.npy_header import NpyHeader
from unseen.core.registry import Spec, takes
from unseen.core.storage import Stored
from unseen.core.temporary import temporary_file
from unseen.core.wording import printable
from unseen.images.arrays import array_axes, rgb_of_array
from unseen.images.captions import METADATA, captions_of, read_captions
from unseen.images.decode import SIGNATURE_BYTES, check_size, decode, image_format, out_of_memory
from unseen.images.inventory import COMPANION, LeftOut, no_images, take_images, tell_left_out
from unseen.images.lmdb_source import LmdbSource
from unseen.images.naming import row_names

_Place = TypeVar("_Place", Path, Path | Stored)

_LABELS = "arr_1"  # of the samples, as guided-diffusion writes them
_LARGEST_ENTRY = 1 << 30  # bytes; a zip entry that claims more is no picture


class ZipSource:
    """Images of a zip file; names are those of its entries. `dataset.json` is not needed."""

    endless = False

    def __init__(self, path: Path | Stored, spec: str) -> None:
        self.spec = spec
        self._path = path
        self._open: tuple[int, zipfile.ZipFile] | None = None
        self._captions: dict[str, str] | None = None  # read when first asked for
        others = LeftOut()
        entries = [entry for entry in self._zip().infolist() if not entry.filename.endswith("/")]
        for entry in entries:
            _refuse_outside(entry.filename, path)
        names = [entry.filename for entry in entries]
        repeated = [name for name, count in collections.Counter(names).items() if count > 1]
        if repeated:
            raise ImageError(f"{path} holds {repeated[0]!r} twice; pack it again")
        regular = []
        for entry in entries:
            if entry.filename and stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG):
                regular.append(entry.filename)
            else:
                others.add("no regular file", entry.filename)
        self.names: Sequence[str] = take_images(regular, str(path), self._peek, others)
        self.left_out = others.record()

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        name = self.names[index]
        shown = printable(f"{self._path}: {name}")
        try:
            archive = self._zip()
            size = archive.getinfo(name).file_size
            if size > _LARGEST_ENTRY:
                raise ImageError(f"{shown} claims to hold more than 1 GiB; remove it")
            with archive.open(name) as entry:
                start = entry.read(SIGNATURE_BYTES)
                # What is no image is not unpacked: a gigabyte of zeros is a megabyte of zip.
                content = start if image_format(start) is None else start + entry.read()
        except UnseenError:
            raise
        except MemoryError as error:
            raise out_of_memory(shown) from error
        except Exception as error:  # zlib's, lzma's, zipfile's own, RuntimeError for a password
            raise ImageError(
                f"{shown} cannot be unpacked ({first_line(error)}); restore it or remove it"
            ) from error
        return decode(io.BytesIO(content), shown)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The texts of `metadata.jsonl` in the archive; None where there is no such entry."""
        if self._captions is None:
            if METADATA not in self._zip().namelist():
                return None
            with self._zip().open(METADATA) as entry:
                self._captions = read_captions(entry, f"{self._path}: {METADATA}")
        names = [self.names[index] for index in indices]
        return captions_of(names, self._captions, f"{self._path}: {METADATA}")

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes."""
        return cached_sha256(self._path)

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of the file, for every image."""
        return [file_state(self._path)] * len(indices)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def _zip(self) -> zipfile.ZipFile:
        """The file, opened in this process: one that a parent opened shares its position."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), _open_zip(self._path, "a zip"))
        return self._open[1]

    def _peek(self, name: str, count: int) -> bytes:
        try:
            with self._zip().open(name) as entry:
                return entry.read(count)
        except Exception as error:  # as in `read`: whatever it is, it is not looked into
            raise OSError(str(error)) from error


def _open_zip(path: Path | Stored, kind: str) -> zipfile.ZipFile:
    try:
        file: Any = open_regular(path)
        if isinstance(path, Stored):
            return zipfile.ZipFile(file)
        with file:  # it is a regular one
            return zipfile.ZipFile(path)
    except (MemoryError, StoreError):
        raise
    except Exception as error:  # zipfile lets struct's and codecs' errors on broken bytes through
        raise ImageError(
            f"{path} cannot be opened as {kind} file ({first_line(error)}); restore it"
        ) from error


def _refuse_outside(name: str, path: Path | Stored) -> None:
    plain, windows = PurePosixPath(name), PureWindowsPath(name)
    if plain.is_absolute() or windows.anchor or ".." in plain.parts or ".." in windows.parts:
        raise ImageError(
            f"{path} holds the name {name!r}, which points outside of it; "
            "such an archive is not read: pack it again"
        )


class NpzSource:
    """An array of images in an `.npz` file, (n, h, w, 3) or (n, 3, h, w); rows name the images.

    Grey arrays (n, h, w), arrays with alpha, 16-bit and boolean ones count too, as `arrays` says.
    The array is mapped, not loaded. A compressed one is unpacked once into a temporary file, which
    goes when the source goes.
    """

    endless = False

    def __init__(self, path: Path, spec: str, key: str | None = None) -> None:
        self.spec = spec
        self._path = path
        others = LeftOut()
        with _open_zip(path, "an .npz") as archive:
            info, self._header = _choose_array(archive, path, key, others)
            if info.file_size != self._header.bytes:
                raise ImageError(
                    f"{path} is truncated or damaged: {info.filename} holds {info.file_size:,} "
                    f"bytes of {self._header.bytes:,}; restore it"
                )
            shape = self._header.shape
            if shape[0] == 0:
                raise no_images(f"{path}, array {info.filename}", {})
            self._labels = _labels(archive, shape[0])
            rows, columns, _ = array_axes(shape[1:])
            check_size(shape[1 + columns], shape[1 + rows], f"each image of {path}")
            if info.compress_type == zipfile.ZIP_STORED:
                self._data_path, self._offset = path, _data_offset(info, path)
            else:
                self._data_path, self._offset = self._unpack(archive, info), 0
        self.left_out = others.record()
        self.names: Sequence[str] = row_names(shape[0])
        self._images: np.ndarray | None = None

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Row `index` (ImageError: the file has become shorter)."""
        if self._images is None:
            try:
                self._images = np.memmap(
                    self._data_path,
                    self._header.dtype,
                    "r",
                    self._offset + self._header.size,
                    self._header.shape,
                    self._header.order,
                )
            except (OSError, ValueError) as error:
                raise ImageError(
                    f"{self._path} is truncated or damaged ({error}); restore it"
                ) from error
        name = f"{self._path}: {self.names[index]}"
        return rgb_of_array(np.array(self._images[index]), name)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """`class 207` and so on by the labels in `arr_1`, as guided-diffusion writes samples.

        None where there is no such array of one whole number a row.
        """
        if self._labels is None:
            return None
        return [f"class {self._labels[index]}" for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes."""
        return cached_sha256(self._path)

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of the file, for every image."""
        return [file_state(self._path)] * len(indices)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}

    def _unpack(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Path:
        path = temporary_file(self, ".npy", info.file_size)
        try:
            with path.open("wb") as target, archive.open(info) as content:
                shutil.copyfileobj(content, target, 1 << 20)
        except OSError as error:
            raise StorageError(
                f"{self._path} is compressed and could not be unpacked into {path.parent} "
                f"({error.strerror or error}); free some space, or name another place in TMPDIR"
            ) from error
        except MemoryError:
            raise
        except Exception as error:
            raise ImageError(
                f"{self._path} is truncated or damaged ({first_line(error)}); restore it"
            ) from error
        return path


def _channels(header: NpyHeader) -> int:
    """Of the images that an array holds; 0 where it holds none."""
    if len(header.shape) < 2 or header.dtype.kind not in "bu" or header.dtype.itemsize > 2:
        return 0
    try:
        return array_axes(header.shape[1:])[2]
    except ValueError:
        return 0


def _labels(archive: zipfile.ZipFile, rows: int) -> np.ndarray | None:
    """The labels of an archive's samples; None where `arr_1` is none, or cannot be read."""
    name = f"{_LABELS}.npy"
    if name not in archive.namelist():
        return None
    try:
        with archive.open(name) as file:
            if not _are_labels((archive.getinfo(name), NpyHeader(file)), rows):
                return None
        with archive.open(name) as file:
            labels: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 as for the images' array; these can be read without labels
        return None
    return labels


def _are_labels(array: tuple[zipfile.ZipInfo, NpyHeader] | None, rows: int) -> bool:
    """Whether an array holds one whole number a row."""
    return array is not None and array[1].shape == (rows,) and array[1].dtype.kind in "iu"


def _choose_array(
    archive: zipfile.ZipFile, path: Path, key: str | None, others: LeftOut
) -> tuple[zipfile.ZipInfo, NpyHeader]:
    """The array of images: that of the key, or the only one."""
    arrays: dict[str, tuple[zipfile.ZipInfo, NpyHeader]] = {}
    unreadable: dict[str, str] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        try:
            with archive.open(info) as file:
                arrays[name] = (info, NpyHeader(file))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 numpy's and zipfile's errors on broken bytes
            unreadable[name] = f"{info.filename} is not a readable array ({first_line(error)})"
    listed = ", ".join(
        f"{name} {header.dtype} {header.shape}" for name, (_, header) in arrays.items()
    )
    fitting = {name: n for name, (_, header) in arrays.items() if (n := _channels(header))}
    if key is not None and key not in arrays and key not in unreadable:
        raise ImageError(f"{path} has no array {key!r}; it holds {listed or 'nothing'}")
    if key in unreadable or (not fitting and unreadable):
        raise ImageError(
            f"{path}: {unreadable.get(key or '') or min(unreadable.values())}; restore it"
        )
    fewest = 3 if max(fitting.values(), default=0) >= 3 else 1  # colour goes before grey
    fitting = {
        name: channels
        for name, channels in fitting.items()
        if (channels >= fewest if key is None else name == key)
    }
    if not fitting:
        raise ImageError(
            f"{path} holds {listed or 'nothing'}; needed is a uint8 array (n, h, w, 3) or "
            "(n, 3, h, w)"
        )
    if len(fitting) > 1:
        raise ImageError(
            f"{path} holds {len(fitting)} arrays of images ({', '.join(fitting)}); choose one: "
            f"npz:{path}?key={next(iter(fitting))}"
        )
    (chosen,) = fitting
    for name in [*arrays, *unreadable]:
        if name != chosen:
            labels = name == _LABELS and _are_labels(arrays.get(name), arrays[chosen][1].shape[0])
            others.add(COMPANION if labels or key is not None else "array", name)
    return arrays[chosen]


def _data_offset(info: zipfile.ZipInfo, path: Path) -> int:
    """Where a stored member's bytes begin in the zip file (APPNOTE 4.3.7: the local header)."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise ImageError(f"{path} is truncated or damaged; restore it")
    return (
        info.header_offset
        + 30
        + int.from_bytes(local[26:28], "little")
        + int.from_bytes(local[28:30], "little")
    )


@takes()
def open_zip(spec: Spec) -> ZipSource:
    """The entry point `zip:FILE`."""
    path = as_place(spec.require_argument("file"))
    return tell_left_out(ZipSource(_existing_file(path, spec), spec.text))


@takes("key")
def open_npz(spec: Spec) -> NpzSource:
    """The entry point `npz:FILE[?key=NAME]`."""
    path = as_path(spec.require_argument("file"))  # mapped, hence copied from a store
    return tell_left_out(NpzSource(_existing_file(path, spec), spec.text, spec.options.get("key")))


@takes()
def open_lmdb(spec: Spec) -> LmdbSource:
    """The entry point `lmdb:FOLDER`, a folder that holds `data.mdb`."""
    folder = as_place(spec.require_argument("folder"))
    if isinstance(folder, Stored):
        raise ImageError(f"{folder} is in a store, where LMDB is not read; copy it to a disk")
    if not (folder / "data.mdb").is_file():
        what = "holds no data.mdb" if folder.exists() else "does not exist"
        raise ImageError(f"{folder} {what}; give the folder of one LSUN category")
    return tell_left_out(LmdbSource(folder, spec.text))


def _existing_file(path: _Place, spec: Spec) -> _Place:
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ImageError(f"{path} {what}; give a .{spec.name} file")
    return path
