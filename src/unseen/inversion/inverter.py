"""The inverter of a generator: images to latents, layer by layer.

E(x) = e_1(e_2(… e_n(e_f(x)))): e_f inverts the tail, e_i layer i. Training is elsewhere
(`unseen.inversion.inverter_training`), files too (`unseen.inversion.inverter_file`).
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, section 3.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unseen.inversion.inverter_networks import Architecture, layer_inverter, tail_inverter
from unseen.inversion.layers import GeneratorShapes


class Inverter(nn.Module):
    """E: the tail's inverter, then the layers' inverters from the last to the first.

    Attributes:
        layer_names: the generator's layers it inverts, in the generator's order; the last is the
            cut, r_n.
        latent_size: numbers in a latent.
        resolution: side of the images, in pixels.
        provenance: JSON: generator, preset, seed, …: what made its weights.
        shapes: of the generator it is for.
        architecture: of its networks.
        tail: e_f.
        layers: e_1 … e_n, in the generator's order.
    """

    def __init__(
        self,
        shapes: GeneratorShapes,
        architecture: Architecture,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Build it with fresh weights, drawn from torch's global stream.

        Raises:
            GeneratorError: a layer of these shapes cannot be inverted.
            SpecError: the architecture does not go with the sizes.
        """
        super().__init__()
        self.shapes = shapes
        self.architecture = architecture
        self.provenance: Mapping[str, Any] = provenance or {}
        self.layer_names = shapes.layer_names
        self.latent_size = shapes.latent_size
        self.resolution = shapes.resolution
        self.tail = tail_inverter(shapes, architecture)
        self.layers = nn.ModuleList(
            layer_inverter(shapes, index) for index in range(len(shapes.layer_names))
        )

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n z"]:
        """The estimated latents of images in [−1, 1]."""
        return self.estimates(images)["z"]

    def estimates(self, images: Float[Tensor, "n 3 h w"]) -> dict[str, Tensor]:
        """Every layer's estimated features by the layer's name, from the cut to "z"."""
        features: Tensor = self.tail(images)
        names = self.layer_names
        return {names[-1]: features, **invert_layers(tuple(self.layers), names, features)}


def invert_layers(
    inverters: Sequence[nn.Module], names: Sequence[str], features: Float[Tensor, "n ..."]
) -> dict[str, Tensor]:
    """What e_b … e_1 make of the features of layer b: those of every layer below, and "z".

    Args:
        inverters: e_1 … e_b.
        names: of layers 1 … b; more are left alone.
        features: of layer b.
    """
    below = ("z", *names)
    estimates = {}
    for index in reversed(range(len(inverters))):
        features = inverters[index](features)
        estimates[below[index]] = features
    return estimates
