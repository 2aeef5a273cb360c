"""Mosaics of samples, and of photographs, from `unseen invert` to the verdicts."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import RecordError, SpecError
from unseen.images import open_images
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.inversion.inversions import read_inversions
from unseen.inversion.invert import SAMPLES_SEED, InversionRun, _Parts, _Run, invert
from unseen.inversion.methods import Inversion
from unseen.statistics.retention import Judging

SIDE = 16
PHOTOGRAPHS = 60
NEAREST = Inversion(method="nearest", perceptual="none", samples=30, window=0.1)
JUDGING = Judging(resamples=99)


class Bands:
    """Labels grass, sky and, where it is red, a car."""

    resolution = SIDE

    def __init__(self, note="bands"):
        self.channels = {"object": ("grass", "sky", "car"), "material": ("a", "b", "c")}
        self.provenance = {"spec": note}

    def label_maps(self, images, channel="object"):
        red, green, blue = images.astype(int).transpose(1, 0, 2, 3)
        return np.where(red > 150, 2, np.where(blue > green, 1, 0))


@dataclasses.dataclass
class Painter:
    """Draws sky over grass, and a car where it was taught to; it cannot be split."""

    cars: bool
    latent_size = 4
    resolution = SIDE
    layer_names = ()

    def __post_init__(self):
        self.provenance = {"spec": f"painter, cars {self.cars}"}

    def latents(self, indices, *, seed=1):
        import torch

        from unseen.generators.latents import LatentStream

        return torch.from_numpy(LatentStream(4).rows(indices, seed=seed))

    def __call__(self, latents):
        import torch

        pictures = [scene(row, car=self.cars) for row in latents.numpy()]
        return torch.from_numpy(np.stack(pictures).astype(np.float32) / 127.5 - 1)

    def draw(self, indices, *, seed=1):
        return self(self.latents(indices, seed=seed))

    def split(self, layer):
        raise SpecError(f"no layer {layer}")


def scene(numbers, *, car=True):
    horizon = 6 + int(abs(numbers[0]) * 2) % 4
    picture = np.zeros((3, SIDE, SIDE), np.uint8)
    picture[2, :horizon] = 200
    picture[1, horizon:] = 140
    if car:
        left = int(abs(numbers[1]) * 5) % 10
        picture[:, 11:14, left : left + 5] = np.array([220, 20, 20], np.uint8)[:, None, None]
    return picture


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for k in range(PHOTOGRAPHS):
        picture = scene(rng.standard_normal(4))
        Image.fromarray(np.moveaxis(picture, 0, -1)).save(folder / f"{k:02d}.png")
    return folder


def run(photos, out, *, cars, **changes):
    task = InversionRun(
        **{"methods": ("nearest",), "settings": NEAREST, "count": 12, "controls": 12, "workers": 0}
        | changes
    )
    return invert(photos, Painter(cars), segmenter=Bands(), out=out, task=task)


def gather(record, segmenter=None, **changes):
    task = EvidenceTask(device="cpu", judging=JUDGING, **changes)
    return unseen.evidence(record, segmenter=segmenter or Bands(), task=task)


def test_a_generator_that_never_draws_cars_is_told_so_and_one_that_does_is_not(photos, tmp_path):
    found = {}
    for cars in (False, True):
        record = run(photos, tmp_path / f"{cars}", cars=cars)
        assert record.methods == ("nearest", "reference")
        evidence = gather(record)
        assert (evidence.primary, evidence.reference) == ("nearest", "reference")
        assert [one.label for one in evidence.methods] == [
            "nearest of 30 samples",
            "nearest of 30 other photographs",
        ]
        found[cars] = {row.name: row for row in evidence.classes}
    without = found[False]["car"]
    assert without.by("nearest").photographs.mean == 0
    assert without.by("reference").photographs.mean > 0.7
    # nothing of its own looks like a car: without controls no verdict
    assert without.verdict == "undecided"
    assert "have a control of like area" in without.reason
    assert found[True]["car"].by("nearest").photographs.mean > 0.7
    assert found[True]["car"].verdict == "undecided"


def test_files_and_provenance_say_what_was_compared(photos, tmp_path):
    record = run(photos, tmp_path / "o", cars=True)
    settings = record.provenance["settings"]
    assert settings["nearest"]["samples_seed"] == SAMPLES_SEED
    assert settings["nearest"]["labelled_by"] == {"spec": "bands", "channel": "object"}
    assert settings["reference"]["method"] == "reference"
    image = record.of("control")[0]
    shown = record.tensors(image, "nearest")["samples"].astype(int)
    assert shown.shape == (8, 8)
    samples = Painter(True)(Painter(True).latents(range(30), seed=SAMPLES_SEED)).numpy()
    picture = record.reconstruction(image, "nearest")
    for row, column in ((0, 0), (9, 3), (15, 15)):
        pixel = samples[shown[row // 2, column // 2], :, row, column]
        assert np.abs((pixel + 1) * 127.5 - picture[:, row, column]).max() < 1
    labels = record.label_map(image, "nearest")
    assert labels.shape == (SIDE, SIDE)
    # labels are of samples: here the segmenter looks at single pixels, so it sees the same
    assert np.array_equal(labels, Bands().label_maps(picture[None])[0])


def test_photographs_of_the_reference_are_none_that_are_inverted(photos):
    inverted = {3, 5, 8}
    for spec, count in ((photos, 20), (photos, 57), ("churchyard?seed=1", 20)):
        parts = _Parts(open_images(spec), Painter(True), None, None)
        others = parts.others(count, inverted)
        assert len(set(others)) == count
        assert not inverted & set(others)
    assert len(_Parts(open_images(photos), Painter(True), None, None).others(58, inverted)) == 57


def test_too_few_photographs_for_a_reference_and_no_class_is_judged_by_samples(photos, tmp_path):
    settings = dataclasses.replace(NEAREST, samples=PHOTOGRAPHS)
    record = run(photos, tmp_path / "o", cars=True, settings=settings)
    assert record.methods == ("nearest",)
    evidence = gather(record)
    assert evidence.reference is None
    assert not evidence.named("cannot draw")
    assert any("Ask for fewer samples" in line for line in evidence.caveats)


def test_a_run_goes_on_where_it_stopped_and_ends_in_the_same_bits(photos, tmp_path, monkeypatch):
    whole = run(photos, tmp_path / "whole", cars=True)
    original = _Run._keep
    kept = []

    def keep(self, *args):
        if len(kept) == 30:
            raise KeyboardInterrupt
        kept.append(1)
        original(self, *args)

    monkeypatch.setattr(_Run, "_keep", keep)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "again", cars=True)
    assert not read_inversions(tmp_path / "again").complete
    monkeypatch.setattr(_Run, "_keep", original)
    run(photos, tmp_path / "again", cars=True)
    for path in sorted(whole.folder.rglob("*")):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(whole.folder)
            assert other.read_bytes() == path.read_bytes(), path.name


def test_evidence_by_another_segmenter_is_refused(photos, tmp_path):
    record = run(photos, tmp_path / "o", cars=True)
    with pytest.raises(
        RecordError, match=r"were labelled by another segmenter .*spec is bands there"
    ):
        gather(record, Bands("another"))
    with pytest.raises(RecordError, match="channel is object there, material here"):
        gather(record, channel="material")


def test_bad_settings_are_refused(photos, tmp_path):
    with pytest.raises(SpecError, match="they would find themselves; choose another"):
        run(photos, tmp_path / "o", cars=True, controls_seed=SAMPLES_SEED)
    with pytest.raises(SpecError, match="look among 1 samples; it needs 2 at least"):
        run(
            photos,
            tmp_path / "o",
            cars=True,
            settings=dataclasses.replace(NEAREST, samples=1),
        )
    record = run(photos, tmp_path / "o", cars=True)
    with pytest.raises(
        RecordError, match=r"by method f; of the methods that were run they may be about nearest$"
    ):
        gather(record, judged_by="f")


def test_on_the_command_line_with_f_beside_it(tmp_path, capsys):
    """An end-to-end run on the churchyard: few steps, few samples."""
    out = tmp_path / "o"
    status = unseen_command(
        [
            "invert",
            "churchyard?seed=5",
            *("--generator", "churchyard-planted", "--inverter", "churchyard-planted"),
            *("--method", "f,nearest", "--judged-by", "nearest", "--samples", "20"),
            *("--steps", "1", "--curve", "none", "--count", "2", "--controls", "2"),
            *("--label-maps", "true", "--device", "cpu", "--out", str(out)),
        ]
    )
    assert status == 0
    assert "method nearest: 2 photographs" in capsys.readouterr().out
    record = json.loads((out / "evidence.json").read_text())
    assert (record["primary"], record["reference"]) == ("nearest", "reference")
    assert [one["key"] for one in record["methods"]] == ["f", "nearest", "reference"]
    assert "what it draws" in (out / "report.html").read_text()
