"""Frozen dataclasses as JSON files and back: what every record shares.

The types of the fields decide: msgspec checks a file against them, and the JSON Schema follows from
them. A number that is not finite becomes null. Fields that a dataclass does not know are left out,
so that a record of a later package of the same schema version can be read.
"""

import ast
import dataclasses
import inspect
import io
import math
import reprlib
import textwrap
import tokenize
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from unseen.core.errors import RecordError
from unseen.core.files import as_path, write_json
from unseen.core.results import LocatedResult
from unseen.core.wording import cut

_T = TypeVar("_T")
_LONGEST = 300  # characters of what a message says of a value

FilePath = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?!/|[A-Za-z][A-Za-z0-9+.\-]*:)(?!(.*/)?\.\.?(/|$))[^\\\x00-\x1f]+$",
        max_length=500,  # messages show it whole
        extra_json_schema={"format": "uri-reference"},
    ),
]
"""A file of a record: relative to the record's folder and inside it, with forward slashes."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Rank = Annotated[int, msgspec.Meta(ge=1)]  # 1 is the first


@dataclasses.dataclass(frozen=True)
class RecordFile(Generic[_T]):
    """A kind of record that is one JSON file, of one schema version."""

    kind: type[_T]  # a dataclass with `schema_version` and `package_version`
    what: str  # how messages call it, e.g. "comparison"
    file: str  # its usual name, e.g. "comparison.json"
    command: str  # what writes it, e.g. "unseen compare"
    schema_version: int
    check: Callable[[_T], str] | None = None  # what the types do not say: a complaint, or nothing

    def read(self, path: str | Path) -> _T:
        """Read a record: its file, or the folder that holds the file.

        Raises:
            RecordError: there is none, it is no such record, or of another schema version.
        """
        path = as_path(path)
        if path.is_dir():
            path = path / self.file
        article = "an" if self.file[0] in "aeiou" else "a"
        try:
            if path.exists() and not path.is_file():
                raise RecordError(f"{path} is no regular file; name {article} {self.file}")
            text = path.read_bytes()
        except OSError as error:
            raise RecordError(
                f"{path} cannot be read ({error.strerror}); name {article} {self.file}, or the "
                f"folder that `{self.command} --out` wrote"
            ) from error
        record = self.parse(decode(text, f"{path}", f"name {article} {self.file}"), str(path))
        return record.at(path.parent) if isinstance(record, LocatedResult) else record

    def parse(self, value: Any, origin: str = "the record") -> _T:
        """The record of JSON values, as `to_json` gives them; messages call it `origin`.

        Raises:
            RecordError: it is no such record, or of another schema version.
        """
        if not isinstance(value, dict) or "schema_version" not in value:
            raise RecordError(f"{origin} is no {self.what}: it has no schema_version")
        if value["schema_version"] != self.schema_version:
            version, writer = value["schema_version"], value.get("package_version", "unknown")
            raise RecordError(
                f"{origin} has schema version {reprlib.repr(version)}, this unseen reads "
                f"{self.schema_version}; write it again with `{self.command}`, or install the "
                f"unseen that wrote it ({reprlib.repr(writer)})"
            )
        record = build(self.kind, value, f"{origin} is no whole {self.what}")
        self.check_whole(record, origin)
        return record

    def check_whole(self, record: _T, origin: str = "the record") -> None:
        """Refuse a record whose parts do not fit each other (RecordError)."""
        complaint = self.check(record) if self.check is not None else ""
        if complaint:
            raise RecordError(f"{origin} is no whole {self.what}: {cut(complaint, _LONGEST)}")

    def write(self, path: Path, record: _T) -> None:
        """Write the record as JSON, aside, then rename it into place (StorageError)."""
        write_json(path, to_json(record))

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of the record, with every field's comment."""
        schema = msgspec.json.schema(self.kind)
        definitions = schema.pop("$defs")
        for kind in _dataclasses_of(msgspec.inspect.type_info(self.kind)):
            _complete(definitions[kind.__name__], kind)
        own = definitions.pop(self.kind.__name__)
        own["properties"]["schema_version"] = {"const": self.schema_version}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"{self.what}.schema.json",
            **own,
            "title": f"unseen {self.what}, schema version {self.schema_version}",
            "$defs": definitions,
        }


def decode(text: bytes | str, origin: str, advice: str) -> Any:
    """JSON values; NaN, numbers out of range and broken characters are refused (RecordError)."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RecordError(f"{origin} is not JSON ({error}); {advice}") from error


def build(kind: type[_T], value: Any, complaint: str) -> _T:
    """A dataclass of JSON values.

    Args:
        kind: its fields' types are what msgspec knows.
        value: what `decode` returned.
        complaint: how the message begins where the value does not fit.

    Raises:
        RecordError: a field is missing, or of another type; the message gives its place.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        detail = cut(str(error).replace("`$.", "`"), _LONGEST)
        raise RecordError(f"{complaint}: {detail}") from error


def to_json(record: Any) -> dict[str, Any]:
    """A dataclass as JSON values; numbers that are not finite become null."""
    value: dict[str, Any] = _plain(dataclasses.asdict(record))
    return value


def complaint_about_columns(columns: Sequence[str]) -> str:
    """What is wrong with the classes of a record, or nothing."""
    if len(columns) > 1 << 16:
        return f"it has {len(columns):,} columns; a label map of 16 bits names 65,536 at most"
    return "it has a column twice" if len(set(columns)) < len(columns) else ""


def _plain(value: Any) -> Any:
    """Tuples to lists, numbers that JSON cannot say to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def field_comments(kind: type) -> dict[str, str]:
    """What the comments above and behind each field of a dataclass say.

    A package that is installed without its sources has none.
    """
    comments: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except OSError:
            continue
        by_line = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        end = 1  # the line in which the field before ends
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for node in body.body:
            assert node.end_lineno is not None
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                lines = (*range(end + 1, node.lineno), node.end_lineno)
                said = [by_line[line] for line in lines if line in by_line]
                if said:
                    comments[node.target.id] = " ".join(said)
            end = node.end_lineno
    return comments


def _dataclasses_of(information: Any) -> set[type]:
    """The dataclasses that a type is made of, itself with them."""
    if isinstance(information, msgspec.inspect.DataclassType):
        return {information.cls}.union(
            *(_dataclasses_of(field.type) for field in information.fields)
        )
    parts: set[type] = set()
    for name in ("item_type", "item_types", "types", "value_type", "type"):
        inner = getattr(information, name, ())
        for part in inner if isinstance(inner, tuple) else (inner,):
            parts |= _dataclasses_of(part)
    return parts


def _complete(definition: dict[str, Any], kind: type) -> None:
    """A dataclass's part of a schema: the fields in order, all written, with their comments."""
    comments = field_comments(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for name, field in definition["properties"].items():
        field.pop("default", None)
        if name in comments:
            field["description"] = comments[name]
    definition["properties"] = {name: definition["properties"][name] for name in names}
    definition["required"] = names
