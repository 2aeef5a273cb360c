import copy
import dataclasses
import json

import jsonschema
import pytest
from tests.support.worlds import areas

from unseen.core.errors import RecordError
from unseen.core.records import to_json
from unseen.distribution import comparison as records
from unseen.distribution.compare import compare
from unseen.distribution.comparison import (
    RECORD_FILE,
    json_schema,
    read_comparison,
    write_comparison,
)

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


@pytest.fixture(scope="module")
def comparison():
    real = areas(120, REAL, seed=0, name="photos")
    without = areas(120, REAL | {"person": 0.0}, seed=1, name="first")
    alike = areas(120, REAL, seed=2, name="second")
    return compare(real, [without, alike])


def test_the_record_is_what_its_schema_says(comparison):
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(to_json(comparison), json_schema())


def test_the_record_is_read_as_it_was_written(comparison, tmp_path):
    write_comparison(tmp_path / "comparison.json", comparison)
    again = read_comparison(tmp_path)  # the folder stands for its record
    assert to_json(again) == to_json(comparison)
    assert again.generated[0].classes == read_comparison(tmp_path).generated[0].classes


def test_the_schema_knows_the_fields_of_every_dataclass_and_no_others():
    schema = json_schema()
    for name, definition in {"Comparison": schema, **schema["$defs"]}.items():
        fields = [field.name for field in dataclasses.fields(getattr(records, name))]
        assert list(definition["properties"]) == fields, name
        assert definition["required"] == fields, name


def test_nothing_in_the_json_is_not_a_number(comparison):
    text = json.dumps(to_json(comparison), allow_nan=False)  # raises on NaN and infinity
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda r: r.update(schema_version=2), "2"),
        (lambda r: r.pop("schema_version"), "schema_version"),
        (lambda r: r["generated"][0].pop("fsd"), r"fsd.*generated\[0\]"),
        (lambda r: r["generated"][0]["fsd"].update(value="x"), r"generated\[0\].fsd.value"),
        (lambda r: r["generated"][0]["classes"][0].update(verdict="bad"), "bad"),
        (lambda r: r.update(columns=3), "columns"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_the_place(comparison, spoil, place):
    record = copy.deepcopy(to_json(comparison))
    spoil(record)
    with pytest.raises(RecordError, match=place):
        RECORD_FILE.parse(record)


def test_a_missing_record_says_what_to_name(tmp_path):
    with pytest.raises(RecordError, match=r"cannot be read .*name a comparison.json"):
        read_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text("no json")
    with pytest.raises(RecordError, match="is not JSON"):
        read_comparison(tmp_path)


def test_fields_of_a_later_minor_version_are_passed_over(comparison):
    record = to_json(comparison) | {"novelty": 1}
    assert to_json(RECORD_FILE.parse(record)) == to_json(comparison)
