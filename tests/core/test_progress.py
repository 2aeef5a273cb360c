"""How far a run is: speed, time left, and the bar that a notebook shows by itself."""

import nbclient
import nbformat
import pytest

from unseen.core import progress
from unseen.core.progress import Pace, shown, silent


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    moved = Clock()
    monkeypatch.setattr(progress, "time", moved)
    return moved


def test_what_was_done_before_counts_for_the_end_and_not_for_the_speed(clock):
    pace = Pace("images")
    pace(600, 1_000)
    assert pace.rate is None
    clock.now += 10
    pace(620, 1_000)
    assert pace.rate == pytest.approx(20 / 10)
    assert pace.left == pytest.approx(380 / 2)


def test_the_speed_is_that_of_the_last_half_minute(clock):
    pace = Pace("steps")
    for done in range(100):  # a step a second, then a step in ten
        pace(done, 1_000)
        clock.now += 1
    for done in range(100, 110):
        clock.now += 9
        pace(done, 1_000)
        clock.now += 1
    assert pace.rate == pytest.approx(1 / 10)


def test_the_callers_progress_comes_first_and_outside_a_notebook_there_is_none():
    reports = []
    shown(lambda *report: reports.append(report), "segment")(1, 2)
    assert reports == [(1, 2)]
    assert shown(None, "segment") is silent


def test_a_notebook_shows_one_bar_that_is_drawn_anew_in_its_place():
    cell = """
from unseen.core.progress import shown
again = shown(None, "all there")
again(5, 5)
report = shown(None, "segment <b>photos</b>")
for done in range(101):
    report(done, 100)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert '<progress value="100" max="100">' in output.data["text/html"]
    assert "<b>" not in output.data["text/html"]
    assert "100 images" in output.data["text/plain"]
