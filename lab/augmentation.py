"""Differentiable augmentation: random changes of all that a discriminator sees.

Of few real images a discriminator learns every one by heart. So it is shown changed images alone,
real and generated ones by the same law, and the generator's gradients pass through the changes.
All changes are affine in the pixels. 0 is grey.
Source: Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020
(ranges and sizes are those of its policies colour, translation and cutout).
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unseen.core.errors import SpecError

Change = Literal["colour", "translation", "cutout"]
_REACH = 1 / 8  # of the side: how far an image is moved at most
_HOLE = 1 / 2  # of the side: the square that is cut out


def augment(
    images: Float[Tensor, "n 3 h w"], changes: Sequence[str], generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Change every image in its own way; without changes the images are returned as they are.

    Args:
        images: in [−1, 1]; what is changed may leave that range.
        changes: any of `colour`, `translation` and `cutout`, made in this order.
        generator: on the CPU; all random numbers are drawn from it.

    >>> grey = torch.zeros(2, 3, 8, 8)
    >>> augment(grey, ["translation", "cutout"], torch.Generator()).abs().max()
    tensor(0.)
    """
    if not changes:
        return images
    changed = images.float()  # random shifts below bf16's steps count, too
    for change in changes:
        changed = _CHANGES[change](changed, generator)
    return changed.to(images.dtype)


def check_changes(changes: Sequence[str]) -> None:
    """Refuse changes that there are not.

    Raises:
        SpecError: a name is none of the changes.
    """
    for change in changes:
        if change not in _CHANGES:
            raise SpecError(f"{change!r} is no augmentation; known: {', '.join(get_args(Change))}")


def _colour(
    images: Float[Tensor, "n 3 h w"], generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Brightness ± 0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5."""
    drawn = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images.device)
    brightness, saturation, contrast = drawn - 0.5, 2 * drawn, drawn + 0.5
    images = images + brightness[0]
    grey = images.mean(dim=1, keepdim=True)
    images = grey + saturation[1] * (images - grey)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + contrast[2] * (images - mean)


def _translation(
    images: Float[Tensor, "n 3 h w"], generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Move by up to an eighth of the side down and across; grey comes in."""
    height, width = images.shape[2:]
    down, across = round(_REACH * height), round(_REACH * width)
    tops = torch.randint(2 * down + 1, (len(images),), generator=generator).tolist()
    lefts = torch.randint(2 * across + 1, (len(images),), generator=generator).tolist()
    padded = functional.pad(images, (across, across, down, down)).unbind()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )


def _cutout(
    images: Float[Tensor, "n 3 h w"], generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Grey a square of half the side around any pixel; it may stick out of the image."""
    kept = []
    for side in images.shape[2:]:
        centre = torch.randint(side, (len(images), 1), generator=generator)
        start = centre - round(_HOLE * side) // 2
        position = torch.arange(side)
        kept.append((position < start) | (position >= start + round(_HOLE * side)))
    mask = kept[0][:, None, :, None] | kept[1][:, None, None, :]  # (n, 1, h, w)
    return images * mask.to(images.device)


_CHANGES: dict[
    str, Callable[[Float[Tensor, "n 3 h w"], torch.Generator], Float[Tensor, "n 3 h w"]]
] = {"colour": _colour, "translation": _translation, "cutout": _cutout}
