"""A ProGAN of a few thousand weights, its images, and an inverter that was never trained."""

import numpy as np
import torch
from torch import nn

from unseen.generators.layered import LayeredGenerator
from unseen.generators.progan import ProGAN
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import split_generator


def tiny_generator(widths=(8, 8, 8, 8), seed: int = 0) -> LayeredGenerator:
    """16×16 images from layers layer1 … layer6 and output_16x16."""
    torch.manual_seed(seed)
    network = ProGAN(widths)
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 1.0)
        network[-1].conv.weight *= 0.5  # few pixels at the clamp, as in a trained one
    return LayeredGenerator(
        network=network,
        latent_size=widths[0],
        resolution=network.resolution,
        provenance={"spec": "tiny"},
    )


def tiny_inverter(generator: LayeredGenerator, cut: str = "layer4", seed: int = 0) -> Inverter:
    torch.manual_seed(seed)
    shapes = split_generator(generator, cut).shapes
    small = Architecture(width=4, largest_width=8, blocks=1, last_blocks=1)
    return Inverter(shapes, small, {"spec": "tiny inverter"}).eval()


def own_images(generator: LayeredGenerator, count: int, seed: int = 20_002) -> torch.Tensor:
    """The generator's images as they are read back from 8 bits."""
    images = generator(generator.latents(range(count), seed=seed))
    return torch.from_numpy(to_unit(to_uint8(images.numpy())))


def noise(count: int, resolution: int = 16) -> torch.Tensor:
    """Images that the generator does not draw."""
    levels = np.random.default_rng(5).integers(0, 256, (count, 3, resolution, resolution))
    return torch.from_numpy(to_unit(levels.astype(np.uint8)))
