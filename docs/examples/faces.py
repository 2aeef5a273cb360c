"""A generator of faces and photographs of faces: `python:faces:make`, `python:faces:photographs`.

The generator is the DCGAN of the package gan-face-generate, with its five layers; the photographs
are scikit-image's `lfw_subset`, 25×25 and grey, from Labeled Faces in the Wild.
"""

import importlib.resources
import importlib.util
from pathlib import Path

import numpy as np
import torch
from gan_face_generate.models import Generator
from torch import nn

from unseen.generators.layered import NetworkGenerator


def make(device: str) -> NetworkGenerator:
    """The generator, to be sampled, compared and split at its layers "0" to "4"."""
    network = Generator(1, 3, 100, 64)
    file = importlib.resources.files("gan_face_generate") / "weights.tar"
    weights = torch.load(str(file), map_location="cpu", weights_only=True)
    network.load_state_dict(weights["netG_state_dict"])
    layers = nn.Sequential(nn.Sequential(nn.Unflatten(1, (100, 1, 1)), *network.main[:3]))
    layers.extend(network.main[k : k + 3] for k in (3, 6, 9, 12))
    return NetworkGenerator(
        layers, latent_size=100, resolution=64, provenance={}, device=torch.device(device)
    )


def photographs() -> list[np.ndarray]:
    """The first half of lfw_subset; the second half are no faces."""
    package = importlib.util.find_spec("skimage")  # found, not imported: its file is all we need
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the photographs lie in scikit-image: pip install scikit-image")
    images = np.load(Path(package.origin).parent / "data" / "lfw_subset.npy")
    return list((255 * images[:100]).round().astype(np.uint8))  # (25, 25) each
