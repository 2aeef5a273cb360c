"""Frozen dataclasses as JSON and back: what every record in JSON shares.

A number that is not finite becomes null; fields that a dataclass does not know are left out, so
that a record of a later package of the same schema version is read.
"""

import dataclasses
import importlib.resources
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from unseen.core.errors import RecordError


class MismatchError(Exception):
    """A JSON value of another type than the dataclass says; the message gives its path."""


_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class RecordFile(typing.Generic[_T]):
    """A kind of record that is one JSON file, of one schema version."""

    kind: type[_T]  # a dataclass with `schema_version` and `package_version`
    what: str  # how messages call it, e.g. "comparison"
    file: str  # its usual name, e.g. "comparison.json"
    command: str  # what writes it, e.g. "unseen compare"
    schema_version: int

    def read(self, path: str | Path) -> _T:
        """Read the file, or the one in the folder `path`.

        Raises:
            RecordError: there is none, it is no such record, or of another schema version.
        """
        path = Path(path)
        if path.is_dir():
            path = path / self.file
        article = "an" if self.file[0] in "aeiou" else "a"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecordError(
                f"{path} cannot be read ({error.strerror}); name {article} {self.file}, or the "
                f"folder that `{self.command} --out` wrote"
            ) from error
        except ValueError as error:
            raise RecordError(f"{path} is not JSON; name {article} {self.file}") from error
        return self.parse(value, str(path))

    def parse(self, value: Any, origin: str) -> _T:
        """The record of what json.loads returned; messages call it `origin`.

        Raises:
            RecordError: it is no such record, or of another schema version.
        """
        if not isinstance(value, dict) or "schema_version" not in value:
            raise RecordError(f"{origin} is no {self.what}: it has no schema_version")
        if value["schema_version"] != self.schema_version:
            raise RecordError(
                f"{origin} has schema version {value['schema_version']!r}, this unseen reads "
                f"{self.schema_version}; write it again with `{self.command}`, or install the "
                f"unseen that wrote it ({value.get('package_version', 'unknown')})"
            )
        try:
            return build(self.kind, value, self.what)
        except MismatchError as error:
            raise RecordError(f"{origin} is no whole {self.what}: {error}") from error


def to_plain(record: Any) -> dict[str, Any]:
    """A dataclass as JSON values; numbers that are not finite become null."""
    value: dict[str, Any] = plain(dataclasses.asdict(record))
    return value


def shipped_schema(package: str, file: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record, as shipped in the package."""
    text = importlib.resources.files(package).joinpath(file).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def build(kind: type[_T], value: Any, where: str) -> _T:
    """A dataclass from a JSON object; fields that it does not know are left out.

    Args:
        kind: a dataclass whose fields are scalars, tuples, `Mapping[str, …]`, `Literal`, optional
            values and dataclasses of these.
        value: what json.loads returned.
        where: what messages call it.

    Raises:
        MismatchError: a field is missing or of another type.
    """
    if not isinstance(value, dict):
        raise MismatchError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    arguments = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in value:
            if (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise MismatchError(f"{where} has no {field.name}")
            continue
        arguments[field.name] = _convert(
            hints[field.name], value[field.name], f"{where}.{field.name}"
        )
    return kind(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (hint,) = [one for one in inner if one is not type(None)]
        return _convert(hint, value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list):
            raise MismatchError(f"{where} is not a list")
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            raise MismatchError(f"{where} has {len(value)} entries, not {len(inner)}")
        return tuple(
            _convert(one, entry, f"{where}[{i}]")
            for i, (one, entry) in enumerate(zip(inner, value, strict=True))
        )
    if origin is Literal:
        if value not in inner:
            raise MismatchError(f"{where} is {value!r}, not one of {', '.join(inner)}")
        return value
    if origin is Mapping:
        if not isinstance(value, dict):
            raise MismatchError(f"{where} is not an object")
        return {key: _convert(inner[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if hint is Any:
        return value
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise MismatchError(f"{where} is {value!r}, not of type {hint.__name__}")
    return float(value) if hint is float else value


def plain(value: Any) -> Any:
    """Tuples to lists, numbers that JSON cannot say to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
