"""What a generator is. Anything with these members is one."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float

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
