"""The inverters of the churchyard's generators as they are shipped."""

import pytest
import torch

from unseen.churchyard.inverter import WEIGHTS, load_churchyard_inverter
from unseen.core.errors import CheckpointError, SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import parse_spec
from unseen.generators import load_generator
from unseen.inversion.inverter_file import load_inverter


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_card_names_the_file_by_its_digest(name: str) -> None:
    card = WEIGHTS[name].with_suffix(".md").read_text(encoding="utf-8")
    assert sha256_of_file(WEIGHTS[name]) in card


@pytest.mark.parametrize("name", WEIGHTS)
def test_it_finds_the_latents_of_the_generators_own_images_again(name: str) -> None:
    generator = load_generator(name)
    inverter = load_inverter(name, generator)
    latents = generator.latents(range(32), seed=5)
    with torch.no_grad():
        images = generator(latents)
        again = generator(inverter(images))
    other = images.roll(1, 0)
    assert (again - images).abs().mean() < 0.7 * (other - images).abs().mean()


def test_it_is_refused_for_the_other_generator() -> None:
    with pytest.raises(CheckpointError, match="inverts another generator of the same shapes"):
        load_inverter("churchyard-full", load_generator("churchyard-planted"))


def test_an_argument_is_refused() -> None:
    generator = load_generator("churchyard-full")
    with pytest.raises(SpecError, match="mine"):
        load_churchyard_inverter(parse_spec("churchyard-full:mine.safetensors"), generator)
