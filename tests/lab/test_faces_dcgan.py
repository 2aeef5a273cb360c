"""The study of CelebA's DCGAN: its generator, what it counts, and its small form."""

from pathlib import Path

import pytest
import torch
from lab.case_studies.faces_dcgan import generator
from torch.nn import functional

from unseen.core.errors import CheckpointError


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Random weights under the names of the file in the wheel."""
    torch.manual_seed(0)
    widths = (generator.LATENT_SIZE, *generator.WIDTHS, 3)
    tensors = {}
    for k in range(1, 6):
        tensors[f"convTr{k}.weight"] = 0.05 * torch.randn(widths[k - 1], widths[k], 4, 4)
        if k < 5:
            for name in ("weight", "bias", "running_mean"):
                tensors[f"batchNorm{k}.{name}"] = torch.randn(widths[k])
            tensors[f"batchNorm{k}.running_var"] = 1 + torch.rand(widths[k])
            tensors[f"batchNorm{k}.num_batches_tracked"] = torch.tensor(7)
    return tensors


def test_it_draws_what_the_published_network_draws(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(published, tmp_path / "weights.pt")
    loaded = generator.load(str(tmp_path / "weights.pt"))
    images = loaded.latents(range(3))[:, :, None, None]
    for k in range(1, 6):  # the forward pass that the wheel's module writes out
        stride, padding = (1, 0) if k == 1 else (2, 1)
        images = functional.conv_transpose2d(
            images, published[f"convTr{k}.weight"], stride=stride, padding=padding
        )
        if k < 5:
            mean, variance, scale, shift = (
                published[f"batchNorm{k}.{name}"]
                for name in ("running_mean", "running_var", "weight", "bias")
            )
            images = functional.batch_norm(images, mean, variance, scale, shift).relu()
    assert loaded.layer_names == ("layer1", "layer2", "layer3", "layer4", "output")
    torch.testing.assert_close(loaded.draw(range(3)), images.tanh())  # the same sums, reordered


def test_weights_of_another_network_are_refused(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    lacking = {name: tensor for name, tensor in published.items() if name != "batchNorm2.bias"}
    torch.save(lacking, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"layer2\.norm\.bias"):
        generator.load(str(tmp_path / "weights.pt"))
