"""StyleGAN3 (configurations T and R): NVIDIA's networks, from a `.pkl` or a state dict.

Layers: `mapping`, `input` (Fourier features), then `L0_36_512` and so on under NVIDIA's own names
(number, side with margin, channels); the last draws the image. The filtered leaky ReLU is composed
of plain operations in float32; a design of new filters is left out: the file holds them.
Source: Karras et al., Alias-Free Generative Adversarial Networks, NeurIPS 2021 (section 3, figure
4, appendix C for sampling rates and padding); tensor names of NVIDIA's files.
"""

import dataclasses
import functools
import math
import re
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen.core.errors import CheckpointError
from unseen.core.registry import Spec, takes
from unseen.generators.protocol import Precision
from unseen.generators.resampling import downsample, upsample
from unseen.generators.styles import (
    OPTIONS,
    Activations,
    EqualizedLinear,
    MappingNetwork,
    StyleGenerator,
    channels_drawn,
    clamp_of,
    fill,
    load_style,
    mapping_of,
)
from unseen.weights import Checkpoint

_CLAMP = 256.0  # NVIDIA's default, for a state dict, which does not say
_FILTER_SIZE = 6  # taps at the lower sampling rate: NVIDIA's default, for a state dict
_MOST_RESAMPLING = 16  # NVIDIA's layers resample by 2 or 4
_OUTPUT_SCALE = 0.25  # NVIDIA's default, for a state dict


class FourierInput(nn.Module):
    """Sine waves of fixed frequencies over the canvas, moved by w, mixed by a trained matrix.

    Args:
        channels: sine waves, and features.
        width: size of w.
        size: side of the canvas, margin included, in its own pixels.
        rate: sampling rate: pixels of this canvas across the image.
        bandwidth: highest frequency kept whole.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(
        self, channels: int, *, width: int, size: int, rate: float, bandwidth: float
    ) -> None:
        super().__init__()
        self.size = size
        self.rate = rate
        self.bandwidth = bandwidth
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualizedLinear(width, 4)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0])
        self.register_buffer("transform", torch.eye(3))  # inverse, with respect to the image
        self.register_buffer("freqs", torch.randn(channels, 2) * bandwidth / 4)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, now: Activations) -> Activations:
        """The features that the first layer takes."""
        with torch.autocast(now.styles.device.type, enabled=False):
            return now._replace(features=self.waves(now.styles[:, 0].float()))

    def waves(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n c s s"]:
        """Waves at the pixels' centres: sin 2π(f·Rp + phase), R and the phase shifted by w."""
        moved = self.affine(w)
        moved = moved / moved[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, right, down = moved.unbind(dim=1)
        # Inverse motion of the image: undo the translation, then the rotation, then what the
        # stored transform says.
        rotation = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(-1, 2, 2)
        shift = rotation @ torch.stack([-right, -down], dim=1)[:, :, None]  # (n, 2, 1)
        motion = rotation @ self.transform[:2, :2]
        offset = rotation @ self.transform[:2, 2:] + shift
        phases = self.phases + (self.freqs @ offset)[:, :, 0]  # (n, c)
        freqs = self.freqs @ motion  # (n, c, 2)
        # Waves beyond the bandwidth fade out, and are gone at half the sampling rate.
        beyond = (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        amplitudes = (1 - beyond).clamp(0, 1)
        centres = torch.arange(self.size, device=w.device, dtype=w.dtype) + 0.5
        centres = (centres - self.size / 2) / self.rate  # 0 is the middle of the image
        x = freqs[:, :, 0, None, None] * centres[None, :]  # (n, c, 1, s)
        y = freqs[:, :, 1, None, None] * centres[:, None]  # (n, c, s, 1)
        waves = torch.sin(2 * math.pi * (x + y + phases[:, :, None, None]))
        waves = waves * amplitudes[:, :, None, None]
        mixing = self.weight / math.sqrt(self.weight.shape[1])
        return torch.einsum("dc,ncyx->ndyx", mixing, waves)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerDesign:
    """The fixed part of one layer: sizes in pixels, filters, resampling factors."""

    inputs: int
    outputs: int
    in_size: int
    out_size: int
    kernel: int = 3
    up: int = 2
    down: int = 2
    up_filter: tuple[int, ...] | None = (12,)  # the filter's shape: (taps,) or (taps, taps)
    down_filter: tuple[int, ...] | None = (12,)
    clamp: float | None = _CLAMP

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros before and behind in the upsampled grid, so that the result has its size.

        The first of two unequal sides takes the smaller shift of sample positions (appendix C.3).
        """
        taps = sum(shape[-1] if shape else 1 for shape in (self.up_filter, self.down_filter))
        total = (self.out_size - 1) * self.down + 1
        total -= (self.in_size + self.kernel - 1) * self.up
        total += taps - 2
        before = (total + self.up) // 2
        return before, total - before


class FilteredLayer(nn.Module):
    """Modulated convolution, then leaky ReLU at a higher sampling rate; the last draws RGB.

    Args:
        design: sizes and filters.
        width: size of w.
        number: which of the styles it takes, less one.
        output_scale: factor of the image; None for every layer but the last.
    """

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(
        self, design: LayerDesign, *, width: int, number: int, output_scale: float | None
    ) -> None:
        super().__init__()
        self.design = design
        self.number = number
        self.output_scale = output_scale
        self.affine = EqualizedLinear(width, design.inputs)
        nn.init.ones_(self.affine.bias)
        kernel = (design.kernel, design.kernel)
        self.weight = nn.Parameter(torch.randn(design.outputs, design.inputs, *kernel))
        self.bias = nn.Parameter(torch.zeros(design.outputs))
        self.register_buffer("magnitude_ema", torch.ones(()))
        for name, shape in (("up_filter", design.up_filter), ("down_filter", design.down_filter)):
            flat = None if shape is None else torch.full(shape, 1 / math.prod(shape))
            self.register_buffer(name, flat)

    def forward(self, now: Activations) -> Activations | Tensor:
        """The activations behind this layer; behind the last, the image (n 3 h w)."""
        assert now.features is not None
        design = self.design
        scales = self.affine(now.styles[:, self.number + 1])
        x = now.features
        if self.output_scale is None:
            weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
            # The scale of a style cancels in the demodulation. Normalising by the image's own
            # mean, not the batch's as NVIDIA does, keeps images independent of their batch.
            scales = scales * scales.square().mean(dim=1, keepdim=True).rsqrt()
            squares = weight.square().sum(dim=(2, 3))
            demodulation = torch.rsqrt(scales.square() @ squares.T + 1e-8)
        else:
            weight = self.weight
            scales = scales / math.sqrt(weight.shape[1] * design.kernel**2)
            demodulation = None
        scales = scales * self.magnitude_ema.rsqrt()
        x = x * scales[:, :, None, None].to(x.dtype)
        x = functional.conv2d(x, weight, padding=design.kernel - 1)
        if demodulation is not None:
            x = x * demodulation[:, :, None, None].to(x.dtype)
        x = x + self.bias.to(x.dtype)[:, None, None]
        x = self.filtered(x)
        if self.output_scale is not None:
            return x.float() * self.output_scale
        return now._replace(features=x)

    def filtered(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """Upsample, leaky ReLU 0.2 with gain √2 (none for RGB), clamp, downsample."""
        design = self.design
        before, behind = design.padding
        if self.up_filter is None:
            x = functional.pad(x, (before, behind, before, behind))
        else:
            x = upsample(x, self.up_filter, design.up, design.padding, float(design.up**2))
        if self.output_scale is None:
            x = functional.leaky_relu(x, 0.2) * math.sqrt(2)
        if design.clamp is not None:
            x = x.clamp(-design.clamp, design.clamp)
        return x if self.down_filter is None else downsample(x, self.down_filter, design.down)


class StyleGAN3(nn.Sequential):
    """The generator: mapping network, Fourier input, filtered layers, the last of which draws.

    Args:
        mapping: feeds one style to the input and one to each layer.
        waves: the Fourier input.
        designs: one a layer.
        output_scale: factor of the image.
    """

    mapping: MappingNetwork

    def __init__(
        self,
        mapping: MappingNetwork,
        waves: FourierInput,
        designs: Sequence[LayerDesign],
        *,
        output_scale: float = _OUTPUT_SCALE,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(mapping=mapping, input=waves)
        for number, design in enumerate(designs):
            last = number == len(designs) - 1
            layers[f"L{number}_{design.out_size}_{design.outputs}"] = FilteredLayer(
                design,
                width=mapping.width,
                number=number,
                output_scale=output_scale if last else None,
            )
        super().__init__(layers)
        self.resolution = designs[-1].out_size


@takes(*(option for option in OPTIONS if option != "noise"))
def load_stylegan3(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> StyleGenerator:
    """`stylegan3:FILE`, a `.pkl` of NVIDIA's or a state dict under its names.

    Options and errors are those of `load_style`, without `noise`: StyleGAN3 has no noise inputs.
    """
    return load_style(spec, network_from_saved, device=device, precision=precision)


_LAYER = re.compile(r"synthesis\.(L([0-9]{1,3})_([0-9]{1,5})_([0-9]{1,5}))\.weight")


def network_from_saved(saved: Checkpoint) -> StyleGAN3:
    """The network that fits a file: sizes from its names, factors from its filters.

    Sampling rates follow from the resolution and the factors; they must lie one and the same
    margin below the sizes.

    Raises:
        CheckpointError: it holds another family, is incomplete, or its sizes do not agree.
    """
    source, state = saved.source, saved.tensors
    if saved.is_tensorflow:
        raise CheckpointError(f"{source} holds TensorFlow's variables; StyleGAN3 never had any")
    if "synthesis.b4.const" in state:
        raise CheckpointError(f"{source} holds a StyleGAN2; write stylegan2:FILE")
    names = sorted(
        (int(match[2]), match[1], int(match[3]), int(match[4]))
        for key in state
        if (match := _LAYER.fullmatch(key))
    )
    if len(names) < 2 or [number for number, *_ in names] != list(range(len(names))):
        present = ", ".join(sorted(state)[:3]) or "nothing"
        raise CheckpointError(
            f"{source} holds no StyleGAN3: found {present}, needed synthesis.L0_… and on in order"
        )
    resolution = names[-1][2]
    channels_drawn(saved, f"synthesis.{names[-1][1]}.weight", resolution)
    waves = saved.take("synthesis.input.freqs", 2).shape[0]
    size = names[0][2]
    designs = []
    channels = waves
    for _, name, out_size, outputs in names:
        designs.append(_design(saved, f"synthesis.{name}", channels, outputs, size, out_size))
        channels, size = outputs, out_size
    rate = float(resolution)
    for design in designs:
        rate *= design.down / design.up
    _check_rates(source, designs, rate)
    width = saved.take("synthesis.input.affine.weight", 2).shape[1]
    mapping = mapping_of(saved, styles=len(designs) + 1)
    fourier = functools.partial(
        FourierInput,
        waves,
        width=width,
        size=designs[0].in_size,
        rate=saved.number("synthesis.input", "sampling_rate", rate),
        bandwidth=saved.number("synthesis.input", "bandwidth", 2.0),
    )
    scale = saved.number("synthesis", "output_scale", _OUTPUT_SCALE)
    return fill(
        lambda: StyleGAN3(mapping(), fourier(), designs, output_scale=scale),
        saved,
        kind=f"{resolution}×{resolution} StyleGAN3",
    )


def _design(
    saved: Checkpoint,
    module: str,
    inputs: int,
    outputs: int,
    in_size: int,
    out_size: int,
) -> LayerDesign:
    weight = saved.take(f"{module}.weight", 4)
    filters = [saved.tensors.get(f"{module}.{way}_filter") for way in ("up", "down")]
    factors = []
    for way, taps in zip(("up", "down"), filters, strict=True):
        if taps is not None and not (1 <= taps.ndim <= 2 and taps.numel()):
            raise CheckpointError(f"{saved.source} has filters in {module} that are none")
        inferred = 1 if taps is None else taps.shape[-1] // _FILTER_SIZE
        factors.append(int(saved.number(module, f"{way}_factor", float(inferred))))
    if not 1 <= min(factors) <= max(factors) <= _MOST_RESAMPLING:
        raise CheckpointError(f"{saved.source} resamples in {module} by {factors}")
    return LayerDesign(
        inputs=inputs,
        outputs=outputs,
        in_size=in_size,
        out_size=out_size,
        kernel=weight.shape[-1],
        up=factors[0],
        down=factors[1],
        up_filter=None if filters[0] is None else tuple(filters[0].shape),
        down_filter=None if filters[1] is None else tuple(filters[1].shape),
        clamp=clamp_of(saved, module, _CLAMP),
    )


def _check_rates(source: str, designs: Sequence[LayerDesign], rate: float) -> None:
    resolution = designs[-1].out_size
    margins = {designs[0].in_size - rate}
    for design in designs:
        rate *= design.up / design.down
        # The layers at the end that are critically sampled have no margin.
        if design.out_size != resolution:
            margins.add(design.out_size - rate)
    if len(margins) != 1 or min(margins) < 0 or rate != resolution:
        raise CheckpointError(
            f"{source} has layers whose sizes do not follow from its filters (margins "
            f"{sorted(margins)}); a filter_size other than {_FILTER_SIZE} needs the .pkl"
        )
