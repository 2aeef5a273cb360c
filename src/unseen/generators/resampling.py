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
    c, size = x.shape[1], taps.shape[-1]
    # The full convolution of the stuffed map is a transposed convolution; the padding says which
    # part of it is wanted. Zeros stuffed behind the last pixel only ever add zeros.
    before = padding[0] - size + 1
    behind = padding[1] - size + factor
    if taps.ndim == 1:
        row = _channelwise(taps[None, :], x)
        x = functional.conv_transpose2d(x, row, stride=(1, factor), groups=c)
        x = functional.pad(x, (before, behind))
        column = _channelwise(taps[:, None] * gain, x)
        x = functional.conv_transpose2d(x, column, stride=(factor, 1), groups=c)
        return functional.pad(x, (0, 0, before, behind))
    x = functional.conv_transpose2d(x, _channelwise(taps * gain, x), stride=factor, groups=c)
    return functional.pad(x, (before, behind, before, behind))


def downsample(
    x: Float[Tensor, "n c h w"], taps: Tensor, factor: int
) -> Float[Tensor, "n c h2 w2"]:
    """Convolve where the filter fits, and keep every factor-th pixel from the first."""
    c = x.shape[1]
    if taps.ndim == 1:
        taps = taps.flip(0)
        row, column = _channelwise(taps[None, :], x), _channelwise(taps[:, None], x)
        x = functional.conv2d(x, row, stride=(1, factor), groups=c)
        return functional.conv2d(x, column, stride=(factor, 1), groups=c)
    return functional.conv2d(x, _channelwise(taps.flip(0, 1), x), stride=factor, groups=c)


def _channelwise(taps: Tensor, x: Tensor) -> Tensor:
    """One and the same filter for every channel: ten times the speed of a batch of channels."""
    return taps.to(x.dtype).expand(x.shape[1], 1, *taps.shape)
