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
from unseen.core.wording import count, cut, printable

if TYPE_CHECKING:
    import pandas

_T = TypeVar("_T", bound="LocatedResult")

_MOST = 1_900  # characters of a repr

_STYLE = {
    "table": "border-collapse:collapse;margin:.5em 0;table-layout:auto",
    "cell": "text-align:left;vertical-align:middle;padding:.2em .9em .2em 0;"
    "border-top:1px solid #8884",
    "row": "display:flex;flex-wrap:wrap;gap:4px 20px;margin:.2em 0 .8em",
    "pictures": "display:flex;flex-wrap:wrap;gap:4px;margin:.2em 0",
    "picture": "height:96px;max-width:none;margin:0;display:block",
    # Figures are drawn on white: a dark notebook shows them on a card.
    "figure": "max-width:100%;background:#fff;padding:6px;border-radius:4px",
    "mark": "display:inline-block;width:.7em;height:.7em;margin-right:.4em;"
    "border:1px solid currentColor",
    "bar": "display:inline-block;height:.7em;background:#7d8794",
}


class Html(str):
    """Text that is HTML already, all that came from elsewhere in it escaped."""


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


def html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table; the cells are text, or `Html`."""

    def line(tag: str, cells: Sequence[str]) -> str:
        style = _STYLE["cell"]
        inside = (f'<{tag} style="{style}">{_escaped(cell)}</{tag}>' for cell in cells)
        return f"<tr>{''.join(inside)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return Html(f'<table style="{_STYLE["table"]}">{line("th", headings)}{body}</table>')


def html_picture(data: bytes, description: str) -> Html:
    """A small picture inside the text itself, a WebP."""
    return _picture(data, description, "webp", "picture")


def html_figure(figure: Any, description: str) -> Html:
    """A figure of matplotlib inside the text itself, a PNG."""
    return _picture(figure._repr_png_(), description, "png", "figure")


def _picture(data: bytes, description: str, kind: str, style: str) -> Html:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    said = html.escape(description)
    return Html(f'<img src="{source}" alt="{said}" title="{said}" style="{_STYLE[style]}">')


def html_strip(heading: str, pictures: Iterable[str]) -> Html:
    """Pictures in a row below a heading, which is text."""
    inside = "".join(pictures)
    return Html(
        f'<div><div>{_escaped(heading)}</div><div style="{_STYLE["pictures"]}">{inside}</div></div>'
    )


def html_row(parts: Iterable[Html]) -> Html:
    """Parts side by side, as far as the width allows."""
    return Html(f'<div style="{_STYLE["row"]}">{"".join(parts)}</div>')


def html_more(summary: str, parts: Iterable[Html]) -> Html:
    """Parts that are shown when the reader opens them; nothing where there are none."""
    inside = "".join(parts)
    shown = f"<details><summary>{_escaped(summary)}</summary>{inside}</details>"
    return Html(shown if inside else "")


def html_rows(
    noun: str, headings: Sequence[str], rows: Sequence[Sequence[str]], of: int
) -> list[Html]:
    """A table of the first of so many things, and how many more there are."""
    parts = [html_table(headings, rows)]
    if of > len(rows):
        parts.append(html_text(f"… and {count(of - len(rows), f'more {noun}')}"))
    return parts


def html_caveats(caveats: Iterable[str]) -> Html:
    """Caveats, to be opened."""
    texts = [html_text(caveat) for caveat in caveats]
    return html_more(count(len(texts), "caveat"), texts)


def html_text(text: str, tag: str = "p") -> Html:
    """Text as one element."""
    return Html(f"<{tag}>{_escaped(text)}</{tag}>")


def html_marked(text: str, colour: str) -> Html:
    """Text behind a small square of a colour, which stands out on light and on dark."""
    return Html(f'<span style="{_STYLE["mark"]};background:{colour}"></span>{_escaped(text)}')


def html_bar(share: float) -> Html:
    """A bar; a share of 1 is as wide as twelve letters."""
    return Html(f'<span style="{_STYLE["bar"]};width:{12 * share:.2f}em"></span>')


def _escaped(text: str) -> str:
    return text if isinstance(text, Html) else html.escape(text)
