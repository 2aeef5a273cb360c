import pytest
from tests.support.worlds import CLASSES, areas

from unseen.core.wording import digits
from unseen.distribution.compare import compare
from unseen.distribution.comparison import read_comparison
from unseen.distribution.comparison_summary import summary

HOSTILE = "car\x1b[2J\nFSD 0"


def test_names_cannot_steer_the_terminal():
    classes = (*CLASSES[:-1], HOSTILE)
    real = areas(200, {"sky": 0.7, HOSTILE: 0.5}, seed=0, name="photos", classes=classes)
    fakes = areas(200, {"sky": 0.7}, seed=1, name="fakes\x07", classes=classes)
    text = summary(compare(real, [fakes]))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "omitted  car?[2J" in text


def test_the_summary_leads_with_the_distance_and_names_what_is_wrong():
    real = areas(400, {"sky": 0.7, "person": 0.3}, seed=0, name="photos")
    fakes = areas(400, {"sky": 0.7}, seed=1, name="fakes")
    lines = summary(compare(real, [fakes])).split("\n")
    assert lines[0] == "fakes (400 images) against photos (400 images)"
    assert lines[2].startswith("  FSD       ")
    assert any(line.split()[:3] == ["omitted", "person", "0×"] for line in lines)


def test_both_terms_are_shown_and_too_few_images_give_no_corrected_distance(tmp_path):
    real = areas(200, {"sky": 0.7, "person": 0.3}, seed=0, name="photos")
    few = areas(12, {"sky": 0.7}, seed=1, name="few")
    comparison = compare(real, [few])
    fsd = comparison.generated[0].fsd
    assert fsd.corrected is None
    assert fsd.interval == (None, None)
    assert fsd.value == pytest.approx(fsd.mean_term + fsd.covariance_term)
    assert read_comparison(comparison.save(tmp_path)) == comparison
    text = summary(comparison)
    for number in (fsd.mean_term, fsd.covariance_term, fsd.floor):
        assert digits(number) in text
    assert " ".join(str(fsd.reason).split()) in " ".join(text.split())
    assert str(fsd.reason) in comparison._repr_html_()
