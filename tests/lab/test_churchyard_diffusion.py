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
from PIL import Image
from safetensors.torch import load_file

from lab import churchyard_diffusion
from unseen.core.errors import CheckpointError, RecordError
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
