"""Comparisons from image sets, with a segmenter of a few lines instead of a network."""

import csv
import dataclasses
import gc
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.kills import killed_while_writing
from tests.support.worlds import CHURCH_SHARES, areas

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import ImageError, RecordError, SampleError, SpecError, StorageError
from unseen.core.files import write_json
from unseen.core.lock import LOCK, locked
from unseen.core.records import to_json
from unseen.distribution import example_images
from unseen.distribution.areas_file import write_areas
from unseen.distribution.comparison import read_comparison
from unseen.distribution.comparison_exports import IMAGES_CSV, IMAGES_FOLDER
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.images.folder import FolderSource

COLOURS = np.array([[0, 0, 0], [90, 160, 250], [200, 40, 40]], np.uint8)  # none, sky, person
SEGMENTER = "python:tests.distribution.test_comparison_run:nearest_colour"
SECOND = "python:tests.distribution.test_comparison_run:sees_no_person"


class NearestColour:
    """Labels a pixel by the nearest of COLOURS."""

    resolution = 8

    def __init__(self, spec):
        self.channels = {"object": ("none", "sky", "person")}
        self.provenance = {"spec": spec}

    def label_maps(self, images, channel="object"):
        distance = np.abs(images[:, None].astype(int) - COLOURS[None, :, :, None, None]).sum(2)
        return distance.argmin(1)


class SeesNoPerson(NearestColour):
    """The same, but persons are sky to it."""

    def label_maps(self, images, channel="object"):
        return np.minimum(super().label_maps(images, channel), 1)


def nearest_colour():
    return NearestColour(SEGMENTER)


def sees_no_person():
    return SeesNoPerson(SECOND)


def photos(folder, count, persons, *, seed):
    """Images of sky; the first `persons` of them hold a person of 12 to 24 of 64 pixels."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(count):
        label_map = np.ones((8, 8), int)
        if i < persons:
            label_map[8 - rng.integers(3, 7) :, 2:6] = 2
        Image.fromarray(COLOURS[label_map]).save(folder / f"{folder.name}{i:02d}.png")
    return str(folder)


@pytest.fixture
def world(tmp_path):
    real = photos(tmp_path / "real", 40, 20, seed=0)
    fakes = photos(tmp_path / "fakes", 40, 0, seed=1)
    return ComparisonRun(
        real=real,
        generated=(fakes,),
        out=tmp_path / "out",
        segmenter=SEGMENTER,
        device="cpu",
        workers=0,
    )


def test_sets_of_images_are_segmented_compared_and_shown(world):
    comparison = run_comparison(world)
    assert to_json(read_comparison(world.out)) == to_json(comparison)
    (side,) = comparison.generated
    (person,) = side.named("under", "omitted")
    assert (person.name, person.real_presence, person.generated_presence) == ("person", 0.5, 0.0)
    assert comparison.real.label.endswith("/real")
    assert comparison.real.provenance["images"][0]["count"] == 40
    held = comparison.real.example_images["object/person"]
    with Image.open(world.out / held[0].label_map) as image:
        label_map = np.asarray(image)
    # the picture kept is the one that was measured
    assert (label_map == 2).mean() == held[0].fraction
    assert "object/person" not in side.example_images


def test_the_same_call_segments_nothing_again_and_gives_the_same_record(world):
    first = to_json(run_comparison(world))
    before = {path: path.stat().st_mtime_ns for path in (world.out / "areas").iterdir()}
    assert to_json(run_comparison(world)) == first
    assert {path: path.stat().st_mtime_ns for path in (world.out / "areas").iterdir()} == before


def test_whole_frames_are_shown_in_their_proportions_also_when_they_are_read_again(world):
    for path in Path(world.real).iterdir():
        square = np.asarray(Image.open(path))
        Image.fromarray(np.concatenate([square, square[:, ::-1]], axis=1)).save(path)
    task = dataclasses.replace(world, fit="tiles")
    held = run_comparison(task).real.example_images["object/person"][0]
    picture = task.out / held.image
    seen = picture.read_bytes()
    with Image.open(picture) as image:
        assert image.size == (16, 8)
    assert held.fraction == pytest.approx(4 * 6 / 64)  # as tall and wide as before, on each half
    picture.unlink()
    assert run_comparison(task).real.example_images["object/person"][0] == held
    assert picture.read_bytes() == seen


def test_every_image_is_read_once_for_both_segmenters_and_the_pictures(world, monkeypatch):
    read = []
    one = FolderSource.read
    monkeypatch.setattr(FolderSource, "read", lambda self, k: read.append(k) or one(self, k))
    run_comparison(dataclasses.replace(world, second_segmenter=SECOND))
    assert len(read) == 80
    run_comparison(dataclasses.replace(world, second_segmenter=SECOND))
    assert len(read) == 80  # nothing that is in place is read again


def test_a_resumed_run_has_the_bytes_of_one_that_was_not(world, tmp_path):
    run_comparison(world)
    whole = {p.name: p.read_bytes() for p in world.out.rglob("*") if p.is_file()}
    (world.out / "comparison.json").unlink()
    (world.out / "pictures" / "real" / "00001.png").unlink()
    (world.out / "areas" / "generated-1.parquet").unlink()
    killed_while_writing(world.out / "comparison.json")
    killed_while_writing(world.out / "pictures" / "real" / "00001.png")
    run_comparison(world)
    assert {p.name: p.read_bytes() for p in world.out.rglob("*") if p.is_file()} == whole


def test_two_runs_into_one_folder_exclude_each_other(world, monkeypatch):
    monkeypatch.setattr("unseen.distribution.comparison_run.PATIENCE", 0.1)
    with locked(world.out / LOCK), pytest.raises(StorageError, match="another process"):
        run_comparison(world)


def test_pictures_of_another_run_do_not_stay_and_other_files_do(world):
    run_comparison(world)
    kept = world.out / "pictures" / "real"
    (kept / "00099.png").write_bytes(b"of an earlier run")
    (kept / "mine.png").write_bytes(b"not ours")
    run_comparison(world)
    assert (kept / "mine.png").exists()
    assert not (kept / "00099.png").exists()


def test_a_set_against_itself_is_split_into_disjoint_halves(world):
    comparison = run_comparison(dataclasses.replace(world, generated=()))
    (side,) = comparison.generated
    assert (comparison.real.images, side.images) == (20, 20)
    assert comparison.real.label.endswith("(one half)")
    # neither "images on both sides" nor "pairs": the halves share nothing
    assert not any("both sides" in text and "images" in text[:12] for text in comparison.caveats)
    assert not any("pairs" in text for text in comparison.caveats)
    shown = side.example_images["object/person"][0]
    assert (world.out / shown.image).is_file()


def test_areas_files_and_tallies_are_sides_without_pictures(world, tmp_path):
    run_comparison(world)
    real = str(world.out / "areas" / "real.parquet")
    task = dataclasses.replace(world, real=real, generated=(real,), out=tmp_path / "two")
    comparison = run_comparison(task)
    assert comparison.real.example_images["object/person"][0].image is None
    np.save(tmp_path / "t.npy", np.eye(3)[[0, 1, 2, 1, 1, 0]])
    tally = f"tally:{tmp_path / 't.npy'}?size=8"
    task = dataclasses.replace(world, real=tally, generated=(tally,), out=tmp_path / "three")
    assert run_comparison(task).generated[0].fsd.value == pytest.approx(0, abs=1e-9)


def test_a_second_segmenter_that_sees_otherwise_leaves_the_class_undecided(world):
    comparison = run_comparison(dataclasses.replace(world, second_segmenter=SECOND))
    person = next(row for row in comparison.generated[0].classes if row.name == "person")
    assert person.own_verdict in ("under", "omitted")
    assert person.second_verdict == "untested"
    assert person.verdict == "undecided"
    assert comparison.generated[0].second_segmenter.provenance["segmenter"]["spec"] == SECOND


def test_a_second_segmenter_cannot_see_areas(world, tmp_path):
    path = tmp_path / "a.parquet"
    write_areas(path, areas(10, {"sky": 0.5}, seed=0))
    task = dataclasses.replace(world, generated=(str(path),), second_segmenter=SECOND)
    with pytest.raises(RecordError, match="is areas already, which a second segmenter cannot see"):
        run_comparison(task)


def test_one_image_and_too_many_asked_for_are_refused(world, tmp_path):
    one = photos(tmp_path / "one", 1, 0, seed=2)
    with pytest.raises(SampleError, match="has 1 image; a covariance needs at least 2"):
        run_comparison(dataclasses.replace(world, generated=(one,)))
    with pytest.raises(ImageError, match="has 40 images; 41 were asked for"):
        run_comparison(dataclasses.replace(world, count=41))


def test_sides_of_two_segmenters_are_refused_naming_both(world, tmp_path):
    run_comparison(world)
    other = photos(tmp_path / "more", 40, 0, seed=3)
    task = dataclasses.replace(
        world,
        real=str(world.out / "areas" / "real.parquet"),
        generated=(other,),
        segmenter=SECOND,
        out=tmp_path / "two",
    )
    with pytest.raises(RecordError, match=r"(?s)nearest_colour.*sees_no_person"):
        run_comparison(task)


def command(world, *more):
    return [
        "compare",
        world.real,
        *world.generated,
        "--out",
        str(world.out),
        "--segmenter",
        SEGMENTER,
        "--device",
        "cpu",
        "--workers",
        "0",
        *more,
    ]


def test_the_command_prints_what_is_wrong_and_where_the_page_is(world, capsys):
    assert unseen_command(command(world)) == 0
    printed = capsys.readouterr().out
    assert "person" in printed
    assert "presence 50.0 % → 0 of 40" in printed
    assert f"Page: {world.out / 'report.html'}" in printed
    assert (world.out / "histogram.svg").is_file()
    assert (world.out / "report.html").is_file()


def test_the_page_is_drawn_again_by_its_own_command(world, capsys):
    run_comparison(world)
    assert unseen_command(["report", str(world.out)]) == 0
    assert (world.out / "report.html").is_file()


def test_json_for_machines_is_all_that_is_printed(world, capsys):
    assert unseen_command(command(world, "--json", "-")) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((world.out / "comparison.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("conditions", "status", "said"),
    [
        (["--fail-on", "under"], 3, "person (0× [0 – "),
        (["--fail-on", "fsd>1000000"], 0, ""),
        (["--fail-on", "fsd>0.001"], 3, "fsd>0.001: corrected FSD "),
        # a class in half of 40 images: a loss of 1 % of it shows to nobody
        (
            ["--fail-on", "fsd>1000000", "--require-power", "presence>=1%,drop<=1%"],
            4,
            "could not have shown a loss of 1.00 %: person",
        ),
        (["--fail-on", "nonsense"], 1, "'nonsense' is not known; known: omitted, under"),
        (["--require-power", "nonsense"], 1, "is not understood; write 'presence>=1%,drop<=50%'"),
        (["--fail-on", "regressed"], 1, "name both: unseen compare REAL PREVIOUS NEW"),
    ],
)
def test_the_gate_ends_with_its_status_and_its_reasons(world, capsys, conditions, status, said):
    assert unseen_command(command(world, *conditions)) == status
    assert said in capsys.readouterr().err


def test_what_a_new_generator_lost_against_the_previous_one_is_named(world, tmp_path, capsys):
    previous = photos(tmp_path / "previous", 40, 20, seed=3)
    task = dataclasses.replace(world, generated=(previous, *world.generated))
    assert unseen_command(command(task, "--fail-on", "regressed")) == 3
    assert "regressed: person (presence 50.0 % → 0 %, real 50.0 %)" in capsys.readouterr().err
    backwards = dataclasses.replace(task, generated=task.generated[::-1], out=tmp_path / "b")
    assert unseen_command(command(backwards, "--fail-on", "regressed")) == 0


@pytest.mark.parametrize("more", [(), ("GENERATED", "--self")])
def test_a_generated_side_or_self_but_not_both(world, capsys, more):
    assert unseen_command(["compare", world.real, *more]) == 1
    assert "--self" in capsys.readouterr().err


def test_a_record_of_a_later_version_is_refused_by_report(world, capsys):
    comparison = run_comparison(world)
    write_json(world.out / "comparison.json", to_json(comparison) | {"schema_version": 2})
    assert unseen_command(["report", str(world.out)]) == 1
    assert "schema version 2, this unseen reads 1" in capsys.readouterr().err


def test_an_empty_text_is_no_side(world):
    with pytest.raises(SpecError, match="empty text"):
        run_comparison(dataclasses.replace(world, generated=(" ",)))


@pytest.mark.real
def test_the_published_reconstructions_lack_persons_and_cars(real_inputs, tmp_path):
    """26 church photographs and their reconstructions by Progressive GAN (Bau et al. 2019).

    Mean shares of pixels as an independent script measured them with this segmenter, squeezing
    whole pictures to 512×512; 0.002 is what resizing by another rule may move.
    """
    churches = real_inputs / "churches"
    comparison = run_comparison(
        ComparisonRun(
            real=str(churches / "real"),
            generated=(str(churches / "reconstructed"),),
            out=tmp_path,
            segmenter=f"onnx:{real_inputs / 'ade20k-32'}",
            device="cpu",
        )
    )
    rows = {row.name: row for row in comparison.generated[0].classes}
    for name, (real, generated) in CHURCH_SHARES.items():
        assert rows[name].real_area == pytest.approx(real, abs=0.002), name
        assert rows[name].generated_area == pytest.approx(generated, abs=0.002), name
    page = unseen.report(tmp_path, comparison).read_text(encoding="utf-8")
    falls = page[page.index("ost much of their mean area") :][:700]
    assert falls.index(">car<") < falls.index(">person<")  # the two that vanish, first
    # 26 pairs are few, and not independent: the page says both
    assert "26 images on a side are too few for a covariance" in page
    assert "photographs and their reconstructions" in page


def test_compare_takes_sides_of_every_kind(world):
    fakes = unseen.open_images(world.generated[0])
    pictures = [Image.open(path) for path in sorted((world.out.parent / "fakes").glob("*.png"))]
    expected = unseen.compare(world.real, fakes, SEGMENTER, device="cpu", workers=0)
    assert [row.name for row in expected.generated[0].named("omitted", "under")] == ["person"]
    for generated in (
        world.generated[0],
        [world.generated[0]],
        pictures,
        unseen.segment(fakes, nearest_colour(), workers=0),
    ):
        found = unseen.compare(world.real, generated, nearest_colour(), device="cpu", workers=0)
        assert found.generated[0].classes == expected.generated[0].classes
    several = unseen.compare(world.real, [fakes, world.real], SEGMENTER, device="cpu", workers=0)
    assert len(several.generated) == 2
    halves = unseen.compare(world.real, segmenter=SEGMENTER, device="cpu", workers=0)
    assert halves.real.images == halves.generated[0].images == 20


def test_compare_keeps_pictures_with_the_comparison_and_no_longer(world):
    comparison = unseen.compare(
        world.real, world.generated, SEGMENTER, device="cpu", workers=0, labels=["a", "b"]
    )
    folder = comparison.folder
    example_image = comparison.real.example_images["object/person"][0]
    assert (folder / example_image.image).is_file()
    assert (comparison.real.label, comparison.generated[0].label) == ("a", "b")
    for labels in (["a"], ["a", "a"], ["a", " "], ["a", "b", "c"]):
        with pytest.raises(SpecError, match="--labels"):
            dataclasses.replace(world, labels=labels)
    kept = read_comparison(comparison.save(world.out))
    assert kept == comparison
    del comparison
    gc.collect()
    assert not folder.exists()
    assert (world.out / example_image.image).is_file()
    named = unseen.compare(
        world.real, world.generated, SEGMENTER, out=world.out.parent / "named", workers=0
    )
    assert named.folder == world.out.parent / "named"


def test_compare_refuses_an_option_that_is_none(world):
    with pytest.raises(TypeError, match="batchsize"):
        unseen.compare(world.real, world.generated, SEGMENTER, batchsize=3)


def test_groups_that_do_not_fit_are_refused_before_anything_is_segmented(world, tmp_path):
    for wrong in ("folder", "real=condition", str(tmp_path / "missing.csv"), r"real(\d)$"):
        with pytest.raises(SpecError):
            run_comparison(dataclasses.replace(world, groups=wrong))
    assert not (world.out / "areas").exists()


def test_groups_and_weights_reach_the_record_and_the_numbers(world, tmp_path):
    # The 20 of 40 real images that hold a person count a third of the others: 1 / 4 of the whole.
    names = [f"real{i:02d}.png" for i in range(40)]
    rows = [f"{name},{i // 2},{1 if i < 20 else 3}" for i, name in enumerate(names)]
    file = tmp_path / "design.csv"
    file.write_text("\n".join(["name,group,weight", *rows]) + "\n")
    comparison = run_comparison(dataclasses.replace(world, groups=str(file)))
    sampling = comparison.real.sampling
    assert (sampling.groups, sampling.grouped_by) == (20, "design.csv")
    assert sampling.weighted_by == "design.csv"
    assert comparison.generated[0].sampling is None
    (person,) = (row for row in comparison.generated[0].classes if row.name == "person")
    assert person.real_presence == pytest.approx(0.25)


def test_halves_of_a_set_split_no_group(world):
    task = dataclasses.replace(world, generated=(), groups=r"real(\d)")  # tens: four groups
    comparison = run_comparison(task)
    (side,) = comparison.generated
    assert (comparison.real.sampling.groups, side.sampling.groups) == (2, 2)
    assert (comparison.real.images, side.images) == (20, 20)


def test_a_class_that_is_asked_about_comes_with_every_image_and_a_table(world):
    task = dataclasses.replace(world, classes=["person"], labels=["LSUN", "=ProGAN"])
    comparison = run_comparison(task)
    held = comparison.real.example_images["object/person"]
    assert len(held) == 20
    assert all((world.out / image.image).is_file() for image in held)
    with (world.out / IMAGES_CSV).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["image"] for line in lines] == [image.name for image in held]
    for line, image in zip(lines, held, strict=True):
        copy = world.out / line["picture"]
        assert copy.parent == world.out / IMAGES_FOLDER / "1-person" / "real"
        assert copy.read_bytes() == (world.out / image.image).read_bytes()
    (world.out / IMAGES_FOLDER / "mine.txt").write_text("what I saw")
    assert {(line["class"], line["side"], line["counted"]) for line in lines} == {
        ("person", "LSUN", "yes")
    }
    pictures = world.out / "pictures" / "real"
    kept = {image.name for image in (*held, *comparison.real.samples)}
    assert len(list(pictures.glob("*.png"))) == 2 * len(kept)  # with label maps
    again = dataclasses.replace(world, classes=())
    run_comparison(again)
    assert not (world.out / IMAGES_CSV).exists()
    assert [path.name for path in (world.out / IMAGES_FOLDER).iterdir()] == ["mine.txt"]
    assert len(list(pictures.glob("*.png"))) < 2 * len(kept)


def test_pictures_that_do_not_fit_into_memory_are_read_again(world, monkeypatch):
    task = dataclasses.replace(world, classes=["person"])
    kept = {path.name: path.read_bytes() for path in pictures_of(run_comparison(task), world.out)}
    monkeypatch.setattr(example_images, "_MEMORY", 1)
    other = dataclasses.replace(task, out=world.out.parent / "other")
    found = pictures_of(run_comparison(other), other.out)
    assert {path.name: path.read_bytes() for path in found} == kept


def pictures_of(comparison, folder):
    return [folder / image.image for image in comparison.real.example_images["object/person"]]


def test_a_class_that_no_segmenter_knows_is_refused_before_any_work(world):
    with pytest.raises(SpecError, match=r"'persn'.*person"):
        run_comparison(dataclasses.replace(world, classes=["persn"]))
    assert not world.out.exists()
