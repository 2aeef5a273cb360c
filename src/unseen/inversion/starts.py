"""Where a search begins: the latents, and perhaps the features, of every image of a batch.

`inverter`: the latents that the layer-wise inverter estimates. `nearest`: those of the nearest of
the generator's samples. `noise`: what the generator itself finds by running backwards, as a
diffusion pipeline can. Without any of them, method a begins anywhere, and b and c from an encoder.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unseen.core.errors import SpecError
from unseen.generators import LayeredGenerator
from unseen.generators.styles import StyleGenerator
from unseen.inversion.inverter import Inverter
from unseen.inversion.layers import Features, made_by_layer, rows_of
from unseen.inversion.nearest import SAMPLES_SEED, NearestSample
from unseen.inversion.optimise import in_company, in_pairs

StartName = Literal["inverter", "nearest", "noise"]
LATENTS = "z"
"""The name of the latents in what a generator finds by running backwards."""


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """What the search of every image begins from."""

    latents: Float[Tensor, "n z"]
    # By layer, where the start knows them better than the head's answer to the latents does.
    features: Mapping[str, Features] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Targets:
    """A batch of images that are to be inverted."""

    images: Float[Tensor, "n 3 h w"]  # in [−1, 1]
    numbers: Sequence[int]  # from which random starts follow
    asked: Sequence[str] | None = None  # prompts or classes, where the generator has several


Start = Callable[[Targets], Begun]
"""Images → where their searches begin."""


@runtime_checkable
class Reversible(Protocol):
    """A generator that can be run backwards."""

    def backwards(
        self, images: Float[Tensor, "n 3 h w"], asked: Sequence[str] | None = None
    ) -> Mapping[str, Any]:
        """The latents that lead to the images, under `z`, and the features of every layer."""
        ...


@runtime_checkable
class Asking(Protocol):
    """A generator whose latents say what an image is asked for, where it is not always the same."""

    asks_each: bool  # whether images are asked for in several ways

    def ask(self, latents: Float[Tensor, "n z"], texts: Sequence[str]) -> Float[Tensor, "n y"]:
        """The same latents, of images that are asked for by these texts (SpecError: unknown)."""
        ...


def asks_each(generator: LayeredGenerator) -> bool:
    """Whether every image has a prompt or class of its own."""
    return isinstance(generator, Asking) and generator.asks_each


def start_name(
    asked: StartName | None, generator: LayeredGenerator, inverter: Inverter | None
) -> StartName:
    """What methods d, e and f begin from where nothing is asked for.

    The inverter, where one is given; else the generator's own way back; else the nearest sample.
    """
    if asked is not None:
        return asked
    if inverter is not None:
        return "inverter"
    return "noise" if isinstance(generator, Reversible) else "nearest"


def from_anywhere(generator: LayeredGenerator, seed: int) -> Start:
    """Random latents, seeded image by image."""

    def start(targets: Targets) -> Begun:
        size = generator.latent_size
        rows = [np.random.default_rng([seed, k]).standard_normal(size) for k in targets.numbers]
        latents = torch.from_numpy(np.stack(rows)).to(targets.images)
        return Begun(_asked(generator, latents, targets))

    return start


def from_network(network: Inverter) -> Start:
    """The latents that an inverter or an encoder estimates."""
    network.eval()
    return lambda targets: Begun(in_company(network, targets.images).float())


def from_nearest(generator: LayeredGenerator, nearest: NearestSample) -> Start:
    """The latents of the nearest sample, asked for as the image is."""

    def start(targets: Targets) -> Begun:
        latents = generator.latents(nearest(targets.images), seed=SAMPLES_SEED)
        return Begun(_asked(generator, latents, targets))

    return start


def from_noise(generator: LayeredGenerator) -> Start:
    """What the generator finds by running backwards.

    Raises:
        SpecError: it cannot be run backwards.
    """
    if not isinstance(generator, Reversible):
        raise SpecError(
            "start noise needs a generator that can be run backwards, such as a diffusion "
            "pipeline; choose start nearest, or inverter"
        )

    def start(targets: Targets) -> Begun:
        images, count = in_pairs(targets.images), slice(len(targets.images))
        if targets.asked is None:
            back = generator.backwards(images)
        else:
            back = generator.backwards(images, [*targets.asked, *targets.asked][: len(images)])
        found = {name: rows_of(features, count) for name, features in back.items()}
        return Begun(made_by_layer(found.pop(LATENTS)), found)

    return start


def _asked(generator: LayeredGenerator, latents: Tensor, targets: Targets) -> Tensor:
    """The latents of images that are asked for as the targets are."""
    if targets.asked is None or not isinstance(generator, Asking):
        return latents
    return generator.ask(latents, targets.asked)


def check_latents_are_free(generator: LayeredGenerator, method: str) -> None:
    """Refuse to optimise latents that are no numbers of their own.

    Raises:
        SpecError: the latents carry a class, or the noise of the image follows from their bits.
    """
    if not isinstance(generator, StyleGenerator):
        return
    sampling = generator.sampling
    if sampling.label == "cycle" or sampling.noise == "random":
        option = "class=cycle" if sampling.label == "cycle" else "noise=random"
        raise SpecError(
            f"method {method} optimises latents, which {option} makes more of than numbers; "
            f"use {'class=K' if sampling.label == 'cycle' else 'noise=const'}, or method f"
        )
