"""A discriminator that mirrors ProGAN: two layers a resolution, minibatch standard deviation.

Source: Karras et al., Progressive Growing of GANs, ICLR 2018 (table 2, section 3); fading between
resolutions is left out.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen.generators.progan import WeightScale


class DiscriminatorLayer(nn.Module):
    """Convolution → scale and bias → leaky ReLU 0.2 → (mean of 2×2)."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, padding: int = 1, pool: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.wscale = WeightScale(outputs, gain=math.sqrt(2), fan_in=kernel**2 * inputs)
        self.pool = pool
        nn.init.normal_(self.conv.weight)  # N(0, 1), scaled when used

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """One layer's features."""
        features = functional.leaky_relu(self.wscale(features, self.conv), 0.2)
        return functional.avg_pool2d(features, 2) if self.pool else features


class MinibatchDeviation(nn.Module):
    """One more channel: how much the images of a group differ, averaged over everything.

    Groups are of consecutive images, 4 of them, or the whole batch where 4 does not divide it.
    """

    group = 4  # Karras et al.'s implementation

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c1 h w"]:
        """Append mean_{c,h,w} √(var over the group + 1e-8), the same value at every pixel."""
        n, channels, height, width = features.shape
        group = self.group if n % self.group == 0 else n
        groups = features.float().reshape(n // group, group, channels, height, width)
        variance = groups.var(dim=1, correction=0)
        deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (n / group,)
        channel = deviation.repeat_interleave(group)[:, None, None, None]
        channel = channel.expand(n, 1, height, width).to(features.dtype)
        return torch.cat([features, channel], dim=1)


class Discriminator(nn.Sequential):
    """The mirror image of a ProGAN: one number an image, larger for real.

    Args:
        widths: channels at 4×4, 8×8, …, as the generator's without its latent.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["input"] = DiscriminatorLayer(3, widths[-1], kernel=1, padding=0)
        for level in range(len(widths) - 1, 0, -1):
            resolution = 4 * 2**level
            layers[f"conv_{resolution}"] = DiscriminatorLayer(widths[level], widths[level])
            layers[f"down_{resolution}"] = DiscriminatorLayer(
                widths[level], widths[level - 1], pool=True
            )
        layers["deviation"] = MinibatchDeviation()
        layers["conv_4"] = DiscriminatorLayer(widths[0] + 1, widths[0])
        layers["dense"] = DiscriminatorLayer(widths[0], widths[0], kernel=4, padding=0)
        layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(widths[0], 1)
        super().__init__(layers)
