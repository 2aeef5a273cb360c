"""Specs (`name[:argument][?key=value&…]`) and the plug-ins that they name.

Image sources, segmenters and generators are found by entry point (`unseen.images`,
`unseen.segmenters`, `unseen.generators`); only the one asked for is imported. The built-in ones
register in pyproject.toml exactly as anyone else's do.
"""

import dataclasses
import importlib.metadata
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from unseen.errors import SpecError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")  # two letters at least: `C:\photos` is a path


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a user asked for by name: `name[:argument][?key=value&…]`."""

    text: str  # as written
    name: str  # the plug-in
    argument: str | None = None  # e.g. a file
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def require_argument(self, what: str) -> str:
        """The argument, or a SpecError that says which one is missing."""
        if not self.argument:
            raise SpecError(f"{self.text!r} names no {what}; write {self.name}:{what.upper()}")
        return self.argument

    def check_options(self, *known: str) -> None:
        """Refuse options that the plug-in does not know (SpecError)."""
        for key in self.options:
            if key not in known:
                listed = ", ".join(known) or "none"
                raise SpecError(f"{self.text!r} has the unknown option {key!r}; known: {listed}")

    def integer(self, key: str, default: int, *, least: int = 0) -> int:
        """An integer option of at least `least` (SpecError otherwise)."""
        text = self.options.get(key)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise SpecError(
                f"{self.text!r} has {key}={text!r}; {key} is a whole number of at least {least}"
            )
        return value

    def choice(self, key: str, default: str, *known: str) -> str:
        """An option that takes one of `known` (SpecError otherwise)."""
        value = self.options.get(key, default)
        if value not in known:
            raise SpecError(f"{self.text!r} has {key}={value!r}; known: {', '.join(known)}")
        return value


def parse_spec(text: str) -> Spec:
    """Parse `name[:argument][?key=value&…]`.

    Raises:
        SpecError: the text does not begin with a plug-in's name, or an option has no value.
    """
    body, _, query = text.partition("?")
    name, _, argument = body.partition(":")
    if not _NAME.fullmatch(name):
        raise SpecError(f"{text!r} is no spec; write name[:argument][?key=value&…]")
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError as error:
        raise SpecError(f"{text!r} has a malformed option; write ?key=value&key=value") from error
    return Spec(text, name, argument or None, dict(pairs))


def plugin_names(kind: str) -> list[str]:
    """The names registered under the entry-point group `unseen.<kind>`, sorted."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=f"unseen.{kind}")})


def plugin(kind: str, spec: Spec) -> Callable[..., Any]:
    """The factory that a plug-in registered; importing it imports nothing else.

    Args:
        kind: "images", "segmenters" or "generators".
        spec: what the user asked for.

    Raises:
        SpecError: no plug-in of that name.
    """
    entries = importlib.metadata.entry_points(group=f"unseen.{kind}", name=spec.name)
    for entry in entries:
        factory: Callable[..., Any] = entry.load()
        return factory
    known = ", ".join(plugin_names(kind))
    raise SpecError(f"{spec.text!r}: no {kind} plug-in is called {spec.name!r}; known: {known}")
