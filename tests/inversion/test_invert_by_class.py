"""Photographs and controls chosen by class, and the curve, from `unseen invert` to the verdicts."""

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.core.errors import ImageError, RecordError, SegmenterError, SpecError
from unseen.generators.drawn_images import DrawnImages
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.inversion.inversions import Selection, curve_runs, read_inversions
from unseen.inversion.invert import InversionRun, _Run, invert
from unseen.inversion.methods import Inversion
from unseen.inversion.optimise import Adam
from unseen.statistics.retention import Judging

SIDE = 16
POOL = 12
FEW = Inversion(perceptual="none", optimiser=Adam(steps=3, learning_rate=0.05))
TASK = EvidenceTask(device="cpu", judging=Judging(resamples=99))


class Bright:
    """Labels pixels dark, middle or bright, by their mean over the channels."""

    resolution = SIDE

    def __init__(self):
        self.channels = {"object": ("none", "middle", "bright")}
        self.provenance = {"spec": "python:tests.inversion.test_invert_by_class:Bright"}

    def label_maps(self, images, channel="object"):
        return np.digitize(images.mean(axis=1), [60, 170])


@pytest.fixture
def photos(tmp_path):
    """Of photograph k, k + 1 rows are bright and the others alternate."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(POOL):
        pixels = np.full((SIDE, SIDE, 3), 110, np.uint8)
        pixels[: k + 1] = 240
        pixels[SIDE - 2 :] = 0
        Image.fromarray(pixels).save(folder / f"{k:02d}.png")
    return folder


def task(**changes):
    settings = {"settings": FEW, "batch_size": 4, "by_class": 2, "pool": POOL, "workers": 0}
    return InversionRun(**{**settings, **changes})


def names(record, role):
    return {one.name for one in record.of(role)}


def test_photographs_and_controls_are_those_that_hold_most_of_a_class(
    generator, inverter, photos, tmp_path
):
    record = invert(
        photos, generator, inverter, segmenter=Bright(), out=tmp_path / "o", task=task()
    )
    selection = record.provenance["images"]["selection"]
    # of 12 photographs with the class the fifth is 3, and 2 of these are drawn
    assert set(selection["chosen"]["object/bright"]) < {"09.png", "10.png", "11.png"}
    assert set(selection["chosen"]["object/middle"]) < {"00.png", "01.png", "02.png"}
    assert "object/none" not in selection["chosen"]
    assert len(names(record, "photograph")) == 4
    assert names(record, "photograph") == {
        name for chosen in selection["chosen"].values() for name in chosen
    }
    # the same rule on the generator's images, by index of their latents
    own = DrawnImages(generator, seed=30_003)
    areas = unseen.segment(own, Bright(), count=POOL)
    controls = record.provenance["controls"]["selection"]["chosen"]
    for column, chosen in controls.items():
        fraction = areas.fraction[:, areas.columns.index(column)]
        held = np.sort(fraction[fraction >= 0.005])
        least = held[-max(2, int(np.ceil(len(held) / 5)))]
        assert all(fraction[int(name.removesuffix(".png"))] >= least for name in chosen)
    indices = sorted({int(n.removesuffix(".png")) for each in controls.values() for n in each})
    assert [one.index for one in record.of("control")] == indices
    assert [one.number for one in record.of("control")] == list(range(len(indices)))
    last = record.of("control")[-1]
    assert np.array_equal(record.target(last), own.read(last.index))
    tensors = record.tensors(last, "f")
    expected = generator.latents([last.index], seed=30_003)[0].numpy()
    assert np.array_equal(tensors["true_latents"], expected)


def test_one_call_and_one_more_give_everything_on_the_page(generator, inverter, photos, tmp_path):
    wanted = task(methods=("d", "f"), curve="auto")
    record = invert(
        photos, generator, inverter, segmenter=Bright(), out=tmp_path / "o", task=wanted
    )
    # the last perturbed layer is the inverter's, layer4 of six
    assert [one.folder.name for one in curve_runs(record)] == ["layer1", "layer2"]
    found = unseen.evidence(record, segmenter=Bright(), task=TASK)
    assert [(one.key, one.depth) for one in found.methods] == [
        ("d", 0),
        ("f-layer4", 4),
        ("f-layer1", 1),
        ("f-layer2", 2),
    ]
    assert found.primary == "f-layer4"
    assert found.selection is not None
    assert found.selection.pool == POOL
    assert found.selection.chosen["object/bright"] == tuple(
        record.provenance["images"]["selection"]["chosen"]["object/bright"]
    )
    assert not any("not chosen so" in one for one in found.caveats)
    assert unseen.read_evidence(tmp_path / "o") == found
    assert "selection" in found.controls.provenance


def test_a_choice_for_one_class_looks_for_controls_of_all(generator, inverter, photos, tmp_path):
    wanted = task(classes=["bright"], controls=1)
    record = invert(
        photos, generator, inverter, segmenter=Bright(), out=tmp_path / "o", task=wanted
    )
    assert list(record.provenance["images"]["selection"]["chosen"]) == ["object/bright"]
    assert len(record.provenance["controls"]["selection"]["chosen"]) == 2


def test_photographs_chosen_and_controls_not_is_a_caveat(generator, inverter, photos, tmp_path):
    chosen = invert(
        photos, generator, inverter, segmenter=Bright(), out=tmp_path / "o", task=task()
    ).provenance["images"]["selection"]
    first = invert(
        photos,
        generator,
        inverter,
        out=tmp_path / "first",
        task=InversionRun(settings=FEW, batch_size=4, count=4, controls=4),
    )
    selection = Selection(
        **{**chosen, "chosen": {k: tuple(v) for k, v in chosen["chosen"].items()}}
    )
    options = EvidenceTask(**{**vars(TASK), "selection": selection})
    found = unseen.evidence(first, segmenter=Bright(), task=options)
    assert any("controls were not chosen so" in one for one in found.caveats)


def test_a_curve_that_broke_off_goes_on(generator, inverter, photos, tmp_path, monkeypatch):
    options = {"segmenter": Bright(), "out": tmp_path / "o"}
    wanted = task(curve=("layer1",))
    keep, done = _Run._keep, []

    def stopped(self, *given):
        if len(done) == 8:  # in the run for the curve
            raise KeyboardInterrupt
        done.append(1)
        keep(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "_keep", stopped)
        with pytest.raises(KeyboardInterrupt):
            invert(photos, generator, inverter, task=wanted, **options)
    with pytest.raises(RecordError, match="is not complete; run the same `unseen invert` again"):
        unseen.evidence(tmp_path / "o", segmenter=Bright(), task=TASK)
    reports = []
    record = invert(
        photos,
        generator,
        inverter,
        task=wanted,
        progress=lambda done, total: reports.append((done, total)),
        **options,
    )
    (further,) = curve_runs(record)
    assert [one.name for one in further.images] == [one.name for one in record.images]
    assert reports[-1] == (2 * len(record.images), 2 * len(record.images))
    assert read_inversions(tmp_path / "o") == record


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"count": 3}, SpecError, "a count of photographs and so many a class"),
        ({"by_class": 0}, SpecError, "by_class: 0"),
        ({"by_class": None, "classes": ["bright"]}, SpecError, "say how many of each"),
        ({"classes": ["green"]}, SegmenterError, "knows no class 'green'; its classes are: none"),
        ({"curve": ("layer9",)}, SpecError, "cannot be perturbed up to 'layer9'; choose among"),
    ],
)
def test_choices_that_cannot_be_made_are_one_clear_line(
    generator, inverter, photos, changes, error, message
):
    with pytest.raises(error, match=message):
        invert(photos, generator, inverter, segmenter=Bright(), task=task(**changes))


def test_photographs_without_the_class_are_said(generator, inverter, tmp_path):
    folder = tmp_path / "dark"
    folder.mkdir()
    for k in range(3):
        Image.fromarray(np.full((SIDE, SIDE, 3), 100 + k, np.uint8)).save(folder / f"{k}.png")
    with pytest.raises(ImageError, match=r"of 3 images of .* none holds bright on 0\.5 %"):
        invert(folder, generator, inverter, segmenter=Bright(), task=task(classes=["bright"]))
