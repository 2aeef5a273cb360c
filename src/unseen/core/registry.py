"""Specs (`name[:argument][?key=value&…]`) and the plug-ins that they name.

Image sources, segmenters and generators are found by entry point (`unseen.images`,
`unseen.segmenters`, `unseen.generators`); only the one asked for is imported. The built-in ones
register in pyproject.toml exactly as anyone else's do.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from unseen.core.errors import SpecError, UnseenError
from unseen.core.files import expand_home
from unseen.core.user_code import user_code

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")  # two letters at least: `C:\photos` is a path


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a user asked for by name: `name[:argument][?key=value&…]`."""

    text: str  # as written
    name: str  # the plug-in
    argument: str | None = None  # e.g. a file
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def require_argument(self, what: str) -> str:
        """The argument, or a SpecError that says which argument is missing."""
        if not self.argument:
            raise SpecError(f"{self.text!r} names no {what}; write {self.name}:{what.upper()}")
        return self.argument

    @property
    def place(self) -> str:
        """The text without options, for plug-ins whose options decide no values."""
        return self.text.partition("?")[0]

    def integer(self, key: str, default: int, *, least: int = 0, most: int = 2**32 - 1) -> int:
        """An integer option from `least` to `most` (SpecError otherwise)."""
        text = self.options.get(key)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise SpecError(
                f"{self.text!r} has {key}={text!r}; {key} is a whole number from {least} to {most}"
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

    Argument and values are taken as they are written: `+` and `%25` mean themselves. A leading `~/`
    is the home folder.

    >>> parse_spec("python:sets:images?file=runs+aug/100%25.npy").options
    {'file': 'runs+aug/100%25.npy'}

    Raises:
        SpecError: the text does not begin with a plug-in's name, an option has no value, or is
            given twice.
    """
    body, _, query = text.partition("?")
    name, _, argument = body.partition(":")
    if not _NAME.fullmatch(name):
        raise SpecError(f"{text!r} is no spec; write name[:argument][?key=value&…]")
    options: dict[str, str] = {}
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise SpecError(f"{text!r} has a malformed option; write ?key=value&key=value")
        if key in options:
            raise SpecError(f"{text!r} gives {key} twice; give it once")
        options[key] = expand_home(value)
    return Spec(text, name, expand_home(argument) or None, options)


_P = ParamSpec("_P")
_T = TypeVar("_T")


def takes(
    *options: str, argument: bool = True
) -> Callable[[Callable[Concatenate[Spec, _P], _T]], Callable[Concatenate[Spec, _P], _T]]:
    """Declare what the spec of a plug-in's factory may have; anything else is refused (SpecError).

    Args:
        options: the names of its options.
        argument: whether it may have an argument.
    """

    def decorate(
        factory: Callable[Concatenate[Spec, _P], _T],
    ) -> Callable[Concatenate[Spec, _P], _T]:
        def checked(spec: Spec, /, *rest: _P.args, **named: _P.kwargs) -> _T:
            if not argument and spec.argument is not None:
                raise SpecError(
                    f"{spec.text!r}: {spec.name} takes no argument; leave {spec.argument!r} out"
                )
            for key in spec.options:
                if key not in options:
                    known = ", ".join(options) or "none"
                    raise SpecError(f"{spec.text!r} has the unknown option {key!r}; known: {known}")
            return factory(spec, *rest, **named)

        return functools.update_wrapper(checked, factory)

    return decorate


def spec_name(text: str) -> str:
    """What stands where a spec has its plug-in's name; any text has something there."""
    return text.partition("?")[0].partition(":")[0]


def plugin_names(kind: str) -> list[str]:
    """The names registered under the entry-point group `unseen.<kind>`, sorted."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=f"unseen.{kind}")})


def plugin(kind: str, spec: Spec) -> Callable[..., Any]:
    """The factory that a plug-in registered; importing it imports nothing else.

    Args:
        kind: "images", "segmenters", "generators" or "inverters".
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


def call_user_factory(
    spec: Spec, offered: Mapping[str, Any], *, what: str, error: type[UnseenError]
) -> tuple[Any, frozenset[str]]:
    """Call the function that `python:MODULE:FACTORY` names.

    The module is looked for as Python does, and in the working directory first. What it prints
    goes to stderr.

    Args:
        spec: its options are keyword arguments, as text.
        offered: keyword arguments that the function gets if it takes them.
        what: what it returns, for messages, e.g. "generator".
        error: raised where the module or the function raises, or a module that it needs is missing.

    Returns:
        What the function returned, and the names of the arguments it took.

    Raises:
        SpecError: no such module or function, or it does not take the options.
        OutOfMemoryError: memory ran out.
    """
    module_name, _, attribute = spec.require_argument("module:factory").partition(":")
    if not module_name or not attribute:
        raise SpecError(f"{spec.text!r} names no factory; write python:MODULE:FACTORY")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with user_code(f"{spec.text}: {module_name}", error):
        factory = _import(spec, module_name, error)
        for part in attribute.split("."):
            factory = getattr(factory, part, None)
    if not callable(factory):
        raise SpecError(
            f"{spec.text!r}: {module_name} has no function {attribute!r}; write "
            f"python:MODULE:FACTORY, where FACTORY returns the {what}"
        )
    taken = _accepted(factory, {**offered, **spec.options})
    for key in spec.options:
        if key not in taken:
            raise SpecError(
                f"{spec.text!r} has the option {key!r}, which {attribute} does not take"
            )
    for name in _needed(factory):
        if name not in taken:
            raise SpecError(
                f"{spec.text!r}: {attribute} needs {name}; write {spec.name}:{spec.argument}"
                f"?{name}=VALUE"
            )
    with user_code(f"{spec.text}: {attribute}", error):
        return factory(**taken), frozenset(taken)


def _import(spec: Spec, module_name: str, error: type[UnseenError]) -> Any:
    """A user's module; the missing one is named where it, or one that it needs, is not there."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and f"{module_name}.".startswith(f"{missing.name}."):
            raise SpecError(
                f"{spec.text!r}: no module {module_name!r}; run from the folder that holds it, "
                "or install it"
            ) from missing
        raise error(
            f"{spec.text}: {module_name} needs {missing.name!r}, which is missing; install it"
        ) from missing


def _accepted(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given keyword arguments that the factory takes."""
    parameters = _parameters(factory)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    return {key: value for key, value in given.items() if key in names}


def _needed(factory: Callable[..., Any]) -> list[str]:
    """Parameters without a default."""
    return [
        p.name
        for p in _parameters(factory)
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(factory).parameters.values())
    except ValueError:  # a built-in without a signature
        return []
