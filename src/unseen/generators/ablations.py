"""The ablations of ProGAN at 128×128, WGAN-GP among them: three layouts, told by their keys.

Twelve blocks and an output. Unlike ProGAN itself, these were converted with what they had learned:
batch norm, or plain biases, or one learned scale a layer.
Source: Karras et al., Progressive Growing of GANs, ICLR 2018, section 6.1; the layouts are those of
the files that the paper's authors publish.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen import weights
from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError, SpecError
from unseen.core.registry import Spec, takes
from unseen.generators.layered import NetworkGenerator, check_drawing, provenance_of
from unseen.generators.progan import PixelNorm
from unseen.generators.protocol import Precision

Layout = Literal["batch-norm", "bias", "scale", "scale-pixel-norm"]
"""What a block has besides its convolution."""

BatchNorm = Literal["running", "batch"]
"""Whose statistics batch norm uses: those of training, or those of the batch at hand."""

PUBLISHED: dict[str, Layout] = {  # `ablation:NAME` is the entry `ablation-NAME` of unseen.weights
    "wgangp": "batch-norm",
    "small-minibatch": "batch-norm",
    "progressive-training": "batch-norm",
    "minibatch-stddev": "bias",
    "minibatch-discrimination": "bias",
    "equalized-learning-rate": "scale",
    "pixelwise-normalization": "scale-pixel-norm",
}
"""The published ones; the layouts with a learned scale have the same keys and differ in norms."""

WIDTHS = (512, 512, 512, 256, 128, 64, 32)  # latent, 4×4, 8×8, …, 128×128
WGAN_GP_WIDTHS = (128, *WIDTHS[1:])  # of the batch-norm layout, whose latent is smaller


class LearnedScale(nn.Module):
    """One learned factor for the layer, and a bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Scale, then add."""
        return features * self.scale + self.b[:, None, None]


class SampleBatchNorm(nn.BatchNorm2d):
    """Batch norm with the batch's own statistics, in evaluation too; no buffer ever changes."""

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:  # noqa: A002
        """Normalise by mean and variance over the batch and its pixels."""
        return functional.batch_norm(
            input, None, None, self.weight, self.bias, training=True, eps=self.eps
        )


class ConvolutionBlock(nn.Module):
    """(Pixel norm) → (nearest ×2) → convolution → batch norm or scale or neither → (leaky) ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        number: int,  # from 0; even ones but the first upsample
        layout: Layout,
        batch_norm: BatchNorm,
    ) -> None:
        super().__init__()
        first = number == 0
        self.first, self.upsample = first, number % 2 == 0 and not first
        kernel, padding = (4, 3) if first else (3, 1)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=layout == "bias")
        self.before: nn.Module = nn.Identity()
        if layout == "scale-pixel-norm" or (first and layout != "batch-norm"):
            self.before = PixelNorm()
        self.slope = 0.2
        if layout == "batch-norm":
            norm = nn.BatchNorm2d if batch_norm == "running" else SampleBatchNorm
            self.norm = norm(outputs)
            self.slope = 0.0  # a plain ReLU
        elif layout != "bias":
            self.wscale = LearnedScale(outputs)
        self.after = "norm" if layout == "batch-norm" else "wscale" if layout != "bias" else None

    def forward(self, features: Tensor) -> Float[Tensor, "n d h2 w2"]:
        """Features (n c h w), or for the first block latents (n z), to features."""
        features = self.before(features[:, :, None, None] if self.first else features)
        if self.upsample:
            features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        features = self.conv(features)
        if self.after is not None:
            features = self.get_submodule(self.after)(features)
        return functional.leaky_relu(features, self.slope)


class Output(nn.Module):
    """1×1 convolution, with pixel norm and scale where the blocks have a scale; clamped."""

    def __init__(self, inputs: int, *, layout: Layout, channels: int) -> None:
        super().__init__()
        self.scaled = layout.startswith("scale")
        self.conv = nn.Conv2d(inputs, channels, 1, bias=not self.scaled)
        if self.scaled:
            self.norm, self.wscale = PixelNorm(), LearnedScale(channels)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n colours h w"]:
        """RGB in [−1, 1]."""
        if self.scaled:
            features = self.wscale(self.conv(self.norm(features)))
        else:
            features = self.conv(features)
        return features.clamp(-1, 1)


class Ablation(nn.Sequential):
    """Blocks `layer1` to `layer12` (the files' `features.0` to `features.11`) and `output`.

    Args:
        layout: what the blocks have.
        batch_norm: for the batch-norm layout: "running" statistics, or those of the "batch".
        widths: size of the latent, then the channels at 4×4, 8×8, …; as published by default.
        channels: 3 for RGB, 1 for grey.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        batch_norm: BatchNorm = "running",
        widths: Sequence[int] = (),
        channels: int = 3,
    ) -> None:
        widths = widths or (WGAN_GP_WIDTHS if layout == "batch-norm" else WIDTHS)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(2 * len(widths) - 2):
            level = number // 2
            inputs = widths[level] if number % 2 == 0 else widths[level + 1]
            layers[f"layer{number + 1}"] = ConvolutionBlock(
                inputs, widths[level + 1], number=number, layout=layout, batch_norm=batch_norm
            )
        layers["output"] = Output(widths[-1], layout=layout, channels=channels)
        super().__init__(layers)
        self.widths = tuple(widths)
        self.resolution = 4 * 2 ** (len(widths) - 2)


@takes("batch_norm")
def load_wgan_gp(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> NetworkGenerator:
    """`wgan-gp` is the published file, `wgan-gp:FILE` another; option `batch_norm`.

    Raises:
        SpecError: an option or file that there is not.
        CheckpointError: the file is unreadable or of another layout.
        DownloadError: the published file cannot be fetched.
    """
    return _load(spec, spec.argument or "wgangp", "batch-norm", device, precision)


@takes("batch_norm", "pixel_norm")
def load_ablation(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> NetworkGenerator:
    """`ablation:NAME` for a published one, or `ablation:FILE`.

    Options: `batch_norm=running|batch` for the layout with batch norm; `pixel_norm=first|all` for
    a file with learned scales, whose keys do not tell (a published name does).

    Raises:
        SpecError: an option, name or file that there is not, or an option of another layout.
        CheckpointError: the file is unreadable or has none of the layouts.
        DownloadError: the published file cannot be fetched.
    """
    return _load(spec, spec.require_argument("file"), None, device, precision)


def _load(
    spec: Spec, argument: str, layout: Layout | None, device: str, precision: Precision
) -> NetworkGenerator:
    path = weights.locate(argument, PUBLISHED, "ablation-", spec=spec.text)
    layout = layout or PUBLISHED.get(argument)
    checkpoint = weights.open_checkpoint(path)
    state = checkpoint.tensors
    pixel_norm = spec.choice("pixel_norm", "first", "first", "all")
    seen = _layout(state, path.name, pixel_norm)
    if layout is None:
        layout = seen
    elif layout.split("-")[0] != seen.split("-")[0]:
        raise CheckpointError(
            f"{path.name} has the layout {seen}, {layout} was needed; load it with "
            f"ablation:{argument}"
        )
    if "pixel_norm" in spec.options and (argument in PUBLISHED or "scale" not in layout):
        raise SpecError(f"{spec.text!r}: pixel_norm is for files with learned scales only")
    if "batch_norm" in spec.options and layout != "batch-norm":
        raise SpecError(f"{spec.text!r} has no batch norm; leave batch_norm out")
    chosen = spec.choice("batch_norm", "running", "running", "batch")
    batch_norm: BatchNorm = "batch" if chosen == "batch" else "running"
    network = ablation_from_state_dict(state, path.name, layout, batch_norm)
    provenance = provenance_of(spec, checkpoint, precision, family="ablation", layout=layout)
    return NetworkGenerator(
        network=network,
        latent_size=network.widths[0],
        resolution=network.resolution,
        provenance=provenance | ({"batch_norm": batch_norm} if layout == "batch-norm" else {}),
        device=torch.device(resolve_device(device)),
        precision=precision,
    )


def _layout(state: Mapping[str, Tensor], source: str, pixel_norm: str) -> Layout:
    if "features.0.conv.weight" not in state or state["features.0.conv.weight"].ndim != 4:
        names = ", ".join(sorted(state)[:3]) or "nothing"
        raise CheckpointError(
            f"{source} holds no ablation of ProGAN: found {names}, needed features.0.conv.weight"
        )
    if "features.0.norm.running_mean" in state:
        return "batch-norm"
    if "features.0.conv.bias" in state:
        return "bias"
    if "features.0.wscale.scale" in state:
        return "scale-pixel-norm" if pixel_norm == "all" else "scale"
    raise CheckpointError(
        f"{source} has features.0.conv.weight and neither features.0.norm, a bias nor "
        "features.0.wscale.scale; if it is a ProGAN under older names, load it with progan:FILE"
    )


def ablation_from_state_dict(
    state: Mapping[str, Tensor],
    source: str,
    layout: Layout,
    batch_norm: BatchNorm = "running",
) -> Ablation:
    """The network that fits a state dict under the published key names.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape, or not finite.
    """
    renamed = {
        re.sub(r"^features\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", key): tensor
        for key, tensor in state.items()
    }
    widths = [renamed["layer1.conv.weight"].shape[1]]
    number = 1
    while (weight := renamed.get(f"layer{number}.conv.weight")) is not None:
        if weight.ndim != 4 or not weight.numel():
            raise CheckpointError(f"{source} has {_published_key(f'layer{number}')} of no channels")
        widths += [weight.shape[0]] if number % 2 == 1 else []
        number += 1
    drawn = renamed.get("output.conv.weight")
    channels = 3 if drawn is None or not drawn.ndim else drawn.shape[0]
    check_drawing(source, 4 << (len(widths) - 2), channels)
    counters = [f"layer{level}.norm.num_batches_tracked" for level in range(1, number)]
    return weights.build_and_fill(
        lambda: Ablation(layout, batch_norm=batch_norm, widths=widths, channels=channels),
        renamed,
        source,
        kind=f"ablation of the layout {layout}",
        optional=counters,
        named=_published_key,
    )


def _published_key(key: str) -> str:
    return re.sub(r"^layer(\d+)\.", lambda match: f"features.{int(match[1]) - 1}.", key)
