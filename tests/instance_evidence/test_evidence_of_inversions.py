"""Evidence from the folders of inversions, written here as `unseen invert` writes them."""

import dataclasses
import json

import numpy as np
import pytest
from tests.instance_evidence.test_measuring import COLOURS, SEGMENTER, TASK, scene

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import RecordError, SpecError
from unseen.instance_evidence.record import curve
from unseen.inversion.inversions import InversionsWriter, Place, Reconstruction
from unseen.statistics.noise_typicality import NoiseTypicality

PHOTOGRAPHS, CONTROLS = 8, 10
LAYERS = [f"layer{i}" for i in range(1, 11)]


def picture(label_map):
    return np.ascontiguousarray(np.moveaxis(COLOURS[label_map], -1, 0))


def without_person(label_map):
    return np.where(label_map == 2, 1, label_map)


def write_run(
    folder, layers, *, keeps_person, methods=("d", "f"), failed=(), seed=0, atypical=None
):
    """Photographs lose their persons under d always and under f unless kept; controls nothing."""
    writer = InversionsWriter(
        folder,
        provenance={
            "images": {"spec": "photos/", "fingerprint": "0"},
            "settings": {
                method: {"cut": LAYERS[-1], "layers": LAYERS, "perturbed": layers}
                for method in methods
            },
        },
        methods=methods,
    )
    rng = np.random.default_rng(seed)
    roles = [("photograph", i) for i in range(PHOTOGRAPHS)]
    roles += [("control", i) for i in range(CONTROLS)]
    with writer.writing():
        for role, number in roles:
            label_map = scene(rng)
            place = Place(role, number)
            writer.write_target(place, picture(label_map))
            for method in methods:
                lost = role == "photograph" and (method == "d" or not keeps_person)
                wrong = (role, number, method) in failed
                result = Reconstruction(
                    image=None,
                    tensors=None,
                    loss=None if wrong else 0.3 if role == "photograph" else 0.1,
                    terms={} if wrong else {"pixel": 0.1},
                    correlation=None,
                    cosine=None,
                    steps=100,
                    failed="the loss became NaN at step 7" if wrong else None,
                    noise=None
                    if atypical is None
                    else NoiseTypicality(
                        length=1.0, neighbours=0.0, distance=0.0, p=0.5 * (number >= atypical)
                    ),
                )
                writer.write(
                    place,
                    method,
                    result,
                    name=f"{role}{number}.png",
                    index=number,
                    image=None
                    if wrong
                    else picture(without_person(label_map) if lost else label_map),
                )
        writer.finish()
    return folder


def gather(*runs, **options):
    return unseen.evidence(list(runs), segmenter=SEGMENTER, **{"task": TASK, **options})


def test_a_run_is_judged_by_f_above_and_d_below(tmp_path):
    run = write_run(tmp_path / "run", ["layer1", "layer2"], keeps_person=False)
    record = gather(run)
    (d, f) = record.methods
    assert (f.key, f.last_perturbed, f.depth, f.cut) == ("f", "layer2", 2, "layer10")
    assert (d.key, d.in_range, d.depth) == ("d", True, 0)
    verdicts = {one.name: (one.verdict, one.range_method) for one in record.classes}
    assert verdicts == {
        "person": ("cannot draw", None),
        "sky": ("can draw", "d"),
        "tree": ("can draw", "d"),
    }
    assert unseen.read_evidence(run) == record  # beside the run's own record
    named = gather(run, labels=["LSUN", "ProGAN"])
    assert (named.photographs.label, named.generator) == ("LSUN", "ProGAN")
    assert named.classes == record.classes
    with pytest.raises(SpecError, match="LSUN"):
        gather(run, labels=["LSUN"])


@pytest.mark.parametrize(("atypical", "in_range"), [(0, True), (1, False)])
def test_what_comes_from_noise_that_is_not_drawn_bounds_nothing(tmp_path, atypical, in_range):
    # 1 of 8 photographs is more than one in twenty
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=False, atypical=atypical)
    record = gather(run)
    d = record.methods[0]
    assert (d.key, d.in_range, d.atypical_noise) == ("d", in_range, atypical / PHOTOGRAPHS)
    sky = next(row for row in record.classes if row.name == "sky")
    assert (sky.verdict == "can draw") == in_range
    assert any("12 %" in text for text in record.caveats) == (not in_range)


def test_pictures_of_the_run_are_named_where_they_lie(tmp_path):
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=False)
    picture = gather(run).pictures[0]
    assert picture.image.startswith("images/photograph/")
    assert picture.rebuilt[1].image.startswith("reconstructions/f/photograph/")
    assert picture.label_map.startswith("pictures/photograph/")
    elsewhere = gather(run, out=tmp_path / "out").pictures[0]
    assert elsewhere.image.startswith("pictures/photograph/")
    for path in (elsewhere.image, elsewhere.label_map, elsewhere.rebuilt[0].image):
        assert (tmp_path / "out" / path).is_file()


def test_losses_and_terms_of_the_run_are_in_the_record_and_rank_photographs(tmp_path):
    record = gather(write_run(tmp_path / "run", ["layer1"], keeps_person=False))
    first = record.pictures[0]
    assert (first.rebuilt[1].loss, first.rebuilt[1].loss_terms) == (0.3, {"pixel": 0.1})
    assert (first.typicality.statistic, first.typicality.rank, first.typicality.of) == (
        "loss",
        1,
        CONTROLS + 1,
    )


def test_several_runs_give_the_curve_and_the_first_the_verdicts(tmp_path):
    early = write_run(tmp_path / "early", ["layer1", "layer2"], keeps_person=False)
    late = write_run(tmp_path / "late", ["layer2", "layer10"], keeps_person=True)
    record = gather(early, late, out=tmp_path / "out")
    assert record.primary == "f-layer2"
    assert [one.key for one in record.methods] == ["d", "f-layer2", "f-layer10"]
    drawn = curve(record, "object/person")
    assert [one.last_perturbed for one in drawn.methods] == ["layer2", "layer10"]
    assert [one.mean for one in drawn.photographs] == [0.0, 1.0]
    assert [one.mean for one in drawn.controls] == [1.0, 1.0]
    assert {one.name: one.verdict for one in record.classes}["person"] == "cannot draw"


def test_an_image_that_failed_is_left_out_and_named(tmp_path):
    failed = [("photograph", 3, "f"), ("control", 1, "f")]
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=False, failed=failed)
    record = gather(run)
    (broken,) = [one for one in record.pictures if one.name == "photograph3.png"]
    assert broken.rank is None
    assert broken.rebuilt[1].failed == "the loss became NaN at step 7"
    person = record.classes[0]
    assert person.by("f").photographs.instances == PHOTOGRAPHS - 1
    assert person.by("d").photographs.instances == PHOTOGRAPHS
    assert any("photograph3.png" in text and "control1.png" in text for text in record.caveats)


def test_runs_of_other_images_or_of_the_same_layers_are_refused(tmp_path):
    first = write_run(tmp_path / "first", ["layer1"], keeps_person=True)
    again = write_run(tmp_path / "again", ["layer1"], keeps_person=True)
    with pytest.raises(RecordError, match="was perturbed up to layer1 like an earlier run"):
        gather(first, again, out=tmp_path / "out")
    other = write_run(tmp_path / "other", ["layer2"], keeps_person=True, seed=1)
    with pytest.raises(RecordError, match=r"holds other images than .*first; invert the same"):
        gather(first, other, out=tmp_path / "out")


@pytest.mark.parametrize(
    "settings",
    [
        {"f": 5},
        {"f": {"layers": 3}},
        {"f": {"layers": ["layer1"], "perturbed": [1]}},
        {"f": {"samples": "many"}},
        {"f": {"cut": ["layer1"]}},
    ],
)
def test_settings_that_were_edited_are_refused(tmp_path, settings):
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=True)
    record = json.loads((run / "inversions.json").read_text())
    record["provenance"]["settings"] = settings
    (run / "inversions.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match="method f"):
        gather(run)


def test_a_run_without_method_f_says_so(tmp_path):
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=True, methods=("d",))
    with pytest.raises(RecordError, match="was inverted by d alone; verdicts are about method f"):
        gather(run)


def test_exact_label_maps_need_the_photographs_source(tmp_path):
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=True)
    with pytest.raises(unseen.core.errors.ImageError, match="photos/ does not exist"):
        gather(run, task=dataclasses.replace(TASK, label_maps="true"))


def test_the_command_takes_a_run(tmp_path, capsys):
    run = write_run(tmp_path / "run", ["layer1"], keeps_person=False)
    assert unseen_command(["evidence", str(run), "--segmenter", SEGMENTER]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == f"Record: {run / 'evidence.json'}"
    controls = ["--controls", "a", "b"]
    assert unseen_command(["evidence", str(run), *controls]) == 1
    assert "leave controls out" in capsys.readouterr().err
