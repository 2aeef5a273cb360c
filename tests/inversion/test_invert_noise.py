"""Photographs through diffusion pipelines: where the noise is known, and where prompts differ."""

import json
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.pipelines import exact, stable_diffusion

import unseen
from unseen.core.errors import SpecError
from unseen.generators import load_layered
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
        batch_size=8,
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


CAPTIONS = {"0.png": "a car", "1.png": "a church", "2.png": "a car"}


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with captions, and a pipeline that draws from prompts."""
    folder = tmp_path_factory.mktemp("captioned")
    (folder / "photos").mkdir()
    lines = [json.dumps({"file_name": name, "caption": text}) for name, text in CAPTIONS.items()]
    (folder / "photos" / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    shades = np.random.default_rng(0).integers(0, 256, (len(CAPTIONS), 4, 4, 3), dtype=np.uint8)
    for name, pixels in zip(CAPTIONS, shades, strict=True):
        Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(folder / "photos" / name)
    torch.manual_seed(0)
    stable_diffusion(folder).save_pretrained(folder / "model")
    (folder / "one.txt").write_text("a church\n")
    (folder / "others.txt").write_text("a church\na dog\n")
    return folder


def asking(folder: Path, prompts: str) -> str:
    return f"diffusers:{folder / 'model'}?steps=4&guidance=1&prompts={folder / prompts}"


def inverted(
    folder: Path, prompts: str, out: Path, photographs: str = "photos", controls: int = 0
) -> Inversions:
    return invert(
        folder / photographs,
        asking(folder, prompts),
        out=out,
        settings=FEW,
        methods=("d", "f"),
        controls=controls,
        batch_size=2,
        device="cpu",
    )


def test_photographs_are_asked_for_by_their_own_captions(captioned: Path, tmp_path: Path) -> None:
    run = inverted(captioned, "photos/metadata.jsonl", tmp_path / "run", controls=2)
    assert [image.condition for image in run.of("photograph")] == list(CAPTIONS.values())
    assert [image.condition for image in run.of("control")] == ["a car", "a church"]
    one = inverted(captioned, "one.txt", tmp_path / "one")
    church, other = one.of("photograph")[1], run.of("photograph")[1]
    assert church.condition is None
    for method, name in (("d", "latents"), ("f", "reconstruction")):
        alone, together = one.tensors(church, method)[name], run.tensors(other, method)[name]
        # iterations backwards, and steps of the search: the last bits by the place in a batch
        np.testing.assert_allclose(together.flat[: alone.size], alone.ravel(), atol=1e-3)
    car, churches = run.of("photograph")[0], one.of("photograph")[0]
    different = run.tensors(car, "d")["latents"][:-1] - one.tensors(churches, "d")["latents"]
    assert np.abs(different).max() > 0.01
    drawn = load_layered(asking(captioned, "photos/metadata.jsonl"), device="cpu").draw(
        [0, 1], seed=run.provenance["controls"]["seed"]
    )
    for control, image in zip(run.of("control"), drawn, strict=True):
        shown = run.target(control).astype(np.float32) / 127.5 - 1
        assert np.abs(shown - image.numpy()).max() < 1 / 127


def test_photographs_without_a_known_caption_are_refused(captioned: Path, tmp_path: Path) -> None:
    (captioned / "bare").mkdir()
    (captioned / "bare" / "0.png").write_bytes((captioned / "photos" / "0.png").read_bytes())
    with pytest.raises(SpecError, match="bare"):
        inverted(captioned, "photos/metadata.jsonl", tmp_path / "bare", photographs="bare")
    with pytest.raises(SpecError, match="'a car'"):
        inverted(captioned, "others.txt", tmp_path / "others")
    assert not list(tmp_path.iterdir())
