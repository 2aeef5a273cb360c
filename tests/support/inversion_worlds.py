"""A ProGAN of a few thousand weights, its images, and an inverter that was never trained."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unseen.generators import LayeredGenerator
from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import ProGAN
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import split_generator
from unseen.inversion.methods import Inversion, PreparedMethod
from unseen.inversion.perceptual import Perceptual


def tiny_generator(widths=(8, 8, 8, 8), seed: int = 0) -> NetworkGenerator:
    """16×16 images from layers layer1 … layer6 and output_16x16."""
    torch.manual_seed(seed)
    network = ProGAN(widths)
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 1.0)
        network[-1].conv.weight *= 0.5  # few pixels at the clamp, as in a trained one
    return NetworkGenerator(
        network=network,
        latent_size=widths[0],
        resolution=network.resolution,
        provenance={"spec": "tiny"},
    )


def tiny_inverter(generator: NetworkGenerator, cut: str = "layer4", seed: int = 0) -> Inverter:
    torch.manual_seed(seed)
    shapes = split_generator(generator, cut).shapes
    small = Architecture(width=4, largest_width=8, blocks=1, last_blocks=1)
    return Inverter(shapes, small, {"spec": "tiny inverter"}).eval()


def own_images(generator: NetworkGenerator, count: int, seed: int = 20_002) -> torch.Tensor:
    """The generator's images as they are read back from 8 bits."""
    images = generator(generator.latents(range(count), seed=seed))
    return torch.from_numpy(to_unit(to_uint8(images.numpy())))


def noise(count: int, resolution: int = 16) -> torch.Tensor:
    """Images that the generator does not draw."""
    levels = np.random.default_rng(5).integers(0, 256, (count, 3, resolution, resolution))
    return torch.from_numpy(to_unit(levels.astype(np.uint8)))


@dataclasses.dataclass(frozen=True, eq=False)
class InvertedBatch:
    """What was found for a batch, in its order. Where an image failed, its values are NaN."""

    reconstructions: Float[Tensor, "n 3 h w"]
    latents: Float[Tensor, "n z"]
    features: Tensor  # (n, …): r at the cut
    deltas: Mapping[str, Tensor]
    losses: Float[Tensor, " n"]
    terms: Mapping[str, Float[Tensor, " n"]]
    steps: tuple[int, ...]
    failures: tuple[str | None, ...]


def invert_batch(
    images: Float[Tensor, "n 3 h w"],
    generator: LayeredGenerator,
    inverter: Inverter | None,
    settings: Inversion,
    *,
    encoder: Inverter | None = None,
    perceptual: Perceptual | None = None,
    numbers: Sequence[int] | None = None,
) -> InvertedBatch:
    """Reconstruct images by one method; see `PreparedMethod` for the arguments and errors."""
    prepared = PreparedMethod(generator, inverter, settings, encoder=encoder, perceptual=perceptual)
    rows = sorted(prepared(images, numbers=numbers), key=lambda inverted: inverted.row)
    return InvertedBatch(
        reconstructions=torch.stack([row.reconstruction for row in rows]),
        latents=torch.stack([row.latents for row in rows]),
        features=torch.stack([row.features for row in rows]),
        deltas={name: torch.stack([row.deltas[name] for row in rows]) for name in rows[0].deltas},
        losses=torch.tensor([row.loss for row in rows]),
        terms={name: torch.tensor([row.terms[name] for row in rows]) for name in rows[0].terms},
        steps=tuple(row.steps for row in rows),
        failures=tuple(row.failed for row in rows),
    )
