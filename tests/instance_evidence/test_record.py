import copy
import dataclasses
import json

import jsonschema
import pytest
from tests.support.evidence_world import evidence_world

import unseen
from unseen.core.errors import RecordError
from unseen.core.records import to_json
from unseen.instance_evidence import record as records
from unseen.instance_evidence.record import (
    RECORD_FILE,
    cases,
    control_retention,
    curve,
    earliest_passing,
    json_schema,
    write_evidence,
)


def test_the_record_is_what_its_schema_says():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(to_json(evidence_world()), json_schema())


def test_the_record_is_read_as_it_was_written(tmp_path):
    evidence = evidence_world()
    write_evidence(tmp_path / "evidence.json", evidence)
    assert unseen.read_evidence(tmp_path) == evidence  # the folder stands for its record
    assert unseen.read_evidence(str(tmp_path / "evidence.json")) == evidence


def test_the_schema_knows_the_fields_of_every_dataclass_and_no_others():
    schema = json_schema()
    for name, definition in {"Evidence": schema, **schema["$defs"]}.items():
        fields = [field.name for field in dataclasses.fields(getattr(records, name))]
        assert list(definition["properties"]) == fields, name
        assert definition["required"] == fields, name


def test_nothing_in_the_json_is_not_a_number():
    first, *others = evidence_world().pictures
    odd = dataclasses.replace(first, lost=float("nan"))
    record = to_json(dataclasses.replace(evidence_world(), pictures=(odd, *others)))
    assert '"lost": null' in json.dumps(record, allow_nan=False)
    assert RECORD_FILE.parse(record).pictures[0].lost is None


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda r: r.update(schema_version=2), "2"),
        (lambda r: r.pop("schema_version"), "schema_version"),
        (lambda r: r["classes"][0].pop("p_value"), r"p_value.*classes\[0\]"),
        (lambda r: r["classes"][0].update(verdict="bad"), r"bad.*classes\[0\].verdict"),
        (lambda r: r["instances"][0].update(box=[1, 2]), r"instances\[0\].box"),
        (lambda r: r["instances"][0].update(area=1.5), r"instances\[0\].area"),
        (lambda r: r["pictures"][0].update(image="/etc/passwd"), r"pictures\[0\].image"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_the_place(spoil, place):
    record = copy.deepcopy(to_json(evidence_world()))
    spoil(record)
    with pytest.raises(RecordError, match=place):
        RECORD_FILE.parse(record)


def test_a_missing_record_says_what_to_name(tmp_path):
    with pytest.raises(RecordError, match=r"name an evidence.json, .* `unseen evidence --out`"):
        unseen.read_evidence(tmp_path)


def test_a_case_has_its_picture_and_its_controls_beside_it():
    first, second = cases(evidence_world(), "object/person")
    assert (first.picture.name, second.picture.name) == ("0.png", "1.png")
    assert [picture.id for _, picture in first.controls] == ["control-00001", "control-00002"]
    assert cases(evidence_world(), "object/sky") == []


def test_the_curve_is_about_the_methods_that_differ_in_the_last_perturbed_layer():
    drawn = curve(evidence_world(), "object/person")
    assert [one.last_perturbed for one in drawn.methods] == ["layer1", "layer2"]
    assert [one.mean for one in drawn.photographs] == [0.0, 0.25]
    assert [one.mean for one in drawn.controls] == [0.75, 1.0]


def test_one_cut_is_no_curve():
    evidence = evidence_world()
    alone = dataclasses.replace(evidence, methods=evidence.methods[1:])
    assert curve(alone, "object/person") is None


def test_the_earliest_run_passes_whose_own_images_are_rebuilt():
    evidence = evidence_world()
    assert control_retention(evidence, "f-layer1") == 0.75
    assert earliest_passing(evidence).key == "f-layer2"
    alone = dataclasses.replace(
        evidence, instances=tuple(one for one in evidence.instances if one.role == "photograph")
    )
    assert earliest_passing(alone) is None
