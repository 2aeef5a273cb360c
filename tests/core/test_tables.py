"""One writer of CSV and one of Markdown."""

import csv
import dataclasses
import io

from unseen.core.tables import csv_text, markdown_table


@dataclasses.dataclass
class Row:
    name: str
    share: float | None


def test_every_reader_of_csv_gets_the_cells_back() -> None:
    names = ["a,b", 'say "so"', "two\nlines", "ü"]
    text = csv_text([Row(name, 0.1 + number) for number, name in enumerate(names)])
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["name"] for row in read] == names
    assert [float(row["share"]) for row in read] == [0.1, 1.1, 2.1, 3.1]


def test_a_value_that_is_missing_or_none_is_an_empty_cell() -> None:
    assert csv_text([Row("x", None), {"name": "y", "more": 1}]) == "name,share,more\nx,,\ny,,1\n"


def test_no_rows_leave_the_header() -> None:
    assert csv_text([], ["a", "b"]) == "a,b\n"


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown_table(["spec"], [["a|b"]]).splitlines()[-1] == r"| a\|b |"
