"""A generator by name: `name[:argument][?key=value&…]`, found by entry point."""

from pathlib import Path
from typing import cast

from unseen.core.devices import resolve_device
from unseen.core.registry import parse_spec, plugin
from unseen.generators.protocol import Generator, Precision


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
