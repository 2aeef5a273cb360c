"""Comparisons of tensors: those inside a state, and images drawn in batches of several sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def tensors(state: Any) -> list[torch.Tensor]:
    """The tensors in a state, also those in the mappings inside it."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, Mapping):
        return [tensor for value in state.values() for tensor in tensors(value)]
    return []


def assert_same_bits(first: Any, second: Any) -> None:
    """Two states hold the same tensors, bit for bit."""
    pairs = list(zip(tensors(first), tensors(second), strict=True))
    assert pairs
    assert all(torch.equal(left, right) for left, right in pairs)


def assert_batches_alike(generator: Any, count: int, sizes: Sequence[int]) -> None:
    """The first `count` images are the same in one batch as in batches of these sizes."""
    together = generator(generator.latents(range(count)))
    for size in sizes:
        parts = [
            generator(generator.latents(range(first, min(first + size, count))))
            for first in range(0, count, size)
        ]
        # the order of float32 sums inside a convolution may change with the batch
        torch.testing.assert_close(torch.cat(parts), together, atol=1e-5, rtol=0)
