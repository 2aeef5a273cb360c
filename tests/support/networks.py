"""Small generators for the tests of inversion: a ProGAN, a DCGAN, and some that cannot be split."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import ProGAN

WIDTH = 8


def progan(*, seed: int = 0, widths: tuple[int, ...] = (WIDTH,) * 4) -> NetworkGenerator:
    """16×16; layers 1 and 2 at 4×4, 3 and 4 at 8×8, 5 and 6 at 16×16, output."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ProGAN(widths)
    return NetworkGenerator(
        network,
        latent_size=widths[0],
        resolution=network.resolution,
        provenance={"spec": f"progan:toy-{seed}"},
    )


def dcgan(*, seed: int = 0) -> NetworkGenerator:
    """16×16: transposed convolutions, batch norm and ReLU, latents of 6; layers "0", "1", "2"."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Sequential(
                nn.Unflatten(1, (6, 1, 1)),
                nn.ConvTranspose2d(6, 12, 4, bias=False),
                nn.BatchNorm2d(12),
                nn.ReLU(),
            ),
            nn.Sequential(
                nn.ConvTranspose2d(12, WIDTH, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(WIDTH),
                nn.ReLU(),
            ),
            nn.Sequential(nn.ConvTranspose2d(WIDTH, 3, 4, stride=2, padding=1), nn.Tanh()),
        )
    return NetworkGenerator(
        layers, latent_size=6, resolution=16, provenance={"spec": f"dcgan:toy-{seed}"}
    )


class Pair(NamedTuple):
    """What a StyleGAN's layers pass: more than one tensor."""

    styles: Tensor
    features: Tensor


class Mapping(nn.Module):
    def forward(self, latents: Tensor) -> Pair:
        return Pair(latents, latents)


class Drawing(nn.Module):
    def forward(self, pair: Pair) -> Tensor:
        return pair.features[:, :3, None, None].expand(-1, -1, 4, 4)


def styled() -> NetworkGenerator:
    """Layers that pass pairs."""
    layers = nn.Sequential(Mapping(), Drawing())
    return NetworkGenerator(layers, latent_size=4, resolution=4, provenance={})
