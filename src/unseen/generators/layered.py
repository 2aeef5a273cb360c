"""A network of named layers as a generator: latents, precision, device, and the split."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unseen.core.errors import CheckpointError, SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec
from unseen.generators.checks import checked_images
from unseen.generators.latents import LatentStream
from unseen.generators.protocol import Precision
from unseen.weights import Checkpoint

_MOST_PIXELS = 4096  # a side; published generators draw 1024 at most


class GreyToRgb(nn.Module):
    """Gives grey images three equal channels; others pass as they are."""

    @staticmethod
    def forward(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """The images, of three channels where they had one."""
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


@dataclasses.dataclass(eq=False)
class NetworkGenerator:
    """A generator whose layers, applied in order to latents (n z 1 1), give the image.

    The network is put in evaluation mode and its weights are frozen; gradients still pass through
    it to its input.
    """

    network: nn.Sequential  # children are the layers, under their names
    latent_size: int
    resolution: int
    provenance: Mapping[str, Any]
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "fp32"

    range_is_known: ClassVar[bool] = False  # else what lies far outside [−1, 1] is refused

    def __post_init__(self) -> None:
        self.layer_names = tuple(name for name, _ in self.network.named_children())
        self.network.to(self.device).eval().requires_grad_(False)
        # Faster convolutions on most hardware: 1.4 to 1.7 times in fp32 on a CPU with AVX-512.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._stream = LatentStream(self.latent_size)

    def latents(self, indices: Iterable[int], *, seed: int = 1) -> Float[Tensor, "n z"]:
        """Rows of `numpy.random.RandomState(seed)`'s stream: image k has row k."""
        return torch.from_numpy(self._stream.rows(indices, seed)).to(self.device)

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> Float[Tensor, "n 3 h w"]:
        """The images of the latents with these indices."""
        return self(self.latents(indices, seed=seed))

    def __call__(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [−1, 1], in float32 and without gradient."""
        bf16 = self.precision == "bf16"
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            images: Tensor = self.network(latents.to(self.device))
        if self.range_is_known:
            return GreyToRgb.forward(images.float().clamp(-1, 1))
        return checked_images(images, range(len(latents)), self.resolution, "the network").clamp(
            -1, 1
        )

    def split(self, layer: str) -> tuple[nn.Module, nn.Module]:
        """Head (latents → features of `layer`) and tail (features → images), weights shared.

        Raises:
            SpecError: the generator has no such layer.
        """
        if layer not in self.layer_names:
            raise SpecError(
                f"the generator has no layer {layer!r}; it has {', '.join(self.layer_names)}"
            )
        cut = self.layer_names.index(layer) + 1
        layers = list(self.network.named_children())
        head = nn.Sequential(collections.OrderedDict(layers[:cut]))
        tail = nn.Sequential(collections.OrderedDict([*layers[cut:], ("rgb", GreyToRgb())]))
        return head.eval(), tail.eval()


def provenance_of(
    spec: Spec, checkpoint: Checkpoint, precision: Precision, **more: str
) -> dict[str, Any]:
    """What decides the images of a network that was read from a file."""
    place = {"weights_at": checkpoint.place} if checkpoint.place else {}
    return {
        "spec": spec.text,
        "family": spec.name,
        **more,
        "weights_sha256": sha256_of_file(checkpoint.path),
        **place,
        "precision": precision,
    }


def check_drawing(source: str, resolution: int, channels: int) -> None:
    """Refuse a network by the size of its images, before it is built (CheckpointError)."""
    if resolution > _MOST_PIXELS:
        raise CheckpointError(
            f"{source} draws {resolution}×{resolution} pixels; {_MOST_PIXELS} a side are the most"
        )
    if channels not in (1, 3):
        raise CheckpointError(f"{source} draws {channels} channels; 3 (RGB) or 1 (grey) are needed")
