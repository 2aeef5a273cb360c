"""What every result does for its reader: a short repr, a table, a figure, HTML in a notebook.

A result is a frozen dataclass that knows, beside its fields, the folder in which its pictures lie.
"""

import base64
import dataclasses
import html
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from unseen.core.errors import missing_package
from unseen.core.wording import cut, printable

if TYPE_CHECKING:
    import pandas

_T = TypeVar("_T", bound="LocatedResult")

_MOST = 1_900  # characters of a repr

_STYLE = {
    "table": "border-collapse:collapse;margin:.5em 0",
    "cell": "text-align:left;padding:.15em .8em .15em 0;border-top:1px solid #8884",
    "pictures": "display:flex;flex-wrap:wrap;gap:6px;margin:.2em 0 .6em",
    "picture": "height:96px;image-rendering:auto;display:block",
}


class Result:
    """A result that shows itself."""

    def __repr__(self) -> str:
        return cut(printable(self._views().in_a_line(self)), _MOST)

    def summary(self) -> str:
        """The result in a few lines of text."""
        raise NotImplementedError

    def to_pandas(self) -> "pandas.DataFrame":
        """The result as a table of pandas (MissingExtraError where pandas is missing)."""
        frame: pandas.DataFrame = import_pandas().DataFrame(self._views().rows(self))
        return frame

    def _repr_html_(self) -> str:
        shown: str = self._views().as_html(self)
        return shown

    def _views(self) -> ModuleType:
        """The module that shows it: `in_a_line`, `as_html`, and `rows`, which `to_pandas` takes."""
        raise NotImplementedError


class LocatedResult(Result):
    """A result whose pictures lie in a folder."""

    # No field: it is no part of the record, and `dataclasses.replace` forgets it.
    folder: ClassVar[Path | None] = None

    def at(self: _T, folder: Path) -> _T:
        """The same result, whose pictures lie in a folder."""
        copy = dataclasses.replace(self)  # type: ignore[type-var]
        object.__setattr__(copy, "folder", folder)
        return copy


def in_temporary_folder(make: Callable[[Path], _T]) -> _T:
    """A result that is made into a temporary folder, which goes when the result does."""
    folder = Path(tempfile.mkdtemp(prefix="unseen-"))
    try:
        result = make(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    return result


def import_pandas() -> Any:
    """The pandas package (MissingExtraError where it is not installed)."""
    try:
        import pandas
    except ImportError as error:
        raise missing_package("to_pandas", "pandas") from error
    return pandas


def flat(record: Any, **more: Any) -> dict[str, Any]:
    """A dataclass as one row: an interval becomes two columns, NAME_low and NAME_high."""
    row = dict(more)
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name.endswith("interval"):
            row[f"{field.name}_low"], row[f"{field.name}_high"] = value
        else:
            row[field.name] = value
    return row


def html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are text."""

    def line(tag: str, cells: Sequence[str]) -> str:
        style = _STYLE["cell"]
        inside = (f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells)
        return f"<tr>{''.join(inside)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<table style="{_STYLE["table"]}">{line("th", headings)}{body}</table>'


def html_picture(data: bytes, description: str, kind: str = "png", *, small: bool = True) -> str:
    """A picture inside the text itself; a small one is a thumbnail."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = _STYLE["picture"] if small else "max-width:100%"
    said = html.escape(description)
    return f'<img src="{source}" alt="{said}" title="{said}" style="{style}">'


def html_strip(heading: str, pictures: Iterable[str]) -> str:
    """Pictures in a row below a heading, which is text."""
    inside = "".join(pictures)
    return f'<div>{html.escape(heading)}</div><div style="{_STYLE["pictures"]}">{inside}</div>'


def html_text(text: str, tag: str = "p") -> str:
    """Text as one element."""
    return f"<{tag}>{html.escape(text)}</{tag}>"
