"""StyleGAN2 (with or without ADA): NVIDIA's networks at any width, from a `.pkl` or a state dict.

Layers: `mapping`, then a block a resolution (`b4`, `b8`, …), the last of which draws the image.
The architectures skip, resnet and orig are told apart by their tensors. Everything is a plain
PyTorch operation in float32; NVIDIA's half precision at high resolutions is left out.
Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (figure 2
for modulation and demodulation, figure 7 for the architectures); tensor names of NVIDIA's files.
"""

import dataclasses
import functools
import math
import re
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen.core.errors import CheckpointError
from unseen.core.registry import Spec, takes
from unseen.generators.protocol import Precision
from unseen.generators.resampling import upsample
from unseen.generators.styles import (
    OPTIONS,
    Activations,
    BlockDesign,
    BlockNetwork,
    EqualizedLinear,
    NoisyLayer,
    StyleBlock,
    StyleGenerator,
    channels_drawn,
    clamp_of,
    fill,
    load_style,
    mapping_of,
    positive,
)
from unseen.weights import Checkpoint

Architecture = Literal["skip", "resnet", "orig"]


def _binomial() -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(taps, taps)


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


class StyledConvolution(NoisyLayer):
    """Modulated 3×3 convolution, demodulated; then noise, bias, leaky ReLU 0.2 with gain √2.

    Args:
        inputs: channels.
        design: of its block.
        number: counts the network's convolutions, so that each draws noise of its own.
        up: 2 doubles the resolution, with the resampling filter behind the convolution.
        noise: whether it has noise inputs.
        clamp: bound on the result's magnitude.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        design: BlockDesign,
        *,
        number: int,
        up: int,
        noise: bool,
        clamp: float | None,
    ) -> None:
        super().__init__(design.resolution, number, noise=noise)
        self.up = up
        self.clamp = clamp
        self.affine = EqualizedLinear(design.width, inputs)
        nn.init.ones_(self.affine.bias)
        self.weight = nn.Parameter(torch.randn(design.outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(design.outputs))
        self.register_buffer("resample_filter", _binomial())
        if noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Float[Tensor, "n c h w"], now: Activations, style: int, mode: str, gain: float
    ) -> Float[Tensor, "n d h2 w2"]:
        """Features; `style` is which of the styles modulates, `gain` scales the result."""
        scales = self.affine(now.styles[:, style])  # (n, c)
        squares = self.weight.square().sum(dim=(2, 3))  # (d, c)
        demodulation = torch.rsqrt(scales.square() @ squares.T + 1e-8)  # (n, d)
        # Scaling the features by style before, and by the norm after, equals modulated weights.
        x = x * scales[:, :, None, None].to(x.dtype)
        if self.up == 1:
            x = functional.conv2d(x, self.weight, padding=1)
        else:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            size = self.resample_filter.shape[-1]
            # One pixel for the kernel, the rest centres the filter on the doubled grid.
            padding = ((size + 1) // 2 - 1, (size - 2) // 2)
            x = upsample(x, self.resample_filter, 1, padding, 4.0)
        x = x * demodulation[:, :, None, None].to(x.dtype)
        noise = self.noise_for(now, mode)
        if noise is not None:
            x = x + (noise * self.noise_strength).to(x.dtype)
        x = functional.leaky_relu(x + self.bias.to(x.dtype)[:, None, None], 0.2)
        return _clamped(x * (math.sqrt(2) * gain), self.clamp and self.clamp * gain)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution without demodulation, and bias."""

    def __init__(self, inputs: int, *, width: int, clamp: float | None, channels: int) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(width, inputs)
        nn.init.ones_(self.affine.bias)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "n c h w"], style: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n colours h w"]:
        """RGB in float32."""
        scales = self.affine(style) / math.sqrt(self.weight.shape[1])
        x = functional.conv2d(x * scales[:, :, None, None].to(x.dtype), self.weight)
        return _clamped(x.float() + self.bias[:, None, None], self.clamp)


class SkipConvolution(nn.Module):
    """The resnet architecture's shortcut: 1×1 convolution, then upsampling."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.register_buffer("resample_filter", _binomial())

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Features at twice the resolution."""
        x = functional.conv2d(x, self.weight / math.sqrt(self.weight.shape[1]))
        return _doubled(x, self.resample_filter)


def _doubled(x: Tensor, taps: Tensor) -> Tensor:
    size = taps.shape[-1]
    return upsample(x, taps, 2, ((size + 1) // 2, (size - 2) // 2), 4.0)


class ModulatedBlock(StyleBlock):
    """One resolution: a constant at 4×4 or a doubling convolution, a convolution, and RGB.

    Args:
        design: sizes.
        architecture: skip (NVIDIA's default) adds each block's RGB, resnet each block's features,
            orig neither.
        noise: whether the convolutions have noise inputs.
        clamp: bound on magnitudes, None for none.
        channels: 3 for RGB, 1 for grey.
    """

    resample_filter: Tensor

    def __init__(
        self,
        design: BlockDesign,
        *,
        architecture: Architecture = "skip",
        noise: bool = True,
        clamp: float | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        inputs, outputs, side = design.inputs, design.outputs, design.resolution
        self.last = design.last
        self.first_style = 2 * int(math.log2(side)) - 5 if inputs else 0
        self.residual = bool(inputs) and architecture == "resnet"
        self.draws = self.last or architecture == "skip"
        self.register_buffer("resample_filter", _binomial())
        number = self.first_style
        layer = functools.partial(StyledConvolution, design=design, noise=noise, clamp=clamp)
        if inputs:
            self.conv0 = layer(inputs, number=number, up=2)
            number += 1
        else:
            self.const = nn.Parameter(torch.randn(outputs, side, side))
        self.conv1 = layer(outputs, number=number, up=1)
        if self.draws:
            self.torgb = ToRGB(outputs, width=design.width, clamp=clamp, channels=channels)
        if self.residual:
            self.skip = SkipConvolution(inputs, outputs)

    def forward(self, now: Activations) -> Activations | Tensor:
        """The activations behind this block; behind the last, the image (n 3 h w)."""
        style = self.first_style
        gain = math.sqrt(0.5) if self.residual else 1.0  # keeps the sum of two at their magnitude
        if now.features is None:
            x = self.const.expand(len(now.styles), -1, -1, -1)
            shortcut = None
        else:
            shortcut = self.skip(now.features) * gain if self.residual else None
            x = self.conv0(now.features, now, style, self.mode, 1.0)
            style += 1
        x = self.conv1(x, now, style, self.mode, gain)
        if shortcut is not None:
            x = x + shortcut
        image = None if now.image is None else _doubled(now.image, self.resample_filter)
        if self.draws:
            drawn = self.torgb(x, now.styles[:, style + 1])
            image = drawn if image is None else image + drawn
        if self.last:
            assert image is not None
            return image
        return now._replace(features=x, image=image)


@takes(*OPTIONS)
def load_stylegan2(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> StyleGenerator:
    """`stylegan2:FILE`: NVIDIA's `.pkl` (PyTorch or TensorFlow), or tensors under its names.

    Options and errors are those of `load_style`.
    """
    return load_style(spec, network_from_saved, device=device, precision=precision)


def network_from_saved(saved: Checkpoint) -> BlockNetwork:
    """The network that fits a file: widths and architecture from its tensors.

    Raises:
        CheckpointError: it holds another family, is incomplete, or uses what is not drawn here.
    """
    if saved.is_tensorflow:
        saved = saved_from_tensorflow(saved)
    state = saved.tensors
    if "synthesis.input.freqs" in state:
        raise CheckpointError(f"{saved.source} holds a StyleGAN3; write stylegan3:FILE")
    if "synthesis.b4.const" not in state:
        names = ", ".join(sorted(state)[:3]) or "nothing"
        raise CheckpointError(
            f"{saved.source} holds no StyleGAN2: found {names}, needed synthesis.b4.const"
        )
    widths = [saved.take("synthesis.b4.const", 3).shape[0]]
    while f"synthesis.b{4 << len(widths)}.conv1.weight" in state:
        widths.append(saved.take(f"synthesis.b{4 << len(widths)}.conv1.weight", 4).shape[0])
    resolution = 4 << (len(widths) - 1)
    last = f"synthesis.b{resolution}"
    channels = channels_drawn(saved, f"{last}.torgb.weight", resolution)
    architecture: Architecture = "orig"
    if "synthesis.b8.skip.weight" in state:
        architecture = "resnet"
    elif "synthesis.b4.torgb.weight" in state:
        architecture = "skip"
    for name in saved.settings:
        kind = saved.setting(name, "activation", "lrelu")
        if re.search(r"\.conv[01]$", name) and kind != "lrelu":
            raise CheckpointError(f"{saved.source} uses {kind!r}; only lrelu is drawn here")
    mapping = mapping_of(saved, styles=2 * len(widths))
    block = functools.partial(
        ModulatedBlock,
        architecture=architecture,
        noise="synthesis.b4.conv1.noise_const" in state,
        clamp=clamp_of(saved, f"{last}.conv1", None),
        channels=channels,
    )
    return fill(
        lambda: BlockNetwork(mapping(), widths, block),
        saved,
        kind=f"{resolution}×{resolution} StyleGAN2",
    )


_TENSORFLOW_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}


def saved_from_tensorflow(saved: Checkpoint) -> Checkpoint:
    """NVIDIA's TensorFlow variables (`synthesis/8x8/Conv0_up/weight`, …) under PyTorch's names.

    Kernels lie as (h, w, in, out); the upsampling ones are mirrored, because TensorFlow correlates
    where PyTorch's transposed convolution convolves. The 1 of a style is added when used there and
    is part of the bias here.

    Raises:
        CheckpointError: a variable is missing, or the network was built otherwise than drawn here.
    """
    variables = saved.tensors
    if "synthesis/4x4/Const/Noise/weight" in variables:
        raise CheckpointError(f"{saved.source} holds a StyleGAN of 2019; write stylegan:FILE")
    saved.refuse_settings_other_than(
        nonlinearity="lrelu",
        mapping_nonlinearity="lrelu",
        normalize_latents=True,
        resample_kernel=[1, 3, 3, 1],
    )
    if "mapping/LabelConcat/weight" in variables:
        raise CheckpointError(
            f"{saved.source} joins labels to z as StyleGAN did in 2019; only the embedding of "
            "StyleGAN2-ADA (mapping/LabelEmbed) is drawn here"
        )
    state = {"mapping.w_avg": saved.take("dlatent_avg", 1)}
    if "mapping/LabelEmbed/weight" in variables:
        state["mapping.embed.weight"] = saved.take("mapping/LabelEmbed/weight", 2).T
        state["mapping.embed.bias"] = saved.take("mapping/LabelEmbed/bias", 1)
    number = 0
    while f"mapping/Dense{number}/weight" in variables:
        state[f"mapping.fc{number}.weight"] = saved.take(f"mapping/Dense{number}/weight", 2).T
        state[f"mapping.fc{number}.bias"] = saved.take(f"mapping/Dense{number}/bias", 1)
        number += 1
    state["synthesis.b4.const"] = saved.take("synthesis/4x4/Const/const", 4)[0]
    resolution = 4
    while f"synthesis/{resolution}x{resolution}/Conv{'1' if resolution > 4 else ''}/weight" in (
        variables
    ):
        scope, block = f"synthesis/{resolution}x{resolution}", f"synthesis.b{resolution}"
        state[f"{block}.resample_filter"] = _binomial()
        for theirs, ours in _TENSORFLOW_LAYERS.items():
            if f"{scope}/{theirs}/weight" not in variables:
                continue
            kernel = saved.take(f"{scope}/{theirs}/weight", 4).permute(3, 2, 0, 1)
            module = f"{block}.{ours}"
            state[f"{module}.weight"] = kernel.flip(2, 3) if ours == "conv0" else kernel
            state[f"{module}.bias"] = saved.take(f"{scope}/{theirs}/bias", 1)
            state[f"{module}.affine.weight"] = saved.take(f"{scope}/{theirs}/mod_weight", 2).T
            state[f"{module}.affine.bias"] = saved.take(f"{scope}/{theirs}/mod_bias", 1) + 1
            if ours == "torgb":
                continue
            state[f"{module}.resample_filter"] = _binomial()
            if f"{scope}/{theirs}/noise_strength" in variables:
                level = 2 * int(math.log2(resolution)) - (5 if ours == "conv0" else 4)
                noise = saved.take(f"synthesis/noise{level}", 4)
                state[f"{module}.noise_const"] = noise[0, 0]
                strength = saved.take(f"{scope}/{theirs}/noise_strength", 0)
                state[f"{module}.noise_strength"] = strength
        if f"{scope}/Skip/weight" in variables:
            skip = saved.take(f"{scope}/Skip/weight", 4).permute(3, 2, 0, 1)
            state[f"{block}.skip.weight"] = skip
            state[f"{block}.skip.resample_filter"] = _binomial()
        resolution *= 2
    settings: dict[str, dict[str, float | None]] = {
        "mapping.fc0": {"bias_gain": positive(saved, "", "mapping_lrmul")},
        f"synthesis.b{resolution // 2}.conv1": {"conv_clamp": clamp_of(saved, "", None)},
    }
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    return dataclasses.replace(saved, tensors=contiguous, settings=settings)
