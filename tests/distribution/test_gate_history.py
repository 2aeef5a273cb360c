"""A gate that is asked every night: what it spends, and that its file is safe."""

import dataclasses
import itertools
import multiprocessing
from pathlib import Path

import pytest
from tests.support.worlds import areas

from unseen.cli.main import run
from unseen.core.errors import RecordError, StorageError
from unseen.core.records import to_json
from unseen.distribution.areas_file import write_areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison, read_comparison, write_comparison
from unseen.distribution.gate import Gate
from unseen.distribution.gate_history import check_history, judge_with_history, level_of_run

REAL = {"sky": 0.7, "person": 0.3}
GATE = Gate(("under",))


def night(number: int, person: float = 0.3) -> Comparison:
    real = areas(60, REAL, seed=0, name="photos")
    return compare(real, [areas(60, REAL | {"person": person}, seed=number, name="night")])


def test_all_runs_together_spend_at_most_the_level() -> None:
    spent = [level_of_run(run) for run in range(1, 20_000)]
    assert sum(spent) < 0.05
    assert all(later < earlier for earlier, later in itertools.pairwise(spent))


def test_every_run_is_written_down_and_judged_at_its_level(tmp_path: Path) -> None:
    history = tmp_path / "runs" / "history.json"
    check_history(history)
    for number in (1, 2):
        result = judge_with_history(history, GATE, night(number))
        assert (result.run, result.level) == (number, level_of_run(number))
    check_history(history)
    assert list(history.parent.iterdir()) == [history]  # no lock and nothing aside is left


def test_the_same_data_are_the_same_run(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    first, _ = (judge_with_history(history, GATE, night(run)) for run in (1, 2))
    again = judge_with_history(history, GATE, night(1))
    assert again == first
    other = judge_with_history(history, Gate(("omitted",)), night(1))
    assert other.run == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no history of a gate"),
        ('{"schema_version": 1, "package_version": "1", "runs": [{"level": 3}]}', "no whole"),
        ('{"schema_version": 1, "package', "history.json"),
        ('{"schema_version": 7}', "schema version 7"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused_and_stays(
    tmp_path: Path, text: str, said: str
) -> None:
    history = tmp_path / "history.json"
    history.write_text(text)
    for ask in (check_history, lambda path: judge_with_history(path, GATE, night(1))):
        with pytest.raises(RecordError, match=said) as caught:
            ask(history)
        assert "\n" not in str(caught.value)
    assert history.read_text() == text


def test_a_comparison_is_no_history(tmp_path: Path) -> None:
    write_comparison(tmp_path / "comparison.json", night(1))
    with pytest.raises(RecordError, match="no whole history"):
        check_history(tmp_path / "comparison.json")


def test_a_folder_that_is_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        check_history(tmp_path / "file" / "history.json")


def _judge(path: Path, record: Comparison, number: int) -> int | None:
    """Another night's numbers, judged in a process of its own."""
    side = dataclasses.replace(record.generated[0], images=100 + number)
    return judge_with_history(path, GATE, dataclasses.replace(record, generated=(side,))).run


def test_concurrent_runs_each_have_a_number_of_their_own(tmp_path: Path) -> None:
    path, record = tmp_path / "history.json", night(1)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        runs = pool.starmap(_judge, [(path, record, number) for number in range(12)])
    assert sorted(run or 0 for run in runs) == list(range(1, 13))


def test_the_result_is_part_of_the_record(tmp_path: Path) -> None:
    result = judge_with_history(tmp_path / "history.json", GATE, night(1, person=0.0))
    assert result.status == 3
    record = to_json(dataclasses.replace(night(1), gate=result))
    assert record["gate"]["run"] == 1
    assert record["gate"]["findings"][0]["column"] == "object/person"


def test_the_command_counts_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("real", 0), ("first", 1), ("second", 2)):
        write_areas(tmp_path / f"{name}.parquet", areas(60, REAL, seed=seed, name=name))
    history = tmp_path / "history.json"
    for name in ("first", "second"):
        sides = [str(tmp_path / f"{side}.parquet") for side in ("real", name)]
        out = ["--out", str(tmp_path / name), "--fail-on", "under", "--history", str(history)]
        assert run(["compare", *sides, *out]) == 0
        assert read_comparison(tmp_path / name).gate is not None
    gate = read_comparison(tmp_path / "second").gate
    assert gate is not None
    assert (gate.run, gate.level) == (2, level_of_run(2))
    history.write_text("nonsense")
    assert run(["compare", *sides, *out]) == 1
    assert str(history) in capsys.readouterr().err
    assert run(["compare", *sides, "--history", str(history)]) == 1  # of no condition
