"""Rows as CSV text and as a Markdown table: every table that is written goes through here."""

import csv
import dataclasses
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any


def csv_text(rows: Iterable[Any], columns: Sequence[str] = ()) -> str:
    r"""Rows as CSV, with a header; None and missing values are empty cells.

    Args:
        rows: mappings or dataclasses.
        columns: names in the header; without them, every name in order of first appearance.

    >>> csv_text([{"class": "car", "share": 0.5}, {"class": "person", "share": None}])
    'class,share\ncar,0.5\nperson,\n'
    """
    cells = [_cells(row) for row in rows]
    names = columns or list(dict.fromkeys(name for row in cells for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return buffer.getvalue()


def _cells(row: Any) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else dataclasses.asdict(row)


def markdown_table(
    headings: Iterable[object], rows: Iterable[Iterable[object]], *, right: Collection[int] = ()
) -> str:
    r"""A Markdown table without a line break at its end; a bar in a cell is escaped.

    Args:
        headings: of the columns.
        rows: cells, as many as there are headings.
        right: numbers of the columns that are aligned to the right.

    >>> print(markdown_table(["class", "n"], [["car", 12]], right=[1]))
    | class | n |
    | --- | ---: |
    | car | 12 |
    """
    head = list(headings)
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    lines = [[str(cell).replace("|", r"\|") for cell in line] for line in (head, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
