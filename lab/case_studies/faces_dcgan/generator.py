"""The DCGAN in the wheel of generateme 0.1.2 (MIT), trained on CelebA: 64×64, five layers.

The package is never imported: the architecture is written here, and the weights are read without
running anything that the file may ask for.
Source: Radford, Metz and Chintala, ICLR 2016.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from unseen.core.files import sha256_of_file
from unseen.generators.layered import NetworkGenerator
from unseen.weights import open_checkpoint
from unseen.weights.strict import build_and_fill

LATENT_SIZE = 100
WIDTHS = (512, 256, 128, 64)  # channels of layer1 (4×4) to layer4 (32×32)
RESOLUTION = 64


class Layer(nn.Module):
    """Transposed convolution, then batch norm and ReLU, or at last tanh."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False):
        super().__init__()
        stride, padding = (1, 0) if first else (2, 1)
        self.first = first
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
        self.norm = None if last else nn.BatchNorm2d(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n c h w), or of the first layer latents (n z), to features or images."""
        features = self.conv(features[:, :, None, None] if self.first else features)
        return features.tanh() if self.norm is None else self.norm(features).relu()


def build() -> nn.Sequential:
    """The network with fresh weights: layer1 … layer4, output."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        (f"layer{number}", Layer(inputs, outputs, first=number == 1))
        for number, (inputs, outputs) in enumerate(
            zip((LATENT_SIZE, *WIDTHS), WIDTHS, strict=False), start=1
        )
    )
    layers["output"] = Layer(WIDTHS[-1], 3, last=True)
    return nn.Sequential(layers)


def load(weights: str, device: str = "cpu") -> NetworkGenerator:
    """`python:lab.case_studies.faces_dcgan.generator:load?weights=dcGanGeneratorModel.pt`.

    Args:
        weights: the file of that name in the wheel.
        device: where it computes.

    Raises:
        CheckpointError: the file is missing, or holds other weights.
    """
    checkpoint = open_checkpoint(Path(weights))
    named = {_own_name(name): tensor for name, tensor in checkpoint.tensors.items()}
    network = build_and_fill(build, named, checkpoint.source, kind="DCGAN of five layers")
    return NetworkGenerator(
        network,
        latent_size=LATENT_SIZE,
        resolution=RESOLUTION,
        provenance={"family": "dcgan", "weights_sha256": sha256_of_file(checkpoint.path)},
        device=torch.device(device),
    )


def _own_name(name: str) -> str:
    """`batchNorm2.bias` → `layer2.norm.bias`; what is no such name stays, and is refused."""
    part, _, tensor = name.partition(".")
    for theirs, own in (("convTr", "conv"), ("batchNorm", "norm")):
        number = part.removeprefix(theirs)
        if number != part:
            return f"{'output' if number == '5' else f'layer{number}'}.{own}.{tensor}"
    return name
