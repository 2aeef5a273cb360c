import json

import numpy as np
import pytest

from unseen.core.errors import RecordError, SpecError, StorageError
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


def writing(folder, **options):
    return InversionsWriter(
        folder, **{"provenance": PROVENANCE, "methods": ["f"], **options}
    ).writing()


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
    with writing(tmp_path, methods=["f", "d"]) as writer:
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
    with writing(tmp_path) as writer:
        assert read_inversions(tmp_path).images == ()
        write(writer, "photograph", 3, "f")
    with (tmp_path / "entries.jsonl").open("a") as file:
        file.write('{"role":"photograph","num')  # killed in the middle of a line
    record = read_inversions(tmp_path)
    assert not record.complete
    assert [one.number for one in record.images] == [3]


def test_a_run_taken_up_again_ends_in_the_same_bytes_whatever_the_order(tmp_path):
    with writing(tmp_path / "whole") as whole:
        for number in range(3):
            write(whole, "photograph", number, "f")
        whole.finish()
    with writing(tmp_path / "broken") as broken:
        write(broken, "photograph", 2, "f")
    with (tmp_path / "broken" / "entries.jsonl").open("a") as file:
        file.write('{"role"')
    with writing(tmp_path / "broken") as again:
        assert again.done(Place("photograph", 2), "f")
        assert not again.done(Place("photograph", 0), "f")
        for number in (1, 0, 2):
            write(again, "photograph", number, "f")
        again.finish()
    assert files(tmp_path / "whole") == files(tmp_path / "broken")
    with writing(tmp_path / "whole") as finished:
        assert finished.done(Place("photograph", 1), "f")
        finished.finish()
    assert files(tmp_path / "whole") == files(tmp_path / "broken")


def test_a_run_is_finished_with_the_batch_size_it_began_with_or_a_smaller_one(tmp_path):
    sizes = []
    for asked in (8, 16, 4, 16):
        with writing(tmp_path, batch_size=asked) as writer:
            sizes.append(writer.batch_size)
    assert sizes == [8, 8, 4, 4]
    assert read_inversions(tmp_path).identity["batch_size"] == 4


def test_a_second_process_does_not_write_to_the_folder(tmp_path):
    with (
        writing(tmp_path),
        pytest.raises(StorageError, match="another process"),
        InversionsWriter(tmp_path, provenance=PROVENANCE, methods=["f"]).writing(),
    ):
        pass


def test_provenance_that_is_no_json_is_refused(tmp_path):
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(SpecError):
            InversionsWriter(tmp_path, provenance={"generator": {"a": value}}, methods=["f"])


def test_another_run_in_the_folder_is_named_and_not_mixed_in(tmp_path):
    with writing(tmp_path) as writer:
        write(writer, "control", 0, "f")
    other = {**PROVENANCE, "settings": {"f": {"cut": "layer6"}}}
    with pytest.raises(RecordError, match="cut is layer4 there, layer6 here"):
        writing(tmp_path, provenance=other).__enter__()
    with pytest.raises(RecordError, match="methods is "):
        writing(tmp_path, methods=["e", "f"]).__enter__()
    with writing(tmp_path, provenance=other, overwrite=True) as replaced:
        assert not replaced.done(Place("control", 0), "f")
    assert not list(tmp_path.rglob("*.png"))


def test_places_and_versions_make_no_other_run(tmp_path):
    here = {
        "generator": {"spec": "progan:a.pth", "weights_sha256": "1" * 64, "package_version": "1"},
        "images": {"spec": "folder:/a", "fingerprint": "2" * 64},
    }
    there = {
        "generator": {"spec": "progan:b.pth", "weights_sha256": "1" * 64, "package_version": "2"},
        "images": {"spec": "folder:/b", "fingerprint": "2" * 64},
    }
    with writing(tmp_path, provenance=here) as writer:
        write(writer, "photograph", 0, "f")
    with writing(tmp_path, provenance=there) as again:
        assert again.count == 1
    there["generator"]["weights_sha256"] = "3" * 64
    with pytest.raises(RecordError, match="3333"):
        writing(tmp_path, provenance=there).__enter__()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"is not empty and holds no inversions\.json"):
        writing(tmp_path, overwrite=True).__enter__()
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


def test_a_failed_image_is_listed_with_its_reason_and_has_no_files(tmp_path):
    place = Place("photograph", 0)
    failed = result(loss=None, failed="the loss is not a number after 3 steps")
    with writing(tmp_path) as writer:
        writer.write_target(place, image(9))
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
    with writing(tmp_path) as writer:
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
    with writing(tmp_path) as writer:
        write(writer, "photograph", 0, "f")
        record = writer.finish()
    (tmp_path / "reconstructions/f/photograph/00000.png").unlink()
    (tmp_path / "tensors/f/photograph/00000.safetensors").write_bytes(b"no")
    with pytest.raises(RecordError, match=r"00000\.png"):
        record.reconstruction(record.images[0], "f")
    with pytest.raises(RecordError, match=r"00000\.safetensors cannot be read"):
        record.tensors(record.images[0], "f")
