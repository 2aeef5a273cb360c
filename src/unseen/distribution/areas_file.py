"""Areas on disk: one Parquet file.

A row an image: its name, what it was asked for where that is known, then one uint32 column of
pixels a class, then what was measured of the image, then the same classes of each view, then how
many things of each class were counted. Schema 1 is of label maps, whose classes do not overlap, and
has no counts; all else is schema 2. The schema metadata holds, under the key "unseen", the
provenance as JSON. The same areas give the same bytes.
What is read is checked: a file that was cut, doubled or edited is refused.
"""

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unseen.core.errors import RecordError
from unseen.core.files import as_path, canonical_json, sha256_of_parts, write_aside
from unseen.core.identity import part_difference
from unseen.core.records import Count, build, decode
from unseen.core.wording import listed
from unseen.distribution.areas import Areas, joined, joined_conditions, joined_instances

_KEY = b"unseen"  # of the schema metadata
_NAME = "name"  # the column of image names
_CONDITION = "condition"  # the second column, where it is known what images were asked for
_VERSIONS = (1, 2)  # of the schema; the second is written where the first cannot say it
_INSTANCES = "instances"  # prefix of the columns that count things
_MOST_PIXELS = 2**32 - 1  # of a label map: what a uint32 holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Broken:
    """An image that was skipped."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """One set of images, as far as the package reads its description."""

    spec: str
    fingerprint: str | None
    count: Count  # rows
    broken: tuple[_Broken, ...] = ()
    drawn: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Provenance:
    """The provenance of areas, as far as the package reads it."""

    images: tuple[_Source, ...] | None = None
    segmenter: Mapping[str, Any] | None = None
    label_map: tuple[Count, Count] | None = None
    broken: tuple[_Broken, ...] = ()  # of a shard
    batch_sizes: tuple[int, ...] = ()  # images in a call, of a shard and where several were used


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Metadata:
    """The metadata of the file."""

    schema: Literal["areas"]
    schema_version: int
    label_map_pixels: Annotated[int, msgspec.Meta(ge=0, le=_MOST_PIXELS)]
    provenance: _Provenance
    measured: tuple[str, ...] = ()  # columns behind the classes; files of before have none
    views: tuple[str, ...] = ()  # behind these: for each, the classes again as "VIEW CLASS"
    overlapping: bool = False  # schema 2: rows need not sum to the image
    instances: bool = False  # schema 2: behind all these the classes again, "instances CLASS"
    rows_sha256: str | None = None  # of all that the rows hold; an edit is told by it


def write_areas(
    path: str | Path, areas: Areas, *, within: Path | None = None, once: bool = False
) -> None:
    """Write areas as one Parquet file, aside and then renamed into place.

    Args:
        path: of the file.
        areas: what it is to hold.
        within: folder for the file while it is being written; None: that of `path`.
        once: whoever writes the file writes the same: in a store the first one stays.

    Raises:
        RecordError: two columns of one name, or none of them named `channel/class`; two images of
            one name.
        StorageError: the disk is full or the place cannot be written.

    >>> write_areas(folder / "real.parquet", real)
    """
    if len(set(areas.columns)) != len(areas.columns) or {_NAME, _CONDITION} & {*areas.columns}:
        raise RecordError("areas need one column a class, of distinct names: channel/class")
    header = {
        "schema": "areas",
        "schema_version": _VERSIONS[areas.overlapping or areas.instances is not None],
        "label_map_pixels": areas.label_map_pixels,
        "provenance": dict(areas.provenance),
        **({"measured": list(areas.measured)} if areas.measured else {}),
        **({"views": list(areas.views)} if areas.views else {}),
        **({"overlapping": True} if areas.overlapping else {}),
        **({"instances": True} if areas.instances is not None else {}),
        "rows_sha256": _rows_sha256(areas),
    }
    columns = {_NAME: pa.array(list(areas.names), pa.string())}
    if areas.conditions is not None:  # few, and each many times
        asked_for = pa.array(list(areas.conditions), pa.string())
        columns[_CONDITION] = asked_for.dictionary_encode()
    columns |= _classes(areas.columns, areas.pixels)
    columns |= {name: pa.array(values, pa.float32()) for name, values in areas.measured.items()}
    for view, pixels in areas.views.items():
        columns |= _classes(_prefixed(view, areas.columns), pixels)
    if areas.instances is not None:
        columns |= _classes(_prefixed(_INSTANCES, areas.columns), areas.instances)
    table = pa.table(columns, metadata={_KEY: canonical_json(header).encode()})
    with write_aside(as_path(path), within=within, once=once) as aside:
        pq.write_table(table, aside, compression="zstd")


def _prefixed(word: str, columns: Sequence[str]) -> list[str]:
    return [f"{word} {column}" for column in columns]


def _classes(names: Sequence[str], pixels: np.ndarray) -> dict[str, pa.Array]:
    return {
        name: pa.array(np.ascontiguousarray(column), pa.uint32())
        for name, column in zip(names, pixels.T, strict=True)
    }


def read_areas(path: str | Path) -> Areas:
    """Read what `write_areas` wrote.

    Raises:
        RecordError: the file is missing, broken, of another program or of a newer schema; or it was
            cut, doubled or edited.

    >>> write_areas(folder / "real.parquet", real)
    >>> len(read_areas(folder / "real.parquet"))
    200
    """
    path = as_path(path)
    if not path.is_file():
        raise RecordError(f"{path} is not there; make it with: unseen segment IMAGES {path}")
    with _readable(path), pq.ParquetFile(path) as file:  # `read_table` imports pandas if there
        return _read(file, path)


def _read(file: Any, path: Path) -> Areas:
    schema = file.schema_arrow
    columns = tuple(schema.names)
    metadata = (schema.metadata or {}).get(_KEY)
    if metadata is None or columns[:1] != (_NAME,):
        raise RecordError(
            f"{path} is a Parquet file but holds no areas of unseen; make them with: "
            f"unseen segment IMAGES OUT.parquet; where it holds images, write parquet:{path}"
        )
    value = decode(metadata, f"the metadata of {path}", "make it again")
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version not in _VERSIONS:
        raise RecordError(
            f"{path} has the schema areas {version}; this version reads areas "
            f"{listed(map(str, _VERSIONS))}: make it again, or use the version that wrote it"
        )
    header = build(_Metadata, value, f"{path} holds no whole areas")
    if len(set(columns)) != len(columns):
        raise RecordError(f"{path} has two columns of one name; make it again")
    texts = 2 if columns[1:2] == (_CONDITION,) else 1
    tables = 1 + len(header.views) + header.instances
    k = (len(columns) - texts - len(header.measured)) // tables
    classes, behind = columns[texts : texts + k], columns[texts + k :]
    of_views = {view: _prefixed(view, classes) for view in header.views}
    counts = _prefixed(_INSTANCES, classes) if header.instances else []
    if behind != (*header.measured, *itertools.chain(*of_views.values(), counts)):
        raise RecordError(
            f"{path} has other columns behind its classes than its record says; make it again"
        )
    table = _Table(file)
    areas = Areas(
        names=_texts(table, _NAME, path),
        columns=classes,
        pixels=_pixels(table, classes, path),
        label_map_pixels=header.label_map_pixels,
        provenance=value["provenance"],
        measured={name: _column(table, name, pa.float32(), path) for name in header.measured},
        views={view: _pixels(table, names, path) for view, names in of_views.items()},
        conditions=_texts(table, _CONDITION, path) if texts == 2 else None,
        overlapping=header.overlapping,
        instances=_pixels(table, counts, path) if header.instances else None,
    )
    fault = _fault(areas, header)
    if fault is not None:
        raise RecordError(f"{path} {fault}; make it again")
    return areas


class _Table:
    """The columns of a file, each read as it is asked for: a million rows fit into memory."""

    def __init__(self, file: Any) -> None:
        self.num_rows: int = file.metadata.num_rows
        self._file = file

    def __getitem__(self, name: str) -> Any:
        table = self._file.read(columns=[name])
        table.validate(full=True)
        return table[name]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of an error of the Parquet reader which file it is about."""
    try:
        yield
    except RecordError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RecordError(
            f"{path} cannot be read as Parquet ({_first_line(error)}); make it again"
        ) from error


def _texts(table: _Table, name: str, path: Path) -> list[str]:
    """A column of texts: the names of the images, or what they were asked for."""
    column = table[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind not in (pa.string(), pa.large_string()) or column.null_count:
        raise RecordError(f"{path} has a column {name!r} of other than texts; make it again")
    texts: list[str] = column.to_pylist()
    return texts


def _pixels(
    table: _Table, names: Sequence[str], path: Path
) -> np.ndarray[Any, np.dtype[np.uint32]]:
    pixels = np.empty((table.num_rows, len(names)), np.uint32)
    for k, name in enumerate(names):
        pixels[:, k] = _column(table, name, pa.uint32(), path)
    return pixels


def _column(table: _Table, name: str, kind: pa.DataType, path: Path) -> np.ndarray:
    """The numbers of a column, uint32 (pixels) or float32 (measured)."""
    column = table[name]
    if column.type != kind or column.null_count:
        held = f"{column.null_count} nulls" if column.null_count else str(column.type)
        raise RecordError(
            f"{path} holds {held} in the column {name!r}, and a number ({kind}) is needed in "
            "every row; make it again"
        )
    values: np.ndarray = column.to_numpy()
    return values


def _fault(areas: Areas, header: _Metadata) -> str | None:
    """What is wrong with the rows, in words."""
    whole = areas.label_map_pixels
    for pixels in (areas.pixels, *areas.views.values()):
        if areas.overlapping:
            wrong = np.flatnonzero(pixels.max(axis=1, initial=0) > whole)
            what = "with a class of more than"
        else:
            wrong = np.flatnonzero(pixels.sum(1, dtype=np.uint64) != whole)
            what = "that do not sum to"
        if wrong.size:
            return f"has {wrong.size} rows {what} {whole} pixels, first {areas.names[wrong[0]]!r}"
    if len(areas) and not areas.label_map_pixels:
        return "has label maps of 0 pixels"
    if len(set(areas.names)) != len(areas.names):
        twice = next(name for i, name in enumerate(areas.names) if name in areas.names[:i])
        return f"holds the image {twice!r} twice"
    sources, label_map = header.provenance.images, header.provenance.label_map
    counted = len(areas) if sources is None else sum(source.count for source in sources)
    if counted != len(areas):
        return f"holds {len(areas):,} images, and its record counts {counted:,}"
    if label_map is not None and label_map[0] * label_map[1] != areas.label_map_pixels:
        return f"says label maps of {label_map[0]}×{label_map[1]} and {areas.label_map_pixels} px"
    digest = header.rows_sha256
    if digest is not None and digest != _rows_sha256(areas):
        return "was edited: its rows are not those that were written"
    return None


def _rows_sha256(areas: Areas) -> str:
    """SHA-256 of the rows; the bytes of the numbers are little-endian."""
    words = [str(len(areas)), *areas.names, *areas.columns, *areas.measured, *areas.views]
    digest = hashlib.sha256(sha256_of_parts(words).encode())
    for pixels in (areas.pixels, *areas.views.values()):
        digest.update(np.ascontiguousarray(pixels, "<u4").data)
    for values in areas.measured.values():
        digest.update(np.ascontiguousarray(values, "<f4").data)
    if areas.instances is not None:
        digest.update(np.ascontiguousarray(areas.instances, "<u4").data)
    if areas.conditions is not None:
        digest.update(sha256_of_parts(areas.conditions).encode())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def concatenate(parts: Sequence[Areas]) -> Areas:
    """The areas of disjoint sets of images as one.

    Images of one name from different sources are told apart by `source::name`.

    Raises:
        RecordError: no areas; another segmenter, label set or resolution; or the same image of
            the same source twice.

    >>> len(concatenate([real, fakes]))
    400
    """
    if not parts:
        raise RecordError("nothing to concatenate: give at least one areas record")
    for part in parts[1:]:
        check_comparable(parts[0], part)
    owners: dict[str, list[str]] = {}  # name → fingerprints of the sources that have it
    clash = False
    for source, name in (pair for areas in parts for pair in _rows(areas)):
        fingerprints = owners.setdefault(name, [])
        if source["fingerprint"] in fingerprints:
            raise RecordError(
                f"the image {name!r} of {source['spec']} is in two of the areas; concatenate "
                "disjoint sets"
            )
        clash = clash or bool(fingerprints)
        fingerprints.append(source["fingerprint"])
    names = [
        f"{source['spec']}::{name}" if clash else name
        for areas in parts
        for source, name in _rows(areas)
    ]
    provenance = dict(parts[0].provenance)
    provenance["images"] = [source for areas in parts for source in _sources(areas)]
    return dataclasses.replace(
        parts[0],
        names=names,
        pixels=np.concatenate([areas.pixels for areas in parts]),
        measured=joined([areas.measured for areas in parts]),
        views=joined([areas.views for areas in parts]),
        conditions=joined_conditions(parts),
        instances=joined_instances(parts),
        provenance=provenance,
    )


def _sources(areas: Areas) -> list[dict[str, Any]]:
    unknown = {"spec": "unknown images", "fingerprint": None, "count": len(areas)}
    return list(areas.provenance.get("images") or [unknown])


def _rows(areas: Areas) -> Iterator[tuple[dict[str, Any], str]]:
    """Every image with the source that it came from."""
    names = iter(areas.names)
    for source in _sources(areas):
        for _, name in zip(range(source["count"]), names, strict=False):
            yield source, name


def check_comparable(real: Areas, generated: Areas) -> None:
    """Refuse two records whose areas do not mean the same.

    Raises:
        RecordError: different label sets, resolutions of the label maps, or segmenters; the
            message names both.

    >>> check_comparable(real, fakes)
    """
    names = [_sources(side)[0]["spec"] for side in (real, generated)]
    ours, theirs = (side.provenance.get("segmenter") for side in (real, generated))
    if real.columns != generated.columns:
        by = [
            f" by {segmenter['spec']}" if segmenter and "spec" in segmenter else ""
            for segmenter in (ours, theirs)
        ]
        raise RecordError(
            f"{names[0]}{by[0]} has a label set of {len(real.columns)} classes, {names[1]}{by[1]} "
            f"of {len(generated.columns)} ({_label_difference(real, generated)}); segment both "
            "with the same segmenter and channel"
        )
    if real.label_map_pixels != generated.label_map_pixels:
        raise RecordError(
            f"{names[0]} has label maps of {real.label_map_pixels} pixels, {names[1]} of "
            f"{generated.label_map_pixels}; segment both at the same resolution"
        )
    matched = [
        {source.get("match_resolution") for source in _sources(s)} for s in (real, generated)
    ]
    if matched[0] != matched[1]:
        sizes = [
            listed(sorted("none" if size is None else f"{size:,}" for size in side))
            for side in matched
        ]
        raise RecordError(
            f"{names[0]} was reduced by --match-resolution {sizes[0]}, {names[1]} by {sizes[1]}, "
            "so blur would be measured; segment both with the same --match-resolution"
        )
    if ours is None or theirs is None:  # a tally of 2019 does not say: the labels must do
        return
    what = part_difference(ours, theirs, "segmenter")
    if what is not None:
        raise RecordError(
            f"{names[0]} was segmented in one way and {names[1]} in another ({what}); segment "
            "both with the same segmenter"
        )


def _label_difference(real: Areas, generated: Areas) -> str:
    sides = (real, generated, "first"), (generated, real, "second")
    for areas, opposite, which in sides:
        known = set(opposite.columns)
        only = [column for column in areas.columns if column not in known]
        if only:
            return f"only the {which} has {only[0]!r}"
    return "the same in another order"
