"""The churchyard's generators as they are shipped."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LDMPipeline
from tests.support.pipelines import autoencoder, unet

import unseen
from unseen.churchyard import generator as shipped
from unseen.churchyard.classes import INDEX
from unseen.churchyard.generator import (
    PIPELINES,
    PLANTED,
    TWINS,
    WEIGHTS,
    load_churchyard_diffusion,
    load_churchyard_generator,
)
from unseen.churchyard.segmenter import WEIGHTS as SEGMENTER
from unseen.core.errors import CheckpointError, MissingExtraError, SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import parse_spec
from unseen.distribution.segment import segment
from unseen.generators import load_layered


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_card_names_the_file_by_its_digest(name: str) -> None:
    card = WEIGHTS[name].with_suffix(".md").read_text(encoding="utf-8")
    assert sha256_of_file(WEIGHTS[name]) in card
    without = re.search(r"--without (\S+)", card)
    assert (without is None) == (name == "churchyard-full")
    assert without is None or set(without[1].split(",")) == set(PLANTED)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_card_of_a_diffusion_model_names_every_file_by_its_digest(name: str) -> None:
    card = PIPELINES[name].with_suffix(".md").read_text(encoding="utf-8")
    files = sorted(PIPELINES[name].rglob("*.safetensors"))
    assert len(files) == 2
    assert all(sha256_of_file(path) in card for path in files)
    assert ("--without car,fence" in card.split("denoiser")[-1]) == name.endswith("-planted")


def test_all_shipped_weights_fit_in_thirty_megabytes() -> None:
    # 10 MB of them are the diffusion models.
    folder: Path = SEGMENTER.parent
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) < 30e6
    diffusion = [path for place in PIPELINES.values() for path in place.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in diffusion) < 10e6


@pytest.mark.parametrize("name", WEIGHTS)
def test_it_draws_with_the_layers_of_the_paper(name: str) -> None:
    generator = load_churchyard_generator(parse_spec(name))
    assert generator.layer_names[:4] == ("layer1", "layer2", "layer3", "layer4")
    assert generator.layer_names[-1] == "output_64x64"
    images = generator(generator.latents(range(8))).numpy()
    assert images.shape == (8, 3, 64, 64)
    assert images.std(axis=0).mean() > 0.1  # they differ: no collapse to one image


@pytest.mark.parametrize(("full", "twin"), TWINS.items())
def test_only_the_planted_one_lacks_what_it_was_not_shown(full: str, twin: str) -> None:
    # The full generator draws each planted class in more than 10 % of its images.
    present = {}
    for name in (full, twin):
        spec, count = (f"{name}?steps=10", 100) if name in PIPELINES else (name, 200)
        areas = segment(spec, "churchyard", count=count, workers=0)
        fraction = areas.fraction[:, [INDEX[each] for each in PLANTED]]
        present[name] = (fraction >= 0.005).mean(axis=0)
    assert np.all(present[full] > 0.1)
    assert np.all(present[twin] < present[full] / 3)


def test_an_argument_is_refused() -> None:
    with pytest.raises(SpecError, match="mine"):
        load_churchyard_generator(parse_spec("churchyard-full:mine.pth"))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a diffusion model whose weights are tiny and random, in the layout shipped."""
    pipeline = LDMPipeline(vqvae=autoencoder(), unet=unet(8, 4), scheduler=DDIMScheduler())
    pipeline.to(torch.float16).save_pretrained(tmp_path)
    monkeypatch.setitem(shipped.PIPELINES, "churchyard-diffusion", tmp_path)
    return "churchyard-diffusion"


def test_a_diffusion_model_draws_by_25_steps_and_is_cut_at_noise_levels(tiny: str) -> None:
    generator = unseen.load_generator(tiny, device="cpu")
    assert generator.provenance["spec"] == tiny
    assert generator.provenance["options"]["num_inference_steps"] == 25
    fewer = unseen.load_generator(f"{tiny}?steps=4", device="cpu")
    assert fewer.draw([0, 5]).shape == (2, 3, 16, 16)
    layered = load_layered(fewer)
    assert layered.layer_names[0] == "t=1"
    assert layered.layer_names[-2:] == ("decoder", "image")


@pytest.mark.parametrize("spec", ["churchyard-diffusion:mine", "churchyard-diffusion?classes=3"])
def test_a_diffusion_model_takes_no_folder_and_no_class(spec: str) -> None:
    with pytest.raises(SpecError, match=r"mine|classes"):
        load_churchyard_diffusion(parse_spec(spec))


def test_weights_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shipped.PIPELINES, "churchyard-diffusion", tmp_path / "gone")
    with pytest.raises(CheckpointError, match="gone"):
        load_churchyard_diffusion(parse_spec("churchyard-diffusion"))


def test_without_diffusers_the_error_says_what_to_install(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match="pip install diffusers"):
        load_churchyard_diffusion(parse_spec(tiny))
