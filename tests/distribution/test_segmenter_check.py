import dataclasses
import functools

import numpy as np
import pytest
from tests.support.worlds import areas

from unseen import compare as run
from unseen.core.errors import RecordError
from unseen.distribution.areas import MEASURED
from unseen.distribution.compare import compare
from unseen.distribution.comparison_summary import summary
from unseen.distribution.comparison_wording import verdict_in_words
from unseen.distribution.gate import Gate
from unseen.distribution.instrument import VIEWS
from unseen.distribution.segmenter_check import Check

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


# --- the check: views of the same images, and images made alike -----------------------------------


def looked_at(side, *, seed=0, lost=None, share=0.0):
    """The side with views in which a share of the images that hold a class lose it."""
    rng = np.random.default_rng(seed)
    views = {}
    for view in VIEWS:
        pixels = side.pixels.copy()
        if lost is not None:
            k = side.columns.index(f"object/{lost}")
            gone = (rng.random(len(side)) < share) & (pixels[:, k] > 0)
            pixels[gone, 2] += pixels[gone, k]
            pixels[gone, k] = 0
        views[view] = pixels
    return dataclasses.replace(side, views=views)


def sides(presence, n=600):
    return (
        areas(n, PRESENCE, seed=1, name="photos"),
        areas(n, {**PRESENCE, **presence}, seed=2, name="fakes"),
    )


def row_of(comparison, name):
    (row,) = [row for row in comparison.generated[0].classes if row.name == name]
    return row


def test_a_check_of_steady_looks_takes_nothing_back():
    real, fakes = sides({"person": 0.1, "car": 0.6})
    plain = compare(real, [fakes])
    checked = compare(looked_at(real), [looked_at(fakes)], checks=[Check()])
    for row, before in zip(checked.generated[0].classes, plain.generated[0].classes, strict=True):
        assert (row.verdict, row.undecided_by) == (before.verdict, before.undecided_by)
        assert row.own_verdict == before.verdict
    assert row_of(checked, "person").verdict == "under"
    assert row_of(checked, "car").verdict == "over"
    assert row_of(checked, "person").real_agreement == 1
    assert checked.generated[0].checked
    assert not plain.generated[0].checked
    assert row_of(plain, "person").real_agreement is None


def test_a_difference_that_half_the_looks_do_not_show_is_undecided_by_the_segmenter():
    real, fakes = sides({"car": 0.1})  # 0.3 → 0.1: log ratio −1.1
    for share, stands in ((0.2, True), (0.6, False)):  # leaves −0.88; −0.18: less than half
        shaky = looked_at(real, lost="car", share=share)
        row = row_of(compare(shaky, [looked_at(fakes)], checks=[Check()]), "car")
        assert row.own_verdict == "under"
        assert (row.verdict, row.undecided_by) == (
            ("under", None) if stands else ("undecided", "segmenter")
        )
        # Dice of n with (1 − share) n of the same images
        assert row.real_agreement == pytest.approx(2 * (1 - share) / (2 - share), abs=0.04)
        assert row.generated_agreement == 1


def test_agreement_is_dices_coefficient_by_hand():
    side = areas(4, {"person": 1.0}, seed=1)
    k = side.columns.index("object/person")
    held, again = [1, 1, 1, 0], [0, 1, 1, 1]  # together 2 of 3 and 3: Dice 2·2 / 6
    pixels = side.pixels.copy()
    pixels[:, [k, 2]] = [[9 * there, 256 - 9 * there] for there in held]
    view = pixels.copy()
    view[:, [k, 2]] = [[9 * there, 256 - 9 * there] for there in again]
    side = dataclasses.replace(side, pixels=pixels, views={"moved": view})
    if side.label_map_pixels != 256:
        pytest.fail("the world's images have another size now")
    row = row_of(compare(side, [side], checks=[Check()]), "person")
    assert row.real_agreement == pytest.approx(4 / 6)


def test_a_difference_that_is_gone_between_images_made_alike_is_undecided_by_the_segmenter():
    real, fakes = sides({"person": 0.02, "car": 0.05})
    # In blurred photographs the segmenter finds no person, either; cars are still there.
    blurred = areas(600, {**PRESENCE, "person": 0.02}, seed=3, name="photos")
    check = Check((blurred, fakes))
    checked = compare(looked_at(real), [looked_at(fakes)], checks=[check])
    person, car = row_of(checked, "person"), row_of(checked, "car")
    assert (person.verdict, person.undecided_by) == ("undecided", "segmenter")
    assert person.own_verdict == "omitted"
    assert person.worn_verdict == "undecided"
    assert (car.verdict, car.worn_verdict) == ("under", "under")
    assert "undecided: segmenter" in verdict_in_words(person)
    assert checked.generated[0].counts["undecided"] == sum(
        row.verdict == "undecided" for row in checked.generated[0].classes
    )
    assert "person (else omitted)" in summary(checked)


def test_sides_without_views_are_refused_by_name():
    real, fakes = sides({})
    with pytest.raises(RecordError, match="fakes"):
        compare(looked_at(real), [fakes], checks=[Check()])


def test_what_the_check_leaves_undecided_cannot_pass_a_gate_that_asks_for_power():
    real, fakes = sides({"car": 0.1})
    shaky = looked_at(real, lost="car", share=0.6)
    gate = Gate.parse(["under"], "presence>=20%,drop<=60%")
    assert gate.judge(compare(real, [fakes])).status == 3
    result = gate.judge(compare(shaky, [looked_at(fakes)], checks=[Check()]))
    assert result.status == 4
    assert "object/car" in [finding.column for finding in result.findings]


# --- images made alike: a segmenter that does not see what is pale --------------------------------


class Contrast:
    """Finds "thing" where a pixel is much brighter than mid grey, so not in pale images."""

    resolution = 16

    def __init__(self):
        self.channels = {"object": ("ground", "thing")}
        self.provenance = {"spec": "contrast"}

    def label_maps(self, images, channel="object"):
        return (images.mean(1) > 200).astype(np.uint8)


def pictures(n, share, seed, contrast=1.0):
    """Grey noise, in some strong and in some weak; a bright square in a share of the pictures.

    All are made paler by a factor.
    """
    rng = np.random.default_rng(seed)
    strength = rng.uniform(5, 80, (n, 1, 1, 1))
    images = 100 + strength * rng.uniform(-1, 1, (n, 16, 16, 1)).repeat(3, axis=3)
    images[rng.random(n) < share, 4:9, 4:9] = 240
    return list(np.uint8(128 + contrast * (images - 128)))


@pytest.mark.parametrize(("share", "contrast", "verdict"), [(0.5, 0.5, None), (0.05, 1, "under")])
def test_pale_images_are_compared_with_equally_pale_ones(tmp_path, share, contrast, verdict):
    compared = functools.partial(
        run,
        pictures(200, 0.5, seed=1),
        pictures(200, share, seed=2, contrast=contrast),
        Contrast(),
        out=tmp_path,
        check_segmenter=True,
        workers=0,
    )
    comparison = compared()
    (side,) = comparison.generated
    row = row_of(comparison, "thing")
    assert row.own_verdict in ("omitted", "under")
    if verdict is None:
        assert (row.verdict, row.undecided_by) == ("undecided", "segmenter")
        assert side.worn is not None
        real, generated = side.worn
        assert real["contrast"] == pytest.approx(contrast, abs=0.05)
        assert generated is None
        assert comparison.warnings
    else:
        assert row.verdict == row.own_verdict
    assert compared() == comparison
