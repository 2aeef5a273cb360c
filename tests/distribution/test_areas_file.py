import dataclasses
import errno
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.core.errors import RecordError, StorageError
from unseen.distribution.areas import MEASURED, Areas
from unseen.distribution.areas_file import (
    check_comparable,
    concatenate,
    read_areas,
    write_areas,
)
from unseen.distribution.instrument import VIEWS

SEGMENTER = {"spec": "onnx:a", "weights": {"model.onnx": "ab12"}, "precision": "fp32"}


def areas(
    n=5, *, names=None, spec="photos", fingerprint="f1", seed=0, classes=3, side=8, **changes
):
    rng = np.random.default_rng(seed)
    pixels = rng.multinomial(side * side, np.full(classes, 1 / classes), size=n).astype(np.uint32)
    names = names or [f"{i:04d}.png" for i in range(n)]
    source = {"spec": spec, "fingerprint": fingerprint, "count": n, "broken": []}
    return Areas(
        names=names,
        columns=tuple(f"object/{c}" for c in ["none", "person", "müll/<b>", "car"][:classes]),
        pixels=pixels,
        label_map_pixels=side * side,
        provenance={"images": [source], "segmenter": {**SEGMENTER, **changes}},
    )


def assert_equal(one: Areas, other: Areas):
    assert list(one.names) == list(other.names)
    assert one.columns == other.columns
    assert one.label_map_pixels == other.label_map_pixels
    assert one.provenance == other.provenance
    np.testing.assert_array_equal(one.pixels, other.pixels)
    for there, here in ((one.measured, other.measured), (one.views, other.views)):
        assert list(there) == list(here)
        for name, values in there.items():
            np.testing.assert_array_equal(values, here[name])
            assert values.dtype == here[name].dtype


def checked(n=5, **settings):
    """Areas with all that may stand beside them."""
    plain = areas(n, **settings)
    rng = np.random.default_rng(7)
    measured = {name: rng.random(n, np.float32) for name in MEASURED}
    measured["confidence"][0] = np.nan
    views = {view: np.roll(plain.pixels, 1 + i, axis=1) for i, view in enumerate(VIEWS)}
    return dataclasses.replace(plain, measured=measured, views=views)


def overlapping(n=5, **settings):
    """Areas of masks, with counts of things."""
    plain = areas(n, **settings)
    return dataclasses.replace(
        plain, pixels=plain.pixels + 1, overlapping=True, instances=plain.pixels // 20
    )


def schema_of(path):
    return json.loads(pq.read_schema(path).metadata[b"unseen"])["schema_version"]


def test_overlapping_areas_and_counts_of_things_are_read_back_merged_and_cut(tmp_path):
    path = tmp_path / "a.parquet"
    write_areas(path, overlapping())
    there = read_areas(path)
    assert_equal(there, overlapping())
    assert there.overlapping
    np.testing.assert_array_equal(there.instances, overlapping().instances)
    assert schema_of(path) == 2
    both = concatenate([overlapping(), overlapping(names=[f"b{i}" for i in range(5)], seed=1)])
    assert both.overlapping
    assert both.part([7]).instances.tolist() == [overlapping(seed=1).instances[2].tolist()]
    uncounted = dataclasses.replace(overlapping(names=[f"b{i}" for i in range(5)]), instances=None)
    assert concatenate([overlapping(), uncounted]).instances is None


def test_areas_of_label_maps_keep_the_first_schema(tmp_path):
    write_areas(tmp_path / "a.parquet", checked())
    assert schema_of(tmp_path / "a.parquet") == 1


def test_a_mask_of_more_pixels_than_the_image_is_refused(tmp_path):
    large = overlapping()
    large.pixels[3, 1] = 65  # of 8 × 8
    write_areas(tmp_path / "a.parquet", large)
    with pytest.raises(RecordError, match=r"0003\.png"):
        read_areas(tmp_path / "a.parquet")


def test_an_edited_count_of_things_is_told(tmp_path):
    path = tmp_path / "a.parquet"
    write_areas(path, overlapping())
    table = pq.read_table(path)
    k = table.column_names.index("instances object/person")
    edited = table.set_column(k, "instances object/person", pa.array([1] * 5, pa.uint32()))
    pq.write_table(edited, path)
    with pytest.raises(RecordError, match="edited"):
        read_areas(path)


def test_what_is_measured_beside_areas_is_read_back_merged_and_cut(tmp_path):
    write_areas(tmp_path / "a.parquet", checked())
    assert_equal(read_areas(tmp_path / "a.parquet"), checked())
    header = pq.read_table(tmp_path / "a.parquet").column_names
    first = 4 + len(MEASURED)
    assert header[4:first] == list(MEASURED)
    assert header[first] == "mirrored object/none"
    both = concatenate([checked(), checked(names=[f"b{i}" for i in range(5)], seed=1)])
    np.testing.assert_array_equal(both.measured["contrast"][5:], checked().measured["contrast"])
    assert both.views["mirrored"].shape == (10, 3)
    assert_equal(both.part(slice(0, 5)), dataclasses.replace(checked(), provenance=both.provenance))
    plain = concatenate([checked(), areas(names=[f"b{i}" for i in range(5)])])  # of before
    assert (plain.measured, plain.views) == ({}, {})


@pytest.mark.parametrize("column", ["sharpness", "mirrored object/car"])
def test_an_edit_of_what_is_measured_is_refused(tmp_path, column):
    path = tmp_path / "a.parquet"
    write_areas(path, checked(classes=4))
    table = pq.read_table(path)
    at = table.column_names.index(column)
    values = table[column].to_numpy()[::-1]
    pq.write_table(table.set_column(at, column, pa.array(values)), path)
    with pytest.raises(RecordError, match=r"edited|do not sum"):
        read_areas(path)
    pq.write_table(table.drop_columns([column]), path)
    with pytest.raises(RecordError, match="columns"):
        read_areas(path)


def test_what_is_written_is_read(tmp_path):
    write_areas(tmp_path / "a.parquet", areas())
    assert_equal(read_areas(tmp_path / "a.parquet"), areas())


def test_the_same_areas_give_the_same_bytes(tmp_path):
    write_areas(tmp_path / "a.parquet", areas())
    write_areas(tmp_path / "b.parquet", areas())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("package", ["polars", "pandas", "unseen"])
def test_the_documented_lines_read_it(tmp_path, monkeypatch, package):
    document = (Path(__file__).parents[2] / "docs" / "areas.md").read_text(encoding="utf-8")
    (lines,) = re.findall(rf"```python\n(import {package}\n+areas = .*?)```", document, re.DOTALL)
    write_areas(tmp_path / "photos.parquet", areas())
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(lines, scope)
    table = scope["areas"]
    if package == "unseen":
        assert_equal(table, areas())
        return
    assert list(table.columns) == ["name", *areas().columns]
    np.testing.assert_array_equal(table["object/person"].to_numpy(), areas().pixels[:, 1])
    assert str(table["object/person"].dtype).lower() == "uint32"


def test_the_documented_join_gives_the_whole(tmp_path, monkeypatch):
    document = (Path(__file__).parents[2] / "docs" / "areas.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(import unseen\n+sets = .*?)```", document, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for part, name in enumerate(("day", "night")):
        names = [f"{i}.png" for i in range(part * 5, part * 5 + 5)]
        write_areas(f"{name}.parquet", areas(names=names, seed=part))
    exec(lines, {})
    assert len(read_areas("both.parquet")) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as Parquet"),
        (b"PAR1 and then nothing of use PAR1", "cannot be read as Parquet"),
        (None, "is not there; make it with: unseen segment IMAGES"),
    ],
)
def test_a_broken_or_missing_file_is_named(tmp_path, content, message):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=message):
        read_areas(path)


def test_a_file_cut_short_is_refused_at_every_length(tmp_path):
    path = tmp_path / "a.parquet"
    write_areas(path, areas())
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):  # a prime, so that cuts fall everywhere
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError):
            read_areas(path)


def test_a_parquet_file_of_another_program_is_refused(tmp_path):
    pq.write_table(pa.table({"name": ["a"], "object/person": [1]}), tmp_path / "a.parquet")
    with pytest.raises(RecordError, match="holds no areas of unseen"):
        read_areas(tmp_path / "a.parquet")


def test_a_newer_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("unseen.distribution.areas_file._VERSIONS", (3,))
    write_areas(tmp_path / "a.parquet", areas())
    monkeypatch.undo()
    with pytest.raises(RecordError, match="areas 3"):
        read_areas(tmp_path / "a.parquet")


def test_rows_that_do_not_sum_to_the_image_are_refused(tmp_path):
    wrong = areas()
    wrong.pixels[3, 0] += 1
    write_areas(tmp_path / "a.parquet", wrong)
    with pytest.raises(RecordError, match=r"1 rows that do not sum to 64 pixels, first '0003.png'"):
        read_areas(tmp_path / "a.parquet")


def test_two_columns_of_one_name_are_refused(tmp_path):
    twice = dataclasses.replace(areas(), columns=("object/a", "object/a", "object/b"))
    with pytest.raises(RecordError, match="distinct names"):
        write_areas(tmp_path / "a.parquet", twice)


def test_a_full_disk_is_said_so_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(table, where, **_):
        where.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="disk is full while writing"):
        write_areas(tmp_path / "a.parquet", areas())
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 20), max_size=4))
def test_disjoint_parts_concatenate_to_the_whole(cuts):
    whole = areas(20)
    edges = [0, *sorted(cuts), 20]
    parts = []
    for start, stop in itertools.pairwise(edges):
        source = {**whole.provenance["images"][0], "count": stop - start, "part": [start, stop]}
        parts.append(
            dataclasses.replace(
                whole,
                names=whole.names[start:stop],
                pixels=whole.pixels[start:stop],
                provenance={**whole.provenance, "images": [source]},
            )
        )
    joined = concatenate(parts)
    assert list(joined.names) == list(whole.names)
    np.testing.assert_array_equal(joined.pixels, whole.pixels)
    assert len(joined.provenance["images"]) == len(parts)


def test_the_same_image_of_the_same_source_twice_is_refused():
    with pytest.raises(RecordError, match=r"'0000\.png' of photos is in two of the areas"):
        concatenate([areas(), areas()])


def test_images_of_one_name_from_two_sources_are_told_apart():
    joined = concatenate([areas(2), areas(2, spec="more", fingerprint="f2", seed=1)])
    assert joined.names == [
        "photos::0000.png",
        "photos::0001.png",
        "more::0000.png",
        "more::0001.png",
    ]


def test_other_label_sets_are_refused_naming_both():
    message = r"photos by onnx:a .* of 3 classes, g by onnx:a of 4 \(only the second .*/car'\)"
    with pytest.raises(RecordError, match=message):
        check_comparable(areas(), areas(classes=4, spec="g"))


def test_other_resolutions_are_refused_naming_both():
    with pytest.raises(RecordError, match="photos has label maps of 64 pixels, g of 256"):
        check_comparable(areas(), areas(side=16, spec="g"))


def test_other_weights_or_precisions_are_refused_naming_both():
    with pytest.raises(RecordError, match=r"weights/model.onnx is ab12 there, ff here"):
        check_comparable(areas(), areas(spec="g", weights={"model.onnx": "ff"}))
    with pytest.raises(RecordError, match="precision is fp32 there, bf16 here"):
        check_comparable(areas(), areas(spec="g", precision="bf16"))


def test_the_same_weights_in_another_folder_are_the_same():
    other = areas()
    other.provenance["segmenter"]["spec"] = "onnx:elsewhere"
    check_comparable(areas(), other)


def test_concatenating_areas_of_two_segmenters_is_refused():
    with pytest.raises(RecordError, match=r"weights/model\.onnx is"):
        concatenate([areas(), areas(fingerprint="f2", weights={"model.onnx": "ff"})])


# --- the door: whatever the file holds, areas or a RecordError -----------------------------------


def rewritten(path: Path, change) -> None:
    """The file with its table changed and its metadata kept, as another program would do it."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def replaced(k, values):
    return lambda table: table.set_column(k, table.column_names[k], values)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(1),  # cut
        lambda table: pa.concat_tables([table, table]),  # doubled
        lambda table: table.take([1, 0, 2, 3, 4]),  # another order
        lambda table: table.take([0, 0, 1, 2, 3]),  # an image twice
        lambda table: table.drop_columns(["object/none"]),
        lambda table: table.select([0, 2, 1, 3]),  # the counts of other classes
        lambda table: table.append_column("object/none", table["object/none"]),
        replaced(0, pa.array(["a", "b", "c", "d", None])),
        replaced(0, pa.array([1, 2, 3, 4, 5])),
        replaced(1, pa.array([1, 2, 3, 4, None], pa.uint32())),
        replaced(1, pa.array([1, 2, 3, 4, float("nan")])),
        replaced(1, pa.array([1, 2, 3, 4, 2**32 + 10], pa.uint64())),
        replaced(1, pa.array([1, 2, 3, 4, 5], pa.uint32())),
    ],
)
def test_a_file_that_was_cut_doubled_or_edited_is_refused(tmp_path, change):
    path = tmp_path / "a.parquet"
    write_areas(path, areas())
    rewritten(path, change)
    with pytest.raises(RecordError, match=r"a\.parquet"):
        read_areas(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
PLACES = [
    (),
    ("schema",),
    ("schema_version",),
    ("label_map_pixels",),
    ("rows_sha256",),
    ("provenance",),
    ("provenance", "images"),
    ("provenance", "images", 0),
    ("provenance", "images", 0, "count"),
    ("provenance", "images", 0, "spec"),
    ("provenance", "images", 0, "fingerprint"),
    ("provenance", "images", 0, "broken"),
    ("provenance", "segmenter"),
    ("provenance", "label_map"),
]


@settings(deadline=None)  # a file each
@given(place=st.sampled_from(PLACES), value=JSON)
def test_metadata_of_any_kind_are_areas_or_a_record_error(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("areas") / "a.parquet"
    write_areas(path, areas())
    table = pq.read_table(path)
    whole = json.loads(table.schema.metadata[b"unseen"])
    holder, inside = {"": whole}, ""
    for key in place:
        holder, inside = holder[inside], key
    holder[inside] = value
    changed = whole if place else value
    text = json.dumps(changed, ensure_ascii=False).encode("utf-8", "surrogatepass")
    pq.write_table(table.replace_schema_metadata({b"unseen": text}), path)
    try:
        read = read_areas(path)
        check_comparable(read, areas())
        concatenate([read, areas(fingerprint="f2", names=["b", "c", "d", "e", "f"])])
    except RecordError:
        pass


@settings(deadline=None)
@given(cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_file_with_changed_bytes_is_what_was_written_or_a_record_error(tmp_path_factory, cuts):
    path = tmp_path_factory.mktemp("areas") / "a.parquet"
    write_areas(path, areas())
    mutated = bytearray(path.read_bytes())
    for share, byte in cuts:
        mutated[int(share * (len(mutated) - 1))] = byte
    path.write_bytes(mutated)
    try:
        read = read_areas(path)
    except RecordError:
        return
    np.testing.assert_array_equal(read.pixels, areas().pixels)
    assert list(read.names) == list(areas().names)


def test_what_images_were_asked_for_is_kept_with_them(tmp_path):
    asked = dataclasses.replace(areas(4), conditions=["cat", "dog"] * 2)
    write_areas(tmp_path / "asked.parquet", asked)
    read = read_areas(tmp_path / "asked.parquet")
    assert read.conditions == ["cat", "dog", "cat", "dog"]
    assert read.columns == asked.columns
    np.testing.assert_array_equal(read.pixels, asked.pixels)
    assert asked.part([3, 0]).conditions == ["dog", "cat"]
    other = dataclasses.replace(areas(2, fingerprint="f2"), conditions=["cow", "cat"])
    assert concatenate([asked, other]).conditions == ["cat", "dog"] * 2 + ["cow", "cat"]
    with pytest.raises(RecordError, match="1 of 2"):
        concatenate([asked, areas(2, fingerprint="f2")])
    with pytest.raises(RecordError, match="3 of conditions"):
        dataclasses.replace(asked, conditions=["cat"] * 3)


def test_a_changed_condition_is_an_edit(tmp_path):
    asked = dataclasses.replace(areas(2), conditions=["cat", "dog"])
    write_areas(tmp_path / "asked.parquet", asked)
    table = pq.read_table(tmp_path / "asked.parquet")
    edited = table.set_column(1, "condition", pa.array(["cat", "cow"]))
    pq.write_table(edited, tmp_path / "asked.parquet")
    with pytest.raises(RecordError, match="edited"):
        read_areas(tmp_path / "asked.parquet")
