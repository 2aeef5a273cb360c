"""Filtering and resampling of feature maps by FIR filters, as plain convolutions.

A filter is a vector (separable: applied along both axes) or a matrix. Convolution proper is
meant: the filter is mirrored, which matters for none that is symmetric.
Source: the definitions in Karras et al. 2020 (appendix B) and Karras et al. 2021 (appendix C.3).
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Padding = tuple[int, int]  # zeros before and behind, on both axes; negative ones crop


def upsample(
    x: Float[Tensor, "n c h w"], taps: Tensor, factor: int, padding: Padding, gain: float
) -> Float[Tensor, "n c h2 w2"]:
    """Insert factor − 1 zeros behind every pixel, pad, and convolve where the filter fits.

    Args:
        x: feature maps.
        taps: the filter, (t,) or (t, t).
        factor: 1 filters without upsampling.
        padding: in pixels of the result's grid.
        gain: multiplies the result; factor² keeps the mean.
    """
    n, c, h, w = x.shape
    size = taps.shape[-1]
    # The full convolution of the stuffed map is a transposed convolution; the padding says which
    # part of it is wanted. Zeros stuffed behind the last pixel only ever add zeros.
    before = padding[0] - size + 1
    behind = padding[1] - size + factor
    flat = x.reshape(n * c, 1, h, w)
    taps = taps.to(x.dtype)
    if taps.ndim == 1:
        flat = functional.conv_transpose2d(flat, taps[None, None, None, :], stride=(1, factor))
        flat = functional.pad(flat, (before, behind))
        column = taps[None, None, :, None] * gain
        flat = functional.conv_transpose2d(flat, column, stride=(factor, 1))
        flat = functional.pad(flat, (0, 0, before, behind))
    else:
        flat = functional.conv_transpose2d(flat, taps[None, None] * gain, stride=factor)
        flat = functional.pad(flat, (before, behind, before, behind))
    return flat.reshape(n, c, *flat.shape[2:])


def downsample(
    x: Float[Tensor, "n c h w"], taps: Tensor, factor: int
) -> Float[Tensor, "n c h2 w2"]:
    """Convolve where the filter fits, and keep every factor-th pixel from the first."""
    n, c, h, w = x.shape
    flat = x.reshape(n * c, 1, h, w)
    taps = taps.to(x.dtype)
    if taps.ndim == 1:
        taps = taps.flip(0)
        flat = functional.conv2d(flat, taps[None, None, None, :], stride=(1, factor))
        flat = functional.conv2d(flat, taps[None, None, :, None], stride=(factor, 1))
    else:
        flat = functional.conv2d(flat, taps.flip(0, 1)[None, None], stride=factor)
    return flat.reshape(n, c, *flat.shape[2:])
