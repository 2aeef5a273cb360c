import json

import numpy as np
import pytest

from unseen.core.errors import RecordError
from unseen.distribution.areas_file import check_comparable, read_areas, write_areas
from unseen.distribution.tally import read_tally


@pytest.fixture
def shares():
    """Shares of 256×256 pixels over the 336 object classes, in float32 as published."""
    rng = np.random.default_rng(0)
    pixels = rng.multinomial(65536, rng.dirichlet(np.full(336, 0.1)), size=6)
    return (pixels / 65536).astype(np.float32)


def saved(folder, table):
    np.save(folder / "tally.npy", table)
    return f"tally:{folder / 'tally.npy'}"


def test_a_tally_is_areas_of_whole_pixels(tmp_path, shares):
    areas = read_tally(saved(tmp_path, shares))
    np.testing.assert_array_equal(areas.fraction, shares.astype(float))  # dyadic: exact
    assert areas.columns[0] == "object/0"
    assert len(areas.columns) == 336
    write_areas(tmp_path / "tally.parquet", areas)
    check_comparable(read_areas(tmp_path / "tally.parquet"), areas)


@pytest.mark.parametrize("with_none", [True, False])
def test_labels_name_the_classes(tmp_path, shares, with_none):
    names = [*(["-"] if with_none else []), *(f"thing {i}" for i in range(335))]
    (tmp_path / "labels.json").write_text(json.dumps({"object": names}))
    areas = read_tally(f"{saved(tmp_path, shares)}?labels={tmp_path / 'labels.json'}")
    assert areas.columns[:2] == ("object/none", "object/thing 0")


def test_labels_of_another_set_are_refused(tmp_path, shares):
    (tmp_path / "labels.json").write_text(json.dumps({"object": ["wall", "sky"]}))
    with pytest.raises(RecordError, match="names 2 object classes, the tally has 336"):
        read_tally(f"{saved(tmp_path, shares)}?labels={tmp_path / 'labels.json'}")


def test_empty_rows_are_refused_with_their_number(tmp_path, shares):
    shares[4:] = 0
    with pytest.raises(RecordError, match="2 of 6 rows without any class, first row 4"):
        read_tally(saved(tmp_path, shares))


def test_another_side_has_to_be_named(tmp_path):
    table = np.array([[1 / 9, 8 / 9]])
    with pytest.raises(RecordError, match=r"row 0 sums to 1 .*\?size=PIXELS"):
        read_tally(saved(tmp_path, table))
    assert read_tally(saved(tmp_path, table) + "?size=3").pixels.tolist() == [[1, 8]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there"),
        (b"no array", "cannot be read as .npy"),
        (np.zeros(3), "no table of numbers"),
        (np.full((2, 2), np.nan), "not numbers"),
        (np.array([[{}]], dtype=object), "cannot be read as .npy"),
    ],
)
def test_a_file_that_is_no_tally_is_named(tmp_path, content, message):
    path = tmp_path / "tally.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(RecordError, match=message):
        read_tally(path)
