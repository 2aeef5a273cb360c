"""Records that were edited by hand, or by an attacker: a page, or one RecordError of one line."""

import copy
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.evidence_world import evidence_world
from tests.support.worlds import areas, run

from unseen.core.errors import RecordError
from unseen.core.records import to_json
from unseen.distribution import comparison as comparisons
from unseen.instance_evidence import record as evidences
from unseen.pages import report_folder

REAL = {"sky": 0.7, "person": 0.5}
HOSTILE = [
    None, True, 0, -1, 1, 3, 10**400, -(10**30), 2**70, 0.5, -0.5, 1e308, -1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "x", "\ud800", "\x1b[2J\n", "</script>",
    "object/sky", "../a.png", "http://example.org/", "a" * 10_000, [], {}, [None], {"a": 1},
    [0.9, 0.1], [[[[]]]],
]  # fmt: skip


@pytest.fixture(scope="module", params=["comparison", "evidence"])
def world(request, tmp_path_factory):
    """The folder of a record, its file, and what is in it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "comparison":
        sides = [areas(30, REAL, seed=seed, name=str(seed)) for seed in range(3)]
        run(folder, sides[0], sides[1:])
    else:
        evidence_world(folder)
    file = folder / f"{request.param}.json"
    report_folder(folder)
    return folder, file, json.loads(file.read_text(encoding="utf-8"))


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    entries = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list)
        else ()
    )  # fmt: skip
    for key, entry in entries:
        yield from places(entry, (*path, key))


def change(value, path, new):
    """Put something else at one place; `KeyError` removes it."""
    *above, last = path
    for key in above:
        value = value[key]
    if new is KeyError:
        del value[last]
    else:
        value[last] = new


def spoil_and_read(world, data):
    """Change one or two places of the record; the page is drawn, or one line says why not."""
    folder, file, record = world
    record = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in places(record) if path]))
        change(record, path, data.draw(st.sampled_from([*HOSTILE, KeyError])))
    file.write_text(json.dumps(record))
    try:
        page = report_folder(folder)
    except RecordError as error:
        line = str(error)
        assert line.isprintable(), line
        assert len(line) < 1_000
    else:
        assert page.read_text(encoding="utf-8").endswith("</html>")


of_one_world = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@of_one_world
@given(data=st.data())
def test_any_change_ends_in_a_page_or_in_one_line(world, data):
    spoil_and_read(world, data)


@pytest.mark.slow
@settings(of_one_world, max_examples=500)
@given(data=st.data())
def test_hundreds_of_changes_end_in_a_page_or_in_one_line(world, data):
    spoil_and_read(world, data)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "NaN", "{", '{"schema_version": 1}', "[" * 100_000, "1" * 5_000, "\ufeff{}"],
)
def test_what_is_no_record_is_one_line(tmp_path, text):
    for record in ("comparison.json", "evidence.json"):
        (tmp_path / record).write_text(text, encoding="utf-8")
        with pytest.raises(RecordError) as caught:
            report_folder(tmp_path)
        assert str(caught.value).isprintable()
        (tmp_path / record).unlink()


@pytest.mark.timeout(20)
def test_a_record_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "comparison.json")
    with pytest.raises(RecordError, match="no regular file"):
        report_folder(tmp_path)


def test_a_million_classes_are_refused(world):
    _, file, record = world
    record = {**record, "columns": [f"object/{i}" for i in range(1_000_000)]}
    records = comparisons if file.name == "comparison.json" else evidences
    with pytest.raises(RecordError, match="65,536"):
        records.RECORD_FILE.parse(record)


def test_the_record_itself_is_taken_by_the_same_door(world):
    _, file, record = world
    records = comparisons if file.name == "comparison.json" else evidences
    assert to_json(records.RECORD_FILE.parse(record)) == record
