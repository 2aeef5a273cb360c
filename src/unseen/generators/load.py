"""A generator by name: `name[:argument][?key=value&…]`, found by entry point."""

from typing import cast

from unseen.core.devices import resolve_device
from unseen.core.registry import parse_spec, plugin
from unseen.generators.protocol import Generator, Precision


def load_generator(text: str, *, device: str = "cpu", precision: Precision = "fp32") -> Generator:
    """The generator that a spec names, e.g. `progan:church` or `progan:weights.pth`.

    Args:
        text: `name[:argument][?key=value&…]`; the name is an entry point of `unseen.generators`.
        device: where it computes: "cpu", "cuda", "cuda:1", …, or "auto" for CUDA where there is.
        precision: "fp32", or "bf16" for autocast; images come as float32 either way.

    Raises:
        SpecError: the spec is malformed or names no known generator; no such device here.
        CheckpointError: the weights are unreadable or do not fit.
        DownloadError: published weights cannot be fetched.
    """
    spec = parse_spec(text)
    factory = plugin("generators", spec)
    return cast("Generator", factory(spec, device=resolve_device(device), precision=precision))
