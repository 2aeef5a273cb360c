import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.support.worlds import CLASSES, areas, run

from unseen.core.errors import RecordError, SampleError, SpecError
from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare, shows_drop

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


def rows(comparison, side=0):
    return {row.name: row for row in comparison.generated[side].classes}


def test_a_class_that_is_never_drawn_is_omitted_and_comes_first():
    # 400 images of 30 % presence: the upper end of the ratio is far below 0.1
    real = areas(400, REAL, seed=0, name="photos")
    comparison = compare(real, [areas(400, REAL | {"person": 0.0}, seed=1, name="fakes")])
    first = comparison.generated[0].classes[0]
    assert (first.name, first.verdict, first.generated_presence) == ("person", "omitted", 0.0)
    assert first.relative_delta == -1.0
    assert rows(comparison)["none"].verdict == "untested"
    assert comparison.generated[0].named("omitted") == [first]


def test_sides_are_called_by_their_sources_and_told_apart():
    real = areas(40, REAL, seed=0, name="photos")
    comparison = compare(real, [areas(40, REAL, seed=i, name="fakes") for i in (1, 2)])
    assert comparison.real.label == "photos"
    assert [side.label for side in comparison.generated] == ["fakes", "fakes (3)"]


def test_shares_of_the_classes_sum_to_the_plug_in():
    real = areas(100, REAL, seed=0)
    side = compare(real, [areas(100, {"sky": 0.2}, seed=1, name="x")]).generated[0]
    # rounding alone: sums of six doubles
    assert sum(row.fsd_share for row in side.classes) == pytest.approx(side.fsd.value, rel=1e-9)


def test_a_new_generator_that_lost_a_class_has_regressed_there_and_only_there():
    real = areas(400, REAL, seed=0, name="photos")
    previous = areas(400, REAL, seed=1, name="previous")
    new = areas(400, REAL | {"car": 0.0}, seed=2, name="new")
    (ordering,) = compare(real, [previous, new]).orderings
    assert (ordering.previous, ordering.new) == (0, 1)
    (change,) = ordering.named("regressed")
    assert change.column == "object/car"
    assert change.interval[1] < 0
    (back,) = compare(real, [new, previous]).orderings
    assert [row.column for row in back.named("improved")] == ["object/car"]


def test_segmenters_that_disagree_leave_a_class_undecided():
    real = areas(400, REAL, seed=0, name="photos")
    without = areas(400, REAL | {"person": 0.0, "car": 0.0}, seed=1, name="fakes")
    # The second segmenter sees persons on the generated side, and knows no cars.
    other = areas(400, REAL, seed=2, name="fakes")
    names = ("object/none", "object/Sky", "object/building", "object/tree", "object/Person", "a/b")
    seen = [dataclasses.replace(side, columns=names) for side in (real, other)]
    comparison = compare(real, [without], second=(seen[0], [seen[1]]))
    person, car = rows(comparison)["person"], rows(comparison)["car"]
    assert (person.own_verdict, person.verdict) == ("omitted", "undecided")
    assert person.second_verdict in ("matched", "undecided")
    assert (car.verdict, car.second_verdict) == ("omitted", None)


def test_the_sample_says_what_it_could_have_shown():
    real = areas(400, REAL, seed=0, name="photos")
    side = compare(real, [areas(400, REAL, seed=1, name="fakes")]).generated[0]
    for power in side.power:
        assert power.presence is not None
        for row in side.classes:
            if row.real_presence >= power.presence:
                assert shows_drop(row, power.drop)
    # a smaller loss needs a more common class
    presences = [power.presence for power in side.power]
    assert presences == sorted(presences, reverse=True)


def test_exhibits_are_the_images_that_hold_most_in_descending_order():
    real = areas(50, REAL, seed=0, name="photos")
    comparison = compare(real, [areas(50, REAL, seed=1, name="fakes")])
    shown = comparison.real.example_images["object/sky"]
    fractions = [one.fraction for one in shown]
    assert fractions == sorted(real.fraction[:, 1], reverse=True)[: len(shown)]
    assert all(one.image is None for one in shown)
    assert "object/none" not in comparison.real.example_images


def test_pictures_are_written_once_under_numbers(tmp_path):
    real, fakes = areas(12, REAL, seed=0, name="../<b>"), areas(12, REAL, seed=1, name="fakes")
    comparison = run(tmp_path, real, [fakes])
    shown = [one for held in comparison.real.example_images.values() for one in held]
    images = {one.name: one.image for one in shown}
    assert sorted(set(images.values())) == [
        f"pictures/real/{i:05d}.png" for i in range(len(images))
    ]
    assert all((tmp_path / one.label_map).is_file() for one in shown)


def test_tiny_and_paired_samples_are_said_to_be_so():
    real, fakes = areas(26, REAL, seed=0, name="photos"), areas(26, REAL, seed=1, name="fakes")
    paired = dataclasses.replace(fakes, names=real.names)
    caveats = " ".join(compare(real, [paired]).caveats)
    assert "All 26 image names occur on both sides" in caveats
    (side,) = compare(real, [paired]).generated
    shown = [one.name for one in compare(real, [paired]).real.example_images["object/sky"]]
    assert [one.name for one in side.counterparts["object/sky"]] == shown
    sky = {name: paired.fraction[i, 1] for i, name in enumerate(paired.names)}
    assert [one.fraction for one in side.counterparts["object/sky"]] == [sky[n] for n in shown]
    assert compare(real, [fakes]).generated[0].counterparts == {}
    assert "too few for a covariance" in caveats or "small sample" in caveats
    same = " ".join(compare(real, [real]).caveats)
    assert "26 images are on both sides" in same


def test_one_image_is_refused():
    real = areas(10, REAL, seed=0, name="photos")
    with pytest.raises(SampleError, match="fakes has 1 image; a covariance needs at least 2"):
        compare(real, [areas(1, REAL, seed=1, name="fakes")])
    with pytest.raises(SampleError, match="no generated one; name at least one"):
        compare(real, [])


def test_other_classes_and_other_resolutions_are_refused_naming_both():
    real, fakes = areas(10, REAL, seed=0, name="photos"), areas(10, REAL, seed=1, name="fakes")
    other = dataclasses.replace(fakes, columns=(*fakes.columns[:-1], "object/bus"))
    with pytest.raises(RecordError, match=r"photos has .*, fakes .*object/car"):
        compare(real, [other])
    larger = dataclasses.replace(fakes, pixels=fakes.pixels * np.uint32(4), label_map_pixels=1024)
    with pytest.raises(RecordError, match="photos has label maps of 256 pixels, fakes of 1024"):
        compare(real, [larger])


def test_the_same_seed_gives_the_same_record():
    real, fakes = areas(60, REAL, seed=0, name="photos"), areas(60, REAL, seed=1, name="fakes")
    assert compare(real, [fakes], seed=3) == compare(real, [fakes], seed=3)


def in_groups(side, size, **labels):
    """The same areas, every image there so often; the names tell which are copies."""
    rows = np.repeat(np.arange(len(side)), size)
    names = [f"{side.names[row]}/{k % size}.png" for k, row in enumerate(rows)]
    return dataclasses.replace(side, names=names, pixels=side.pixels[rows], **labels)


def test_groups_are_recorded_said_and_tested_as_wholes():
    real = in_groups(areas(100, REAL, seed=0, name="photos"), 10)
    fakes = in_groups(areas(100, REAL, seed=1, name="fakes"), 10)
    alone, grouped = compare(real, [fakes]), compare(real, [fakes], groups="folder")
    assert alone.real.sampling is None
    sampling = grouped.generated[0].sampling
    assert (sampling.groups, sampling.grouped_by, sampling.declared) == (100, "folder", True)
    # copies are worth their originals, but that 1,000 images have 999 degrees of freedom
    assert sampling.effective_images == pytest.approx(100, rel=0.02)
    # a permutation of 100 folders cannot give as low a p-value as one of 1,000 images
    assert grouped.generated[0].fsd.p_value > alone.generated[0].fsd.p_value
    assert "100 groups by folder" in grouped.summary()


def test_what_looks_dependent_is_a_caveat_until_it_is_declared():
    real = areas(100, REAL, seed=0, name="photos")
    fakes = areas(100, REAL, seed=1, name="fakes")
    names = [f"clip_{k // 10}/frame_{k % 10}.png" for k in range(100)]
    fakes = dataclasses.replace(fakes, names=names)

    def warned(**options):
        caveats = compare(real, [fakes], **options).caveats
        return [text for text in caveats if "independent" in text and "fakes" in text]

    assert len(warned()) == 1
    assert "100 of 100" in warned()[0]
    assert warned(groups="generated=none") == []
    assert all("named" not in text for text in warned(groups="generated=folder"))


def test_few_groups_are_said_to_be_few():
    real = in_groups(areas(40, REAL, seed=0, name="photos"), 2)
    fakes = in_groups(areas(5, REAL, seed=1, name="fakes"), 16)
    caveats = compare(real, [fakes], groups="folder").caveats
    assert any("fakes has 5 groups" in text for text in caveats)
    assert not any("photos has" in text for text in caveats)


def test_conditions_that_repeat_group_a_generator_by_themselves():
    real = areas(300, REAL, seed=0, name="photos")
    fakes = in_groups(areas(60, REAL, seed=1, name="fakes"), 5)
    asked = dataclasses.replace(fakes, conditions=[name[:-6] for name in fakes.names])
    comparison = compare(real, [asked])
    (side,) = comparison.generated
    assert (side.sampling.groups, side.sampling.grouped_by) == (60, "condition")
    assert not side.sampling.declared
    assert comparison.real.sampling is None
    assert any("--groups generated=none" in text for text in comparison.caveats)
    alone = compare(real, [asked], groups="generated=none")
    assert alone.generated[0].sampling is None


def test_weights_balance_a_generator_as_the_real_side_is():
    real = areas(400, {"sky": 0.9}, seed=0, name="photos")
    real = dataclasses.replace(real, conditions=["day"] * 360 + ["night"] * 40)
    day, night = areas(200, {"sky": 1.0}, seed=1), areas(200, {}, seed=2)
    pixels = np.concatenate([day.pixels, night.pixels])
    balanced = areas(400, {}, seed=3, name="fakes")
    balanced = dataclasses.replace(
        balanced, pixels=pixels, conditions=["day"] * 200 + ["night"] * 200
    )
    options = {"groups": "none", "presence_threshold": 0.005}
    sky = rows(compare(real, [balanced], **options))["sky"]
    assert sky.verdict == "under"  # half of the images hold it, by the design of the sample
    comparison = compare(real, [balanced], weights="condition", **options)
    sky = rows(comparison)["sky"]
    assert sky.generated_presence == pytest.approx(0.9)
    assert sky.verdict in ("matched", "undecided")
    assert comparison.generated[0].sampling.weighted_by.startswith("condition")


def test_classes_that_are_asked_about_are_tested_alone_with_all_their_images():
    real = areas(300, REAL, seed=0, name="photos")
    fakes = [areas(300, REAL | {"car": 0.0}, seed=i, name=f"fakes {i}") for i in (1, 2)]
    whole = compare(real, fakes)
    comparison = compare(real, fakes, classes=["Car", "object/person"])
    assert comparison.asked == ("object/car", "object/person")
    alone = rows(comparison)
    assert set(alone) == {"car", "person"}
    assert alone["person"].interval[0] > rows(whole)["person"].interval[0]
    assert {row.column for row in comparison.orderings[0].classes} == set(comparison.asked)
    assert comparison.generated[0].fsd == whole.generated[0].fsd  # of all classes in any case
    for column in comparison.asked:
        k = real.columns.index(column)
        held = comparison.real.example_images[column]
        present = real.fraction[:, k] >= 0.005
        assert {image.name for image in held} == set(np.array(real.names)[present])
        fractions = [image.fraction for image in held]
        assert fractions == sorted(fractions, reverse=True)
    assert set(comparison.real.example_images) == set(comparison.asked)
    assert "object/car" not in comparison.generated[0].example_images
    summary = comparison.summary()
    cars = int((real.fraction[:, real.columns.index("object/car")] >= 0.005).sum())
    assert f"{cars:,} of 300: " in summary
    assert "0 of 300: at most 1.22 % (95 %)" in summary  # Clopper and Pearson: 1 − 0.025^(1/300)
    with pytest.raises(SpecError, match="'cars'"):
        compare(real, fakes, classes=["cars"])


def test_a_second_segmenter_is_asked_about_the_same_classes():
    real, fakes = (areas(200, REAL, seed=i, name=f"{i}") for i in (0, 1))
    again = [areas(200, REAL, seed=i, name=f"{i}", classes=(*CLASSES, "dog")) for i in (2, 3)]
    comparison = compare(real, [fakes], classes=["car"], second=(again[0], [again[1]]))
    (row,) = comparison.generated[0].second_segmenter.classes
    assert row.name == "car"
    assert rows(comparison)["car"].second_verdict == row.verdict


def described(side: Areas, **source: Any) -> Areas:
    """The areas of images that are described so."""
    (images,) = side.provenance["images"]
    return dataclasses.replace(side, provenance={"images": [{**images, **source}]})


def sized(width: int, height: int) -> dict[str, Any]:
    size, cut = [width, height], width * height - min(width, height) ** 2
    return {
        "sizes": {
            "smallest": size,
            "largest": size,
            "pixels": 100 * width * height,
            "cropped_pixels": 100 * cut,
        }
    }


def test_sides_reduced_to_different_resolutions_are_refused():
    real, fakes = (areas(40, {"sky": 0.5}, seed=seed, name=str(seed)) for seed in (0, 1))
    with pytest.raises(RecordError, match="128"):
        compare(described(real, match_resolution=128), [described(fakes, match_resolution=None)])
    both = [described(side, match_resolution=128) for side in (real, fakes)]
    assert compare(both[0], both[1:]).generated[0].fsd.p_value > 0.001


@pytest.mark.parametrize(
    ("real", "generated", "said"),
    [
        (sized(480, 360), sized(360, 360), "25.0 %"),
        (sized(256, 256), sized(64, 64), "64"),
        (sized(480, 360) | {"fit": "pad"}, sized(480, 360), "pad"),
        (sized(480, 360), sized(480, 360), None),
        (sized(256, 256), sized(250, 250), None),
        (
            sized(256, 256) | {"match_resolution": 64},
            sized(64, 64) | {"match_resolution": 64},
            None,
        ),
    ],
)
def test_a_crop_or_a_resize_that_differs_is_said(real, generated, said):
    sides = [areas(40, {"sky": 0.5}, seed=seed, name=str(seed)) for seed in (0, 1)]
    plain = compare(sides[0], sides[1:]).caveats
    told = compare(described(sides[0], **real), [described(sides[1], **generated)]).caveats
    new = [caveat for caveat in told if caveat not in plain]
    assert len(new) == (said is not None)
    assert said is None or said in new[0]
