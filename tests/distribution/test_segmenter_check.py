import dataclasses

import numpy as np
import pytest
from tests.support.worlds import areas

from unseen.distribution.areas import MEASURED
from unseen.distribution.compare import compare
from unseen.distribution.comparison_summary import summary

PRESENCE = {"person": 0.4, "car": 0.3, "sky": 0.9}


def measured(side, seed=0, **shifts):
    """The same areas; each measure normal with standard deviation 0.1 about 0.5 plus its shift."""
    rng = np.random.default_rng(seed)
    values = {
        name: (rng.normal(0.5, 0.1, len(side)) + shifts.get(name, 0)).astype(np.float32)
        for name in MEASURED
    }
    return dataclasses.replace(side, measured=values)


def pair(n=400, **shifts):
    real = measured(areas(n, PRESENCE, seed=1, name="photos"), seed=1)
    return real, measured(areas(n, PRESENCE, seed=2, name="fakes"), seed=2, **shifts)


def test_measures_of_both_sides_stand_in_the_record_in_standard_deviations():
    real, fakes = pair(sharpness=-0.2, contrast=0.02)
    comparison = compare(real, [fakes])
    measures = {measure.name: measure for measure in comparison.generated[0].measures}
    assert list(measures) == ["unlabelled", *MEASURED]
    sharpness = measures["sharpness"]
    assert sharpness.real == pytest.approx(real.measured["sharpness"].mean())
    # normal with standard deviation 0.1: error of the difference √(2/400) = 0.07
    assert sharpness.difference == pytest.approx(-2, abs=0.25)
    assert measures["contrast"].difference == pytest.approx(0.2, abs=0.25)
    assert [name for name, measure in measures.items() if measure.large] == ["sharpness"]


def test_a_large_difference_comes_before_the_numbers_with_its_number():
    comparison = compare(*(lambda real, fakes: (real, [fakes]))(*pair(sharpness=-0.2)))
    (warning,) = comparison.warnings
    assert "fakes" in warning
    assert "sharpness" in warning
    assert "confidence" not in warning
    text = summary(comparison)
    assert text.index("sharpness") < text.index("FSD")


def test_sides_of_one_kind_are_not_warned_of():
    for n in (10, 400):  # of ten images chance alone makes differences beyond 0.8
        warned = sum(bool(compare(real, [fakes]).warnings) for real, fakes in [pair(n)])
        assert warned == 0


def test_areas_without_measures_have_none_and_an_unsure_segmenter_has_no_confidence():
    real, fakes = pair()
    plain = dataclasses.replace(fakes, measured={})
    assert compare(real, [plain]).generated[0].measures[1:] == ()
    unsure = {**fakes.measured, "confidence": np.full(len(fakes), np.nan, np.float32)}
    found = compare(real, [dataclasses.replace(fakes, measured=unsure)]).generated[0].measures
    assert [measure.name for measure in found] == ["unlabelled", *MEASURED[1:]]


def test_the_share_without_a_class_is_that_of_the_areas():
    classes = ("none", "person", "building")
    real = areas(50, {"none": 0.2}, seed=1, name="photos", classes=classes)
    fakes = areas(50, {"none": 0.9}, seed=2, name="fakes", classes=classes)
    (measure,) = compare(real, [fakes]).generated[0].measures
    assert measure.name == "unlabelled"
    assert measure.generated == pytest.approx(fakes.fraction[:, 0].mean())
    assert measure.large
