"""GAN training: its parts against their formulas, a step by hand, and going on after a stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab.adversarial import AdversarialLearner, AdversarialStage
from lab.augmentation import augment
from lab.discriminator import Discriminator, MinibatchDeviation
from tests.support.tensors import assert_same_bits

from unseen.inversion.training_loop import Training, train

WIDTHS = (3, 4, 4)  # latent, 4×4, 8×8


def batches(first: int) -> Iterator[np.ndarray]:
    """Batch k is a function of k alone."""
    index = first
    while True:
        yield np.random.default_rng(index).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
        index += 1


def stage(**settings: Any) -> AdversarialStage:
    return AdversarialStage(
        **{
            "batches": batches,
            "data": "noise",
            "images": 5 * 4,
            "widths": WIDTHS,
            "batch_size": 4,
            "r1_every": 2,
            **settings,
        }
    )


def run(folder: Path, settings: AdversarialStage) -> AdversarialLearner:
    task = Training(stages=[settings], folder=folder, seed=2, log_every=1, checkpoint_every=2)
    learner = train(task)["generator"]
    assert isinstance(learner, AdversarialLearner)
    return learner


def test_the_minibatch_deviation_is_that_of_each_group_of_four() -> None:
    features = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    appended = MinibatchDeviation()(features)
    assert torch.equal(appended[:, :2], features)
    for group in (slice(0, 4), slice(4, 8)):
        expected = features[group].numpy().std(axis=0).mean()
        # 1e-8 under the root, and float32 rounding
        np.testing.assert_allclose(appended[group, 2].numpy(), expected, rtol=1e-5)


def test_real_and_generated_images_do_not_meet_in_a_group() -> None:
    discriminator = Discriminator((4, 4))
    generator = torch.Generator().manual_seed(0)
    real, one, other = torch.randn(3, 4, 3, 8, 8, generator=generator)
    first = discriminator(torch.cat([real, one]))[:4]
    second = discriminator(torch.cat([real, 100 * other]))[:4]
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_the_discriminator_mirrors_the_generator() -> None:
    # 0.25 M parameters at the widths of the built-in world, as its generator has
    parameters = sum(p.numel() for p in Discriminator((64, 64, 48, 32, 16)).parameters())
    assert 0.2e6 < parameters < 0.3e6


@pytest.mark.parametrize(("noise", "changes"), [(0.0, ()), (0.5, ()), (0.5, ("colour", "cutout"))])
def test_the_first_step_equals_one_written_by_hand(noise: float, changes: tuple[str, ...]) -> None:
    device = torch.device("cpu")
    settings = stage(r1_gamma=2.0, instance_noise=noise, augmentation=changes)
    torch.manual_seed(0)
    learner = AdversarialLearner(settings, device)
    torch.manual_seed(0)
    hand = AdversarialLearner(settings, device)
    learner.step(0, torch.Generator().manual_seed(1))

    d, g = hand.discriminator, hand.generator
    source = torch.Generator().manual_seed(1)
    latents = torch.randn(4, 3, generator=source)
    real = torch.from_numpy(next(batches(0))) / 127.5 - 1
    drawn = g(latents)
    shown = []
    for images in (real, drawn.detach(), drawn):
        seen = augment(images, changes, source)
        grain = noise * torch.randn(images.shape, generator=source) if noise else 0
        shown.append(seen + grain)
    real, detached, drawn = shown
    real = real.requires_grad_()
    real_score, generated_score = d(real), d(detached)
    loss = -torch.log(torch.sigmoid(real_score)).mean()
    loss = loss - torch.log(1 - torch.sigmoid(generated_score)).mean()
    (slope,) = torch.autograd.grad(real_score.sum(), real, create_graph=True)
    loss = loss + 2.0 / 2 * 2 * slope.flatten(1).norm(dim=1).square().mean()  # γ/2, every 2 steps
    d_weights, g_weights = list(d.parameters()), list(g.parameters())
    d_adam = torch.optim.Adam(d_weights, 1.5e-3, betas=(0.0, 0.99))
    for weight, gradient in zip(d_weights, torch.autograd.grad(loss, d_weights), strict=True):
        weight.grad = gradient
    d_adam.step()
    loss = -torch.log(torch.sigmoid(d(drawn))).mean()
    g_adam = torch.optim.Adam(g_weights, 1.5e-3, betas=(0.0, 0.99))
    for weight, gradient in zip(g_weights, torch.autograd.grad(loss, g_weights), strict=True):
        weight.grad = gradient
    g_adam.step()
    for name in ("discriminator", "generator"):
        ours, theirs = getattr(learner, name), getattr(hand, name)
        # Adam's first step is the sign of the gradient: rounding matters where it is near zero
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), atol=1e-4, rtol=1e-4)


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", stage())
    run(tmp_path / "cut", stage(images=3 * 4))
    resumed = run(tmp_path / "cut", stage())  # more images go on from the checkpoint
    assert_same_bits(whole.state_dict(), resumed.state_dict())


def test_inspection_sees_the_average_after_so_many_images(tmp_path: Path) -> None:
    seen = []

    def inspect(network: torch.nn.Module, images: int) -> dict[str, float]:
        seen.append((network.training, images))
        return {"brightness": 0.5}

    run(tmp_path, stage(inspect=inspect))
    assert seen == [(False, 20)]
    assert (tmp_path / "generator.csv").read_text().splitlines()[-1].endswith("0.5")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_few_steps_move_every_weight_and_stay_finite(tmp_path: Path, precision: Any) -> None:
    from unseen.inversion.network_learner import Arithmetic

    settings = stage(arithmetic=Arithmetic(precision=precision, channels_last=True))
    torch.manual_seed(0)
    before = AdversarialLearner(settings, torch.device("cpu"))
    after = run(tmp_path, settings)
    for old, new in zip(before.generator.parameters(), after.generator.parameters(), strict=True):
        assert torch.isfinite(new).all()
        assert not torch.equal(old, new)
