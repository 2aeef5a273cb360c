import dataclasses

import pytest
from tests.support.worlds import areas, run

from unseen.core.errors import MissingExtraError, RecordError
from unseen.distribution.compare import compare
from unseen.distribution.comparison import read_comparison

REAL = {"sky": 0.7, "person": 0.4, "car": 0.3}
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """One generated side without persons, with pictures; and one like the real side."""
    folder = tmp_path_factory.mktemp("run")
    real = areas(200, REAL, seed=0, name="photos")
    sides = [
        areas(200, REAL | {"person": 0.0}, seed=1, name="fakes"),
        areas(200, REAL, seed=2, name="good"),
    ]
    run(folder, real, sides)
    return read_comparison(folder)


def test_a_saved_comparison_is_read_as_it_was_with_its_pictures(comparison, tmp_path):
    path = comparison.save(tmp_path / "new")
    again = read_comparison(path)
    assert again == comparison
    assert again.folder == tmp_path / "new"
    example_image = again.real.example_images["object/person"][0]
    for file in (example_image.image, example_image.label_map):
        assert (again.folder / file).read_bytes() == (comparison.folder / file).read_bytes()
    assert again.save(again.folder) == path  # onto itself
    assert read_comparison(path) == comparison


def test_pictures_that_are_nowhere_cannot_be_saved(comparison, tmp_path):
    lost = dataclasses.replace(comparison)
    with pytest.raises(RecordError):
        lost.save(tmp_path)
    with pytest.raises(RecordError):
        comparison.at(tmp_path / "empty").save(tmp_path / "other")


def test_a_table_has_a_row_a_class_and_side(comparison):
    frame = comparison.to_pandas()
    assert len(frame) == sum(len(side.classes) for side in comparison.generated)
    person = frame[(frame["side"] == "fakes") & (frame["name"] == "person")].iloc[0]
    assert person["verdict"] == "omitted"
    assert person["interval_low"] == 0.0
    assert 0 < person["interval_high"] < 0.1


def test_the_html_shows_pictures_of_what_is_left_out_and_of_nothing_else(comparison):
    html = comparison._repr_html_()
    assert "Real images that hold most person" in html
    assert "Real images that hold most sky" not in html
    assert html.count("data:image/png") == 1  # the figure
    assert html.count("data:image/webp") == 4  # what holds most
    without = dataclasses.replace(comparison)._repr_html_()
    assert without.count("data:image/png") == 1
    assert "data:image/webp" not in without
    assert len(html) < 200_000  # characters: a notebook stays small


def test_names_are_text_in_html_and_steer_no_terminal(tmp_path):
    classes = ("none", "sky", "building", "tree", HOSTILE)
    real = areas(100, {HOSTILE: 0.5}, seed=0, name=HOSTILE, classes=classes)
    fakes = areas(100, {HOSTILE: 0.0}, seed=1, name="f" * 5_000, classes=classes)
    comparison = run(tmp_path, real, [fakes]).at(tmp_path)
    assert "<img src=x" not in comparison._repr_html_()
    assert len(repr(comparison)) < 2_000
    assert repr(comparison).isprintable()


def test_a_picture_that_is_gone_is_said(comparison, tmp_path):
    assert "missing" in comparison.at(tmp_path)._repr_html_()


def test_without_pandas_the_extra_is_named(comparison, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pandas"):
        comparison.to_pandas()


def test_areas_alone_have_no_pictures_and_can_be_saved(tmp_path):
    real = areas(40, REAL, seed=0, name="photos")
    comparison = compare(real, [real])
    assert read_comparison(comparison.save(tmp_path)) == comparison


def test_many_sides_and_classes_keep_the_repr_short():
    classes = ("none", "sky", "building", *(f"class {i}" for i in range(300)))
    real = areas(40, {"class 7": 0.5}, seed=0, name="photos", classes=classes)
    comparison = compare(real, [real])
    many = dataclasses.replace(comparison, generated=comparison.generated * 30)
    assert len(repr(many)) < 2_000
