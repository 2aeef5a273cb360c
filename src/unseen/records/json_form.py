"""Frozen dataclasses as JSON and back: what every record in JSON shares.

A number that is not finite becomes null; fields that a dataclass does not know are left out, so
that a record of a later package of the same schema version is read.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar


class MismatchError(Exception):
    """A JSON value of another type than the dataclass says; the message gives its path."""


_T = TypeVar("_T")


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
