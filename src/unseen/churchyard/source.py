"""The churchyard as an image source: `churchyard?seed=1&without=person,fence:0.5&resolution=64`."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from unseen.churchyard.classes import CLASS_NAMES
from unseen.churchyard.scene import RENDERER_VERSION, World, parse_without
from unseen.core.files import canonical_json, sha256_of_parts
from unseen.core.registry import Spec, takes
from unseen.images.naming import NumberedNames


@dataclasses.dataclass(frozen=True)
class ChurchyardSource:
    """All scenes of one world; read them in any order, in any process."""

    spec: str
    world: World

    @property
    def names(self) -> Sequence[str]:
        """One name an index; the world's seed is in it."""
        return NumberedNames(f"churchyard-seed{self.world.seed}-{{:06d}}")

    @property
    def endless(self) -> bool:
        """True: any index is a scene."""
        return True

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels of `label_map` are called."""
        return CLASS_NAMES

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Picture `index`."""
        return self.world.scene(index).picture

    def label_map(self, index: int) -> UInt8[np.ndarray, "h w"]:
        """The exact label map of picture `index`, as indices into `classes.CLASS_NAMES`."""
        return self.world.scene(index).label_map

    def fingerprint(self) -> str:
        """SHA-256 of the world and of the renderer's version."""
        world = dataclasses.asdict(self.world)
        if not self.world.balloon:
            del world["balloon"]  # worlds without it are those of before there was one
        return sha256_of_parts(["churchyard", str(RENDERER_VERSION), canonical_json(world)])


@takes("seed", "resolution", "without", "balloon", argument=False)
def open_churchyard(spec: Spec) -> ChurchyardSource:
    """The churchyard of a spec; options `seed`, `resolution`, `without` and `balloon`.

    `without` is a list of classes, each with the share of scenes that lose it: `person` (all),
    `fence:0.5` (every second scene, decided by seed, index and class). `balloon` is how many
    percent of the scenes have a red balloon, which no class names.

    Raises:
        SpecError: an unknown option or class, or a value out of range.
    """
    world = World(
        seed=spec.integer("seed", 0),
        resolution=spec.integer("resolution", 64, least=16, most=4096),
        without=parse_without(spec.options.get("without", "")),
        balloon=spec.integer("balloon", 0, most=100) / 100,
    )
    return ChurchyardSource(spec.text, world)
