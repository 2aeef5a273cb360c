"""What the StyleGAN family shares: mapping network, truncation, labels, noise and latents.

Left out: training (style mixing, moving averages) and the synthesis networks themselves.
Source: Karras et al., A Style-Based Generator Architecture, CVPR 2019 (section 2, appendix B for
truncation); Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020.
"""

import dataclasses
import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError, SampleError, SpecError
from unseen.core.files import as_path
from unseen.core.registry import Spec
from unseen.generators.layered import NetworkGenerator, check_drawing, provenance_of
from unseen.generators.protocol import Precision
from unseen.weights import Checkpoint, build_and_fill, open_checkpoint

Network = TypeVar("Network", bound=nn.Module)
Noise = Literal["const", "random", "none"]
_SEEDS = 2**32  # numpy.random.RandomState takes this many
_SEED_BLOCK = 1_000_000  # indices that one seed owns where every image has its own seed
OPTIONS = ("psi", "cutoff", "noise", "class", "latents")
"""Options that every generator of the family takes."""


class Activations(NamedTuple):
    """What passes between layers: a StyleGAN's later layers need the styles again.

    The mapping network fills in styles and seeds; each synthesis layer replaces the features and,
    where it draws, the image so far.
    """

    styles: Tensor  # (n, layers, w)
    noise_seeds: Tensor | None  # int64 (n,): one an image, where noise is random
    features: Tensor | None = None  # (n, c, h, w)
    image: Tensor | None = None  # (n, 3, h, w), not yet at full resolution

    @property
    def made(self) -> Tensor:
        """What the layer itself made: the mapping network styles, every other layer features."""
        return self.styles if self.features is None else self.features

    def plus(self, delta: Tensor) -> "Activations":
        """The same, with something added to what the layer made."""
        if self.features is None:
            return self._replace(styles=self.styles + delta)
        return self._replace(features=self.features + delta)

    def rows(self, rows: Tensor | slice) -> "Activations":
        """Those of some of the images."""
        return Activations(
            self.styles[rows],
            *(None if part is None else part[rows] for part in self[1:]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How images are drawn: what NVIDIA's scripts call truncation, noise mode and class."""

    psi: float = 1.0  # 1 leaves the styles alone, 0 draws the mean image
    cutoff: int | None = None  # how many layers' styles are truncated, from the first; None: all
    noise: Noise = "const"
    label: int | Literal["cycle"] | None = None  # class; "cycle": image k has class k mod classes
    per_seed: bool = False  # image k from RandomState(k) alone, as NVIDIA's scripts number images


def sampling_of(spec: Spec) -> Sampling:
    """The sampling that a spec's options ask for.

    Raises:
        SpecError: an option has an impossible value.
    """
    text = spec.options.get("psi", "1")
    try:
        psi = float(text)
    except ValueError:
        psi = math.nan
    if not math.isfinite(psi):
        raise SpecError(f"{spec.text!r} has psi={text!r}; psi is a number, mostly between 0 and 1")
    label: int | Literal["cycle"] | None = None
    if spec.options.get("class") == "cycle":
        label = "cycle"
    elif "class" in spec.options:
        label = spec.integer("class", 0)
    noise = spec.choice("noise", "const", "const", "random", "none")
    return Sampling(
        psi=psi,
        cutoff=spec.integer("cutoff", 0) if "cutoff" in spec.options else None,
        noise="random" if noise == "random" else "none" if noise == "none" else "const",
        label=label,
        per_seed=spec.choice("latents", "stream", "stream", "per-seed") == "per-seed",
    )


class EqualizedLinear(nn.Module):
    """x Wᵀ · m/√inputs + b · m, m the learning-rate multiplier; computed in float32."""

    def __init__(self, inputs: int, outputs: int, *, multiplier: float = 1.0) -> None:
        super().__init__()
        self.multiplier = multiplier
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Without activation."""
        with torch.autocast(x.device.type, enabled=False):
            scale = self.multiplier / math.sqrt(self.weight.shape[1])
            return functional.linear(x.float(), self.weight * scale, self.bias * self.multiplier)


def unit_second_moment(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Divide by √(mean x² + 1e-8), each row by itself."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """Turns z (and a label) into w for every layer, truncated towards the mean w.

    Fully connected layers with leaky ReLU 0.2 and gain √2. Labels are one-hot, embedded and
    normalised apart from z.

    Args:
        latents: size of z.
        classes: labels known, 0 for none.
        width: size of w.
        layers: fully connected layers.
        styles: how many layers the synthesis network feeds with w.
        multiplier: learning-rate multiplier of the layers.
    """

    w_avg: Tensor

    def __init__(
        self,
        *,
        latents: int,
        classes: int,
        width: int,
        layers: int,
        styles: int,
        multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.classes = classes
        self.width = width
        self.layers = layers
        self.styles = styles
        self.sampling = Sampling()
        if classes:
            self.embed: nn.Module = EqualizedLinear(classes, width)
        first = latents + (width if classes else 0)
        for number in range(layers):
            linear = EqualizedLinear(width if number else first, width, multiplier=multiplier)
            self.add_module(f"fc{number}", linear)
        self.register_buffer("w_avg", torch.zeros(width))

    def forward(self, latents: Float[Tensor, "n z"]) -> Activations:
        """Styles of every layer; latents carry their one-hot labels behind z for class=cycle."""
        x = self.normalised(latents)
        for number in range(self.layers):
            linear = self.get_submodule(f"fc{number}")
            x = functional.leaky_relu(linear(x), 0.2) * math.sqrt(2)
        return self.truncated(x, latents)

    def normalised(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n d"]:
        """What the first fully connected layer takes: z, and the embedded label behind it."""
        x = unit_second_moment(latents[:, : self.latents].float())
        if not self.classes:
            return x
        return torch.cat([x, unit_second_moment(self.embed(self.labels(latents)))], dim=1)

    def labels(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n k"]:
        """One-hot labels: behind z in the latents, or the one class asked for."""
        if latents.shape[1] == self.latents + self.classes:
            return latents[:, self.latents :].float()
        label = self.sampling.label
        if not isinstance(label, int):
            raise SampleError(
                f"latents of {latents.shape[1]} numbers carry no class; this generator has "
                f"{self.classes} and class=cycle needs latents of {self.latents + self.classes}"
            )
        hot = torch.zeros(len(latents), self.classes, device=latents.device)
        hot[:, label] = 1
        return hot

    def truncated(self, w: Float[Tensor, "n w"], latents: Float[Tensor, "n z"]) -> Activations:
        """Repeat w for every layer; the first `cutoff` become w_avg + psi · (w − w_avg)."""
        styles = w[:, None, :].expand(-1, self.styles, -1)  # (n, layers, w)
        if self.sampling.psi != 1:
            cutoff = self.styles if self.sampling.cutoff is None else self.sampling.cutoff
            moved = self.w_avg + self.sampling.psi * (styles[:, :cutoff] - self.w_avg)
            styles = torch.cat([moved, styles[:, cutoff:]], dim=1)
        seeds = noise_seeds(latents) if self.sampling.noise == "random" else None
        return Activations(styles, seeds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockDesign:
    """The sizes of one resolution's layers."""

    inputs: int  # channels of the block before; 0 for the first block
    outputs: int  # channels
    resolution: int  # side, in pixels
    width: int  # size of w
    last: bool  # whether the block draws the image


class StyleBlock(nn.Module):
    """A resolution's layers."""

    mode: Noise = "const"


class BlockNetwork(nn.Sequential):
    """StyleGAN and StyleGAN2: the mapping network, then a block a resolution, b4, b8, ….

    Args:
        mapping: it feeds two styles a resolution.
        widths: channels at 4×4, 8×8, …; their number decides the resolution.
        block: makes a resolution's block of its design.
    """

    mapping: MappingNetwork

    def __init__(
        self,
        mapping: MappingNetwork,
        widths: Sequence[int],
        block: Callable[[BlockDesign], StyleBlock],
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(mapping=mapping)
        for level, outputs in enumerate(widths):
            design = BlockDesign(
                inputs=widths[level - 1] if level else 0,
                outputs=outputs,
                resolution=4 << level,
                width=mapping.width,
                last=level == len(widths) - 1,
            )
            layers[f"b{design.resolution}"] = block(design)
        super().__init__(layers)
        self.resolution = 4 << (len(widths) - 1)


def noise_seeds(latents: Float[Tensor, "n z"]) -> Int64[Tensor, " n"]:
    """A seed an image, from its latent alone: its noise does not depend on the batch it is in."""
    rows = np.ascontiguousarray(latents.detach().float().cpu().numpy())
    digests = [hashlib.blake2b(row.tobytes(), digest_size=7).digest() for row in rows]
    return torch.tensor([int.from_bytes(digest, "little") for digest in digests])


class NoisyLayer(nn.Module):
    """A layer that adds noise of its own: the file's, or N(0, 1) drawn for each image.

    Args:
        resolution: side of the noise, in pixels.
        number: counts the network's layers; each draws other noise.
        noise: whether it has a noise input.
    """

    noise_const: Tensor

    def __init__(self, resolution: int, number: int, *, noise: bool) -> None:
        super().__init__()
        self.resolution = resolution
        self.number = number
        self.noise = noise
        if noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def noise_for(self, now: Activations, mode: str) -> Float[Tensor, "..."] | None:
        """The noise before its strength: (r r) of the file, or drawn (n 1 r r), or None.

        It is drawn on the CPU: the same for every batch and device.
        """
        if self.noise and mode == "const":
            return self.noise_const
        if not self.noise or mode != "random" or now.noise_seeds is None:
            return None
        shape = (1, self.resolution, self.resolution)
        drawn = [
            np.random.default_rng([seed, self.number]).standard_normal(shape, "f4")
            for seed in now.noise_seeds.tolist()
        ]
        return torch.from_numpy(np.stack(drawn)).to(now.styles.device)


@dataclasses.dataclass(eq=False)
class StyleGenerator(NetworkGenerator):
    """A StyleGAN of any kind: `mapping`, then the synthesis layers, the last drawing the image.

    `split` gives a tail that takes `Activations`, not features alone: later layers need w.
    """

    sampling: Sampling = dataclasses.field(default_factory=Sampling)

    range_is_known = True  # a large psi may draw far outside

    def __post_init__(self) -> None:
        super().__post_init__()
        mapping = self.network.get_submodule("mapping")
        if not isinstance(mapping, MappingNetwork):
            raise TypeError("the first layer of a StyleGAN is its mapping network")
        check_sampling(self.sampling, mapping.classes, str(self.provenance.get("spec", "")))
        mapping.sampling = self.sampling
        self._z = mapping.latents
        self._classes = mapping.classes
        if self.sampling.label == "cycle":
            self.latent_size = mapping.latents + mapping.classes

    def latents(self, indices: Iterable[int], *, seed: int = 1) -> Float[Tensor, "n z"]:
        """Latents of the images with these indices.

        Rows of one seeded stream, or with `latents=per-seed` the first row of
        `RandomState(k + 1_000_000 · (seed − 1))`: with seed 1, NVIDIA's image of seed k. With
        `class=cycle` the one-hot class k mod classes follows behind z.

        Raises:
            SampleError: an index is negative, or beyond what per-seed numbers.
        """
        wanted = list(indices)
        if self.sampling.per_seed:
            rows = np.empty((len(wanted), self._z), np.float32)
            for row, index in zip(rows, wanted, strict=True):
                if not 0 <= index < _SEED_BLOCK:
                    raise SampleError(
                        f"image index {index} is out of range; latents=per-seed numbers images "
                        f"from 0 to {_SEED_BLOCK - 1}"
                    )
                own = (index + _SEED_BLOCK * (seed - 1)) % _SEEDS
                row[:] = np.random.RandomState(own).randn(self._z)
        else:
            rows = self._stream.rows(wanted, seed)
        if self.sampling.label == "cycle":
            hot = np.eye(self._classes, dtype=np.float32)[np.asarray(wanted, int) % self._classes]
            rows = np.concatenate([rows, hot.reshape(len(wanted), -1)], axis=1)
        return torch.from_numpy(rows).to(self.device)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """`class 3` and so on with `class=cycle`; a class for all images tells none apart."""
        if self.sampling.label != "cycle":
            return None
        return [f"class {index % self._classes}" for index in indices]


def load_style(
    spec: Spec,
    network_of: Callable[[Checkpoint], nn.Sequential],
    *,
    device: str,
    precision: Precision,
) -> StyleGenerator:
    """The generator in the file that a spec names.

    Options: `psi` and `cutoff` (truncation), `noise=const|random|none`, `class=K|cycle`,
    `latents=stream|per-seed`.

    Args:
        spec: with the options of `Sampling`.
        network_of: makes the family's network from a file's weights; it has a `resolution`.
        device: cpu, cuda, cuda:N or auto.
        precision: fp32 or bf16.

    Raises:
        SpecError: no argument, no such file, or an impossible option.
        CheckpointError: the file is unreadable, asks to run code or holds no such generator.
    """
    sampling = sampling_of(spec)
    path = as_path(spec.require_argument("file"))
    if not path.is_file():
        raise SpecError(f"{spec.text!r}: {path} is no file; name a .pkl, .pth or .safetensors")
    checkpoint = open_checkpoint(path)
    network = network_of(checkpoint)
    for layer in network.children():
        if isinstance(layer, StyleBlock):
            layer.mode = sampling.noise
    mapping = network.get_submodule("mapping")
    assert isinstance(mapping, MappingNetwork)
    return StyleGenerator(
        network=network,
        latent_size=mapping.latents,
        resolution=int(network.resolution),  # type: ignore[arg-type]
        provenance=provenance_of(spec, checkpoint, precision),
        device=torch.device(resolve_device(device)),
        precision=precision,
        sampling=sampling,
    )


def check_sampling(sampling: Sampling, classes: int, source: str) -> None:
    """Refuse a class that the generator does not have, or a missing one (SpecError)."""
    label = sampling.label
    if not classes and label is not None:
        raise SpecError(f"{source!r} asks for a class; this generator has none: leave it out")
    if classes and label is None:
        raise SpecError(
            f"{source!r} names no class; this generator draws {classes}: add class=0 to "
            f"class={classes - 1}, or class=cycle for each in turn"
        )
    if isinstance(label, int) and label >= classes:
        raise SpecError(f"{source!r} has class={label}; this generator draws 0 to {classes - 1}")


def mapping_of(saved: Checkpoint, *, styles: int) -> Callable[[], MappingNetwork]:
    """Makes a mapping network of the sizes that the file's shapes and settings give.

    Raises:
        CheckpointError: the file has no mapping network, or one of another kind.
    """
    layers = saved.count("mapping.fc{}.weight")
    if not layers:
        raise CheckpointError(
            f"{saved.source} has no mapping.fc0.weight; name a StyleGAN's state dict or .pkl"
        )
    width = saved.take(f"mapping.fc{layers - 1}.weight", 2).shape[0]
    classes = 0
    if "mapping.embed.weight" in saved.tensors:
        classes = saved.take("mapping.embed.weight", 2).shape[1]
    latents = saved.take("mapping.fc0.weight", 2).shape[1] - (width if classes else 0)
    if latents < 1:
        raise CheckpointError(f"{saved.source} takes labels alone; a latent is needed")
    for number in range(layers):
        kind = saved.setting(f"mapping.fc{number}", "activation", "lrelu")
        if kind != "lrelu":
            raise CheckpointError(f"{saved.source} maps with {kind!r}; only lrelu is drawn here")
    return functools.partial(
        MappingNetwork,
        latents=latents,
        classes=classes,
        width=width,
        layers=layers,
        styles=styles,
        multiplier=positive(saved, "mapping.fc0", "bias_gain"),
    )


def positive(saved: Checkpoint, module: str, name: str) -> float:
    """The multiplier of a mapping network; it must be above 0 (CheckpointError)."""
    multiplier = saved.number(module, name, 0.01)
    if multiplier <= 0:
        raise CheckpointError(f"{saved.source} has {name}={multiplier:g}; it must be above 0")
    return multiplier


def clamp_of(saved: Checkpoint, module: str, default: float | None) -> float | None:
    """The bound on a layer's magnitudes; None for none (CheckpointError where it is no number)."""
    if saved.setting(module, "conv_clamp", default) is None:
        return None
    return saved.number(module, "conv_clamp", default or 0.0)


def channels_drawn(saved: Checkpoint, name: str, resolution: int, axis: int = 0) -> int:
    """Colours of the image: the size of a weight's axis; sizes that are refused raise.

    Raises:
        CheckpointError: neither 3 nor 1, or the image is too large.
    """
    channels = saved.take(name, 4).shape[axis]
    check_drawing(saved.source, resolution, channels)
    return channels


def fill(build: Callable[[], Network], saved: Checkpoint, *, kind: str) -> Network:
    """The network with every tensor of the file.

    `synthesis.` in the file's names is dropped: the layers stand side by side here.

    Raises:
        CheckpointError: as `build_and_fill`.
    """
    state = {key.removeprefix("synthesis."): tensor for key, tensor in saved.tensors.items()}
    return build_and_fill(build, state, saved.source, kind=kind)
