"""`unseen plan`: before anything is drawn, in both directions."""

import pytest

from unseen.cli.main import run
from unseen.statistics import images_needed

ASKED = "presence>=1%,drop<=50%"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([ASKED, "--classes", "40"], 0, f"{images_needed(0.01, 0.5, tests=40):,} real"),
        ([ASKED, "--classes", "40", "--n", "20000"], 0, "20,000 generated"),
        ([ASKED, "--classes", "40", "--n", "1000"], 4, "1,000 generated"),
        ([ASKED, "--classes", "40", "--real", "1000"], 4, "1,000 real images"),
        (["presence>=1%,drop<=90%", "--fail-on", "omitted"], 4, "never called omitted"),
        (["--n", "2000", "--classes", "40"], 0, "a class in 10.0 % of the real images"),
    ],
)
def test_the_plan_says_what_is_enough(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert run(["plan", *arguments]) == status
    assert said in capsys.readouterr().out


def test_a_later_run_of_a_history_needs_more(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = []
    for run_number in ("1", "30"):
        assert run(["plan", ASKED, "--run", run_number]) == 0
        numbers.append(int(capsys.readouterr().out.split()[0].replace(",", "")))
    assert numbers[0] < numbers[1]


def test_something_must_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan"]) == 1
    assert "--n" in capsys.readouterr().err
