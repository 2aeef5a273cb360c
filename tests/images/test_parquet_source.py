"""Parquet files of images, as Hugging Face's datasets write them, and others."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.images.test_webdataset import png
from tests.support.worlds import Halves

import unseen
from unseen.core.errors import ImageError, RecordError
from unseen.images import open_images


def write(
    path: Path,
    levels: Sequence[int],
    columns: Mapping[str, Any] | None = None,
    *,
    features: Mapping[str, Any] | None = None,
    paths: Sequence[str | None] | None = None,
) -> Path:
    """A file of grey images in row groups of two."""
    named = paths or [f"{level}.png" for level in levels]
    image = [{"bytes": png(level), "path": name} for level, name in zip(levels, named, strict=True)]
    table = pa.table({"image": image, **(columns or {})})
    if features is not None:
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=2)
    return path


def test_rows_are_images_in_order_whatever_order_they_are_read_in(tmp_path: Path) -> None:
    source = open_images(write(tmp_path / "train.parquet", range(7)))
    assert source.spec == f"parquet:{tmp_path / 'train.parquet'}"
    assert list(source.names) == [f"{k}.png" for k in range(7)]
    sent = pickle.loads(pickle.dumps(source))
    for reader in (source, sent):
        for index in (0, 1, 1, 6, 3, 2, 5, 4, 0):
            assert int(reader.read(index).max()) == index


@pytest.mark.parametrize("where", ["data", "data/train-{0..1}.parquet", "data/train-*.parquet"])
def test_several_files_are_one_set_segmented_by_workers_and_by_parts(
    tmp_path: Path, where: str
) -> None:
    for number, levels in ((1, range(200, 203)), (0, range(3))):
        captions = [f"level {level}" for level in levels]
        write(tmp_path / f"data/train-{number}.parquet", levels, {"text": captions})
    spec, out = f"parquet:{tmp_path}/{where}", tmp_path / "areas.parquet"
    here = unseen.segment(spec, Halves(), workers=0)
    assert here.names == ["0.png", "1.png", "2.png", "200.png", "201.png", "202.png"]
    assert here.conditions == [f"level {name.removesuffix('.png')}" for name in here.names]
    assert (here.percent[:, 1] == [0, 0, 0, 100, 100, 100]).all()
    for part in (1, 2):
        unseen.segment(spec, Halves(), out=out, part=(part, 2), shard=2, workers=1)
    joined = unseen.merge_areas(out)
    assert joined.names == here.names
    assert (joined.pixels == here.pixels).all()


@pytest.mark.filterwarnings("ignore")  # eight images decide nothing
def test_a_side_of_a_comparison_is_images_or_areas(tmp_path: Path) -> None:
    real, generated = (write(tmp_path / f"{k}.parquet", range(k, k + 8)) for k in (0, 200))
    comparison = unseen.compare(f"parquet:{real}", f"parquet:{generated}", Halves(), workers=0)
    assert [side.images for side in (comparison.real, *comparison.generated)] == [8, 8]
    with pytest.raises(RecordError, match=r"parquet:.*0\.parquet"):
        unseen.compare(str(real), f"parquet:{generated}", Halves(), workers=0)


def test_names_are_row_numbers_where_paths_are_missing_or_repeat(tmp_path: Path) -> None:
    for paths in (["a.png", None], ["x/a.png", "y/a.png"]):
        source = open_images(write(tmp_path / "a.parquet", [1, 2], paths=paths))
        assert list(source.names) == ["000000", "000001"]


def test_a_column_of_bytes_and_classes_with_names(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        [1, 2],
        {"mask": [png(3), png(4)], "label": [1, 0], "size": [7, 8]},
        features={"image": {"_type": "Image"}, "label": {"names": ["church", "car"]}},
    )
    chosen = open_images(path)
    assert int(chosen.read(1).max()) == 2
    assert chosen.conditions([0, 1]) == ["car", "church"]  # type: ignore[attr-defined]
    other = open_images(f"parquet:{path}?image=mask&caption=size")
    assert int(other.read(1).max()) == 4
    assert other.conditions([1]) == ["class 8"]  # type: ignore[attr-defined]
    assert other.fingerprint() != chosen.fingerprint()


def test_which_column_is_meant_must_be_plain(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [1], {"mask": [png(3)], "texts": [["a"]]})
    with pytest.raises(ImageError, match="image, mask"):
        open_images(path)
    with pytest.raises(ImageError, match="depth"):
        open_images(f"parquet:{path}?image=depth")
    with pytest.raises(ImageError, match="texts"):
        open_images(f"parquet:{path}?image=mask&caption=texts")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "b.parquet")
    with pytest.raises(ImageError, match=r"a \(int64\)"):
        open_images(tmp_path / "b.parquet")
    write(tmp_path / "c/0.parquet", [1], {"text": ["x"]})
    write(tmp_path / "c/1.parquet", [1])
    with pytest.raises(ImageError, match=r"1\.parquet"):
        open_images(f"parquet:{tmp_path}/c")


def test_rows_without_an_image_or_a_text_are_named(tmp_path: Path) -> None:
    rows = [{"bytes": png(1), "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    pq.write_table(pa.table({"image": rows, "text": ["x", None]}), tmp_path / "a.parquet")
    with pytest.raises(ImageError, match=r"b\.png"):
        open_images(tmp_path / "a.parquet").read(1)
    with pytest.raises(ImageError, match=r"b\.png"):
        open_images(tmp_path / "a.parquet").conditions([0])  # type: ignore[attr-defined]
    pq.write_table(pa.table({"image": rows}), tmp_path / "b.parquet")
    kept = unseen.segment(tmp_path / "b.parquet", Halves(), workers=0, skip_broken=True)
    assert kept.names == ["a.png"]
    assert [image["name"] for image in kept.provenance["images"][0]["broken"]] == ["b.png"]


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [1, 2])
    content = path.read_bytes()
    for broken in (b"", b"no parquet", content[:-20]):
        path.write_bytes(broken)
        with pytest.raises(ImageError, match=r"a\.parquet"):
            open_images(path)
    path.write_bytes(content)
    source = open_images(path)
    half = bytearray(content)
    half[4:300] = bytes(296)
    path.write_bytes(half)
    with pytest.raises(ImageError, match=r"a\.parquet"):
        source.read(0)
