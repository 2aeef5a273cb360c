"""From logits on a coarse grid to labels on a fine one.

softmax is increasing, so the class of a pixel is the argmax of the interpolated logits. Bilinear
weights are not negative and sum to one: inside a cell of four coarse pixels a class never exceeds
its largest corner, and the winner is never below the best of the smallest corners. Only the classes
that may win in a cell, mostly one to five of hundreds, are interpolated there.
"""

import torch
from jaxtyping import Bool, Float, Int64

from unseen.core.errors import SegmenterError

_CONFIDENCE_GRID = 64  # rows and columns; softmax of a whole map would cost as much as its labels
_CHUNK = 1 << 22  # gathered scores held at a time: 16 MiB of float32 for each of four corners


def interpolated_argmax(
    logits: Float[torch.Tensor, "n k h w"], size: tuple[int, int], name: str = "the network"
) -> Int64[torch.Tensor, "n height width"]:
    """The largest class of every pixel after bilinear interpolation (align_corners=False).

    The labels of `interpolate(logits, size).argmax(1)`, up to ties within rounding; the lowest
    index wins a tie.

    Args:
        logits: finite real scores of k classes; compared in float32.
        size: (height, width) of the label maps.
        name: whose scores they are, for messages.

    Raises:
        SegmenterError: a score is NaN or infinite.
    """
    refuse_infinite(logits, name)
    logits = logits.float()
    if logits.shape[-2:] == size:
        return logits.argmax(1)
    return torch.stack([_argmax_by_cell(image, size) for image in logits])


def mean_confidence(logits: Float[torch.Tensor, "n k h w"]) -> Float[torch.Tensor, " n"]:
    """How sure a network is of every image: the mean probability of the most probable class.

    Of the coarse grid, and of large ones at most 64 rows and columns: a mean needs no more.

    Args:
        logits: real scores of k classes, whose softmax are probabilities.
    """
    rows, columns = (max(1, side // _CONFIDENCE_GRID) for side in logits.shape[-2:])
    scores = logits[..., ::rows, ::columns].float()
    return (scores.amax(1) - scores.logsumexp(1)).exp().mean((1, 2)).clamp(max=1)


def refuse_infinite(scores: torch.Tensor, name: str) -> None:
    """Refuse scores of a network that are NaN or infinite (SegmenterError)."""
    if not bool(torch.isfinite(scores.sum())):  # the sum keeps NaN and infinity
        raise SegmenterError(
            f"{name} gave scores that are NaN or infinite; check its weights, and try fp32"
        )


def possible_winners(logits: Float[torch.Tensor, "k h w"]) -> Bool[torch.Tensor, "k hc wc"]:
    """Whether a class can be largest somewhere in a cell between four neighbouring pixels."""
    largest, smallest = logits, logits
    for axis, length in enumerate(logits.shape[1:], 1):
        if length > 1:
            largest, smallest = (
                extreme(x.narrow(axis, 0, length - 1), x.narrow(axis, 1, length - 1))
                for extreme, x in ((torch.maximum, largest), (torch.minimum, smallest))
            )
    bar = smallest.amax(0)  # (h-1, w-1)
    slack = 1e-5 * (1 + bar.abs())  # float32 rounds the interpolation itself
    return largest >= bar - slack


def _argmax_by_cell(
    logits: Float[torch.Tensor, "k h w"], size: tuple[int, int]
) -> Int64[torch.Tensor, "height width"]:
    """`interpolate(logits, size).argmax(0)` from the possible winners of every cell."""
    k, h, w = logits.shape
    device = logits.device
    wins = possible_winners(logits)
    columns = wins.shape[2]
    cell, label = wins.flatten(1).T.nonzero().unbind(1)  # sorted by cell, then by class
    count = torch.bincount(cell, minlength=wins[0].numel())
    first = count.cumsum(0) - count
    (upper, lower, down), (left, right, across) = (
        _samples(h, size[0], device),
        _samples(w, size[1], device),
    )
    pixel_cell = (
        upper.clamp(max=wins.shape[1] - 1)[:, None] * columns + left.clamp(max=columns - 1)
    ).flatten()
    answer = label[first[pixel_cell]]  # right wherever only one class is possible
    scores = logits.permute(1, 2, 0).reshape(-1)  # pixel after pixel
    open_pixels = (count[pixel_cell] > 1).nonzero()[:, 0]
    most = int(count.max())
    at_most, below = 2, 1
    while below < most:  # pixels whose cell has 2, 3 or 4, 5 to 8, … possible classes
        number = count[pixel_cell[open_pixels]]
        tier = open_pixels[(number > below) & (number <= at_most)]
        for pixels in torch.split(tier, max(1, _CHUNK // at_most)):
            cells = pixel_cell[pixels]
            places = torch.arange(min(at_most, most), device=device)
            places = torch.minimum(places, count[cells][:, None] - 1)  # the last one again
            classes = label[first[cells][:, None] + places]  # (pixels, classes), ascending
            row, column = pixels // size[1], pixels % size[1]
            total = torch.zeros_like(classes, dtype=torch.float32)
            for side_row, weight_row in ((upper, 1 - down), (lower, down)):
                for side_column, weight_column in ((left, 1 - across), (right, across)):
                    place = (side_row[row] * w + side_column[column]) * k
                    weight = weight_row[row] * weight_column[column]
                    total.addcmul_(scores[place[:, None] + classes], weight[:, None])
            answer[pixels] = classes.gather(1, total.argmax(1, keepdim=True))[:, 0]
        at_most, below = 2 * at_most, at_most
    return answer.view(size)


def _samples(
    coarse: int, fine: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For every fine position: the sample before, the one after, and the weight of the latter."""
    position = (torch.arange(fine, device=device) + 0.5) * (coarse / fine) - 0.5
    position = position.clamp(min=0)
    before = position.floor().long().clamp(max=coarse - 1)
    after = (before + 1).clamp(max=coarse - 1)
    return before, after, (position - before).float()
