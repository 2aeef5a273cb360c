"""Areas on disk: one Parquet file, written in parts as the work goes on.

A row an image: its name, then one uint32 column of pixels a class. The schema metadata holds,
under the key "unseen", the provenance as JSON. The same areas give the same bytes.

While it is being made, a file `OUT.parquet` has a folder `OUT.parquet.parts` beside it that holds
the header and every finished shard. Both are valid only for the same header.
"""

import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unseen.core.errors import RecordError
from unseen.core.files import canonical_json, write_aside, write_text
from unseen.distribution.areas import Areas

SCHEMA_VERSION = 1
_KEY = b"unseen"  # of the schema metadata
_NAME = "name"  # the column of image names


def write_areas(path: str | Path, areas: Areas) -> None:
    """Write areas as one Parquet file, aside and then renamed into place.

    Raises:
        RecordError: two columns of one name, or none of them named `channel/class`.
        StorageError: the disk is full or the place cannot be written.
    """
    if len(set(areas.columns)) != len(areas.columns) or _NAME in areas.columns:
        raise RecordError("areas need one column a class, of distinct names: channel/class")
    header = {
        "schema": "areas",
        "schema_version": SCHEMA_VERSION,
        "label_map_pixels": areas.label_map_pixels,
        "provenance": dict(areas.provenance),
    }
    schema = pa.schema(
        [pa.field(_NAME, pa.string()), *(pa.field(c, pa.uint32()) for c in areas.columns)],
        metadata={_KEY: canonical_json(header).encode()},
    )
    arrays = [
        pa.array(list(areas.names), pa.string()),
        *(pa.array(np.ascontiguousarray(column), pa.uint32()) for column in areas.pixels.T),
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    with write_aside(Path(path)) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_areas(path: str | Path) -> Areas:
    """Read what `write_areas` wrote.

    Raises:
        RecordError: the file is missing, broken, of another program or of a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"{path} is not there; make it with: unseen segment IMAGES {path}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(
            f"{path} cannot be read as Parquet ({_first_line(error)}); make it again"
        ) from error
    metadata = (table.schema.metadata or {}).get(_KEY)
    if metadata is None or table.column_names[:1] != [_NAME]:
        raise RecordError(
            f"{path} is a Parquet file but holds no areas of unseen; make them with: "
            "unseen segment IMAGES OUT.parquet"
        )
    header = json.loads(metadata)
    if header.get("schema") != "areas" or header.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has the schema {header.get('schema')} {header.get('schema_version')}; this "
            f"version reads areas {SCHEMA_VERSION}: make it again, or use the version that wrote it"
        )
    columns = tuple(table.column_names[1:])
    pixels = np.empty((table.num_rows, len(columns)), np.uint32)
    for k, column in enumerate(columns):
        pixels[:, k] = table[column].to_numpy()
    areas = Areas(
        names=table[_NAME].to_pylist(),
        columns=columns,
        pixels=pixels,
        label_map_pixels=header["label_map_pixels"],
        provenance=header["provenance"],
    )
    wrong = np.flatnonzero(pixels.sum(1, dtype=np.uint64) != areas.label_map_pixels)
    if wrong.size:
        raise RecordError(
            f"{path} has {wrong.size} rows that do not sum to {areas.label_map_pixels} pixels, "
            f"first {areas.names[wrong[0]]!r}; make it again"
        )
    return areas


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclasses.dataclass(frozen=True)
class AreasParts:
    """The shards of an areas file that is being made.

    A shard is a run of consecutive images, named by the position of its first. A run that is
    killed and started again with the same header makes only what no shard holds.
    """

    out: Path
    header: Mapping[str, Any]  # JSON: all that decides the areas

    @property
    def folder(self) -> Path:
        """Where the shards lie: beside the file that they become."""
        return self.out.with_name(self.out.name + ".parts")

    def open(self, *, overwrite: bool = False) -> None:
        """Make the folder, or find it as the same run left it.

        Raises:
            RecordError: it holds the shards of another run; the message names the difference.
        """
        about = self.folder / "header.json"
        mine = canonical_json(dict(self.header))
        theirs = about.read_text(encoding="utf-8") if about.is_file() else None
        if theirs == mine:
            return  # with overwrite too: an interrupted run of that kind goes on as well
        if theirs is not None and not overwrite and any(self._shards()):
            what, there, here = difference(json.loads(theirs), json.loads(mine))
            raise RecordError(
                f"{self.folder} holds an unfinished run of something else ({what} is {there} "
                f"there, {here} here); finish it with its own command, choose another file, or "
                "start afresh with overwrite"
            )
        self.discard()
        write_text(about, mine)

    def write(self, start: int, areas: Areas) -> None:
        """Keep a finished shard whose first image is the run's image `start`."""
        write_areas(self.folder / f"{start:09d}.parquet", areas)

    def read(self) -> dict[int, Areas]:
        """Every whole shard by the position of its first image, in order.

        One that a crash of the machine broke is left out, with a warning.
        """
        shards = {}
        for path in sorted(self._shards()):
            try:
                shards[int(path.stem)] = read_areas(path)
            except RecordError as error:
                warnings.warn(f"{error}; it is made again", stacklevel=2)
        return shards

    def discard(self) -> None:
        """Remove the folder."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _shards(self) -> Iterator[Path]:
        return self.folder.glob("[0-9]*.parquet")


def difference(one: Any, other: Any, where: str = "") -> tuple[str, str, str]:
    """The first place where two JSON values differ: its name, and both values, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), key)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            if left != right:
                return difference(left, right, where)
    return where, _short(one), _short(other)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= 60 else text[:57] + "…"


def concatenate(parts: Sequence[Areas]) -> Areas:
    """The areas of disjoint sets of images as one.

    Images of one name from different sources are told apart by `source::name`.

    Raises:
        RecordError: no areas; another segmenter, label set or resolution; or the same image of
            the same source twice.
    """
    if not parts:
        raise RecordError("nothing to concatenate: give at least one areas record")
    for other in parts[1:]:
        check_comparable(parts[0], other)
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
        provenance=provenance,
    )


def _sources(areas: Areas) -> list[dict[str, Any]]:
    unknown = {"spec": "unknown images", "fingerprint": None, "count": len(areas)}
    return list(areas.provenance.get("images", [unknown]))


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
    """
    names = [_sources(side)[0]["spec"] for side in (real, generated)]
    ours, theirs = (side.provenance.get("segmenter") for side in (real, generated))
    if real.columns != generated.columns:
        by = [f" by {each['spec']}" if each and "spec" in each else "" for each in (ours, theirs)]
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
    if ours is None or theirs is None:  # a tally of 2019 does not say: the labels must do
        return
    # The same weights may lie in two places: where they are recorded, the place does not count.
    if ours.get("weights") and theirs.get("weights"):
        ours, theirs = ({k: v for k, v in s.items() if k != "spec"} for s in (ours, theirs))
    if ours != theirs:
        what, left, right = difference(ours, theirs)
        raise RecordError(
            f"{names[0]} was segmented with {what} {left}, {names[1]} with {what} {right}; "
            "segment both with the same segmenter"
        )


def _label_difference(real: Areas, generated: Areas) -> str:
    sides = (real, generated, "first"), (generated, real, "second")
    for areas, other, which in sides:
        only = [column for column in areas.columns if column not in set(other.columns)]
        if only:
            return f"only the {which} has {only[0]!r}"
    return "the same in another order"
