"""Evidence from pairs of images and from inversions, with a segmenter of a few lines."""

import dataclasses
import json

import jsonschema
import numpy as np
import pytest
from PIL import Image
from tests.support.kills import killed_while_writing

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import ImageError, RecordError, SegmenterError, SpecError
from unseen.core.records import to_json
from unseen.distribution.areas import Areas
from unseen.images import open_images
from unseen.instance_evidence.judging import judged_again
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.instance_evidence.record import cases, json_schema
from unseen.inversion.photograph_selection import select_photographs
from unseen.statistics.retention import Judging

SIDE = 20
COLOURS = np.array([[0, 0, 0], [90, 160, 250], [200, 40, 40], [40, 160, 40]], np.uint8)
SEGMENTER = "python:tests.instance_evidence.test_measuring:nearest_colour"
TASK = EvidenceTask(device="cpu", judging=Judging(resamples=99), batch_size=8)


class NearestColour:
    """Labels a pixel by the nearest of COLOURS; counts its calls."""

    resolution = SIDE

    def __init__(self):
        self.channels = {"object": ("none", "sky", "person", "tree")}
        self.provenance = {"spec": SEGMENTER}
        self.calls = 0

    def label_maps(self, images, channel="object"):
        self.calls += 1
        distance = np.abs(images[:, None].astype(int) - COLOURS[None, :, :, None, None]).sum(2)
        return distance.argmin(1)


def nearest_colour():
    return NearestColour()


def scene(rng, *, person=True):
    """Sky, a tree of 4 × 5 pixels and a person of 4 × 5 pixels, neither touching the other."""
    label_map = np.ones((SIDE, SIDE), int)
    top = rng.integers(0, SIDE - 5)
    label_map[top : top + 5, 2:6] = 3
    top = rng.integers(0, SIDE - 5)
    if person:
        label_map[top : top + 5, 10:14] = 2
    return label_map


def save(folder, name, label_map, size=None):
    folder.mkdir(exist_ok=True)
    picture = Image.fromarray(COLOURS[label_map])
    if size is not None:
        picture = picture.resize(size, Image.Resampling.NEAREST)
    picture.save(folder / name)


@pytest.fixture
def world(tmp_path):
    """Twelve photographs that lose their persons, and sixteen controls that lose nothing."""
    rng = np.random.default_rng(0)
    for i in range(12):
        label_map = scene(rng)
        save(tmp_path / "photos", f"p{i:02d}.png", label_map)
        save(tmp_path / "rebuilt", f"p{i:02d}.png", np.where(label_map == 2, 1, label_map))
    for i in range(16):
        label_map = scene(rng)
        save(tmp_path / "generated", f"g{i:02d}.png", label_map)
        save(tmp_path / "regenerated", f"g{i:02d}.png", label_map)
    return tmp_path


def gather(world, *, controls=True, segmenter=SEGMENTER, out="out", **options):
    return unseen.evidence(
        str(world / "photos"),
        str(world / "rebuilt"),
        segmenter,
        controls=(str(world / "generated"), str(world / "regenerated")) if controls else None,
        out=world / out,
        **{"task": TASK, **options},
    )


def test_what_vanishes_beside_intact_controls_cannot_be_drawn(world):
    record = gather(world)
    verdicts = {one.name: one.verdict for one in record.classes}
    assert verdicts == {"person": "cannot draw", "sky": "undecided", "tree": "undecided"}
    person = record.classes[0]
    assert (person.instances, person.images, person.vanished) == (12, 12, 12)
    assert (person.lost_share, person.rank) == (1.0, 1)
    assert person.area == person.lost == pytest.approx(20 / 400)
    assert person.by("given").controls.mean == 1
    controls, own = person.ratio("controls", "given"), person.ratio("own", "given")
    assert (controls.ratio, controls.margin) == (0, 0.5)
    assert max(controls.interval[1], own.interval[1]) < 0.5
    assert person.ratio("peers", "given") is None  # nothing else is of its size and shape
    # of three classes that were tested
    assert person.p_value == pytest.approx(3 * max(r.p_value for r in person.ratios))


def test_label_maps_that_exist_give_what_a_segmenter_of_the_same_labels_gives(world):
    for side in ("photos", "rebuilt", "generated", "regenerated"):
        (world / "maps" / side).mkdir(parents=True)
        for path in (world / side).iterdir():
            pixels = np.moveaxis(np.asarray(Image.open(path)), -1, 0)[None]
            labels = NearestColour().label_maps(pixels)[0].astype(np.uint8)
            Image.fromarray(labels).save(world / "maps" / side / path.name)
    (world / "maps/classes.txt").write_text("none\nsky\nperson\ntree\n")
    maps = f"maps:{world / 'maps'}?resolution={SIDE}"
    record, segmented = gather(world, segmenter=maps), gather(world, out="segmented")
    assert record.instances == segmented.instances
    assert record.classes == segmented.classes
    path = world / "maps/photos/p00.png"
    Image.fromarray(np.ones((SIDE, SIDE), np.uint8)).save(path)
    with pytest.raises(RecordError, match="maps"):  # what was measured is not that
        gather(world, segmenter=maps)


def test_a_frame_that_is_squashed_keeps_what_the_crop_loses(tmp_path):
    label_map = np.ones((SIDE, 2 * SIDE), int)
    label_map[5:15, :4] = 2  # a person at the left edge, outside of the centre square
    save(tmp_path / "photos", "a.png", label_map)
    save(tmp_path / "rebuilt", "a.png", np.ones((SIDE, 2 * SIDE), int))
    seen = {
        fit: {row.name for row in gather(tmp_path, controls=False, out=fit, fit=fit).classes}
        for fit in ("crop", "squash")
    }
    assert seen == {"crop": {"sky"}, "squash": {"sky", "person"}}
    with pytest.raises(SpecError, match="tiles"):
        gather(tmp_path, controls=False, fit="tiles")


def test_the_record_is_what_its_schema_says_and_all_that_it_names_is_there(world):
    record = gather(world)
    jsonschema.validate(to_json(record), json_schema())
    assert unseen.read_evidence(world / "out") == record
    for picture in record.pictures:
        for path in (picture.image, picture.label_map):
            assert (world / "out" / path).is_file()
        for one in picture.rebuilt:
            with Image.open(world / "out" / one.label_map) as image:
                assert image.size == (SIDE, SIDE)
                assert np.asarray(image).max() < len(record.columns)


def test_a_case_shows_the_instance_its_fate_and_its_controls(world):
    first = cases(gather(world), "object/person")[0]
    (fate,) = first.instance.fates
    assert (fate.retention, fate.iou, fate.became) == (0.0, 0.0, {"object/sky": 1.0})
    assert first.instance.area_pixels == 20
    assert first.instance.perimeter_ratio == pytest.approx(18 / (4 * 20**0.5))
    assert first.controls
    top, left, bottom, right = first.instance.box
    with Image.open(world / "out" / first.picture.label_map) as image:
        assert (np.asarray(image)[top:bottom, left:right] == 2).all()
    for control, picture in first.controls:
        assert control.role == picture.role == "control"
        assert control.image == picture.id


def test_a_record_is_judged_again_without_an_image(world):
    record = gather(world)
    judged = judged_again(record, TASK.judging)
    assert {column: one.verdict for column, one in judged.items()} == {
        one.column: one.verdict for one in record.classes
    }
    for one in record.classes:
        assert judged[one.column].p_value == one.p_value
    strict = judged_again(record, dataclasses.replace(TASK.judging, least_images=13))
    assert strict["object/person"].verdict == "untested"  # in twelve photographs


def test_photographs_are_ranked_by_what_they_lost(world):
    label_map = scene(np.random.default_rng(9), person=False)
    save(world / "photos", "p99.png", label_map)
    save(world / "rebuilt", "p99.png", label_map)
    record = gather(world, controls=False)
    photographs = [one for one in record.pictures if one.role == "photograph"]
    assert [one.rank for one in photographs] == list(range(1, 14))
    assert photographs[-1].name == "p99.png"
    assert photographs[-1].lost == photographs[-1].weighted_loss == 0
    assert record.instances[0].column == "object/person"


def test_a_typical_photograph_loses_no_more_than_the_controls(world):
    record = gather(world)
    one = record.pictures[0].typicality
    assert (one.statistic, one.rank, one.of) == ("pixel_error", 1, 17)  # controls have none at all
    assert one.p_value == pytest.approx(1 / 17)
    assert not one.atypical  # sixteen controls cannot show it at 5 %


def test_without_controls_there_are_no_verdicts_and_the_record_says_so(world):
    record = gather(world, controls=False)
    assert {one.verdict for one in record.classes} == {None}
    assert record.classes[0].name == "person"
    assert "no controls" in record.caveats[0]


def test_no_class_is_judged_that_was_not_asked_for(world):
    record = gather(world, task=dataclasses.replace(TASK, classes=["person"]))
    assert [one.name for one in record.classes] == ["person"]
    alone, among_three = record.classes[0], gather(world, out="three").classes[0]
    assert 3 * alone.p_value == pytest.approx(among_three.p_value)
    assert alone.ratios[0].interval[1] < among_three.ratios[0].interval[1]
    assert {one.column for one in record.instances if one.role == "control"} == {
        "object/sky",
        "object/person",
        "object/tree",
    }


def test_the_word_for_no_class_has_no_instances(world):
    save(world / "photos", "p50.png", np.zeros((SIDE, SIDE), int))
    save(world / "rebuilt", "p50.png", np.zeros((SIDE, SIDE), int))
    record = gather(world, controls=False)
    assert "object/none" not in {one.column for one in record.instances}


def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_record(world):
    whole = to_json(gather(world, segmenter=NearestColour(), out="whole"))

    class Stopping(NearestColour):
        def label_maps(self, images, channel="object"):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().label_maps(images, channel)

    with pytest.raises(KeyboardInterrupt):
        gather(world, segmenter=Stopping())
    before = set((world / "out").rglob("*"))
    killed_while_writing(world / "out" / "pictures" / "photograph" / "00000-labels.png")
    (half,) = set((world / "out").rglob("*")) - before
    again = NearestColour()
    assert to_json(gather(world, segmenter=again)) == whole
    assert not half.exists()
    assert again.calls == 7 - 2  # 28 pairs, 4 a call
    third = NearestColour()
    gather(world, segmenter=third)
    assert third.calls == 0


def test_other_evidence_in_the_folder_is_refused_and_replaced_when_asked(world):
    gather(world)
    save(world / "rebuilt", "p00.png", scene(np.random.default_rng(1)))
    with pytest.raises(RecordError, match="sources"):
        gather(world)
    replaced = gather(world, task=dataclasses.replace(TASK, overwrite=True))
    assert to_json(replaced) == to_json(gather(world, out="fresh"))


def test_sizes_that_differ_are_made_equal_and_the_record_says_so(world):
    for path in (world / "photos").iterdir():
        with Image.open(path) as image:
            wide = Image.new("RGB", (3 * SIDE, 2 * SIDE), (90, 160, 250))
            wide.paste(image.resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST), (SIDE // 2, 0))
        wide.save(path)
    record = gather(world, controls=False)
    assert {one.name: one.vanished for one in record.classes}["person"] == 12
    assert (
        "Images are 40×60 and reconstructions 20×20 pixels: of every pair the shorter sides were "
        "made equal (the smaller one's, at most the segmenter's 20), and the centre squares "
        "compared." in " ".join(record.caveats)
    )


def test_names_may_differ_in_their_endings(world):
    for path in (world / "rebuilt").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))
        path.unlink()
    assert gather(world, controls=False).photographs.images == 12


def test_names_pair_in_either_form_of_unicode(world):
    for folder, name in (("photos", "e\u0301.png"), ("rebuilt", "\u00e9.png")):
        (world / folder / "p03.png").rename(world / folder / name)
    assert gather(world, controls=False).photographs.images == 12


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda world: (world / "rebuilt" / "p03.png").rename(world / "rebuilt" / "x.png"),
            r"holds 1 reconstruction \(x\) of no image in .*give every reconstruction its image",
        ),
        (
            lambda world: (world / "rebuilt" / "p03.png").unlink(),
            r"holds 1 image \(p03\) without a reconstruction in .*leave the others out by only_pai",
        ),
        (
            lambda world: save(world / "photos", "p03.bmp", np.ones((SIDE, SIDE), int)),
            "holds p03.bmp and p03.png, which pair with the same image; remove one",
        ),
        (
            lambda world: (world / "regenerated" / "g00.png").unlink(),
            r"generated holds 1 image \(g00\) without a reconstruction",
        ),
    ],
)
def test_names_that_do_not_pair_are_refused(world, spoil, message):
    spoil(world)
    with pytest.raises(ImageError, match=message):
        gather(world)


def test_photographs_without_a_reconstruction_are_left_out_when_asked(world):
    (world / "rebuilt" / "p03.png").unlink()
    assert gather(world, controls=False, only_pairs=True).photographs.images == 11


def test_images_without_instances_are_refused(world):
    task = dataclasses.replace(TASK, classes=["tree"], least_area=0.3)
    with pytest.raises(
        ImageError, match=r"no class of tree has a connected part of at least 30 % of an image"
    ):
        gather(world, task=task)


def test_label_maps_of_nothing_are_refused(world):
    for folder in ("photos", "rebuilt"):
        for path in (world / folder).iterdir():
            Image.new("RGB", (SIDE, SIDE)).save(path)
    with pytest.raises(ImageError, match="no photograph holds an instance"):
        gather(world, controls=False)


def test_a_class_that_the_segmenter_does_not_know_is_refused(world):
    with pytest.raises(SegmenterError, match="knows no class 'bus'; its classes are: none, sky"):
        gather(world, task=dataclasses.replace(TASK, classes=["bus"]))


def test_a_broken_picture_is_named(world):
    (world / "rebuilt" / "p03.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"p03\.png"):
        gather(world)


def test_exact_label_maps_are_asked_of_sources_that_have_them(world):
    with pytest.raises(SegmenterError, match="has no exact label maps; the churchyard has"):
        gather(world, task=dataclasses.replace(TASK, label_maps="true"))


@pytest.fixture
def churchyard(tmp_path):
    """Six scenes, each rebuilt as it is."""
    source = open_images("churchyard?seed=3")
    for i in range(6):
        folder = tmp_path / "rebuilt"
        folder.mkdir(exist_ok=True)
        picture = np.moveaxis(source.read(i), 0, -1)
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{source.names[i]}.png")
    return tmp_path


def test_with_exact_label_maps_instances_are_true_and_seen(churchyard):
    record = unseen.evidence(
        "churchyard?seed=3",
        str(churchyard / "rebuilt"),
        out=churchyard / "out",
        task=dataclasses.replace(TASK, label_maps="true"),
    )
    assert record.photographs.images == 6
    # a perfect reconstruction keeps all that the segmenter saw, whatever it misses
    assert all(fate.retention == 1 for one in record.instances for fate in one.fates)
    for picture in record.pictures:
        with Image.open(churchyard / "out" / picture.true_label_map) as image:
            truth = np.asarray(image)
        with Image.open(churchyard / "out" / picture.label_map) as image:
            seen = np.asarray(image)
        assert truth.shape == seen.shape
        assert 0.7 < (truth == seen).mean() < 1  # the segmenter errs; its mean accuracy is 0.9
        for one in record.instances:
            if one.image == picture.id:
                label = record.columns.index(one.column)
                top, left, bottom, right = one.box
                both = (truth == label) & (seen == label)
                assert one.area_pixels <= both[top:bottom, left:right].sum()
    assert "exact label maps" in record.caveats[-1]


def test_a_segmenter_that_lacks_a_true_class_is_refused(churchyard):
    with pytest.raises(SegmenterError, match=r"does not know classes of the exact label maps"):
        unseen.evidence(
            "churchyard?seed=3",
            str(churchyard / "rebuilt"),
            SEGMENTER,
            out=churchyard / "out",
            task=dataclasses.replace(TASK, label_maps="true"),
        )


def test_photographs_are_selected_by_a_rule_that_the_record_repeats():
    pixels = np.zeros((30, 2), np.uint32)
    pixels[:, 1] = np.arange(30)
    pixels[:, 0] = 100 - pixels[:, 1]
    areas = Areas([f"{i}.png" for i in range(30)], ("object/sky", "object/person"), pixels, 100)
    chosen = select_photographs(areas, a_class=3, share=0.2, seed=5)
    assert set(chosen.chosen["object/person"]) <= {f"{i}.png" for i in range(24, 30)}
    assert chosen == select_photographs(areas, a_class=3, share=0.2, seed=5)
    assert chosen.rule.startswith("of the 20 % of the images with a class")
    assert (chosen.pool, chosen.seed) == (30, 5)


def test_the_command_prints_the_worst_and_names_record_and_page(world, capsys):
    status = unseen_command(
        [
            "evidence",
            str(world / "photos"),
            str(world / "rebuilt"),
            *("--segmenter", SEGMENTER, "--device", "cpu", "--out", str(world / "out")),
            *("--controls", str(world / "generated"), str(world / "regenerated")),
        ]
    )
    told = capsys.readouterr().out
    assert status == 0
    assert "12 photographs" in told
    assert "16 controls" in told
    assert "cannot draw  person  0 % [0 – " in " ".join(told.split("\n"))
    assert "vanished: person 5.00 %" in told
    assert told.splitlines()[-2:] == [
        f"Record: {world / 'out' / 'evidence.json'}",
        f"Page: {world / 'out' / 'report.html'}",
    ]
    assert json.loads((world / "out" / "evidence.json").read_text())["schema_version"] == 1


def test_the_command_wants_pairs_or_runs(world, capsys):
    assert unseen_command(["evidence", str(world / "photos")]) == 1
    assert "inversions.json" in capsys.readouterr().err


# Listed by eye from the photographs. The rule that ranks them was chosen among a few with these
# pairs in view, so this test says that it still does what it did, not that it would elsewhere.
CHURCHES_WITH_PEOPLE_OR_VEHICLES = {
    *(27, 54, 90, 120, 200, 393, 401, 447, 457, 463, 522, 523, 568, 569, 594, 645, 646, 666)
}


@pytest.mark.real
def test_scenes_with_visitors_and_vehicles_rank_first_on_the_authors_pictures(
    real_inputs, tmp_path
):
    pytest.importorskip("onnxruntime")
    record = unseen.evidence(
        real_inputs / "churches" / "real",
        real_inputs / "churches" / "reconstructed",
        str(real_inputs / "ade20k-32"),
        out=tmp_path,
        task=EvidenceTask(device="cpu"),
    )
    assert [one.name for one in record.classes[:2]] == ["car", "person"]
    rows = {one.name: one for one in record.classes}
    assert rows["car"].lost_share > 0.99
    assert rows["person"].lost_share > 0.8
    assert rows["sky"].lost_share < 0.1
    ranked = [int(one.name.removeprefix("church_").removesuffix(".png")) for one in record.pictures]
    assert set(ranked[:8]) <= CHURCHES_WITH_PEOPLE_OR_VEHICLES
    held = np.array([number in CHURCHES_WITH_PEOPLE_OR_VEHICLES for number in ranked])
    before = sum((~held[i + 1 :]).sum() for i in np.flatnonzero(held))
    assert before / (held.sum() * (~held).sum()) > 0.75  # 0.80; 0.65 by pixels lost alone


def test_photographs_in_groups_are_counted_as_groups(world):
    # p00 to p09 and p10, p11: by their first digit two groups, and a test needs five
    record = gather(world, out="tens", groups=r"photographs=p(\d)")
    person = next(row for row in record.classes if row.name == "person")
    assert person.verdict == "untested"
    assert sorted(
        {picture.group for picture in record.pictures if picture.role == "photograph"}
    ) == [
        "0",
        "1",
    ]
    assert any("12 images of the photographs are 2 groups" in text for text in record.caveats)
    again = judged_again(record, TASK.judging)
    assert again["object/person"].verdict == "untested"
    # pairs of photographs: six groups, which are enough to test and fewer than twelve to be sure
    pairs = {f"p{i:02d}.png": i // 2 for i in range(12)}
    record, alone = gather(world, out="pairs", groups={"photographs": pairs}), gather(world)
    person, of_alone = (
        next(row for row in evidence.classes if row.name == "person")
        for evidence in (record, alone)
    )
    assert person.verdict != "untested"
    assert (person.ratio("controls", "given").groups, person.images) == (6, 12)
    assert of_alone.ratio("controls", "given").groups == 12
    assert person.p_value > of_alone.p_value


def test_groups_that_fit_some_photographs_are_refused_before_anything_is_segmented(world):
    with pytest.raises(SpecError, match="10 of 12"):
        gather(world, groups="photographs=p1")
    assert not (world / "out").exists()


def test_photographs_named_as_crops_are_said_to_look_dependent(world):
    for folder in ("photos", "rebuilt"):
        for i in range(12):
            (world / folder / f"p{i:02d}.png").rename(world / folder / f"p{i // 2}_crop{i % 2}.png")
    assert any("crop" in text for text in gather(world, out="crops").caveats)
