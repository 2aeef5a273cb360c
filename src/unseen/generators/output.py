"""What a generator drew, checked: floats of the right shape, finite, and in [−1, 1]."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unseen.core.errors import GeneratorError

if TYPE_CHECKING:
    from torch import Tensor

_FAR = 1.5  # a network that ends without tanh overshoots 1, but hardly as far as this
_MOST_FAR = 0.01  # of the values of a batch


def checked_images(images: Any, indices: Sequence[int], resolution: int, source: str) -> "Tensor":
    """Images (n 3 h w) in float32 and without gradient; grey ones (n 1 h w) get equal channels.

    Values a little outside [−1, 1] are left as they are.

    Args:
        images: what a generator returned.
        indices: of the images that were asked for.
        resolution: their side, in pixels.
        source: what an error message calls the generator.

    Raises:
        GeneratorError: it is no tensor of floats of that shape, a value is not finite, or more
            than 1 % of them lie beyond ±1.5.

    >>> import torch
    >>> checked_images(torch.zeros(2, 1, 8, 8), [4, 5], 8, "mine").shape
    torch.Size([2, 3, 8, 8])
    """
    import torch

    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        what = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise GeneratorError(f"{source} drew {what}; a tensor of floats in [−1, 1] is needed")
    count = len(indices)
    needed = (count, 3, resolution, resolution)
    if tuple(images.shape) not in (needed, (count, 1, resolution, resolution)):
        raise GeneratorError(
            f"{source} drew images of shape {tuple(images.shape)} for {count} latents; {needed} "
            f"is needed, or {(count, 1, resolution, resolution)} for grey"
        )
    values: Tensor = images.detach().float()
    broken = (~torch.isfinite(values)).flatten(1).any(dim=1).nonzero()
    if len(broken):
        raise GeneratorError(
            f"{source} drew values that are not finite in image {indices[int(broken[0])]}; "
            "try fp32, or other weights"
        )
    if values.numel() and (values.abs() > _FAR).float().mean() > _MOST_FAR:
        raise GeneratorError(
            f"{source} drew values from {float(values.min()):.4g} to {float(values.max()):.4g}; "
            "images in [−1, 1] are needed: scale what it returns"
        )
    return values.expand(-1, 3, -1, -1)
