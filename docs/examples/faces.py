"""The DCGAN of the package gan-face-generate, with its five layers: `python:faces:make`."""

import importlib.resources

import torch
from gan_face_generate.models import Generator
from torch import nn

from unseen.generators.network import LayeredGenerator


def make(device: str) -> LayeredGenerator:
    """The generator, to be sampled, compared and split at its layers "0" to "4"."""
    network = Generator(1, 3, 100, 64)
    file = importlib.resources.files("gan_face_generate") / "weights.tar"
    weights = torch.load(str(file), map_location="cpu", weights_only=True)
    network.load_state_dict(weights["netG_state_dict"])
    layers = nn.Sequential(nn.Sequential(nn.Unflatten(1, (100, 1, 1)), *network.main[:3]))
    layers.extend(network.main[k : k + 3] for k in (3, 6, 9, 12))
    return LayeredGenerator(
        layers, latent_size=100, resolution=64, provenance={}, device=torch.device(device)
    )
