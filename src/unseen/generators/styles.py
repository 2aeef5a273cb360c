"""What the StyleGAN family shares: mapping network, truncation, labels, noise and latents.

Left out: training (style mixing, moving averages) and the synthesis networks themselves.
Source: Karras et al., A Style-Based Generator Architecture, CVPR 2019 (section 2, appendix B for
truncation); Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020.
"""

import dataclasses
import hashlib
import math
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError, SampleError, SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec
from unseen.generators.layered import LayeredGenerator
from unseen.generators.protocol import Precision
from unseen.weights import read_checkpoint
from unseen.weights.restricted_pickle import (
    SavedModule,
    SavedTensorFlowNetwork,
    read_pickled_networks,
)

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


class StyleBlock(nn.Module):
    """A resolution's layers.

    Attributes:
        mode: of noise: const, random or none.
    """

    mode = "const"


class BlockNetwork(nn.Sequential):
    """StyleGAN and StyleGAN2: the mapping network, then a block a resolution, b4, b8, ….

    Args:
        mapping: it feeds two styles a resolution.
        blocks: for 4×4, 8×8, …; their number decides the resolution.
    """

    mapping: MappingNetwork

    def __init__(self, mapping: MappingNetwork, blocks: Sequence[StyleBlock]) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(mapping=mapping)
        layers.update((f"b{4 << level}", block) for level, block in enumerate(blocks))
        super().__init__(layers)
        self.resolution = 4 << (len(blocks) - 1)

    def set_noise(self, mode: str) -> None:
        """Noise of every block: const, random or none."""
        for layer in self.children():
            if isinstance(layer, StyleBlock):
                layer.mode = mode


def noise_seeds(latents: Float[Tensor, "n z"]) -> Int64[Tensor, " n"]:
    """A seed an image, from its latent alone: its noise does not depend on the batch it is in."""
    rows = np.ascontiguousarray(latents.detach().float().cpu().numpy())
    digests = [hashlib.blake2b(row.tobytes(), digest_size=7).digest() for row in rows]
    return torch.tensor([int.from_bytes(digest, "little") for digest in digests])


def drawn_noise(
    seeds: Int64[Tensor, " n"], layer: int, resolution: int
) -> Float[Tensor, "n 1 r r"]:
    """N(0, 1) noise for one layer, on the CPU: the same for every batch and device."""
    drawn = [
        np.random.default_rng([seed, layer]).standard_normal((1, resolution, resolution), "f4")
        for seed in seeds.tolist()
    ]
    return torch.from_numpy(np.stack(drawn))


@dataclasses.dataclass(eq=False)
class StyleGenerator(LayeredGenerator):
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


def style_generator(
    network: nn.Sequential,
    resolution: int,
    sampling: Sampling,
    *,
    spec: Spec,
    path: Path,
    device: str,
    precision: Precision,
) -> StyleGenerator:
    """The generator of a network that was read from `path`."""
    mapping = network.get_submodule("mapping")
    assert isinstance(mapping, MappingNetwork)
    return StyleGenerator(
        network=network,
        latent_size=mapping.latents,
        resolution=resolution,
        provenance={
            "spec": spec.text,
            "family": spec.name,
            "weights_sha256": sha256_of_file(path),
            "precision": precision,
        },
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


@dataclasses.dataclass(frozen=True)
class SavedStyleGAN:
    """What a file holds: tensors under NVIDIA's names, and the settings where it has them."""

    source: str  # what an error message calls it
    state: Mapping[str, Tensor]  # `mapping.fc0.weight`, `synthesis.b4.const`, …
    settings: Mapping[str, Mapping[str, Any]]  # module → its attributes; empty for a state dict

    def setting(self, module: str, name: str, default: Any) -> Any:
        """A module's attribute, or `default` where the file has none."""
        return self.settings.get(module, {}).get(name, default)


@dataclasses.dataclass(frozen=True)
class SavedVariables:
    """What a file of NVIDIA's TensorFlow code holds: variables, and keyword arguments."""

    source: str  # what an error message calls it
    variables: Mapping[str, np.ndarray]  # `mapping/Dense0/weight`, `synthesis/4x4/Const/const`, …
    settings: Mapping[str, Any]  # empty where the file is no pickle

    def take(self, name: str, axes: int) -> Tensor:
        """A variable in float32.

        Raises:
            CheckpointError: it is missing or has another number of axes.
        """
        found = self.variables.get(name)
        if found is None or found.ndim != axes:
            state = "lacks it" if found is None else f"has shape {found.shape}"
            raise CheckpointError(
                f"{self.source} {state}: {name} is needed with {axes} axes; is the file whole?"
            )
        return torch.from_numpy(np.array(found, dtype=np.float32))

    def refuse_settings_other_than(self, **drawn: Any) -> None:
        """Refuse a network built with keyword arguments that change what is drawn.

        Raises:
            CheckpointError: an argument has another value than the one drawn here.
        """
        for name, value in drawn.items():
            if self.settings.get(name, value) != value:
                raise CheckpointError(
                    f"{self.source} was built with {name}={self.settings[name]!r}; only "
                    f"{name}={value!r} is drawn here"
                )


def variables_of(network: SavedTensorFlowNetwork, source: str) -> SavedVariables:
    """A pickled network's variables with those of its mapping and synthesis components."""
    variables = dict(network.variables)
    settings = network.settings
    for part in ("mapping", "synthesis"):
        component = network.components.get(part)
        if component is None:
            raise CheckpointError(f"{source} has no {part} network; is it a StyleGAN's?")
        variables |= {f"{part}/{name}": value for name, value in component.variables.items()}
        settings |= component.settings
    return SavedVariables(source, variables, settings)


def _plain_variables(arrays: Mapping[str, np.ndarray], source: str) -> SavedVariables:
    # tflib lists a network's variables as `G_mapping/…` and `G_synthesis/…`, TensorFlow adds `:0`.
    named = {
        name.removesuffix(":0").removeprefix("Gs/").removeprefix("G_"): array
        for name, array in arrays.items()
    }
    return SavedVariables(source, named, {})


def read_saved(spec: Spec) -> tuple[Path, SavedStyleGAN | SavedVariables]:
    """The network in the file that a spec names: `G_ema` of a `.pkl`, or named tensors.

    Names with a slash are TensorFlow's variables, others PyTorch's.

    Raises:
        SpecError: no argument, or no such file.
        CheckpointError: the file is unreadable, asks to run code or holds no generator.
    """
    path = Path(spec.require_argument("file")).expanduser()
    if not path.is_file():
        raise SpecError(f"{spec.text!r}: {path} is no file; name a .pkl, .pth or .safetensors")
    if path.suffix == ".npz":
        return path, _plain_variables(_read_npz(path), path.name)
    if path.suffix in (".safetensors", ".pth"):
        state = read_checkpoint(path)
        if any("/" in key for key in state):
            arrays = {key: tensor.float().numpy() for key, tensor in state.items()}
            return path, _plain_variables(arrays, path.name)
        prefix = "G_ema." if any(key.startswith("G_ema.") for key in state) else ""
        plain = {key[len(prefix) :]: t for key, t in state.items() if key.startswith(prefix)}
        return path, SavedStyleGAN(path.name, plain, {})
    network = read_pickled_networks(path).get("G_ema")
    if isinstance(network, SavedTensorFlowNetwork):
        return path, variables_of(network, path.name)
    if not isinstance(network, SavedModule):
        raise CheckpointError(f"{path} holds no G_ema; name the snapshot that training wrote")
    settings = {name: module.settings for name, module in network.modules()}
    return path, SavedStyleGAN(path.name, network.state_dict(), settings)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is no readable .npz of plain arrays ({error}); write it with numpy.savez"
        ) from error


def mapping_of(saved: SavedStyleGAN, *, styles: int) -> MappingNetwork:
    """An untrained mapping network of the sizes that the file's shapes and settings give.

    Raises:
        CheckpointError: the file has no mapping network, or one of another kind.
    """
    state = saved.state
    layers = 0
    while f"mapping.fc{layers}.weight" in state:
        layers += 1
    if not layers:
        raise CheckpointError(
            f"{saved.source} has no mapping.fc0.weight; name a StyleGAN's state dict or .pkl"
        )
    first = matrix(saved, "mapping.fc0.weight")
    width = matrix(saved, f"mapping.fc{layers - 1}.weight").shape[0]
    embed = "mapping.embed.weight" in state
    classes = matrix(saved, "mapping.embed.weight").shape[1] if embed else 0
    latents = first.shape[1] - (width if classes else 0)
    if latents < 1:
        raise CheckpointError(f"{saved.source} takes labels alone; a latent is needed")
    for number in range(layers):
        kind = saved.setting(f"mapping.fc{number}", "activation", "lrelu")
        if kind != "lrelu":
            raise CheckpointError(f"{saved.source} maps with {kind!r}; only lrelu is drawn here")
    return MappingNetwork(
        latents=latents,
        classes=classes,
        width=width,
        layers=layers,
        styles=styles,
        multiplier=float(saved.setting("mapping.fc0", "bias_gain", 0.01)),
    )


def matrix(saved: SavedStyleGAN, name: str) -> Tensor:
    """A tensor with two axes of the file (CheckpointError where it is none)."""
    return shaped(saved, name, 2)


def shaped(saved: SavedStyleGAN, name: str, axes: int) -> Tensor:
    """A tensor of the file with so many axes.

    Raises:
        CheckpointError: it is missing or has others.
    """
    found = saved.state.get(name)
    if found is None or found.ndim != axes:
        state = "lacks it" if found is None else f"has shape {tuple(found.shape)}"
        raise CheckpointError(
            f"{saved.source} {state}: {name} is needed with {axes} axes; is the file whole?"
        )
    return found


def fill(network: nn.Module, saved: SavedStyleGAN) -> None:
    """Load every tensor of the file into the network, which must have exactly those.

    `synthesis.` in the file's names is dropped: the layers stand side by side here.

    Raises:
        CheckpointError: one is missing, left over, of another shape or not finite.
    """
    state = {key.removeprefix("synthesis."): tensor for key, tensor in saved.state.items()}
    expected = network.state_dict()
    for key, wanted in expected.items():
        if key not in state:
            raise CheckpointError(f"{saved.source} lacks {key}; is the file whole?")
        if state[key].shape != wanted.shape:
            raise CheckpointError(
                f"{saved.source} has {key} of shape {tuple(state[key].shape)}; "
                f"{tuple(wanted.shape)} was needed to fit the layer before it"
            )
        if not torch.isfinite(state[key]).all():
            raise CheckpointError(f"{saved.source} has values that are not finite in {key}")
    if left_over := sorted(set(state) - set(expected)):
        raise CheckpointError(
            f"{saved.source} also holds {', '.join(left_over[:3])}, which no network of its kind "
            "has; is it another family's?"
        )
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()})
