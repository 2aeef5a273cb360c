"""Unified Perceptual Parsing: UPerNet over a ResNet-50 with a three-convolution stem.

The plain network, with the parameter names of the published files, and a faster one that is made
from it and gives the same scores: batch norm folded into the convolutions, 1×1 convolutions before
the interpolation that they commute with, and the fusion of the pyramid computed on the coarse
levels' own grids. Input preparation and label rules live in `unseen.segmenters.upp`.
Source: Xiao, Liu, Zhou, Jiang, Sun, ECCV 2018 (arXiv:1807.10221).
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unseen.segmenters.precise_pooling import precise_pool

Features = Sequence[torch.Tensor]  # one map a stage, at strides 4, 8, 16, 32
HEADS = ("object", "part", "material", "scene")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of the network; the defaults are those of the published files."""

    classes: Mapping[str, int]  # scores of every head in HEADS
    stem: tuple[int, int, int] = (64, 64, 128)
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)  # a stage puts out four times these
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    pool_width: int = 512
    pool_cells: tuple[int, ...] = (1, 2, 3, 6)
    pyramid_width: int = 512


def _interpolate(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _conv_norm_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1; the shortcut is projected where the shape changes."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of one block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.relu_(self.bn3(self.conv3(x)).add_(shortcut))


class Encoder(nn.Module):
    """The ResNet: four maps at strides 4, 8, 16 and 32."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        first, second, third = sizes.stem
        self.conv1 = nn.Conv2d(3, first, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        inputs = third
        for index, (planes, count) in enumerate(zip(sizes.planes, sizes.blocks, strict=True)):
            strides = [1 if index == 0 else 2] + [1] * (count - 1)
            stage = nn.Sequential()
            for stride in strides:
                stage.append(Bottleneck(inputs, planes, stride))
                inputs = 4 * planes
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, images: Float[torch.Tensor, "n 3 h w"]) -> list[torch.Tensor]:
        """Features at strides 4, 8, 16 and 32."""
        x = F.relu_(self.bn1(self.conv1(images)))
        x = F.relu_(self.bn2(self.conv2(x)))
        x = F.relu_(self.bn3(self.conv3(x)))
        x = F.max_pool2d(x, 3, 2, padding=1)
        features = []
        for index in range(4):
            x = self.get_submodule(f"layer{index + 1}")(x)
            features.append(x)
        return features


class Classifier(nn.Conv2d):
    """The last convolution of a head, in its own weights' precision."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """Scores: a 1×1 convolution as the product of matrices that it is."""
        pixels = input.to(self.weight.dtype).permute(0, 2, 3, 1)  # (n, h, w, c)
        return F.linear(pixels, self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Pyramid pooling on the coarsest map, a feature pyramid, its fusion, and the heads."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.pool_cells = sizes.pool_cells
        stages = [4 * planes for planes in sizes.planes]
        width = sizes.pyramid_width
        self.ppm_conv = nn.ModuleList(
            _conv_norm_relu(stages[-1], sizes.pool_width, 1) for _ in sizes.pool_cells
        )
        pooled = stages[-1] + len(sizes.pool_cells) * sizes.pool_width
        self.ppm_last_conv = _conv_norm_relu(pooled, width, 3)
        self.fpn_in = nn.ModuleList(_conv_norm_relu(stage, width, 1) for stage in stages[:-1])
        self.fpn_out = nn.ModuleList(
            nn.Sequential(_conv_norm_relu(width, width, 3)) for _ in stages[:-1]
        )
        self.conv_fusion = _conv_norm_relu(len(stages) * width, width, 3)
        for head in HEADS:
            layers: list[nn.Module] = [_conv_norm_relu(width, width, 3)]
            layers += [nn.AdaptiveAvgPool2d(1)] if head == "scene" else []
            layers += [Classifier(width, sizes.classes[head], 1)]
            self.add_module(f"{head}_head", nn.Sequential(*layers))

    def forward(self, features: Features, heads: Sequence[str]) -> dict[str, torch.Tensor]:
        """Scores of the heads asked for, at stride 4 (scene: 1×1)."""
        top = self.pyramid_pooling(features[-1])
        scores = {}
        if "scene" in heads:
            scores["scene"] = self.get_submodule("scene_head")(top)
        if any(head != "scene" for head in heads):
            levels = self.feature_pyramid(features, top)
            if "material" in heads:
                scores["material"] = self.get_submodule("material_head")(levels[0])
            if "object" in heads or "part" in heads:
                fused = self.fuse(levels)
                for head in ("object", "part"):
                    if head in heads:
                        scores[head] = self.get_submodule(f"{head}_head")(fused)
        return scores

    def pyramid_pooling(self, coarsest: torch.Tensor) -> torch.Tensor:
        """The coarsest map beside its means over 1, 4, 9 and 36 cells."""
        parts = [coarsest]
        for cells, convolution in zip(self.pool_cells, self.ppm_conv, strict=True):
            pooled = precise_pool(coarsest, cells)
            parts.append(convolution(_interpolate(pooled, coarsest.shape[-2:])))
        top: torch.Tensor = self.ppm_last_conv(torch.cat(parts, 1))
        return top

    def feature_pyramid(self, features: Features, top: torch.Tensor) -> list[torch.Tensor]:
        """One map a level, the finest first."""
        levels = [top]
        for index in reversed(range(len(features) - 1)):
            lateral = self.fpn_in[index](features[index])
            top = lateral + _interpolate(top, lateral.shape[-2:])
            levels.append(self.fpn_out[index](top))
        return levels[::-1]

    def fuse(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """All levels at the finest one's size, through one 3×3 convolution."""
        size = levels[0].shape[-2:]
        full = [levels[0], *(_interpolate(level, size) for level in levels[1:])]
        fused: torch.Tensor = self.conv_fusion(torch.cat(full, 1))
        return fused


class UnifiedParsing(nn.Module):
    """The plain network. Parameter names: `encoder.` and `decoder.` before the files' own."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.decoder: Decoder = Decoder(sizes)

    def forward(
        self, images: Float[torch.Tensor, "n 3 h w"], heads: Sequence[str] = HEADS
    ) -> dict[str, torch.Tensor]:
        """Scores by head, at stride 4.

        Args:
            images: BGR in 0…255 minus the channel means.
            heads: those to compute, of HEADS.
        """
        images = images.to(self.encoder.conv1.weight.dtype)
        scores: dict[str, torch.Tensor] = self.decoder(self.encoder(images), heads)
        return scores


class FastDecoder(Decoder):
    """The decoder with batch norm folded, and convolutions moved onto coarser grids.

    Exact but for rounding: a 1×1 convolution commutes with interpolation, whose weights sum to
    one; and a 3×3 convolution of an interpolated map is nine 1×1 convolutions on the coarse grid,
    each interpolated and shifted. Interpolation and shift are constant matrices along rows and
    columns, so the pyramid's fusion costs 14 instead of 39 thousand million multiplications at
    256 × 256.
    """

    def pyramid_pooling(self, coarsest: torch.Tensor) -> torch.Tensor:
        """As in `Decoder`, the 1×1 convolutions before the interpolation."""
        parts = [coarsest]
        for cells, layers in zip(self.pool_cells, self.ppm_conv, strict=True):
            assert isinstance(layers, nn.Sequential)
            narrow = layers[0](precise_pool(coarsest, cells))
            parts.append(F.relu_(_interpolate(narrow, coarsest.shape[-2:])))
        top: torch.Tensor = self.ppm_last_conv(torch.cat(parts, 1))
        return top

    def fuse(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """As in `Decoder`, each coarse level convolved on its own grid."""
        convolution = self.conv_fusion[0]
        assert isinstance(convolution, nn.Conv2d)
        size = (levels[0].shape[-2], levels[0].shape[-1])
        weights = convolution.weight.chunk(len(levels), 1)
        total = F.conv2d(levels[0], weights[0], convolution.bias, padding=1)
        for level, weight in zip(levels[1:], weights[1:], strict=True):
            total += _convolved_after_interpolation(level, weight, size)
        return F.relu_(total)


def _convolved_after_interpolation(
    level: Float[torch.Tensor, "n c h w"],
    weight: Float[torch.Tensor, "d c 3 3"],
    size: tuple[int, int],
) -> Float[torch.Tensor, "n d height width"]:
    """conv3×3(interpolate(level, size)), without a map of c channels at the full size."""
    n, c, h, w = level.shape
    d = weight.shape[0]
    # taps in the order (dx, dy, d), so that the matrix along a row needs no rearrangement
    taps = weight.permute(3, 2, 0, 1).reshape(9 * d, c, 1, 1)
    coarse = F.conv2d(level, taps).permute(0, 2, 3, 1)  # (n, h, w, 9 d)
    along_row = _shifted_interpolation(w, size[1]).to(level)  # (width, w · 3)
    rows = along_row @ coarse.reshape(n * h, w * 3, 3 * d)  # (n h, width, dy d)
    rows = rows.view(n, h, size[1], 3, d).transpose(2, 3).reshape(n, h * 3, size[1] * d)
    along_column = _shifted_interpolation(h, size[0]).to(level)  # (height, h · 3)
    fine = (along_column @ rows).view(n, *size, d)
    return fine.permute(0, 3, 1, 2)  # channels last in memory


def _shifted_interpolation(coarse: int, fine: int) -> Float[torch.Tensor, "fine three_coarse"]:
    """Entry (y, 3 i + t): weight of coarse sample i in the interpolated sample y + t − 1.

    Rows beyond the fine grid are zero: the convolution's padding.
    """
    eye = torch.eye(coarse, dtype=torch.float64)[
        None
    ]  # (1, coarse, coarse): channels are the samples
    weights = F.interpolate(eye, fine, mode="linear", align_corners=False)[0].T  # (fine, coarse)
    padded = F.pad(weights, (0, 0, 1, 1))  # (fine + 2, coarse)
    shifted = torch.stack([padded[t : t + fine] for t in range(3)], -1)  # (fine, coarse, 3)
    return shifted.reshape(fine, 3 * coarse)


def fast_network(
    network: UnifiedParsing, heads: Sequence[str], dtype: torch.dtype = torch.float32
) -> UnifiedParsing:
    """A network that gives the same scores from fewer multiplications.

    Args:
        network: in evaluation mode; left as it is.
        heads: those kept.
        dtype: of weights and features. The classifiers, a hundredth of the work, stay in float32:
            scores rounded to bfloat16 would tie.
    """
    fast = copy.deepcopy(network)
    decoder = FastDecoder(network.sizes)
    decoder.load_state_dict(fast.decoder.state_dict())
    for head in HEADS:
        if head not in heads:
            delattr(decoder, f"{head}_head")
    fast.decoder = decoder
    fast.eval().requires_grad_(False)
    _fold_batch_norm(fast)
    for module in fast.modules():
        own = [*module.parameters(recurse=False)]
        if own and not (dtype == torch.bfloat16 and isinstance(module, Classifier)):
            module.to(dtype)
    for parameter in fast.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return fast


def _fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place."""
    for name, child in list(module.named_children()):
        if not isinstance(child, nn.BatchNorm2d):
            _fold_batch_norm(child)
            continue
        # bn1 follows conv1; in a Sequential, 1 follows 0
        before = name.replace("bn", "conv") if name.startswith("bn") else str(int(name) - 1)
        convolution = module.get_submodule(before)
        assert isinstance(convolution, nn.Conv2d)
        setattr(module, before, fuse_conv_bn_eval(convolution, child))
        setattr(module, name, nn.Identity())
