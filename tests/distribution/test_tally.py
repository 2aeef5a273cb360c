import json

import numpy as np
import pytest

from unseen.core.errors import RecordError, SpecError
from unseen.distribution import tally
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


@pytest.fixture
def published(tmp_path, monkeypatch):
    """What the publisher's server would give, with two classes and 4×4 pixels."""
    np.save(tmp_path / "tally.npy", np.array([[0.5, 0.5], [0.25, 0.75]]))
    (tmp_path / "labels.json").write_text(json.dumps({"object": ["-", "wall"]}))
    files = {"tally-church": "tally.npy", "upp/labels.json": "labels.json"}
    monkeypatch.setattr(tally, "fetch", lambda name: tmp_path / files[name])


def test_a_published_tally_comes_by_name_with_its_classes(published):
    areas = read_tally("tally:church?size=4")
    assert areas.columns == ("object/none", "object/wall")
    assert areas.pixels.tolist() == [[8, 8], [4, 12]]
    assert areas.provenance["images"][0]["spec"] == "tally:church?size=4"


def test_a_file_is_read_as_it_is(published, tmp_path):
    assert read_tally(f"tally:{tmp_path / 'tally.npy'}?size=4").columns[0] == "object/0"
    assert len(read_tally(f"tally:{tmp_path / 'tally.npy'}?size=4")) == 2


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(RecordError, match=r"neither a file .* known: church, bedroom"):
        read_tally("tally:kitchen")


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 336)}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(RecordError, match="cannot be read"):
        read_tally(tmp_path / "a.npy")


@pytest.mark.parametrize("size", ["99999999999", "0", "-1", "a", "1.5"])
def test_a_size_that_is_none_is_refused(tmp_path, shares, size):
    with pytest.raises(SpecError, match="size"):
        read_tally(saved(tmp_path, shares) + f"?size={size}")
