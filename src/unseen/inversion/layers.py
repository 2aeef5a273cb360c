"""A generator cut into its layers up to one of them and the tail behind, with every shape.

Inverters, their training and the optimisation share it. Shapes are found by running the generator
once on two latents, so any generator whose head is a sequence of layers will do.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unseen.core.errors import GeneratorError, SpecError
from unseen.generators import LayeredGenerator

Size = Annotated[int, msgspec.Meta(ge=1, le=65_536)]  # more is no layer's, and no image's
_DEFAULT_CUT_SIZE = 8  # pixels: the paper's r4 is 8×8


@runtime_checkable
class Passed(Protocol):
    """More than one tensor: a StyleGAN's styles, features and image so far; x_t and its prompts."""

    @property
    def made(self) -> Tensor:
        """What the layer itself made."""
        ...

    def plus(self, delta: Tensor) -> "Passed":
        """The same, with something added to what the layer made."""
        ...

    def rows(self, rows: Tensor | slice) -> "Passed":
        """Those of some of the images."""
        ...


Features = Tensor | Passed
"""What a layer passes on."""


def made_by_layer(features: Features) -> Tensor:
    """What the layer itself made, and δ is added to."""
    return features if isinstance(features, Tensor) else features.made


def plus_delta(features: Features, delta: Tensor) -> Features:
    """The layer's features with δ added: r + δ."""
    return features + delta if isinstance(features, Tensor) else features.plus(delta)


def rows_of(features: Features, rows: Tensor | slice) -> Features:
    """The features of some of the images."""
    return features[rows] if isinstance(features, Tensor) else features.rows(rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorShapes:
    """What an inverter must know of a generator: sizes, and nothing of its weights."""

    layer_names: tuple[str, ...]  # in order; the last is the cut, r_n
    features: tuple[tuple[Size, ...], ...]  # of one image: (c, h, w), or (d,)
    latent_size: Size
    resolution: Size  # of the images, which are square
    scale_free: bool  # z and 2z give the same features, as behind ProGAN's pixel norm


@dataclasses.dataclass(frozen=True, eq=False)
class SplitGenerator:
    """A generator's layers g_1 … g_n and its tail G_f; weights shared, gradients pass."""

    layers: tuple[nn.Module, ...]
    tail: nn.Module
    shapes: GeneratorShapes

    @property
    def cut(self) -> str:
        """The name of layer n."""
        return self.shapes.layer_names[-1]

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of every tensor in order: the same for any cut, and whatever file held them."""
        return tensors_sha256(*self.layers, self.tail)

    def head(self, latents: Float[Tensor, "n z"]) -> list[Any]:
        """r_1 … r_n: the features of every layer up to the cut."""
        features = []
        current: Features = latents
        for layer in self.layers:
            current = layer(current)
            features.append(current)
        return features


def tensors_sha256(*modules: nn.Module) -> str:
    """SHA-256 of every tensor of the modules, in order."""
    digest = hashlib.sha256()
    for module in modules:
        for value in module.state_dict().values():
            values = value.detach().cpu().contiguous()
            digest.update(f"{values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def split_generator(
    generator: LayeredGenerator, cut: str | None = None, *, more: bool = False
) -> SplitGenerator:
    """Cut a generator behind a layer.

    Args:
        generator: `split` must give a sequence of the layers up to the cut, which pass plain
            tensors.
        cut: a layer's name; None: the last layer whose features are at most 8×8, else the first.
        more: whether layers may pass more than features, as a StyleGAN's pass styles.

    Raises:
        SpecError: no such layer, or nothing is left behind it.
        GeneratorError: the generator cannot be split into layers that pass plain tensors.
    """
    names = tuple(generator.layer_names)
    if len(names) < 2:
        had = f"the one layer {names[0]!r}" if names else "no named layers"
        raise GeneratorError(
            f"the generator has {had} and cannot be split; a head and a tail are needed: return "
            "a NetworkGenerator of two layers or more"
        )
    if cut is not None and cut not in names[:-1]:
        why = "ends there" if cut in names else "has no such layer"
        raise SpecError(
            f"the generator cannot be cut at {cut!r}: it {why}; choose one of "
            f"{', '.join(names[:-1])}"
        )
    latents = generator.latents(range(2), seed=1)
    layers = _children(generator, names[-2] if cut is None else cut)
    shapes: list[tuple[int, ...]] = []
    current: Features = latents
    with torch.no_grad():
        for name, layer in zip(names, layers, strict=False):
            current = layer(current)
            shape = _shape(current, name, more=more)
            if cut is None and shapes and max(shape[1:], default=1) > _DEFAULT_CUT_SIZE:
                break
            shapes.append(shape)
        count = len(shapes)
        once, twice = (made_by_layer(layers[0](scale * latents)) for scale in (1, 2))
    _, tail = generator.split(names[count - 1])
    return SplitGenerator(
        layers=tuple(layers[:count]),
        tail=tail.eval(),
        shapes=GeneratorShapes(
            layer_names=names[:count],
            features=tuple(shapes),
            latent_size=generator.latent_size,
            resolution=generator.resolution,
            scale_free=torch.allclose(once, twice, rtol=1e-3, atol=1e-3 * float(once.std())),
        ),
    )


def _children(generator: LayeredGenerator, layer: str) -> Sequence[nn.Module]:
    """The layers up to `layer`, one module each."""
    head, _ = generator.split(layer)
    names = generator.layer_names[: generator.layer_names.index(layer) + 1]
    children = list(head.eval().named_children())
    if not isinstance(head, nn.Sequential) or [name for name, _ in children] != list(names):
        raise GeneratorError(
            f"the generator's head up to {layer!r} is no nn.Sequential of its layers "
            f"{', '.join(names)}; return a NetworkGenerator, whose layers can be run one by one"
        )
    return [module for _, module in children]


def _shape(features: object, layer: str, *, more: bool) -> tuple[int, ...]:
    if more and isinstance(features, Passed):
        return tuple(features.made.shape[1:])
    if not isinstance(features, Tensor) or features.ndim not in (2, 4):
        given = (
            f"a tensor of shape {tuple(features.shape)}"
            if isinstance(features, Tensor)
            else type(features).__name__
        )
        raise GeneratorError(
            f"layer {layer!r} of the generator gives {given}; only layers that pass one tensor "
            "(n, c, h, w) or (n, d) can be inverted by a network; a StyleGAN's, which pass styles, "
            "too, are searched without one: run unseen invert without --inverter"
        )
    return tuple(features.shape[1:])
