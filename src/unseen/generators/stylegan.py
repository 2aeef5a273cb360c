"""StyleGAN (2019): NVIDIA's TensorFlow network, from its `.pkl` or its variables.

Layers: `mapping`, then a block a resolution (`b4`, `b8`, …), the last of which draws the image.
Read is the layout of NVIDIA's TensorFlow code alone: a pickled `Gs`, or a file of its variables
under its names. Progressive growing (a `lod` above 0) is left out, and so are
the variants of the ablation study.
Source: Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks,
CVPR 2019 (figure 1, appendix B and C); variable names of NVIDIA's files.
"""

import dataclasses
import functools
import math

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
    MappingNetwork,
    NoisyLayer,
    StyleBlock,
    StyleGenerator,
    channels_drawn,
    fill,
    load_style,
    positive,
    unit_second_moment,
)
from unseen.weights import Checkpoint

_FUSED_FROM = 128  # side from which NVIDIA's code fuses upsampling and convolution


class ConcatenatingMapping(MappingNetwork):
    """The mapping network of 2019: a label's embedding joins z before both are normalised."""

    def __init__(self, *, latents: int, classes: int, width: int, multiplier: float, **sizes: int):
        super().__init__(
            latents=latents, classes=classes, width=width, multiplier=multiplier, **sizes
        )
        if classes:
            self.embed = nn.Linear(classes, latents, bias=False)
            self.fc0 = EqualizedLinear(2 * latents, width, multiplier=multiplier)

    def normalised(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n d"]:
        """Z and the label's embedding behind it, normalised together."""
        z = latents[:, : self.latents].float()
        if self.classes:
            z = torch.cat([z, self.embed(self.labels(latents))], dim=1)
        return unit_second_moment(z)


class StyleLayer(NoisyLayer):
    """Convolution; then noise, bias, leaky ReLU 0.2, instance norm, and scale and shift by style.

    Args:
        inputs: channels; 0 for the constant, which takes no convolution.
        design: of its block.
        number: which of the styles it takes.
        up: whether it doubles the resolution: nearest before, binomial blur behind the convolution.
        noise: whether it has a noise input.
    """

    def __init__(
        self, inputs: int, design: BlockDesign, *, number: int, up: bool, noise: bool
    ) -> None:
        super().__init__(design.resolution, number, noise=noise)
        self.up = up
        if inputs:
            self.weight = nn.Parameter(torch.randn(design.outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(design.outputs))
        self.style = EqualizedLinear(design.width, 2 * design.outputs)
        if noise:
            self.noise_weight = nn.Parameter(torch.zeros(design.outputs))

    def convolved(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The convolution, scaled by √2/√(9 · inputs), with its resampling."""
        scale = math.sqrt(2) / math.sqrt(9 * self.weight.shape[1])
        if self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = functional.conv2d(x, self.weight * scale, padding=1)
        if self.up:
            taps = torch.tensor([1.0, 2.0, 1.0], device=x.device) / 4
            x = upsample(x, taps, 1, (1, 1), 1.0)
        return x

    def forward(
        self, x: Float[Tensor, "n c h w"], now: Activations, mode: str
    ) -> Float[Tensor, "n d h2 w2"]:
        """The layer's features; what enters the first layer is the constant."""
        if hasattr(self, "weight"):
            x = self.convolved(x)
        noise = self.noise_for(now, mode)
        if noise is not None:
            noise = noise.to(x.dtype) if mode == "const" else noise
            x = x + noise * self.noise_weight[:, None, None]
        x = functional.leaky_relu(x + self.bias[:, None, None], 0.2).float()
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x * torch.rsqrt(x.square().mean(dim=(2, 3), keepdim=True) + 1e-8)
        style: Tensor = self.style(now.styles[:, self.number])
        scale, shift = style.chunk(2, dim=1)
        return x * (scale[:, :, None, None] + 1) + shift[:, :, None, None]


class ToRGB(nn.Module):
    """1×1 convolution scaled by 1/√inputs, and bias."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n colours h w"]:
        """RGB in float32."""
        x = functional.conv2d(x, self.weight / math.sqrt(self.weight.shape[1]))
        return x.float() + self.bias[:, None, None]


class NormalisedBlock(StyleBlock):
    """One resolution: two layers, the first on a constant at 4×4; the last block draws.

    Args:
        design: sizes.
        noise: whether the layers have noise inputs.
        channels: 3 for RGB, 1 for grey.
    """

    def __init__(self, design: BlockDesign, *, noise: bool, channels: int) -> None:
        super().__init__()
        self.last = design.last
        inputs, side = design.inputs, design.resolution
        if not inputs:
            self.const = nn.Parameter(torch.ones(design.outputs, side, side))
        first = 2 * int(math.log2(side)) - 4
        self.layer0 = StyleLayer(inputs, design, number=first, up=bool(inputs), noise=noise)
        self.layer1 = StyleLayer(design.outputs, design, number=first + 1, up=False, noise=noise)
        if self.last:
            self.torgb = ToRGB(design.outputs, channels)

    def forward(self, now: Activations) -> Activations | Tensor:
        """The activations behind this block; behind the last, the image (n 3 h w)."""
        first = now.features is None
        x = self.const.expand(len(now.styles), -1, -1, -1) if first else now.features
        x = self.layer0(x, now, self.mode)
        x = self.layer1(x, now, self.mode)
        return self.torgb(x) if self.last else now._replace(features=x)


@takes(*OPTIONS)
def load_stylegan(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> StyleGenerator:
    """`stylegan:FILE`: NVIDIA's TensorFlow `.pkl` of 2019, or its variables.

    Options and errors are those of `load_style`.
    """
    return load_style(spec, network_from_variables, device=device, precision=precision)


def network_from_variables(saved: Checkpoint) -> BlockNetwork:
    """The network that fits the variables: widths and resolution from their shapes.

    From 128×128 on, NVIDIA's code fuses upsampling and convolution into a transposed convolution,
    which mirrors the kernel; it is mirrored back here.

    Raises:
        CheckpointError: it is another family's, incomplete, still growing, or built otherwise.
    """
    variables = saved.tensors
    if variables and not saved.is_tensorflow:
        raise CheckpointError(
            f"{saved.source} holds tensors under PyTorch's names, as StyleGAN2 and 3 do; write "
            "stylegan2:FILE or stylegan3:FILE"
        )
    if "synthesis/4x4/Conv/mod_weight" in variables:
        raise CheckpointError(f"{saved.source} holds a StyleGAN2; write stylegan2:FILE")
    if "synthesis/4x4/Const/const" not in variables:
        names = ", ".join(sorted(variables)[:3]) or "nothing"
        raise CheckpointError(
            f"{saved.source} holds no StyleGAN: found {names}, needed synthesis/4x4/Const/const"
        )
    saved.refuse_settings_other_than(
        use_styles=True,
        const_input_layer=True,
        use_pixel_norm=False,
        use_instance_norm=True,
        use_wscale=True,
        nonlinearity="lrelu",
        mapping_nonlinearity="lrelu",
        normalize_latents=True,
        blur_filter=[1, 2, 1],
    )
    for name in ("lod", "synthesis/lod"):
        if name in variables and (growing := float(saved.take(name, 0))) > 0:
            raise CheckpointError(
                f"{saved.source} is still growing (lod {growing:g}); train it to "
                "its full resolution"
            )
    widths = [saved.take("synthesis/4x4/Const/const", 4).shape[1]]
    while f"synthesis/{4 << len(widths)}x{4 << len(widths)}/Conv1/weight" in variables:
        scope = f"synthesis/{4 << len(widths)}x{4 << len(widths)}"
        widths.append(saved.take(f"{scope}/Conv1/weight", 4).shape[3])
    classes = 0
    if "mapping/LabelConcat/weight" in variables:
        classes = saved.take("mapping/LabelConcat/weight", 2).shape[0]
    rows = saved.take("mapping/Dense0/weight", 2).shape[0]
    resolution = 4 << (len(widths) - 1)
    channels = channels_drawn(saved, "synthesis/ToRGB_lod0/weight", resolution, axis=3)
    layers = saved.count("mapping/Dense{}/weight")
    mapping = functools.partial(
        ConcatenatingMapping,
        latents=rows // 2 if classes else rows,
        classes=classes,
        width=saved.take("dlatent_avg", 1).shape[0],
        layers=layers,
        styles=2 * len(widths),
        multiplier=positive(saved, "", "mapping_lrmul"),
    )
    block = functools.partial(
        NormalisedBlock, noise="synthesis/noise0" in variables, channels=channels
    )
    translated = dataclasses.replace(saved, tensors=_state(saved, len(widths), layers, classes))
    return fill(
        lambda: BlockNetwork(mapping(), widths, block),
        translated,
        kind=f"{resolution}×{resolution} StyleGAN",
    )


def _state(saved: Checkpoint, levels: int, layers: int, classes: int) -> dict[str, Tensor]:
    state = {"mapping.w_avg": saved.take("dlatent_avg", 1)}
    if classes:
        state["mapping.embed.weight"] = saved.take("mapping/LabelConcat/weight", 2).T
    for number in range(layers):
        state[f"mapping.fc{number}.weight"] = saved.take(f"mapping/Dense{number}/weight", 2).T
        # Here √2 is behind the leaky ReLU, in the file before the bias: √2 · (a + b/√2).
        bias = saved.take(f"mapping/Dense{number}/bias", 1) / math.sqrt(2)
        state[f"mapping.fc{number}.bias"] = bias
    state["b4.const"] = saved.take("synthesis/4x4/Const/const", 4)[0]
    fused = saved.setting("", "fused_scale", "auto")
    for level in range(levels):
        side = 4 << level
        for number, theirs in enumerate(("Conv0_up", "Conv1") if level else ("Const", "Conv")):
            scope, layer = f"synthesis/{side}x{side}/{theirs}", f"b{side}.layer{number}"
            if theirs != "Const":
                kernel = saved.take(f"{scope}/weight", 4).permute(3, 2, 0, 1)
                is_fused = side >= _FUSED_FROM if fused == "auto" else bool(fused)
                mirrored = theirs == "Conv0_up" and is_fused
                state[f"{layer}.weight"] = kernel.flip(2, 3) if mirrored else kernel
            state[f"{layer}.bias"] = saved.take(f"{scope}/bias", 1)
            state[f"{layer}.style.weight"] = saved.take(f"{scope}/StyleMod/weight", 2).T
            state[f"{layer}.style.bias"] = saved.take(f"{scope}/StyleMod/bias", 1)
            if "synthesis/noise0" in saved.tensors:
                noise = saved.take(f"synthesis/noise{2 * level + number}", 4)
                state[f"{layer}.noise_const"] = noise[0, 0]
                state[f"{layer}.noise_weight"] = saved.take(f"{scope}/Noise/weight", 1)
        if level == levels - 1:
            rgb = saved.take("synthesis/ToRGB_lod0/weight", 4).permute(3, 2, 0, 1)
            state[f"b{side}.torgb.weight"] = rgb
            state[f"b{side}.torgb.bias"] = saved.take("synthesis/ToRGB_lod0/bias", 1)
    return {name: tensor.contiguous() for name, tensor in state.items()}
