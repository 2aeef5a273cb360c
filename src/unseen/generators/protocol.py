"""What a generator is (anything with these members is one), and how one is loaded by name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from jaxtyping import Float

from unseen.core.devices import resolve_device, warn_of_slow_bf16
from unseen.core.errors import GeneratorError
from unseen.core.registry import parse_spec, plugin

if TYPE_CHECKING:
    from torch import Tensor, nn
else:
    Tensor = Any

Precision = Literal["fp32", "bf16"]


@runtime_checkable
class Generator(Protocol):
    """Draws image k from (k, seed): all that drawing, segmenting and comparing need.

    A generator is made by an entry point of the group `unseen.generators`: a function
    `factory(spec, *, device: str, precision: Precision)` that returns it. It may also have
    `conditions(indices) -> Sequence[str] | None`, which says what each image was asked for: a
    prompt, or the name of a class.
    """

    provenance: Mapping[str, Any]  # JSON: spec, weights' SHA-256, options: what decides images

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> Float[Tensor, "n c h w"]:
        """The images with these indices, in [−1, 1], of three channels or one (grey).

        Image k depends on k and the seed, and not on the images that are asked for with it.
        """
        ...


@runtime_checkable
class LayeredGenerator(Generator, Protocol):
    """A generator whose image is a network's answer to a latent: it can be split and inverted."""

    layer_names: tuple[str, ...]  # in order; the last one's output is the image
    latent_size: int  # numbers in one latent
    resolution: int  # side of the square images it draws, in pixels

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
        >>> generator.draw([0, 7], seed=1).shape
        torch.Size([2, 3, 64, 64])
    """
    if not isinstance(generator, str | Path):
        return generator
    spec = parse_spec(str(generator))
    factory = plugin("generators", spec)
    device = resolve_device(device)
    warn_of_slow_bf16(device, precision)
    return cast("Generator", factory(spec, device=device, precision=precision))


def load_layered(
    generator: str | Path | Generator, *, device: str = "auto", precision: Precision = "fp32"
) -> LayeredGenerator:
    """The same, for what splits or inverts a generator.

    Raises:
        GeneratorError: it draws images by index, and has no latents and no layers; or it is a
            pipeline whose sampler cannot be cut.
        SpecError, CheckpointError, DownloadError: as `load_generator` raises them.

    Example:
        >>> generator = load_layered("churchyard-full")
        >>> generator.layer_names[:3], generator.resolution
        (('layer1', 'layer2', 'layer3'), 64)
        >>> generator(generator.latents([0, 7], seed=1)).shape
        torch.Size([2, 3, 64, 64])
    """
    loaded = load_generator(generator, device=device, precision=precision)
    layered = getattr(loaded, "layered", None)  # of one that becomes layered when it is asked to
    if callable(layered):
        loaded = layered()
    if not isinstance(loaded, LayeredGenerator):
        name = loaded.provenance.get("spec") or type(loaded).__name__
        raise GeneratorError(
            f"{name} draws images by index and cannot be split; a head and a tail are needed: "
            "return a NetworkGenerator of two layers or more"
        )
    return loaded
