import json

import numpy as np
import pytest

from unseen.core.errors import RecordError, StorageError
from unseen.inversion.inversions import (
    InversionsWriter,
    Place,
    Reconstruction,
    read_inversions,
)

PROVENANCE = {"generator": {"weights_sha256": "1" * 64}, "settings": {"f": {"cut": "layer4"}}}


def image(value: int) -> np.ndarray:
    return np.full((3, 4, 4), value, np.uint8)


def result(loss: float | None = 0.25, failed: str | None = None) -> Reconstruction:
    return Reconstruction(
        image=None,
        tensors=None,
        loss=loss,
        terms={"pixel": 0.2},
        correlation=0.9,
        cosine=float("nan"),  # of a black image: JSON has null
        steps=7,
        failed=failed,
    )


def write(writer: InversionsWriter, role: str, number: int, method: str, **options) -> None:
    place = Place(role, number)
    writer.write_target(place, image(number))
    writer.write(
        place,
        method,
        options.pop("result", result()),
        name=f"{role} {number}",
        index=10 + number,
        size=(40, 50),
        image=image(100 + number),
        tensors={"latents": np.full(5, number, np.float32)},
    )


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_is_read_as_it_was_written(tmp_path):
    writer = InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f", "d"])
    write(writer, "control", 0, "f")
    write(writer, "photograph", 1, "f")
    write(writer, "photograph", 0, "f")
    write(writer, "photograph", 0, "d")
    record = writer.finish(skipped={"bad.png": "bad.png is truncated"})
    assert record == read_inversions(tmp_path) == read_inversions(tmp_path / "inversions.json")
    assert record.complete
    assert record.methods == ("d", "f")  # the paper's order, however asked for
    assert [(one.role, one.number) for one in record.images] == [
        ("photograph", 0),
        ("photograph", 1),
        ("control", 0),
    ]
    first = record.of("photograph")[0]
    assert list(first.reconstructions) == ["d", "f"]
    assert (first.name, first.index) == ("photograph 0", 10)
    assert (first.size, record.skipped) == ((40, 50), {"bad.png": "bad.png is truncated"})
    assert first.reconstructions["f"].cosine is None
    assert (record.target(first) == 0).all()
    assert (record.reconstruction(first, "f") == 100).all()
    assert record.tensors(first, "f")["latents"].tolist() == [0] * 5
    assert not (tmp_path / "entries.jsonl").exists()


def test_a_run_that_is_under_way_shows_what_is_finished(tmp_path):
    writer = InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"])
    assert read_inversions(tmp_path).images == ()
    write(writer, "photograph", 3, "f")
    with (tmp_path / "entries.jsonl").open("a") as file:
        file.write('{"role":"photograph","num')  # killed in the middle of a line
    record = read_inversions(tmp_path)
    assert not record.complete
    assert [one.number for one in record.images] == [3]


def test_a_run_taken_up_again_ends_in_the_same_bytes_whatever_the_order(tmp_path):
    whole = InversionsWriter(tmp_path / "whole", provenance=PROVENANCE, methods=["f"])
    for number in range(3):
        write(whole, "photograph", number, "f")
    whole.finish()
    broken = InversionsWriter(tmp_path / "broken", provenance=PROVENANCE, methods=["f"])
    write(broken, "photograph", 2, "f")
    with (tmp_path / "broken" / "entries.jsonl").open("a") as file:
        file.write('{"role"')
    again = InversionsWriter(tmp_path / "broken", provenance=PROVENANCE, methods=["f"])
    assert again.done(Place("photograph", 2), "f")
    assert not again.done(Place("photograph", 0), "f")
    for number in (1, 0, 2):
        write(again, "photograph", number, "f")
    again.finish()
    assert files(tmp_path / "whole") == files(tmp_path / "broken")
    finished = InversionsWriter(tmp_path / "whole", provenance=PROVENANCE, methods=["f"])
    assert finished.done(Place("photograph", 1), "f")
    finished.finish()
    assert files(tmp_path / "whole") == files(tmp_path / "broken")


def test_another_run_in_the_folder_is_named_and_not_mixed_in(tmp_path):
    write(InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"]), "control", 0, "f")
    other = {**PROVENANCE, "settings": {"f": {"cut": "layer6"}}}
    with pytest.raises(RecordError, match="cut is layer4 there, layer6 here"):
        InversionsWriter(tmp_path, provenance=other, methods=["f"])
    with pytest.raises(RecordError, match="methods is "):
        InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["e", "f"])
    replaced = InversionsWriter(tmp_path, provenance=other, methods=["f"], overwrite=True)
    assert not replaced.done(Place("control", 0), "f")
    assert not list(tmp_path.rglob("*.png"))


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"is not empty and holds no inversions\.json"):
        InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"], overwrite=True)


def test_a_failed_image_is_listed_with_its_reason_and_has_no_files(tmp_path):
    writer = InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"])
    place = Place("photograph", 0)
    writer.write_target(place, image(9))
    failed = result(loss=None, failed="the loss is not a number after 3 steps")
    writer.write(place, "f", failed, name="a.png", index=0, size=(4, 4))
    record = writer.finish()
    assert record.failures == [(record.images[0], "f", "the loss is not a number after 3 steps")]
    with pytest.raises(RecordError, match=r"a\.png has no reconstruction by f: the loss is not"):
        record.reconstruction(record.images[0], "f")
    with pytest.raises(RecordError, match=r"a\.png was not inverted by method d; by: f"):
        record.tensors(record.images[0], "d")


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda r: r.update(schema_version=2), "2"),
        (lambda r: r.pop("schema_version"), "schema_version"),
        (lambda r: r.pop("methods"), "methods"),
        (lambda r: r["images"][0].update(role="photo"), r"photo.*images\[0\].role"),
        (lambda r: r["images"][0].update(image="../a.png"), r"images\[0\].image"),
    ],
)
def test_a_spoilt_record_is_refused_with_the_place(tmp_path, spoil, place):
    writer = InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"])
    write(writer, "photograph", 0, "f")
    writer.finish()
    value = json.loads((tmp_path / "inversions.json").read_text())
    spoil(value)
    (tmp_path / "inversions.json").write_text(json.dumps(value))
    with pytest.raises(RecordError, match=place):
        read_inversions(tmp_path)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(RecordError, match=r"inversions\.json cannot be read"):
        read_inversions(tmp_path)
    writer = InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"])
    write(writer, "photograph", 0, "f")
    record = writer.finish()
    (tmp_path / "reconstructions/f/photograph/00000.png").unlink()
    (tmp_path / "tensors/f/photograph/00000.safetensors").write_bytes(b"no")
    with pytest.raises(RecordError, match=r"00000\.png"):
        record.reconstruction(record.images[0], "f")
    with pytest.raises(RecordError, match=r"00000\.safetensors cannot be read"):
        record.tensors(record.images[0], "f")
