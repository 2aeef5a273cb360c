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
from unseen.inversion.nearest import SAMPLES_SEED, NearestSample
from unseen.inversion.optimise import in_company

StartName = Literal["inverter", "nearest", "noise"]
LATENTS = "z"
"""The name of the latents in what a generator finds by running backwards."""


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """What the search of every image begins from."""

    latents: Float[Tensor, "n z"]
    # By layer, where the start knows them better than the head's answer to the latents does.
    features: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


Start = Callable[[Float[Tensor, "n 3 h w"], Sequence[int]], Begun]
"""Images and their numbers, from which random starts follow → where their searches begin."""


@runtime_checkable
class Reversible(Protocol):
    """A generator that can be run backwards."""

    def backwards(self, images: Float[Tensor, "n 3 h w"]) -> Mapping[str, Tensor]:
        """The latents that lead to the images, under `z`, and the features of every layer."""
        ...


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

    def start(images: Tensor, numbers: Sequence[int]) -> Begun:
        size = generator.latent_size
        rows = [np.random.default_rng([seed, k]).standard_normal(size) for k in numbers]
        return Begun(torch.from_numpy(np.stack(rows)).to(images))

    return start


def from_network(network: Inverter) -> Start:
    """The latents that an inverter or an encoder estimates."""
    network.eval()
    return lambda images, _: Begun(in_company(network, images).float())


def from_nearest(generator: LayeredGenerator, nearest: NearestSample) -> Start:
    """The latents of the nearest sample."""
    return lambda images, _: Begun(generator.latents(nearest(images), seed=SAMPLES_SEED))


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

    def start(images: Tensor, _: Sequence[int]) -> Begun:
        found: dict[str, Any] = dict(generator.backwards(images))
        return Begun(found.pop(LATENTS), found)

    return start


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
