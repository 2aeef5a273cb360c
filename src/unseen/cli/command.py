"""From a function and the tasks among its parameters to a command of the command line.

A parameter is a task (a dataclass, of which every declared field becomes an option), a dict marked
by `Fields`, or has an `Option` of its own. Typer reads the command line, and its texts become
values here, by the types of the fields.
"""

import contextlib
import dataclasses
import inspect
import shutil
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from unseen.cli import streams
from unseen.core.errors import SpecError, UserCodeError
from unseen.core.files import as_path, expand_home
from unseen.core.options import Argument, Fields, Option, Place, declaration, declared

_REQUIRED = dataclasses.MISSING
_MORE = "..."  # ends the metavar of an option that takes every word up to the next option
_LONGEST = 200  # bytes of the name of a result: endings are added to it while it is written


@dataclasses.dataclass
class _Value:
    """One option or argument of the command line."""

    key: str
    kind: Any  # its type
    option: Option
    default: Any  # _REQUIRED: it must be given

    @property
    def spelling(self) -> str:
        """Its name on the command line."""
        if isinstance(self.option, Argument):
            return self.option.metavar or self.key.upper()
        return self.option.name or f"--{self.key.replace('_', '-')}"

    @property
    def bare(self) -> Any:
        """Its type without None."""
        return _without_none(self.kind)

    @property
    def is_list(self) -> bool:
        """Whether it is given once for every value of a list."""
        told = isinstance(self.option, Argument) and _many(self.bare)
        return told or self.option.repeated

    def parameter(self) -> inspect.Parameter:
        """What Typer is told of it: every value is a text, but for flags."""
        option = self.option
        settings: dict[str, Any] = {"help": option.help, "show_default": self.shown or False}
        text: Any = str | None
        names = [self.spelling]
        if self.bare is bool:
            text = bool if self.kind is bool else bool | None
            if self.default is not False:
                names = [f"{self.spelling}/--no-{self.spelling[2:]}"]
        else:
            pair = _pair(self.bare) and option.parse is None
            settings["metavar"] = option.metavar or _metavar(self.bare)
            if option.greedy:
                settings["metavar"] += _MORE
            if self.is_list:
                text = list[str] | None
            elif pair:
                text = tuple[(str,) * len(get_args(self.bare))] | None  # type: ignore[misc]
            if get_origin(self.bare) is Literal:
                settings["autocompletion"] = _completion(get_args(self.bare))
        if isinstance(option, Argument):
            settings["metavar"] = self.spelling + ("..." if self.is_list else "")
            mark: Any = typer.Argument(**settings)
        else:
            mark = typer.Option(*([option.short] if option.short else []), *names, **settings)
        default: Any = None
        if self.default is _REQUIRED and not isinstance(option, Place):
            default = inspect.Parameter.empty
            text = _without_none(text)
        elif self.bare is bool:
            default = self.default
        return inspect.Parameter(
            self.key,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[text, mark],
        )

    @property
    def shown(self) -> str | None:
        """The default, for the help page."""
        if self.option.shown is not None:
            return self.option.shown
        if self.default is _REQUIRED or self.default is None or self.default is False:
            return None
        if self.bare is bool or self.option.parse is not None:
            return None
        if isinstance(self.default, tuple | list):
            return ",".join(f"{part}" for part in self.default) or None
        return f"{self.default}" or None

    def read(self, text: Any) -> Any:
        """The value of what Typer found, checked against its bounds."""
        if text is None or text == [] or isinstance(text, bool):
            if text is None and self.default is _REQUIRED:
                raise typer.BadParameter(f"{self.spelling} is missing")
            return text if isinstance(text, bool) else self.default
        try:
            value = self._parsed(text)
        except (ValueError, SpecError) as error:
            raise typer.BadParameter(f"{self.spelling}: {error}") from error
        fault = self.option.fault(value)
        if fault is not None:
            raise typer.BadParameter(f"{self.spelling}: {fault}")
        return value

    def _parsed(self, text: Any) -> Any:
        if isinstance(self.option, Place):
            return _place(text)
        if self.option.parse is not None:
            return self.option.parse(text)
        parts = get_args(self.bare)
        if self.is_list:
            return tuple(_scalar(parts[0], part) for part in text)
        if isinstance(text, tuple):
            return tuple(_scalar(kind, part) for kind, part in zip(parts, text, strict=True))
        if _many(self.bare):
            return tuple(_scalar(parts[0], part.strip()) for part in text.split(","))
        if text == "" and self.default == "":
            return text
        return _scalar(self.bare, text)


def _scalar(kind: Any, text: str) -> Any:
    if not text.strip():
        raise ValueError("the text is empty")
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"{text!r} is not known; known: {', '.join(get_args(kind))}")
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no {'whole number' if kind is int else 'number'}"
            ) from error
    return as_path(text) if kind is Path else expand_home(text)


def _place(text: str) -> Path:
    """Where results go; a name that cannot be written is refused before any work."""
    if not text.strip():
        raise ValueError("the text is empty")
    path = as_path(text)
    try:
        length = max(len(part.encode()) for part in (*path.parts, ""))
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not UTF-8; choose another name") from error
    if length > _LONGEST:
        raise ValueError(f"a name of {length} bytes is too long; {_LONGEST} are possible")
    return path


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    left = [part for part in get_args(kind) if part is not types.NoneType]
    return left[0] if len(left) == 1 else str


def _many(kind: Any) -> bool:
    """Whether it is a list of any length."""
    origin, parts = get_origin(kind), get_args(kind)
    return (
        isinstance(origin, type)
        and issubclass(origin, Sequence)
        and (not _pair(kind))
        and bool(parts)
    )


def _pair(kind: Any) -> bool:
    """Whether it is a tuple of so many values."""
    return get_origin(kind) is tuple and Ellipsis not in get_args(kind)


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"[{'|'.join(get_args(kind))}]"
    if _many(kind):
        return f"{_metavar(get_args(kind)[0])},…"
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _completion(choices: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _fields(task: type, *, given: bool = False) -> list[_Value]:
    """The values that make a task; those of a base class come last."""
    fields = {field.name: field for field in dataclasses.fields(task)}
    options = declared(task)
    values = []
    for name in sorted(options, key=lambda name: name not in task.__annotations__):
        kind, option = options[name]
        values.append(_Value(name, kind, option, None if given else fields[name].default))
    return values


@dataclasses.dataclass
class _Piece:
    """One parameter of the function, and the values that make it."""

    values: list[_Value]
    make: Callable[[dict[str, Any]], Any]


def _piece(parameter: inspect.Parameter, annotation: Any) -> _Piece:
    kind, option = declaration(annotation)
    if option is not None:
        default = _REQUIRED if parameter.default is parameter.empty else parameter.default
        value = _Value(parameter.name, kind, option, default)
        return _Piece([value], lambda values: values[parameter.name])
    fields = next((m for m in getattr(annotation, "__metadata__", ()) if type(m) is Fields), None)
    if fields is None:
        return _Piece(_fields(annotation), lambda values: annotation(**values))
    return _Piece(
        _fields(fields.task, given=fields.given),
        lambda values: {
            key: value for key, value in values.items() if value is not None or not fields.given
        },
    )


def callback(function: Callable[..., None]) -> Callable[..., None]:
    """The function as Typer takes it: every option is a keyword."""
    hints = get_type_hints(function, include_extras=True)
    pieces = {
        name: _piece(parameter, hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
    }
    values: dict[str, _Value] = {}  # what several tasks share is declared by the first
    for piece in pieces.values():
        for value in piece.values:
            values.setdefault(value.key, value)

    def run(**texts: Any) -> None:
        for key, value in values.items():
            texts[key] = _placed(value, texts)
        read = {key: value.read(texts[key]) for key, value in values.items()}
        with _user_code():
            arguments = {
                name: piece.make({value.key: read[value.key] for value in piece.values})
                for name, piece in pieces.items()
            }
            function(**arguments)

    parameters = [value.parameter() for value in values.values()]
    for value in values.values():
        if isinstance(value.option, Place):
            argument = Argument(value.option.help, metavar=f"[{value.key.upper()}]")
            parameters.append(_Value(f"{value.key}_place", value.kind, argument, None).parameter())
    positional = [p for p in parameters if _is_argument(p)]
    ordered = positional + [p for p in parameters if not _is_argument(p)]
    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in ordered}
    return run


def _is_argument(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation.__metadata__[0], typer.models.ArgumentInfo)


def _placed(value: _Value, texts: dict[str, Any]) -> Any:
    """The text of a value; of a place by its option or its position."""
    if not isinstance(value.option, Place):
        return texts[value.key]
    by_option, by_position = texts[value.key], texts.pop(f"{value.key}_place")
    if by_option is not None and by_position is not None:
        raise typer.BadParameter(
            f"{by_position!r} and {value.spelling} {by_option!r} were given; one place is needed"
        )
    return by_position if by_option is None else by_option


@contextlib.contextmanager
def _user_code() -> Any:
    """Run what may be a user's code: it prints to stderr, and cannot end the command."""
    try:
        with streams.results_alone():
            yield
    except SystemExit as error:
        raise UserCodeError(
            f"a module ended the interpreter by sys.exit({error.code!r}); a module that unseen "
            "calls returns or raises"
        ) from error
    except EOFError as error:
        raise UserCodeError("a module asked for input, and there is none") from error


class Command(TyperCommand):
    """A command that refuses an option given twice, and whose help fits the terminal."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        options = [p for p in self.params if p.param_type_name == "option"]
        greedy = [p for p in options if (p.metavar or "").endswith(_MORE)]
        args = _spread(args, {name for option in greedy for name in option.opts})
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            single = [p for p in order if p.param_type_name == "option" and not p.multiple]
            for option in single:
                if single.count(option) > 1:
                    raise typer.BadParameter(
                        f"{option.opts[-1]} was given twice; give it once", ctx=ctx
                    )
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def get_help(self, ctx: Any) -> str:
        """The help page: in two columns, or in one where the terminal is narrow."""
        width = shutil.get_terminal_size().columns
        parameters = self.get_params(ctx)
        arguments = [p for p in parameters if p.param_type_name == "argument"]
        options = [p for p in parameters if p.param_type_name == "option"]
        usage = ["Usage:", ctx.command_path, "[OPTIONS]", *(p.metavar for p in arguments)]
        lines = [*_wrapped(" ".join(usage), width, "", "  ")]
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            lines += ["", *_wrapped(" ".join(paragraph.split()), width, "  ", "  ")]
        for title, rows in (("Arguments:", arguments), ("Options:", options)):
            if rows:
                heads = [_head(row) for row in rows]
                lines += ["", title, *_table(heads, [_text(row) for row in rows], width)]
        return "\n".join([*lines, "", *_wrapped(self.epilog or "", width, "", "")])


def _spread(words: Sequence[str], greedy: Collection[str]) -> list[str]:
    """`--labels A B` as `--labels A --labels B`, which is what Typer reads."""
    spread: list[str] = []
    taking = ""
    for i, word in enumerate(words):
        if word.startswith("-") and word != "-":
            taking = word if word in greedy else ""
        elif taking and words[i - 1] != taking:
            spread.append(taking)
        spread.append(word)
    return spread


def _head(parameter: Any) -> str:
    """How an option or argument is written."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    flag = parameter.is_flag or parameter.metavar is None
    return names if flag else f"{names} {parameter.metavar}"


def _text(parameter: Any) -> str:
    """What an option or argument means, and what it is where it is not given."""
    text = str(parameter.help or "")
    if isinstance(parameter.show_default, str):
        return f"{text} [default: {parameter.show_default}]"
    return f"{text} [required]" if parameter.required else text


def _table(heads: Sequence[str], texts: Sequence[str], width: int) -> list[str]:
    column = min(32, max(len(head) for head in heads) + 4) if width >= 72 else width
    lines = []
    for head, text in zip(heads, texts, strict=True):
        if len(head) + 4 <= column < width:
            lines += _wrapped(text, width, f"  {head}".ljust(column), " " * column)
        else:
            indent = " " * column if column < width else "      "
            lines += [*_wrapped(head, width, "  ", "    "), *_wrapped(text, width, indent, indent)]
    return lines


def _wrapped(text: str, width: int, first: str, further: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=further)


def context_settings() -> dict[str, Any]:
    """Of every command: `-h`, and help as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    return {"help_option_names": ["-h", "--help"], "terminal_width": width}
