"""Parquet files whose rows hold encoded images, as Hugging Face's datasets have them.

A column of images is `struct<bytes, path>`, or binary. Rows are read in order, a few at a time: a
file is neither unpacked nor held. An image in the middle of a row group costs the reading of those
before it there.
Source: https://huggingface.co/docs/datasets, "Image", and the Parquet format, "Row groups".
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from unseen.core.errors import ImageError, UnseenError, first_line
from unseen.core.files import open_regular
from unseen.core.hashes import cached_sha256, file_state
from unseen.core.registry import Spec, takes
from unseen.core.storage import Stored
from unseen.core.wording import printable
from unseen.images.captions import TEXTS
from unseen.images.decode import decode
from unseen.images.inventory import no_images
from unseen.images.naming import PackedNames, fingerprint_of, row_names
from unseen.images.webdataset import shard_files

_AT_ONCE = 8  # rows decoded together: a photograph has some 0.1 to 10 MB
_BUFFER = 1 << 20  # bytes read ahead of a column, instead of the whole row group
_BROKEN = (OSError, ValueError, pa.ArrowException)  # what pyarrow raises on files that are damaged


class _Groups(NamedTuple):
    """The row groups of all files, in order."""

    files: list[int]  # number of the file
    groups: list[int]  # number in the file
    starts: np.ndarray  # index of the first image; at the end the number of images


class ParquetSource:
    """Images of Parquet files; names are the file names beside the bytes, or else row numbers.

    Args:
        files: in the order of the set.
        spec: how the user can ask for it again.
        image: the column of images; None: the only one.
        caption: the column that says what they show; None: the first of `captions.TEXTS`.

    Raises:
        ImageError: a file cannot be read; there is no such column, or more than one of images.
    """

    endless = False

    def __init__(
        self,
        files: Sequence[Path | Stored],
        spec: str,
        image: str | None = None,
        caption: str | None = None,
    ) -> None:
        self.spec = spec
        self._files = list(files)
        self._reading: _Reading | None = None
        self._captions: list[str] | None = None  # read when first asked for
        places: list[tuple[int, int, int]] = []
        for number, path in enumerate(self._files):
            with _opened(path) as file:
                schema, groups = file.schema_arrow, range(file.num_row_groups)
                places += [(number, k, file.metadata.row_group(k).num_rows) for k in groups]
            if number == 0:
                self._image = _image_column(schema, path, image)
                self._caption = _caption_column(schema, path, caption)
                self._kind = schema.field(self._image).type
                self._classes = _class_names(schema, self._caption)
            self._check_like_first(schema, path)
        counts = np.cumsum([0, *(count for _, _, count in places)])
        self._groups = _Groups([file for file, _, _ in places], [k for _, k, _ in places], counts)
        if counts[-1] == 0:
            raise no_images(spec.partition(":")[2], {})
        self.names: Sequence[str] = self._file_names() or row_names(int(counts[-1]))

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        index = range(len(self.names))[index]
        group = int(np.searchsorted(self._groups.starts, index, side="right")) - 1
        path = self._files[self._groups.files[group]]
        shown = printable(f"{path}: {self.names[index]}")
        row = index - int(self._groups.starts[group])
        reading = self._reading
        if reading is None or reading.group != group or reading.next > row:
            values = self._values(path, self._groups.groups[group])
            reading = self._reading = _Reading(path, group, values)
        try:
            content = reading.advance(row)
        except ImageError:
            self._reading = None
            raise
        if content is None:
            raise ImageError(
                f"{shown} has no bytes in the column {self._image!r}; pack the images themselves "
                "into the file, or leave the row out"
            )
        return decode(io.BytesIO(content), shown)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The captions or classes of these images; None where there is no such column.

        Raises:
            ImageError: an image has none.
        """
        if self._caption is None:
            return None
        if self._captions is None:
            self._captions = [
                self._text(value, number)
                for number, value in enumerate(self._column(self._caption))
            ]
        return [self._captions[index] for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, or over those of all, with the columns that are read."""
        columns = [f"column {self._image!r}", f"column {self._caption!r}"]
        names = [path.name for path in self._files]
        digests = [cached_sha256(path) for path in self._files]
        return fingerprint_of([*columns, *names], [*columns, *digests])

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of the file of every image."""
        groups = np.searchsorted(self._groups.starts, list(indices), side="right") - 1
        files = [self._groups.files[group] for group in groups]
        known = {file: file_state(self._files[file]) for file in set(files)}
        return [known[file] for file in files]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None, "_captions": None}

    def _check_like_first(self, schema: pa.Schema, path: Path | Stored) -> None:
        for column in (self._image, self._caption):
            if column is not None and column not in schema.names:
                raise ImageError(
                    f"{path} has no column {column!r}, which {self._files[0]} has; name files of "
                    "one set"
                )
        kind = schema.field(self._image).type
        if kind != self._kind:
            raise ImageError(
                f"{path} holds {self._image!r} as {kind} and {self._files[0]} as {self._kind}; "
                "write them alike"
            )

    def _values(self, path: Path | Stored, group: int) -> Iterator[pa.Scalar]:
        """The encoded images of a row group, in order."""
        column = f"{self._image}.bytes" if pa.types.is_struct(self._kind) else self._image
        with _opened(path) as file:
            for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=[column]):
                values = batch.column(0)
                yield from values.field(0) if pa.types.is_struct(self._kind) else values

    def _column(self, column: str) -> Iterator[Any]:
        """The values of a column of all files; of a struct, dicts of what was asked for."""
        for path in self._files:
            with _opened(path) as file:
                for batch in file.iter_batches(columns=[column]):
                    yield from batch.column(0).to_pylist()

    def _file_names(self) -> PackedNames | None:
        """The last part of each image's path; None where some have none, or two are the same."""
        if not pa.types.is_struct(self._kind) or "path" not in _fields(self._kind):
            return None
        paths = [row and row["path"] for row in self._column(f"{self._image}.path")]
        names = [PurePosixPath(path).name for path in paths if path]
        if not len(set(names)) == len(names) == len(paths) or not all(names):
            return None
        return PackedNames(names)

    def _text(self, value: Any, number: int) -> str:
        if isinstance(value, str):
            return value
        if value is None or not isinstance(value, int):
            raise ImageError(
                f"{self.spec}: {self.names[number]} has {type(value).__name__} in the column "
                f"{self._caption!r}; needed is a text or a whole number; mend the row, or name "
                "another column (?caption=)"
            )
        known = 0 <= value < len(self._classes)
        return self._classes[value] if known else f"class {value}"


class _Reading:
    """A row group that is being read, and how far that is."""

    def __init__(self, path: Path | Stored, group: int, values: Iterator[pa.Scalar]) -> None:
        self._path = path
        self.group = group
        self.next = 0  # the row that comes next
        self._values = values

    def advance(self, row: int) -> bytes | None:
        """The bytes of a row that has not been passed; None where it has none."""
        while True:
            value = next(self._values, None)
            if value is None:
                raise ImageError(f"{self._path} has become shorter; restore it")
            self.next += 1
            if self.next > row:
                content: bytes | None = value.as_py()
                return content


@contextlib.contextmanager
def _opened(path: Path | Stored) -> Iterator[pq.ParquetFile]:
    """The file, open for reading (ImageError: pyarrow cannot read it)."""
    try:
        with open_regular(path) as file:
            yield pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    except UnseenError:
        raise
    except _BROKEN as error:
        raise ImageError(
            f"{path} cannot be read as Parquet ({first_line(error)}); restore it"
        ) from error


def _fields(kind: pa.DataType) -> set[str]:
    return {kind.field(k).name for k in range(kind.num_fields)}


def _holds_images(kind: pa.DataType) -> bool:
    """Whether a column could hold encoded images, by its type."""
    if pa.types.is_struct(kind) and "bytes" in _fields(kind):
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _image_column(schema: pa.Schema, path: Path | Stored, asked: str | None) -> str:
    columns = [name for name in schema.names if _holds_images(schema.field(name).type)]
    said = [name for name in columns if _features(schema).get(name, {}).get("_type") == "Image"]
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema) or "no column"
    if asked is not None and asked not in columns:
        raise ImageError(
            f"{path} has no column {asked!r} of image bytes; it holds {printable(listed)}"
        )
    if not columns:
        raise ImageError(
            f"{path} holds no images, but {printable(listed)}; needed is a column of encoded "
            "images, struct<bytes, path> or binary"
        )
    found = [asked] if asked is not None else said or columns
    if len(found) > 1:
        raise ImageError(
            f"{path} holds {len(found)} columns of images ({', '.join(found)}); choose one: "
            f"parquet:{path}?image={found[0]}"
        )
    return found[0]


def _caption_column(schema: pa.Schema, path: Path | Stored, asked: str | None) -> str | None:
    fitting = [
        name
        for name in schema.names
        if pa.types.is_string(kind := schema.field(name).type)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
    ]
    if asked is not None and asked not in fitting:
        raise ImageError(
            f"{path} has no column {asked!r} of texts or whole numbers; it has "
            f"{printable(', '.join(fitting)) or 'none'}"
        )
    return asked or next((name for name in TEXTS if name in fitting), None)


def _class_names(schema: pa.Schema, column: str | None) -> list[str]:
    """The names of the classes of a column of whole numbers, where the file has them."""
    names = _features(schema).get(column or "", {}).get("names", [])
    return [str(name) for name in names] if isinstance(names, list) else []


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What Hugging Face's datasets say of the columns; nothing where the file is not theirs."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        features = about["info"]["features"]
        return {name: said for name, said in features.items() if isinstance(said, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


@takes("image", "caption")
def open_parquet(spec: Spec) -> ParquetSource:
    """The entry point `parquet:FILE.parquet`, a folder, a range or a pattern, as of tars.

    Raises:
        ImageError: there is no such file, or it cannot be read, or holds no images.
        SpecError: a range that names too many.
    """
    options = spec.options
    files = shard_files(spec, ".parquet")
    return ParquetSource(files, spec.text, options.get("image"), options.get("caption"))
