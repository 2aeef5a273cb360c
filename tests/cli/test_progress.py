"""How far a command is, where stderr is no terminal: lines, neither too many nor too few."""

import pytest

from unseen.cli import progress as shown
from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core import progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_000.0

        def monotonic(self):
            return self.now

    moved = Clock()
    for module in (shown, progress):
        monkeypatch.setattr(module, "time", moved)
    return moved


def lines(capsys, clock, *, images: int, seconds: float, before: int = 0) -> list[str]:
    """What is said of a run whose images take so many seconds each."""
    with progress_bar("segment") as report:
        report(before, images)
        for done in range(before + 1, images + 1):
            clock.now += seconds
            report(done, images)
    return capsys.readouterr().err.splitlines()


def test_a_long_run_says_its_speed_soon_then_every_half_minute_and_its_end(capsys, clock):
    told = [int(line.split()[2]) for line in lines(capsys, clock, images=100, seconds=1.0)]
    assert told == [5, 35, 65, 95, 100]  # a start of less than five seconds tells no speed


def test_the_first_line_says_speed_and_time_left(capsys, clock):
    first, *_ = lines(capsys, clock, images=121, seconds=10.0)
    assert "10.0 s each" in first
    assert "20 min left" in first


def test_a_run_of_less_than_half_a_minute_says_nothing_unless_asked(capsys, clock):
    assert lines(capsys, clock, images=100, seconds=0.2) == []
    with streams.volume(quiet=False, verbose=True):
        (line,) = lines(capsys, clock, images=100, seconds=0.2)
    assert "100 of 100" in line


def test_what_is_there_already_is_not_told(capsys, clock):
    assert lines(capsys, clock, images=50, seconds=1.0, before=50) == []


def test_quiet_watches_nothing():
    with streams.volume(quiet=True, verbose=False), progress_bar("segment") as report:
        assert report is None


def test_images_that_are_told_of_a_batch_at_once_do_not_make_the_run_look_slow(clock):
    pace = progress.Pace("images")
    pace(0, 160)
    for batch in range(3):  # of 16 images, 40 seconds each
        clock.now += 40.0
        for image in range(16):
            pace(batch * 16 + image + 1, 160)
            assert batch == 0 or 1 / pace.rate < 6.0  # 2.5 s an image, more until a batch is told
