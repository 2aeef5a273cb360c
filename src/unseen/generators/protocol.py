"""What a generator is (anything with these members is one), and how one is loaded by name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from jaxtyping import Float

from unseen.core.devices import resolve_device
from unseen.core.registry import parse_spec, plugin

if TYPE_CHECKING:
    from torch import Tensor, nn
else:
    Tensor = Any

Precision = Literal["fp32", "bf16"]


@runtime_checkable
class Generator(Protocol):
    """An ordered list of named layers that turns latents into images.

    A generator is made by an entry point of the group `unseen.generators`: a function
    `factory(spec, *, device: str, precision: Precision)` that returns it.
    """

    layer_names: tuple[str, ...]  # in order; the last one's output is the image
    latent_size: int  # numbers in one latent
    resolution: int  # side of the square images it draws, in pixels
    provenance: Mapping[str, Any]  # JSON: spec, weights' SHA-256, options: what decides images

    def latents(self, indices: Iterable[int], *, seed: int = 1) -> Float[Tensor, "n z"]:
        """The latents of the images with these indices: rows of one seeded stream.

        Image k is the same whichever others are asked for with it.
        """
        ...

    def __call__(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [−1, 1], in float32 and without gradient."""
        ...

    def split(self, layer: str) -> "tuple[nn.Module, nn.Module]":
        """Head (latents → features of `layer`) and tail (features → images).

        Both share the generator's weights and pass gradients.

        Raises:
            SpecError: the generator has no such layer.
        """
        ...


def load_generator(
    generator: str | Path | Generator, *, device: str = "auto", precision: Precision = "fp32"
) -> Generator:
    """The generator that a spec names, e.g. `progan:church` or `progan:weights.pth`.

    Args:
        generator: `name[:argument][?key=value&…]`; the name is an entry point of
            `unseen.generators`. A generator is returned as it is.
        device: where it computes: "auto" for CUDA where there is any, "cpu", "cuda", "cuda:1", ….
        precision: "fp32", or "bf16" for autocast; images come as float32 either way.

    Raises:
        SpecError: the spec is malformed or names no known generator; no such device here.
        CheckpointError: the weights are unreadable or do not fit.
        DownloadError: published weights cannot be fetched.

    Example:
        >>> generator = load_generator("churchyard-full")
        >>> generator.layer_names[:3], generator.resolution
        (('layer1', 'layer2', 'layer3'), 64)
        >>> generator(generator.latents([0, 7], seed=1)).shape
        torch.Size([2, 3, 64, 64])
    """
    if not isinstance(generator, str | Path):
        return generator
    spec = parse_spec(str(generator))
    factory = plugin("generators", spec)
    return cast("Generator", factory(spec, device=resolve_device(device), precision=precision))
