"""From logits on a coarse grid to labels on a fine one.

softmax is increasing, so the class of a pixel is the argmax of the interpolated logits. Bilinear
weights are not negative and sum to one: inside a cell of four coarse pixels a class never exceeds
its largest corner, and the winner is never below the best of the smallest corners. Classes that
no cell lets win are therefore left out before anything is interpolated.
"""

import torch
from jaxtyping import Float, Int64
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads

from unseen.errors import SegmenterError

_CHUNK = 1 << 24  # interpolated scores held at a time: 64 MiB of float32


def interpolated_argmax(
    logits: Float[torch.Tensor, "n k h w"], size: tuple[int, int]
) -> Int64[torch.Tensor, "n height width"]:
    """The largest class of every pixel after bilinear interpolation (align_corners=False).

    The labels of `interpolate(logits, size).argmax(1)`, up to ties within rounding; the lowest
    index wins a tie.

    Args:
        logits: finite real scores of k classes; compared in float32.
        size: (height, width) of the label maps.

    Raises:
        SegmenterError: a score is NaN or infinite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise SegmenterError(
            "the network gave scores that are NaN or infinite; check its weights, and try fp32"
        )
    logits = logits.float()
    if logits.shape[-2:] == size:
        return logits.argmax(1)
    labels = torch.empty((len(logits), *size), dtype=torch.int64, device=logits.device)
    for index, image in enumerate(logits):
        candidates = possible_winners(image)
        labels[index] = candidates[_argmax_of_interpolated(image[candidates], size)]
    return labels


def possible_winners(logits: Float[torch.Tensor, "k h w"]) -> Int64[torch.Tensor, " c"]:
    """The classes, ascending, that can be largest somewhere after bilinear interpolation."""
    cell = (min(2, logits.shape[1]), min(2, logits.shape[2]))
    largest = F.max_pool2d(logits[None], cell, stride=1)[0]  # (k, h-1, w-1)
    smallest = -F.max_pool2d(-logits[None], cell, stride=1)[0]
    bar = smallest.amax(0)
    slack = 1e-5 * (1 + bar.abs())  # float32 rounds the interpolation itself
    return (largest >= bar - slack).flatten(1).any(1).nonzero()[:, 0]


def _argmax_of_interpolated(
    logits: Float[torch.Tensor, "k h w"], size: tuple[int, int]
) -> Int64[torch.Tensor, "height width"]:
    """`interpolate(logits, size).argmax(0)`, some classes at a time."""
    step = max(1, _CHUNK // (size[0] * size[1]))
    best = winner = None
    for start in range(0, len(logits), step):
        fine = F.interpolate(
            logits[None, start : start + step], size=size, mode="bilinear", align_corners=False
        )[0]
        value, label = fine.max(0)
        if best is None or winner is None:
            best, winner = value, label
        else:
            larger = value > best  # the lower index keeps a tie
            best = torch.where(larger, value, best)
            winner = torch.where(larger, label + start, winner)
    assert winner is not None
    return winner
