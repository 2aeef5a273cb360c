"""Pipelines cut at noise levels: every part beside the pipeline's own call."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DiTPipeline,
    FlowMatchEulerDiscreteScheduler,
    LDMPipeline,
)
from tests.support.pipelines import (
    autoencoder,
    flux,
    pixart,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    transformer,
    unet,
)

from unseen.core.errors import GeneratorError, SpecError
from unseen.generators import load_layered
from unseen.generators.noise_levels import NoiseLevels, PipelineSteps
from unseen.inversion.layers import split_generator

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

DDIM = DDIMScheduler(clip_sample=False)
FLOW = FlowMatchEulerDiscreteScheduler()
KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pixels": (lambda _: DDIMPipeline(unet(8), DDIM), "steps=10"),
    "flow": (lambda _: DDPMPipeline(unet(8), FLOW), "steps=10"),
    "latents": (
        lambda _: LDMPipeline(vqvae=autoencoder(), unet=unet(8, 4), scheduler=DDIM),
        "steps=10",
    ),
    "classes": (
        lambda _: DiTPipeline(transformer(), autoencoder(), DDIM),
        "steps=10&classes=7&guidance=2",
    ),
    "text": (stable_diffusion, "steps=10&guidance=2&negative=fog"),
    "text flow": (stable_diffusion_3, "steps=10&guidance=2&size=16"),
    "text, two encoders": (stable_diffusion_xl, "steps=10&guidance=2&negative=fog"),
    "text, packed": (flux, "steps=10&guidance=2&size=16"),
    "text by T5": (pixart, "steps=10&guidance=2&size=16"),
    "text by Gemma": (sana, "steps=10&guidance=2&size=32"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    places = {}
    for name, (make, _) in KINDS.items():
        places[name] = tmp_path_factory.mktemp("kind")
        torch.manual_seed(0)
        make(places[name]).save_pretrained(places[name] / "model")
        (places[name] / "prompts.txt").write_text("a church\n")
        (places[name] / "several.txt").write_text("a church\na car\na church\n")
    return places


def spec_of(places: dict[str, Path], name: str) -> str:
    prompts = f"&prompts={places[name] / 'prompts.txt'}" if "text" in name else ""
    return f"diffusers:{places[name] / 'model'}?{KINDS[name][1]}{prompts}"


def layered(places: dict[str, Path], name: str, more: str = "") -> NoiseLevels:
    generator = load_layered(spec_of(places, name) + more, device="cpu")
    assert isinstance(generator, NoiseLevels)
    return generator


@pytest.mark.parametrize("name", KINDS)
def test_cuts_compose_to_what_the_pipeline_draws(places: dict[str, Path], name: str) -> None:
    generator = layered(places, name)
    drawn = generator.draw([0, 5, 2], seed=3)
    latents = generator.latents([0, 5, 2], seed=3)
    assert "t=0.5" in generator.layer_names
    assert ("decoder" in generator.layer_names) == (name not in ("pixels", "flow"))
    # float32 in another order at the end alone: halves and doubles of values below 1
    torch.testing.assert_close(generator(latents), drawn, atol=1e-6, rtol=0)
    for layer in ("t=1", "t=0.5", generator.layer_names[-2]):
        head, tail = generator.split(layer)
        with torch.no_grad():
            images = tail(head(latents)).clamp(-1, 1)
        torch.testing.assert_close(images, drawn, atol=1e-6, rtol=0)


def test_a_tail_is_the_loop_over_the_remaining_steps(places: dict[str, Path]) -> None:
    generator = layered(places, "pixels")
    pipeline = DDIMPipeline.from_pretrained(places["pixels"] / "model")
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(10)
    noisy = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    by_hand = noisy.clone().requires_grad_()
    states = by_hand
    for timestep in scheduler.timesteps[4:]:  # 900, 800, …: 500 is the fifth
        states = scheduler.step(
            pipeline.unet(states, timestep).sample, timestep, states
        ).prev_sample
    (wanted,) = torch.autograd.grad(states.square().sum(), by_hand)
    for more in ("", "&checkpointing=off"):
        _, tail = layered(places, "pixels", more).split("t=0.5")
        given = noisy.clone().requires_grad_()
        images = tail(given)
        torch.testing.assert_close(images, states)
        (gradient,) = torch.autograd.grad(images.square().sum(), given)
        torch.testing.assert_close(gradient, wanted)
    assert generator.provenance["levels"]["t=0.5"] == 0.5


@pytest.mark.parametrize("name", ["latents", "classes", "text", "text flow"])
def test_gradients_are_equal_with_and_without_checkpointing(
    places: dict[str, Path], name: str
) -> None:
    gradients = []
    for more in ("", "&checkpointing=off"):
        generator = layered(places, name, more)
        states = torch.randn(
            2, *generator.steps.shape, generator=torch.Generator().manual_seed(4)
        ).requires_grad_()
        _, tail = generator.split("t=0.3")
        loss = tail(states).square().mean()
        gradients.append(torch.autograd.grad(loss, states)[0])
    assert torch.equal(*gradients)
    assert gradients[0].abs().min() > 0


@pytest.mark.parametrize("name", KINDS)
def test_a_step_that_is_undone_is_the_state_before_it(places: dict[str, Path], name: str) -> None:
    steps = layered(places, name).steps
    states = torch.randn(2, *steps.shape, generator=torch.Generator().manual_seed(4))
    for step in (0, 5, 9):
        with torch.no_grad():
            after = steps.integrate(states, step, step + 1)
            before = steps.undo(after, step)
            again = steps.integrate(before, step, step + 1)
        # An iteration takes off 0.4 to 0.99 of the miss with these weights and guidance 2.
        assert (again - after).square().mean().sqrt() < 1e-3 * after.std()
        torch.testing.assert_close(before, states, atol=0.02, rtol=0)


def test_an_own_image_leads_back_to_its_noise(places: dict[str, Path]) -> None:
    generator = layered(places, "flow")
    latents = generator.latents([0, 1, 2], seed=3)
    head, tail = generator.split("t=0.5")
    with torch.no_grad():
        states = head(latents)
        found = generator.backwards(tail(states))
    torch.testing.assert_close(found["z"], latents, atol=1e-3, rtol=0)
    torch.testing.assert_close(found["t=0.5"], states, atol=1e-3, rtol=0)
    alone = generator.backwards(tail(states)[1:2])
    torch.testing.assert_close(alone["z"], found["z"][1:2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["latents", "text flow"])
def test_what_is_encoded_is_decoded_from_the_encoders_means(
    places: dict[str, Path], name: str
) -> None:
    generator = layered(places, name)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    vae = generator.steps.decoder
    _, tail = generator.split("decoder")
    with torch.no_grad():
        means = vae.encode(images).latent_dist.mode()
        torch.testing.assert_close(tail(generator.steps.encode(images)), vae.decode(means).sample)


def test_a_cut_needs_no_layer_to_be_named(places: dict[str, Path]) -> None:
    generator = layered(places, "latents")
    assert generator.default_cut == "t=0.5"
    split = split_generator(generator, "t=0.5")
    assert split.shapes.features == ((4, 8, 8),) * len(split.layers)
    assert split.shapes.latent_size == math.prod((4, 8, 8))
    with pytest.raises(SpecError, match=r"t=0\.55"):
        generator.split("t=0.55")


def test_few_steps_leave_the_levels_that_are_there(places: dict[str, Path]) -> None:
    # 750, 500, 250 and 0 of 1,000: 0.75 lies within 0.06 of 0.7 and of 0.8, 0.25 of 0.3
    few = layered(places, "pixels", "").generator
    few.settings = {"num_inference_steps": 4}  # type: ignore[misc]
    assert few.layered().layer_names == ("t=1", "t=0.5", "t=0.3", "image")


def test_samplers_that_draw_or_remember_are_refused(places: dict[str, Path]) -> None:
    for kind in ("DDPMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"):
        with pytest.raises(GeneratorError, match=kind):
            layered(places, "latents", f"&scheduler={kind}")


def test_noise_in_the_steps_is_refused(places: dict[str, Path]) -> None:
    own = layered(places, "pixels").generator
    noisy = PipelineSteps(own.pipeline, lambda which: {**own.asked(which), "eta": 1.0})
    with pytest.raises(GeneratorError, match="noise"):
        noisy.integrate(torch.zeros(1, 3, 8, 8), 0, 2)


def asking(places: dict[str, Path], name: str) -> NoiseLevels:
    """The same pipeline, asked for a church, a car, a church, …; or for each of its classes."""
    spec = spec_of(places, name).replace("prompts.txt", "several.txt")
    generator = load_layered(spec.replace("classes=7", "classes=cycle"), device="cpu")
    assert isinstance(generator, NoiseLevels)
    return generator


@pytest.mark.parametrize("name", ["text", "text, packed", "classes"])
def test_every_image_is_asked_for_in_its_own_way(places: dict[str, Path], name: str) -> None:
    generator = asking(places, name)
    indices = [0, 4, 1]  # a church and two cars, or three classes
    drawn = generator.draw(indices, seed=3)
    latents = generator.latents(indices, seed=3)
    assert generator.asks_each
    torch.testing.assert_close(generator(latents), drawn, atol=1e-6, rtol=0)
    head, tail = generator.split("t=0.5")
    with torch.no_grad():
        features = head(latents)
        torch.testing.assert_close(tail(features).clamp(-1, 1), drawn, atol=1e-6, rtol=0)
        turned = torch.tensor([2, 1, 0])
        back = tail(features.rows(turned)).clamp(-1, 1)
    torch.testing.assert_close(back, drawn[turned], atol=1e-6, rtol=0)
    conditions = generator.conditions(indices)
    assert conditions is not None
    noise = generator.ask(latents, conditions[::-1])
    assert torch.equal(generator.ask(noise, conditions), latents)
    assert not torch.allclose(generator(noise)[0], drawn[0], atol=1e-4)
    with pytest.raises(SpecError, match="a dog"):
        generator.ask(latents, ["a dog"] * 3)


def test_an_image_leads_back_by_its_own_prompt(places: dict[str, Path]) -> None:
    generator = asking(places, "text flow")
    latents = generator.latents([0, 1], seed=3)
    found = generator.backwards(generator(latents), ["a church", "a car"])
    single = layered(places, "text flow").backwards(generator(latents))
    assert torch.equal(found["z"][:, -1], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found["z"][0, :-1], single["z"][0], atol=1e-4, rtol=0)
    assert not torch.allclose(found["z"][1, :-1], single["z"][1], atol=1e-3)
    assert torch.equal(found["t=0.5"].which, torch.tensor([0, 1]))


def test_prompts_are_encoded_once_for_all_steps_of_a_search(places: dict[str, Path]) -> None:
    generator = layered(places, "text")
    encoder, calls = generator.steps.pipeline.text_encoder, []
    encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    states = torch.zeros(2, *generator.steps.shape)
    with torch.no_grad():
        first = generator.split("t=0.5")[1](states)
        before = len(calls)
        again = generator.split("t=0.5")[1](states)
    assert before <= 2  # the prompts, and the negative ones
    assert len(calls) == before
    assert torch.equal(first, again)
