"""The networks that inverters are made of: one inverter a layer, and one for the tail.

`iccv2019` is the release's: layer inverters of two convolutions with batch norm, a ResNet-18 for
the tail. `residual` is a narrower network for the tail, which halves the resolution early and has
most of its blocks at the cut's own resolution.
Source: Bau et al., ICCV 2019 (section 3.2, supplement), and the tensors of the released files; He
et al., Identity Mappings in Deep Residual Networks, ECCV 2016 (pre-activation blocks).
"""

import dataclasses
import itertools
import math
from collections import OrderedDict
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from unseen.core.errors import GeneratorError, SpecError
from unseen.core.records import Count
from unseen.generators.progan import PixelNorm
from unseen.inversion.layers import GeneratorShapes, Size

Family = Literal["iccv2019", "residual"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Which networks an inverter has; with a generator's shapes it decides every tensor."""

    family: Family = "residual"  # of the tail's inverter
    halfsize: bool | None = None  # iccv2019: pool with stride 1; None: as the sizes need
    width: Size | None = None  # channels of the first stage; None: a ResNet-18's 64, or 32
    largest_width: Size = 256  # residual: each halving doubles the width, up to this
    blocks: Count = 2  # residual: a resolution before the cut's
    last_blocks: Count = 4  # residual: at the cut's resolution


def tail_inverter(shapes: GeneratorShapes, architecture: Architecture) -> nn.Module:
    """e_f: images (n, 3, h, w) to the features of the cut.

    Raises:
        GeneratorError: the cut's features are no map, or a larger one than the image.
        SpecError: `halfsize` cannot be had with these sizes.
    """
    name, shape = shapes.layer_names[-1], shapes.features[-1]
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] > shapes.resolution:
        raise GeneratorError(
            f"layer {name!r} gives features of shape {shape}; the cut needs a square map "
            f"(c, h, h) that is not larger than the images' {shapes.resolution}"
        )
    if architecture.family == "iccv2019":
        return TailResNet(
            shape[0],
            shapes.resolution,
            shape[1],
            halfsize=architecture.halfsize,
            width=architecture.width or 64,
        )
    if architecture.halfsize is not None:
        raise SpecError(
            "halfsize is the iccv2019 architecture's and this one has no pooling; leave it out, or "
            "choose the preset iccv2019"
        )
    return ResidualTail(shape[0], shapes.resolution, shape[1], architecture)


def layer_inverter(shapes: GeneratorShapes, index: int) -> nn.Module:
    """e_i for i = index + 1: features of layer i to those of layer i − 1, or to the latents.

    Raises:
        GeneratorError: layer i changes the size of maps by no whole factor, or shrinks them.
    """
    after = shapes.features[index]
    before = shapes.features[index - 1] if index else (shapes.latent_size,)
    if len(before) == 1:
        # The release's e_1 ends in a pixel norm; latents whose length counts must not.
        norm = index > 0 or shapes.scale_free
        return LatentInverter(after, before[0], norm=norm)
    name = shapes.layer_names[index]
    if len(after) != 3 or any(a % b for a, b in zip(after[1:], before[1:], strict=True)):
        raise GeneratorError(
            f"layer {name!r} turns features of shape {before} into {after}; only layers that keep "
            "the size of a map, or enlarge it by a whole factor, can be inverted"
        )
    stride = (after[1] // before[1], after[2] // before[2])
    # The release leaves the last convolution of e_2 away.
    return LayerInverter(after[0], before[0], stride, last=index != 1 or stride != (1, 1))


class LayerInverter(nn.Sequential):
    """e_i: pixel norm → (3×3 convolution, batch norm, leaky ReLU 0.2) ×2 → 1×1 convolution.

    Args:
        inputs, outputs: channels of r_i and of r_{i−1}.
        stride: of the 1×1 convolution: by how much the layer upsamples.
        last: whether there is that convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], *, last: bool) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["pnorm"] = PixelNorm()
        for number in (1, 2):
            channels = inputs if number == 1 else outputs
            layers[f"conv{number}"] = nn.Conv2d(channels, outputs, 3, padding=1)
            layers[f"bn{number}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{number}"] = nn.LeakyReLU(0.2)
        if last:
            layers["conv3"] = nn.Conv2d(outputs, outputs, 1, stride=stride)
        super().__init__(layers)
        _begin(self)


class LatentInverter(nn.Sequential):
    """e_1: pixel norm → convolution to 1×1, batch norm, leaky ReLU 0.2 → 1×1 → pixel norm.

    Also for any other layer that turns flat features into a map.

    Args:
        inputs: shape of r_1, (c, h, w) or (d,).
        outputs: size of z.
        norm: whether the result is divided by its root mean square.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: int, *, norm: bool) -> None:
        channels, *kernel = inputs if len(inputs) == 3 else (inputs[0], 1, 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["pnorm"] = PixelNorm()
        layers["conv1"] = nn.Conv2d(channels, outputs, (kernel[0], kernel[1]))
        layers["bn1"] = nn.BatchNorm2d(outputs)
        layers["relu1"] = nn.LeakyReLU(0.2)
        layers["conv2"] = nn.Conv2d(outputs, outputs, 1)
        if norm:
            layers["pnormout"] = PixelNorm()
        super().__init__(layers)
        _begin(self)

    def forward(self, features: Float[Tensor, "n ..."]) -> Float[Tensor, "n z"]:
        """Latents, or flat features."""
        if features.ndim == 2:
            features = features[:, :, None, None]
        for layer in self:
            features = layer(features)
        return features.flatten(1)  # (n, z)


def _begin(network: nn.Module) -> None:
    """Weights as the release begins: Kaiming's normal, biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm beside a shortcut, under torchvision's names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Shortcut plus residual, behind a ReLU."""
        residual: Tensor = self.bn1(self.conv1(x)).relu()
        residual = self.bn2(self.conv2(residual)) + self.downsample(x)
        return residual.relu()


class TailResNet(nn.Sequential):
    """e_f of the release: a ResNet-18 whose head is a 1×1 convolution and a leaky ReLU 0.2.

    A ResNet-18 divides the side by 32. Where the cut's map asks for less, strides are dropped from
    the stem on: the pooling's (that is `halfsize`), the first convolution's, then the stages'.
    Where it asks for more, or for no power of two, an average pooling before the head fits it.

    Args:
        outputs: channels of r_n.
        resolution: side of the images.
        size: side of r_n.
        halfsize: whether the pooling has stride 1; None: as the sizes need.
        width: channels of the first stage; a ResNet-18's are 64.

    Raises:
        SpecError: `halfsize` cannot be had with these sizes.
    """

    def __init__(
        self,
        outputs: int,
        resolution: int,
        size: int,
        *,
        halfsize: bool | None = None,
        width: int = 64,
    ) -> None:
        halvings = int(math.log2(resolution / size))
        order = ["maxpool", "conv1", "layer2", "layer3", "layer4"]
        if halfsize is False:
            order = ["conv1", "layer2", "layer3", "layer4", "maxpool"]
        stride = dict.fromkeys(order, 1)
        for name in order[::-1][:halvings]:
            stride[name] = 2
        if halfsize is not None and stride["maxpool"] != (1 if halfsize else 2):
            raise SpecError(
                f"halfsize={halfsize} cannot be had: images of {resolution} and features of "
                f"{size}×{size} at the cut leave {halvings} halvings; leave it out"
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, stride=stride["conv1"], padding=3, bias=False),
            bn1=nn.BatchNorm2d(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=stride["maxpool"], padding=1),
        )
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        for number, (inputs, channels) in enumerate(itertools.pairwise(widths), 1):
            step = stride.get(f"layer{number}", 1)
            layers[f"layer{number}"] = nn.Sequential(
                BasicBlock(inputs, channels, step), BasicBlock(channels, channels, 1)
            )
        if resolution != size * math.prod(stride.values()):
            layers["pool5"] = nn.AdaptiveAvgPool2d(size)
        layers["layer5"] = nn.Sequential(
            OrderedDict(conv5=nn.Conv2d(8 * width, outputs, 1), relu5=nn.LeakyReLU(0.2))
        )
        super().__init__(layers)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and name != "layer5.conv5":
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions, beside an untouched shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The features plus their residual."""
        residual: Tensor = self.conv1(self.bn1(x).relu())
        residual = self.conv2(self.bn2(residual).relu())
        return x + residual


class ResidualTail(nn.Sequential):
    """e_f: pre-activation blocks at halving resolutions, then a 1×1 convolution.

    Args:
        outputs: channels of r_n.
        resolution: side of the images.
        size: side of r_n.
        architecture: widths and numbers of blocks.
    """

    def __init__(
        self, outputs: int, resolution: int, size: int, architecture: Architecture
    ) -> None:
        halvings = int(math.log2(resolution / size))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for level in range(max(halvings, 1)):
            width = min((architecture.width or 32) * 2**level, architecture.largest_width)
            if halvings:
                down = nn.Conv2d(channels, width, 4, stride=2, padding=1)
            else:
                down = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"down{level + 1}"] = down
            last = level == max(halvings, 1) - 1
            count = architecture.last_blocks if last else architecture.blocks
            layers[f"blocks{level + 1}"] = nn.Sequential(
                *(PreActivationBlock(width) for _ in range(count))
            )
            channels = width
        if resolution != size * 2**halvings:
            layers["pool"] = nn.AdaptiveAvgPool2d(size)
        layers["bn"] = nn.BatchNorm2d(channels)
        layers["relu"] = nn.ReLU()
        layers["head"] = nn.Conv2d(channels, outputs, 1)
        super().__init__(layers)
