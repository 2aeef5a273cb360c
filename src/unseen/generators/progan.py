"""ProGAN: the network of Karras et al. at any resolution and width, and its three file formats.

Layers 1 and 2 are at 4×4, then two layers a resolution; the last child is the output at the
network's own resolution. Fading between resolutions while training is left out.
Source: Karras et al., Progressive Growing of GANs, ICLR 2018 (table 2, section 4).
"""

import itertools
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unseen import weights
from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.generators.layered import LayeredGenerator
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

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.conv = nn.Conv2d(inputs, 3, 1, bias=False)
        self.wscale = WeightScale(3, gain=1.0, fan_in=inputs)
        nn.init.normal_(self.conv.weight)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB; clamped outside of training only, where a clamp would stop gradients."""
        images: Tensor = self.wscale(self.norm(features), self.conv)
        return images if self.training else images.clamp(-1, 1)


class ProGAN(nn.Sequential):
    """The generator of progressive growing: two layers a resolution, then the output.

    Args:
        widths: size of the latent, then the channels at 4×4, 8×8, …; the number of widths decides
            the resolution. The paper's at 256×256: 512, 512, 512, 512, 256, 128, 64, 32.
    """

    def __init__(self, widths: Sequence[int]) -> None:
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
        layers[f"output_{resolution}x{resolution}"] = OutputLayer(widths[-1])
        super().__init__(layers)
        self.widths = tuple(widths)
        self.resolution = resolution


@takes()
def load_progan(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> LayeredGenerator:
    """`progan:FILE`, or `progan:NAME` for a published one, e.g. `progan:church`.

    FILE is a state dict (`.pth`, `.safetensors`; today's or the older key names) or NVIDIA's
    original TensorFlow variables as an `.npz`. Resolution and widths follow from the shapes.

    Raises:
        SpecError: no argument, or neither a file nor a published name.
        CheckpointError: the file is unreadable or holds no ProGAN.
        DownloadError: the published file cannot be fetched.
    """
    argument = spec.require_argument("file")
    path = weights.locate(argument, PUBLISHED, "progan-", spec=spec.text)
    return open_progan(path, spec.text, device=device, precision=precision)


def open_progan(path: Path, spec: str, *, device: str, precision: Precision) -> LayeredGenerator:
    """The generator in a file of one of the three formats.

    Args:
        path: the file.
        spec: what the user wrote, for the record.
        device: cpu, cuda, cuda:N or auto.
        precision: fp32 or bf16.

    Raises:
        CheckpointError: the file is unreadable or holds no ProGAN.
    """
    network = network_from_state_dict(read_progan(path), path.name)
    return LayeredGenerator(
        network=network,
        latent_size=network.widths[0],
        resolution=network.resolution,
        provenance={
            "spec": spec,
            "family": "progan",
            "weights_sha256": sha256_of_file(path),
            "precision": precision,
        },
        device=torch.device(resolve_device(device)),
        precision=precision,
    )


def read_progan(path: Path) -> dict[str, Tensor]:
    """A ProGAN's weights from any of its three formats, under today's key names.

    Raises:
        CheckpointError: the file is unreadable, asks to run code or holds no ProGAN.
    """
    if path.suffix == ".npz":
        return state_dict_from_tensorflow(_read_npz(path), path.name)
    state = weights.read_checkpoint(path)
    if "features.0.conv.weight" in state:
        return _from_older_names(state, path.name)
    return state


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
        found = ", ".join(sorted(state)[:3]) or "nothing"
        raise CheckpointError(
            f"{source} holds no ProGAN: found {found}, needed layer1.conv.weight and so on; "
            "is it another family's file?"
        )
    widths = []
    for level in range((max(layers) + 1) // 2):
        weight = state.get(f"layer{2 * level + 1}.conv.weight")
        if weight is None or weight.ndim != 4:
            raise CheckpointError(
                f"{source} has layer{max(layers)} and no usable layer{2 * level + 1}.conv.weight; "
                "is the file whole?"
            )
        widths += [weight.shape[1]] if level == 0 else []
        widths.append(weight.shape[0])
    network = ProGAN(widths)
    expected = network.state_dict()
    for key, tensor in expected.items():
        if key not in state:
            raise CheckpointError(
                f"{source} lacks {key}, which a {network.resolution}×{network.resolution} "
                "ProGAN has; is the file whole?"
            )
        if state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{source} has {key} of shape {tuple(state[key].shape)}; "
                f"{tuple(tensor.shape)} was needed to follow the layer before it"
            )
        if not torch.isfinite(state[key]).all():
            raise CheckpointError(f"{source} has values that are not finite in {key}; refusing it")
    if left_over := sorted(set(state) - set(expected)):
        raise CheckpointError(
            f"{source} also holds {', '.join(left_over[:3])}, which a "
            f"{network.resolution}×{network.resolution} ProGAN has not; is it another family's?"
        )
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()})
    return network


_LAYER_KEY = re.compile(r"layer(\d+)\.conv\.weight")


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
        if rest == "scale" and weight is not None:
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


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path} is no readable .npz of plain arrays ({error}); "
            "write it with numpy.savez and no object arrays"
        ) from error


def state_dict_from_tensorflow(
    variables: Mapping[str, np.ndarray], source: str
) -> dict[str, Tensor]:
    """NVIDIA's original variables (`4x4/Dense/weight`, `8x8/Conv0_up/weight`, …) translated.

    A dense layer of 4·4 outputs a channel is a 4×4 convolution of a padded pixel, mirrored;
    `Conv0_up` is a transposed convolution with stride 2, so its kernel is mirrored too and lies as
    (h, w, out, in); the others lie as (h, w, in, out). Output layers of lower resolutions
    (`ToRGB_lod1`, …) and `lod` are left out. A scope before the names and `:0` behind are dropped.

    Raises:
        CheckpointError: a variable is missing or has a shape that does not fit.
    """
    plain = {_TENSORFLOW_SCOPE.sub("", name): array for name, array in variables.items()}

    def take(name: str, ndim: int) -> Tensor:
        array = plain.get(name)
        if array is None or array.ndim != ndim:
            state = "lacks it" if array is None else f"has shape {array.shape}"
            raise CheckpointError(
                f"{source}: a TensorFlow ProGAN needs {name} with {ndim} axes and this file {state}"
            )
        return torch.from_numpy(np.array(array, dtype=np.float32))

    dense = take("4x4/Dense/weight", 2)
    if dense.shape[1] % 16:
        raise CheckpointError(
            f"{source}: 4x4/Dense/weight has {dense.shape[1]} columns; 16 a channel are needed"
        )
    weights = [dense.reshape(dense.shape[0], -1, 4, 4).permute(1, 0, 2, 3).flip(2, 3)]
    biases = [take("4x4/Dense/bias", 1)]
    resolution = 4
    while True:
        scope = f"{resolution}x{resolution}"
        if resolution > 4:
            if f"{scope}/Conv0_up/weight" in plain:
                kernel = take(f"{scope}/Conv0_up/weight", 4).permute(2, 3, 0, 1).flip(2, 3)
                weights.append(kernel)
                biases.append(take(f"{scope}/Conv0_up/bias", 1))
            else:  # trained with fused_scale=False
                weights.append(take(f"{scope}/Conv0/weight", 4).permute(3, 2, 0, 1))
                biases.append(take(f"{scope}/Conv0/bias", 1))
        second = "Conv" if resolution == 4 else "Conv1"
        weights.append(take(f"{scope}/{second}/weight", 4).permute(3, 2, 0, 1))
        biases.append(take(f"{scope}/{second}/bias", 1))
        following = f"{2 * resolution}x{2 * resolution}/"
        if not any(name.startswith(following) for name in plain):
            break
        resolution *= 2
    state = {}
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        state[f"layer{number}.conv.weight"] = weight.contiguous()
        state[f"layer{number}.wscale.b"] = bias
    output = f"output_{resolution}x{resolution}"
    state[f"{output}.conv.weight"] = take("ToRGB_lod0/weight", 4).permute(3, 2, 0, 1).contiguous()
    state[f"{output}.wscale.b"] = take("ToRGB_lod0/bias", 1)
    return state


_TENSORFLOW_SCOPE = re.compile(r"^.*?(?=\d+x\d+/|ToRGB_lod)|:0$")
