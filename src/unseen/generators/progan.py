"""ProGAN: the network of Karras et al. at any resolution and width, and its three file formats.

Layers 1 and 2 are at 4×4, then two layers a resolution; the last child is the output at the
network's own resolution. Fading between resolutions while training is left out.
Source: Karras et al., Progressive Growing of GANs, ICLR 2018 (table 2, section 4).
"""

import dataclasses
import itertools
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen import weights
from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError
from unseen.core.registry import Spec, takes
from unseen.generators.layered import NetworkGenerator, check_drawing, provenance_of
from unseen.generators.protocol import Precision

PUBLISHED = (  # `progan:NAME` is the entry `progan-NAME` of unseen.weights
    "church",
    "bedroom",
    "kitchen",
    "livingroom",
    "diningroom",
    "conferenceroom",
    "restaurant",
    "celebahq",
)
"""Names of the generators published by the authors of the paper."""


class PixelNorm(nn.Module):
    """Every pixel's feature vector divided by its root mean square over channels."""

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The features divided by √(mean_c x² + 1e-8)."""
        return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-8)


class WeightScale(nn.Module):
    """The equalised learning rate's constant and the bias: x · gain / √fan_in + b.

    Applied to the convolution's weight and as its bias, which is the same function and a fifth
    faster than two more passes over the features.
    """

    def __init__(self, channels: int, *, gain: float, fan_in: int) -> None:
        super().__init__()
        self.scale = gain / math.sqrt(fan_in)
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(
        self, features: Float[Tensor, "n c h w"], conv: nn.Conv2d
    ) -> Float[Tensor, "n d h2 w2"]:
        """Convolve, scale, and add the bias of each channel."""
        weight = conv.weight * self.scale
        return functional.conv2d(features, weight, self.b, padding=conv.padding)


class Layer(nn.Module):
    """Pixel norm → (nearest ×2) → convolution without bias → scale and bias → leaky ReLU 0.2."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, padding: int = 1, upsample: bool
    ) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.upsample = upsample
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.wscale = WeightScale(outputs, gain=math.sqrt(2), fan_in=kernel**2 * inputs)
        nn.init.normal_(self.conv.weight)  # N(0, 1), scaled when used

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """One layer's features."""
        features = self.norm(features)
        if self.upsample:
            features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        return functional.leaky_relu(self.wscale(features, self.conv), 0.2)


class LatentLayer(Layer):
    """Layer 1: a 4×4 kernel with padding 3 turns a latent, seen as 1×1 features, into 4×4."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel=4, padding=3, upsample=False)

    def forward(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n d 4 4"]:
        """Features at 4×4."""
        return super().forward(latents[:, :, None, None])


class OutputLayer(nn.Module):
    """Pixel norm → 1×1 convolution without bias → scale and bias → clamp to [−1, 1]."""

    def __init__(self, inputs: int, channels: int = 3) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.conv = nn.Conv2d(inputs, channels, 1, bias=False)
        self.wscale = WeightScale(channels, gain=1.0, fan_in=inputs)
        nn.init.normal_(self.conv.weight)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n colours h w"]:
        """RGB; clamped outside of training only, where a clamp would stop gradients."""
        images: Tensor = self.wscale(self.norm(features), self.conv)
        return images if self.training else images.clamp(-1, 1)


class ProGAN(nn.Sequential):
    """The generator of progressive growing: two layers a resolution, then the output.

    Args:
        widths: size of the latent, then the channels at 4×4, 8×8, …; the number of widths decides
            the resolution. The paper's at 256×256: 512, 512, 512, 512, 256, 128, 64, 32.
        channels: 3 for RGB, 1 for grey.
    """

    def __init__(self, widths: Sequence[int], channels: int = 3) -> None:
        if len(widths) < 2:
            raise ValueError(f"{len(widths)} widths; a generator needs the latent's and one more")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for level, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            layers[f"layer{2 * level + 1}"] = (
                LatentLayer(inputs, outputs)
                if level == 0
                else Layer(inputs, outputs, upsample=True)
            )
            layers[f"layer{2 * level + 2}"] = Layer(outputs, outputs, upsample=False)
        resolution = 4 * 2 ** (len(widths) - 2)
        layers[f"output_{resolution}x{resolution}"] = OutputLayer(widths[-1], channels)
        super().__init__(layers)
        self.widths = tuple(widths)
        self.resolution = resolution


@takes()
def load_progan(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> NetworkGenerator:
    """`progan:FILE`, or `progan:NAME` for a published one, e.g. `progan:church`.

    FILE holds a state dict under today's or the older key names, or NVIDIA's original TensorFlow
    variables. Resolution and widths follow from the shapes.

    Raises:
        SpecError: no argument, or neither a file nor a published name.
        CheckpointError: the file is unreadable or holds no ProGAN.
        DownloadError: the published file cannot be fetched.
    """
    argument = spec.require_argument("file")
    path = weights.locate(argument, PUBLISHED, "progan-", spec=spec.text)
    return open_progan(path, spec, device=device, precision=precision)


def open_progan(path: Path, spec: Spec, *, device: str, precision: Precision) -> NetworkGenerator:
    """The generator in a file of one of the three formats.

    Args:
        path: the file.
        spec: what the user wrote, for the record.
        device: cpu, cuda, cuda:N or auto.
        precision: fp32 or bf16.

    Raises:
        CheckpointError: the file is unreadable or holds no ProGAN.
    """
    checkpoint = weights.open_checkpoint(path)
    network = network_from_state_dict(progan_names(checkpoint), checkpoint.source)
    return NetworkGenerator(
        network=network,
        latent_size=network.widths[0],
        resolution=network.resolution,
        provenance=provenance_of(spec, checkpoint, precision, family="progan"),
        device=torch.device(resolve_device(device)),
        precision=precision,
    )


def progan_names(checkpoint: weights.Checkpoint) -> Mapping[str, Tensor]:
    """A ProGAN's weights in any of its three formats, under today's names.

    Raises:
        CheckpointError: the file holds no ProGAN.
    """
    if checkpoint.is_tensorflow:
        return state_dict_from_tensorflow(checkpoint)
    if "features.0.conv.weight" in checkpoint.tensors:
        return _from_older_names(checkpoint.tensors, checkpoint.source)
    return checkpoint.tensors


def network_from_state_dict(state: Mapping[str, Tensor], source: str) -> ProGAN:
    """The network that fits a state dict: widths and resolution from the shapes.

    Args:
        state: `layerN.conv.weight`, `layerN.wscale.b`, `output_RxR.conv.weight`, ….
        source: what an error message calls it.

    Raises:
        CheckpointError: a tensor is missing, is left over, has a shape that does not fit, or is
            not finite.
    """
    layers = [int(match[1]) for key in state if (match := _LAYER_KEY.fullmatch(key))]
    if not layers:
        names = ", ".join(sorted(state)[:3]) or "nothing"
        raise CheckpointError(
            f"{source} holds no ProGAN: found {names}, needed layer1.conv.weight and so on; "
            "is it another family's file?"
        )
    widths = []
    for level in range((max(layers) + 1) // 2):
        weight = state.get(f"layer{2 * level + 1}.conv.weight")
        if weight is None or weight.ndim != 4 or not weight.numel():
            raise CheckpointError(
                f"{source} has layer{max(layers)} and no usable layer{2 * level + 1}.conv.weight; "
                "is the file whole?"
            )
        widths += [weight.shape[1]] if level == 0 else []
        widths.append(weight.shape[0])
    resolution = 4 << (len(widths) - 2)
    drawn = state.get(f"output_{resolution}x{resolution}.conv.weight")
    channels = 3 if drawn is None or not drawn.ndim else drawn.shape[0]
    check_drawing(source, resolution, channels)
    return weights.build_and_fill(
        lambda: ProGAN(widths, channels), state, source, kind=f"{resolution}×{resolution} ProGAN"
    )


_LAYER_KEY = re.compile(r"layer([0-9]{1,3})\.conv\.weight")


def _from_older_names(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """`features.N.…` counted from 0 and `output.…`, as `layerN.…` and `output_RxR.…`.

    Older files may also hold each layer's constant as `wscale.scale`; a constant that was learned
    makes another network.
    """
    layers = sum(bool(re.fullmatch(r"features\.\d+\.conv\.weight", key)) for key in state)
    resolution = 4 * 2 ** ((layers - 1) // 2)
    renamed = {}
    for key, tensor in state.items():
        layer, _, rest = key.rpartition(".wscale.")
        weight = state.get(f"{layer}.conv.weight")
        if rest == "scale" and weight is not None and tensor.numel() and len(weight):
            gain = 1.0 if layer == "output" else math.sqrt(2)
            constant = gain / math.sqrt(weight[0].numel())
            if not torch.allclose(tensor.float(), torch.tensor(constant), rtol=1e-3):
                raise CheckpointError(
                    f"{source} has a learned {key} of {tensor.flatten()[0]:.4g} where ProGAN has "
                    f"{constant:.4g}; it is one of its ablations: load it with ablation:FILE"
                )
            continue
        new = re.sub(r"^features\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", key)
        new = re.sub(r"^output\.", f"output_{resolution}x{resolution}.", new)
        renamed[new] = tensor
    return renamed


def state_dict_from_tensorflow(checkpoint: weights.Checkpoint) -> dict[str, Tensor]:
    """NVIDIA's original variables (`4x4/Dense/weight`, `8x8/Conv0_up/weight`, …) translated.

    A dense layer of 4·4 outputs a channel is a 4×4 convolution of a padded pixel, mirrored;
    `Conv0_up` is a transposed convolution with stride 2, so its kernel is mirrored too and lies as
    (h, w, out, in); the others lie as (h, w, in, out). Output layers of lower resolutions
    (`ToRGB_lod1`, …) and `lod` are left out. A scope before the names is dropped.

    Raises:
        CheckpointError: a variable is missing or has a shape that does not fit.
    """
    plain = {_TENSORFLOW_SCOPE.sub("", name): array for name, array in checkpoint.tensors.items()}
    checkpoint = dataclasses.replace(checkpoint, tensors=plain)
    source, take = checkpoint.source, checkpoint.take
    dense = take("4x4/Dense/weight", 2)
    if dense.shape[1] % 16:
        raise CheckpointError(
            f"{source}: 4x4/Dense/weight has {dense.shape[1]} columns; 16 a channel are needed"
        )
    kernels = [dense.reshape(dense.shape[0], -1, 4, 4).permute(1, 0, 2, 3).flip(2, 3)]
    biases = [take("4x4/Dense/bias", 1)]
    resolution = 4
    while True:
        scope = f"{resolution}x{resolution}"
        if resolution > 4:
            if f"{scope}/Conv0_up/weight" in plain:
                kernel = take(f"{scope}/Conv0_up/weight", 4).permute(2, 3, 0, 1).flip(2, 3)
                kernels.append(kernel)
                biases.append(take(f"{scope}/Conv0_up/bias", 1))
            else:  # trained with fused_scale=False
                kernels.append(take(f"{scope}/Conv0/weight", 4).permute(3, 2, 0, 1))
                biases.append(take(f"{scope}/Conv0/bias", 1))
        second = "Conv" if resolution == 4 else "Conv1"
        kernels.append(take(f"{scope}/{second}/weight", 4).permute(3, 2, 0, 1))
        biases.append(take(f"{scope}/{second}/bias", 1))
        following = f"{2 * resolution}x{2 * resolution}/"
        if not any(name.startswith(following) for name in plain):
            break
        resolution *= 2
    state = {}
    for number, (weight, bias) in enumerate(zip(kernels, biases, strict=True), start=1):
        state[f"layer{number}.conv.weight"] = weight.contiguous()
        state[f"layer{number}.wscale.b"] = bias
    output = f"output_{resolution}x{resolution}"
    state[f"{output}.conv.weight"] = take("ToRGB_lod0/weight", 4).permute(3, 2, 0, 1).contiguous()
    state[f"{output}.wscale.b"] = take("ToRGB_lod0/bias", 1)
    return state


_TENSORFLOW_SCOPE = re.compile(r"^.*?(?=\d+x\d+/|ToRGB_lod)")
