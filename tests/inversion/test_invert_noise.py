"""Photographs through a diffusion pipeline whose noise is known, up to the evidence."""

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.pipelines import exact

import unseen
from unseen.generators.diffusers_pipeline import PipelineGenerator
from unseen.generators.noise_levels import NoiseLevels
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.inversion.inversions import Inversions, curve_runs
from unseen.inversion.invert import invert
from unseen.inversion.methods import Inversion
from unseen.inversion.optimise import Adam
from unseen.statistics.retention import Judging

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

FEW = Inversion(perceptual="none", optimiser=Adam(steps=5, falling=True), cut="t=0.5")
SEGMENTER = "python:tests.instance_evidence.test_measuring:nearest_colour"


@pytest.fixture(scope="module")
def generator() -> NoiseLevels:
    own = PipelineGenerator(
        exact(16),
        "exact",
        {"spec": "exact", "weights_sha256": "1" * 64},
        {"num_inference_steps": 10},
    )
    own.pipeline.progress_bar = own.steps
    return own.layered()


@pytest.fixture(scope="module")
def run(generator: NoiseLevels, tmp_path_factory: pytest.TempPathFactory) -> Inversions:
    """Two photographs of a sky over trees, which the pipeline never draws, and controls."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "photos").mkdir()
    for number in range(2):
        pixels = np.full((16, 16, 3), (90, 160, 250), np.uint8)
        pixels[6 + number :] = (40, 160, 40)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return invert(
        folder / "photos",
        generator,
        out=folder / "run",
        settings=FEW,
        methods=("d", "f"),
        controls=3,
        curve="auto",
        batch_size=4,
    )


def test_the_noise_of_own_images_is_found_and_typical(
    generator: NoiseLevels, run: Inversions
) -> None:
    # Every step multiplies, so that ten of them do, too.
    drawn = float(generator(torch.ones(1, generator.latent_size)).mean())
    for image in run.of("control"):
        tensors = run.tensors(image, "d")
        # 8 bits leave an error of 2 / 255 / √12 in what is drawn
        error = tensors["latents"] - tensors["true_latents"]
        assert error.std() == pytest.approx(2 / 255 / 12**0.5 / drawn, rel=0.1)
        noise = image.reconstructions["d"].noise
        assert noise is not None
        assert not noise.atypical
        head, _ = generator.split("t=0.5")
        states = head(torch.from_numpy(tensors["latents"])[None])[0].numpy()
        begun = run.tensors(image, "f")["features"] - run.tensors(image, "f")["delta.t=0.5"]
        assert np.abs(begun - states).max() < 1e-3


def test_foreign_images_are_rebuilt_from_noise_that_is_not_drawn(run: Inversions) -> None:
    for image in run.of("photograph"):
        found = image.reconstructions["d"]
        assert found.noise is not None
        assert found.noise.atypical
        assert found.noise.neighbours > 0.5
        assert found.correlation == pytest.approx(1, abs=1e-3)  # an ODE rebuilds anything
    assert "2 of 2" in run.summary()


def test_the_cut_alone_is_perturbed_and_the_curve_ends_at_the_last(run: Inversions) -> None:
    settings = run.provenance["settings"]["f"]
    assert (settings["start"], settings["perturbed"]) == ("noise", ["t=0.5"])
    assert sorted(record.folder.name for record in curve_runs(run)) == ["t=0.1", "t=0.8", "t=1"]


def test_evidence_says_that_the_noise_bounds_nothing(run: Inversions, tmp_path: Path) -> None:
    task = EvidenceTask(device="cpu", judging=Judging(resamples=99), batch_size=8)
    evidence = unseen.evidence(run, segmenter=SEGMENTER, out=tmp_path, task=task)
    methods = {method.key: method for method in evidence.methods}
    assert (methods["d"].in_range, methods["d"].atypical_noise) == (False, 1)
    assert evidence.primary == "f-t=0.5"
    assert [key for key in methods if key != "d"] == ["f-t=0.5", "f-t=0.1", "f-t=0.8", "f-t=1"]
    assert all(row.verdict != "can draw" for row in evidence.classes)
    assert "earliest" in evidence.summary() or "none of t=1" in evidence.summary().lower()
