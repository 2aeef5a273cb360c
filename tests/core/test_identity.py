"""What makes two results the same, and how their difference is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.core.errors import RecordError
from unseen.core.identity import Identity, identify, part_difference

WEIGHTS = {"spec": "onnx:net?x=1", "weights": {"model.onnx": "ab12"}, "precision": "fp32"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
PROVENANCE = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


@given(images=st.dictionaries(st.text(), st.text()), part=PROVENANCE, options=PROVENANCE)
def test_an_identity_survives_its_json(
    images: dict[str, str | None], part: dict[str, object], options: dict[str, object]
) -> None:
    identity = identify("areas", 1, images=images, parts={"segmenter": part}, options=options)
    text = json.dumps(identity.to_json())
    again = Identity.from_json(json.loads(text), "test")
    assert again == identity
    assert again.difference(identity) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"weights": {"model.onnx": "ff00"}},
            "segmenter weights/model.onnx is ab12 there, ff00 here",
        ),
        (
            {"weights": {"model.onnx": "ab12", "model.onnx.data": "1"}},
            "segmenter weights/model.onnx.data is null there, 1 here",
        ),
        ({"precision": "bf16"}, "segmenter precision is fp32 there, bf16 here"),
        ({"spec": "onnx:net?x=2"}, "segmenter spec is onnx?x=1 there, onnx?x=2 here"),
        ({"spec": "onnx:elsewhere/net?x=1"}, None),
        ({"package_version": "9"}, None),
    ],
)
def test_only_what_decides_values_makes_another_result(
    change: dict[str, object], said: str | None
) -> None:
    assert part_difference(WEIGHTS, {**WEIGHTS, **change}, "segmenter") == said


def test_a_place_counts_where_no_hash_is_known_and_a_function_always_does() -> None:
    for weights in ({}, {"weights_sha256": "1"}):
        one = {"spec": "python:mine:first", "module_sha256": "2", **weights}
        other = {**one, "spec": "python:mine:second"}
        assert "python:mine:second here" in str(part_difference(one, other, "generator"))
    assert part_difference({"spec": "hf:a"}, {"spec": "hf:b"}, "segmenter") is not None


def test_weights_in_a_part_of_a_part_are_known_by_their_hash_too() -> None:
    def inverter(place: str) -> dict[str, object]:
        return {"generator": {"spec": f"progan:{place}", "weights_sha256": "0" * 64}}

    assert part_difference(inverter("a.pth"), inverter("b/a.pth"), "inverter") is None


def test_the_batch_size_is_kept_and_makes_no_other_run() -> None:
    begun = identify("areas", 1, batch_size=4)
    assert begun == identify("areas", 1, batch_size=2)
    assert Identity.from_json(begun.to_json(), "test").batch_size == 4


def test_many_differences_are_counted() -> None:
    there = identify("areas", 1, options={str(i): 0 for i in range(9)})
    here = identify("areas", 1, options={str(i): 1 for i in range(9)})
    assert there.difference(here) == (
        "0 is 0 there, 1 here; 1 is 0 there, 1 here; 2 is 0 there, 1 here; and 6 more"
    )


@pytest.mark.parametrize("value", [None, [], {}, {"kind": 1}, {"kind": "a", "version": "1"}])
def test_what_is_no_identity_is_refused(value: object) -> None:
    with pytest.raises(RecordError, match="here"):
        Identity.from_json(value, "here")
