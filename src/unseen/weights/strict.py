"""Strict loading: a network takes exactly the tensors that it has, or none."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from unseen.core.errors import CheckpointError
from unseen.core.wording import listed

if TYPE_CHECKING:
    import torch
    from torch import nn

Network = TypeVar("Network")  # a torch.nn.Module

_SHOWN = 3  # names of each fault


def build_and_fill(
    build: Callable[[], Network],
    tensors: "Mapping[str, torch.Tensor]",
    source: str,
    *,
    kind: str,
    optional: Collection[str] = (),
    named: Callable[[str], str] = str,
) -> Network:
    """Build a network without memory, then give it the tensors of a file.

    Nothing is allocated before every name and shape is checked.

    Args:
        build: makes the network; called on the device `meta`.
        tensors: by the network's own names.
        source: what an error message calls the file.
        kind: what an error message calls the network, e.g. "16×16 ProGAN".
        optional: names that may be missing; they become zeros.
        named: the file's own name of a tensor, for messages.

    Raises:
        CheckpointError: tensors are missing, left over, of another shape, of integers where
            floats are needed, or not finite; one message names them all.

    Example:
        >>> import torch
        >>> layer = build_and_fill(
        ...     lambda: torch.nn.Linear(2, 1),
        ...     {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "toy.pth", kind="layer"
        ... )
        >>> layer(torch.tensor([[3.0, 4.0]])).item()
        7.0
    """
    import torch

    with torch.device("meta"):
        network = build()
    module = cast("nn.Module", network)
    expected = module.state_dict()
    values = {}
    lacking, misshapen, integers, infinite = [], [], [], []
    for name, wanted in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            if name in optional:
                values[name] = torch.zeros(wanted.shape, dtype=wanted.dtype)
            else:
                lacking.append(named(name))
        elif tensor.shape != wanted.shape or not tensor.numel():
            needed = f"{tuple(wanted.shape)} needed"
            misshapen.append(f"{named(name)} of shape {tuple(tensor.shape)} ({needed})")
        elif wanted.is_floating_point() and not tensor.is_floating_point():
            integers.append(f"{named(name)} of {tensor.dtype} (floats needed)")
        else:
            values[name] = tensor.detach().to(
                wanted.dtype, copy=True, memory_format=torch.contiguous_format
            )
            if not torch.isfinite(values[name]).all():
                infinite.append(named(name))
    left_over = [named(name) for name in sorted(set(tensors) - set(expected))]
    faults = [
        f"{what} {listed(names, _SHOWN)}"
        for what, names in (
            ("it lacks", lacking),
            ("it has", misshapen),
            ("it has", integers),
            ("it also holds", left_over),
            ("not finite is", infinite),
        )
        if names
    ]
    if faults:
        raise CheckpointError(
            f"{source} does not fit a {kind}: {'; '.join(faults)}; is the file whole, and of this "
            "family?"
        )
    module.load_state_dict(values, assign=True)
    return network
