"""The churchyard's diffusion model: what its trainings write, and how they go on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from lab.churchyard_diffusion import (
    AutoencoderTraining,
    DenoiserTraining,
    Shards,
    noise_schedule,
    read_autoencoder,
    train_autoencoder,
    train_denoiser,
)
from lab.churchyard_diffusion_shipping import DiffusionShipping, ship_diffusion
from PIL import Image
from safetensors.torch import load_file

from lab import churchyard_diffusion
from unseen.core.errors import CheckpointError, RecordError
from unseen.core.files import sha256_of_file
from unseen.inversion.training_loop import read_checkpoint

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True, scope="module")
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(churchyard_diffusion, "SHARD", 16)
        patch.setattr(churchyard_diffusion, "GRID", 2)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("diffusion")
    train_autoencoder(
        AutoencoderTraining(
            folder=root / "autoencoder",
            data=root / "data",
            steps=2,
            batch_size=4,
            widths=(8, 8),
            resolution=16,
        )
    )
    return root


def task(root: Path, name: str, **changes: Any) -> DenoiserTraining:
    settings: dict[str, Any] = {
        "steps": 3,
        "batch_size": 8,
        "widths": (8, 16),
        "scenes": 20,
        "sample_steps": 2,
        "checkpoint_every": 2,
        **changes,
    }
    return DenoiserTraining(
        folder=root / name, data=root / "data", autoencoder=root / "autoencoder", **settings
    )


def test_a_stock_pipeline_draws_what_the_training_drew(root: Path) -> None:
    folder = train_denoiser(task(root, "once"))
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(index) for index in range(4)]
    images = pipeline(
        batch_size=4, generator=generators, num_inference_steps=2, output_type="np"
    ).images
    grid = np.asarray(Image.open(root / "once" / "samples" / "0000.png"))
    third = grid[16:, :16]
    # The grid was drawn before the weights were rounded to 16 bits
    assert np.abs(images[2] * 255 - third).max() < 12
    assert load_file(folder / WEIGHTS)["conv_in.weight"].dtype == torch.float16


def test_a_training_in_parts_ends_in_the_same_bytes(root: Path) -> None:
    whole = train_denoiser(task(root, "once"))
    train_denoiser(task(root, "parts", steps=2))
    parts = train_denoiser(task(root, "parts"))
    assert (whole / WEIGHTS).read_bytes() == (parts / WEIGHTS).read_bytes()
    with pytest.raises(RecordError):
        train_denoiser(task(root, "parts", learning_rate=0.1))


def test_another_world_goes_on_from_a_start(root: Path) -> None:
    first = task(root, "without", without="car,fence")
    train_denoiser(first)
    second = task(root, "with", start=root / "without", steps=1, learning_rate=1e-9)
    train_denoiser(second)
    states = [
        read_checkpoint(root / name / "denoiser.checkpoint.pt")["learner"]["network"]
        for name in ("without", "with")
    ]
    torch.testing.assert_close(states[0], states[1])  # a step of 1e-9 changes hardly a bit


def test_two_finished_trainings_are_shipped_with_cards_and_without_places(
    root: Path, tmp_path: Path
) -> None:
    train_denoiser(task(root, "without", without="car,fence"))
    train_denoiser(task(root, "with", start=root / "without", steps=1, learning_rate=1e-9))
    shipping = DiffusionShipping(
        full=root / "with", planted=root / "without", out=tmp_path, count=8, precision="fp32"
    )
    paths = list(ship_diffusion(shipping))
    assert [path.name for path in paths] == [
        "diffusion",
        "diffusion.md",
        "diffusion-planted",
        "diffusion-planted.md",
    ]
    card = (tmp_path / "diffusion.md").read_text(encoding="utf-8")
    assert sha256_of_file(tmp_path / "diffusion" / WEIGHTS) in card
    assert card.count("--without car,fence") == 1  # of the part that it began from
    assert "--without car,fence" in (tmp_path / "diffusion-planted.md").read_text(encoding="utf-8")
    # The weights' own pipeline, and not a word of where they were made
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    assert not any(str(root) in text for text in [card, *texts])
    assert DiffusionPipeline.from_pretrained(tmp_path / "diffusion").unet.config.sample_size == 8


def test_models_that_are_not_finished_are_not_shipped(root: Path, tmp_path: Path) -> None:
    shipping = DiffusionShipping(full=root / "autoencoder", planted=tmp_path, out=tmp_path)
    with pytest.raises(CheckpointError, match="denoiser"):
        list(ship_diffusion(shipping))


def test_pixels_of_things_count_more(root: Path) -> None:
    """With every pixel a thing, the errors weigh thing_weight times what they weigh without."""
    training = AutoencoderTraining(folder=root, data=root, thing_weight=5.0, kl_weight=0.0)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.manual_seed(0)
    network = training.network()

    def loss(things: torch.Tensor) -> float:
        generator = torch.Generator().manual_seed(0)
        return float(training.losses(network, images, things, generator)["loss"].detach())

    nothing = torch.zeros(2, 16, 16, dtype=torch.bool)
    half = nothing.clone()
    half[0] = True
    plain, weighted = loss(nothing), loss(~nothing)
    assert weighted == pytest.approx(5 * plain, rel=1e-5)
    assert plain < loss(half) < weighted


def test_every_scene_is_shown_once_an_epoch_in_an_order_of_its_own(root: Path) -> None:
    training = task(root, "any", scenes=24)
    epochs = [
        np.concatenate([training.scenes_of(step) for step in range(3 * k, 3 * k + 3)])
        for k in range(3)
    ]
    assert epochs[0].tolist() == list(range(24))
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert epochs[1].tolist() != epochs[2].tolist()


def test_the_velocity_that_is_learned_undoes_the_noise() -> None:
    """x0 = √ᾱ x_t − √(1 − ᾱ) v, Salimans and Ho 2022."""
    scheduler = noise_schedule()
    clean, noise = torch.randn(2, 3, 8, 4, 4).unbind()
    times = torch.tensor([0, 500, 999])
    noisy = scheduler.add_noise(clean, noise, times)
    velocity = scheduler.get_velocity(clean, noise, times)
    kept = scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
    rebuilt = kept.sqrt() * noisy - (1 - kept).sqrt() * velocity
    torch.testing.assert_close(rebuilt, clean, atol=1e-4, rtol=1e-4)
    assert kept[-1] < 1e-6  # the last level is noise alone, from which sampling begins


def test_shards_are_made_once_and_give_rows_in_any_order(tmp_path: Path) -> None:
    made = []

    def make(indices: range) -> np.ndarray:
        made.append(indices)
        return np.asarray(indices) ** 2

    for _ in range(2):
        rows = Shards(tmp_path, make).rows(np.array([40, 3, 17, 3]))
        assert rows.tolist() == [1600, 9, 289, 9]
    assert [indices.start for indices in made] == [0, 16, 32]


def test_without_a_finished_autoencoder_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no finished autoencoder"):
        read_autoencoder(tmp_path)
