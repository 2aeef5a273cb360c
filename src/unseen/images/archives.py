"""Images in one file: zip (plain, StyleGAN's), LSUN's LMDB, and `.npz` arrays.

Each source travels to a worker process as its path and index alone and opens the file again there.
"""

import collections
import io
import os
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, MissingExtraError, StorageError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.images.decode import check_size, decode
from unseen.images.keys import list_keys
from unseen.images.naming import check_text, index_order, is_image_name, no_images

_LARGEST_ENTRY = 1 << 30  # bytes; a zip entry that claims more is no picture


class ZipSource:
    """Images of a zip file; names are those of its entries. `dataset.json` is not needed."""

    endless = False

    def __init__(self, path: Path, spec: str) -> None:
        self.spec = spec
        self._path = path
        self._open: tuple[int, zipfile.ZipFile] | None = None
        entries = [entry.filename for entry in self._zip().infolist() if not entry.is_dir()]
        for name in entries:
            _refuse_outside(name, path)
        repeated = [name for name, n in collections.Counter(entries).items() if n > 1]
        if repeated:
            raise ImageError(f"{path} holds {repeated[0]!r} twice; pack it again")
        names = [name for name in entries if is_image_name(name)]
        if not names:
            raise no_images(str(path), entries)
        self.names: Sequence[str] = index_order(check_text(name, str(path)) for name in names)

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        name = self.names[index]
        archive = self._zip()
        if archive.getinfo(name).file_size > _LARGEST_ENTRY:
            raise ImageError(f"{self._path}: {name} claims to hold more than 1 GiB; remove it")
        try:
            content = archive.read(name)
        except Exception as error:  # zlib's, lzma's, zipfile's own, RuntimeError for a password
            raise ImageError(
                f"{self._path}: {name} cannot be unpacked ({error}); restore it or remove it"
            ) from error
        return decode(io.BytesIO(content), f"{self._path}: {name}")

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes."""
        return sha256_of_file(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def _zip(self) -> zipfile.ZipFile:
        """The file, opened in this process: one that a parent opened shares its position."""
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = (os.getpid(), zipfile.ZipFile(self._path))
            except (OSError, zipfile.BadZipFile) as error:
                raise ImageError(
                    f"{self._path} cannot be opened as a zip file ({error}); restore it"
                ) from error
        return self._open[1]


def _refuse_outside(name: str, path: Path) -> None:
    plain, windows = PurePosixPath(name), PureWindowsPath(name)
    if plain.is_absolute() or windows.anchor or ".." in plain.parts or ".." in windows.parts:
        raise ImageError(
            f"{path} holds the name {name!r}, which points outside of it; "
            "such an archive is not read: pack it again"
        )


class LmdbSource:
    """Images of one LSUN category: values are encoded images, in the order of their keys."""

    endless = False

    def __init__(self, folder: Path, spec: str) -> None:
        self.spec = spec
        self._folder = folder
        self._keys = list_keys(self._environment(), folder)
        if not self._keys:
            raise no_images(str(folder), [])

    @property
    def names(self) -> Sequence[str]:
        """The keys as text."""
        return self._keys

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        name = self._keys[index]
        with self._environment().begin(buffers=True) as transaction:
            value = transaction.get(self._keys.raw(index))
            if value is None:
                raise ImageError(f"{self._folder}: the key {name} has gone; open it again")
            return decode(io.BytesIO(value), f"{self._folder}: {name}")

    def fingerprint(self) -> str:
        """SHA-256 of the bytes of `data.mdb`."""
        return sha256_of_file(self._folder / "data.mdb")

    def __reduce__(self) -> tuple[Any, ...]:
        return (LmdbSource, (self._folder, self.spec))  # the keys are listed there, or mapped

    def _environment(self) -> Any:
        """The database, opened once a process: LMDB forbids a second time, and forks."""
        try:
            import lmdb
        except ImportError as error:
            raise MissingExtraError(
                f'{self.spec} needs the package lmdb; run: pip install "unseen[lmdb]"'
            ) from error
        status = (self._folder / "data.mdb").stat()
        key = (os.getpid(), status.st_dev, status.st_ino)
        environment = _ENVIRONMENTS.get(key)
        if environment is None:
            try:
                environment = lmdb.open(
                    str(self._folder), readonly=True, lock=False, readahead=False, create=False
                )
            except lmdb.Error as error:
                raise ImageError(
                    f"{self._folder} cannot be opened as an LMDB database ({error}); restore it"
                ) from error
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if status.st_size < needed:  # reading beyond the end of a map kills the process
                environment.close()
                raise ImageError(
                    f"{self._folder} is truncated: data.mdb has {status.st_size:,} bytes of "
                    f"{needed:,}; restore it"
                )
            _ENVIRONMENTS[key] = environment
        return environment


_ENVIRONMENTS: dict[tuple[int, int, int], Any] = {}  # (process, device, inode) → database


class NpzSource:
    """A uint8 array of images (n, h, w, 3) or (n, 3, h, w) in an `.npz` file; row numbers name.

    The array is mapped, not loaded. A compressed one is unpacked once into a temporary file, which
    goes when the source goes.
    """

    endless = False

    def __init__(self, path: Path, spec: str, key: str | None = None) -> None:
        self.spec = spec
        self._path = path
        with _open_npz(path) as archive:
            info, header = _choose_array(archive, path, key)
            self._shape, self._order = header.shape, header.order
            self._channels_last = self._shape[-1] == 3
            if info.compress_type == zipfile.ZIP_STORED:
                self._data_path, self._offset = path, _data_offset(info, path)
            else:
                self._data_path, self._offset = self._unpack(archive, info), 0
            self._offset += header.size
        count = self._shape[0]
        height, width = self._shape[1:3] if self._channels_last else self._shape[2:4]
        if count == 0:
            raise no_images(f"{path}, array {info.filename}", [])
        check_size(width, height, f"each image of {path}")
        digits = max(6, len(str(count - 1)))
        self.names: Sequence[str] = [f"{index:0{digits}d}" for index in range(count)]
        self._images: np.ndarray | None = None

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Row `index`."""
        if self._images is None:
            try:
                self._images = np.memmap(
                    self._data_path, np.uint8, "r", self._offset, self._shape, self._order
                )
            except (OSError, ValueError) as error:
                raise ImageError(
                    f"{self._path} is truncated or damaged ({error}); restore it"
                ) from error
        image = np.array(self._images[index])
        return np.moveaxis(image, -1, 0) if self._channels_last else image

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes."""
        return sha256_of_file(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}

    def _unpack(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Path:
        handle, name = tempfile.mkstemp(prefix="unseen-", suffix=".npy")
        weakref.finalize(self, _remove, name, os.getpid())
        try:
            with os.fdopen(handle, "wb") as target, archive.open(info) as content:
                shutil.copyfileobj(content, target, 1 << 20)
        except OSError as error:
            raise StorageError(
                f"{self._path} is compressed and could not be unpacked into "
                f"{tempfile.gettempdir()} ({error.strerror or error}); free some space, or name "
                "another place in TMPDIR"
            ) from error
        except Exception as error:
            raise ImageError(
                f"{self._path} is truncated or damaged ({error}); restore it"
            ) from error
        return Path(name)


class _Header:
    """The header of one `.npy` member."""

    def __init__(self, file: BufferedIOBase) -> None:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        self.shape, fortran, self.dtype = read(file)
        self.order: Any = "F" if fortran else "C"
        self.size = file.tell()

    @property
    def is_images(self) -> bool:
        return (
            self.dtype == np.uint8
            and len(self.shape) == 4
            and (self.shape[3] == 3 or self.shape[1] == 3)
        )


def _open_npz(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageError(
            f"{path} cannot be opened as an .npz file ({error}); restore it"
        ) from error


def _choose_array(
    archive: zipfile.ZipFile, path: Path, key: str | None
) -> tuple[zipfile.ZipInfo, _Header]:
    found: dict[str, tuple[zipfile.ZipInfo, _Header]] = {}
    for info in archive.infolist():
        try:
            with archive.open(info) as file:
                found[info.filename.removesuffix(".npy")] = (info, _Header(file))  # type: ignore[arg-type]
        except Exception as error:  # numpy's and zipfile's errors on broken bytes
            raise ImageError(
                f"{path}: {info.filename} is not a readable array ({error}); restore it"
            ) from error
    listed = ", ".join(
        f"{name} {header.dtype} {header.shape}" for name, (_, header) in found.items()
    )
    if key is not None and key not in found:
        raise ImageError(f"{path} has no array {key!r}; it holds {listed or 'nothing'}")
    fitting = [
        name for name, (_, header) in found.items() if header.is_images and key in (None, name)
    ]
    if not fitting:
        raise ImageError(
            f"{path} holds {listed or 'nothing'}; needed is a uint8 array (n, h, w, 3) or "
            "(n, 3, h, w)"
        )
    if len(fitting) > 1:
        raise ImageError(
            f"{path} holds {len(fitting)} arrays of images ({', '.join(fitting)}); choose one: "
            f"npz:{path}?key={fitting[0]}"
        )
    return found[fitting[0]]


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


def _remove(name: str, process: int) -> None:
    if os.getpid() == process:
        Path(name).unlink(missing_ok=True)


@takes()
def open_zip(spec: Spec) -> ZipSource:
    """The entry point `zip:FILE`."""
    return ZipSource(_existing_file(spec), spec.text)


@takes("key")
def open_npz(spec: Spec) -> NpzSource:
    """The entry point `npz:FILE[?key=NAME]`."""
    return NpzSource(_existing_file(spec), spec.text, spec.options.get("key"))


@takes()
def open_lmdb(spec: Spec) -> LmdbSource:
    """The entry point `lmdb:FOLDER`, a folder that holds `data.mdb`."""
    folder = Path(spec.require_argument("folder")).expanduser()
    if not (folder / "data.mdb").is_file():
        what = "holds no data.mdb" if folder.exists() else "does not exist"
        raise ImageError(f"{folder} {what}; give the folder of one LSUN category")
    return LmdbSource(folder, spec.text)


def _existing_file(spec: Spec) -> Path:
    path = Path(spec.require_argument("file")).expanduser()
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ImageError(f"{path} {what}; give a .{spec.name} file")
    return path
