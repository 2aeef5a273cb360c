"""How an inverter is trained: architecture, losses and budgets, as values; the presets.

Steps are batches of fresh latents. Source of `iccv2019` and `bottom-up`: Bau et al., ICCV 2019,
section 3.2, and the budgets of its released code.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from unseen.core.errors import SpecError
from unseen.core.options import Option
from unseen.inversion.inverter_networks import Architecture

LossName = Literal["cosine", "l1", "mse", "explained"]
"""1 − cosine similarity over channels, mean absolute error, mean squared error; `explained` is the
squared error of every dimension in units of its variance over the generator's images, which is what
a correlation by dimension asks for: features differ more between dimensions than between images."""

EPOCH = 100  # batches that the release calls an epoch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """One stage's steps and its optimiser, Adam with decoupled weight decay."""

    steps: int
    learning_rate: float  # the highest
    milestones: tuple[int, ...] = ()  # steps done after which the rate is multiplied
    factor: float = 0.1  # by which
    warmup: int = 0  # steps over which the rate rises linearly
    cosine: bool = False  # whether it then falls along a cosine to nothing
    weight_decay: float = 0.0
    average_decay: float | None = None  # of the moving average that is kept; None: none
    clip_norm: float | None = None  # largest norm of the gradient

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, from 0."""
        rate = self.learning_rate * self.factor ** sum(index >= step for step in self.milestones)
        if index < self.warmup:
            return rate * (index + 1) / self.warmup
        if self.cosine:
            share = (index - self.warmup) / max(1, self.steps - self.warmup)
            rate *= 0.5 + 0.5 * math.cos(math.pi * share)
        return rate

    def scaled(self, share: float) -> "Budget":
        """A share of the steps, milestones and warm-up with them."""
        return dataclasses.replace(
            self,
            steps=max(1, round(self.steps * share)),
            milestones=tuple(round(step * share) for step in self.milestones),
            warmup=round(self.warmup * share),
        )


def _losses(text: str) -> tuple[str, ...]:
    """What commas separate; `none` is nothing."""
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, on which losses, for how long; a stage without budget is left out.

    Names of losses are layers' names, `cut` for r_n, `layers` for r_1 … r_n, `z` and `x`.
    """

    joint: Budget  # of the composition, E* → E
    layers: Budget | None = None  # of every e_i alone, on the generator's own features
    second_layer: Budget | None = None  # of e_2 alone, where it differs
    tail: Budget | None = None  # of e_f alone
    bottom: Budget | None = None  # of e_b … e_1 together, for every b in turn
    architecture: Architecture = dataclasses.field(default_factory=Architecture)
    batch_size: Annotated[int, Option("Images in a step. Default: the preset's.", min=2)] = 32
    layer_loss: Annotated[
        LossName,
        Option(
            "Loss of features and latents: cosine (the release's), l1 (the paper's), mse, or "
            "explained (squared error in units of each dimension's variance). Default: the "
            "preset's."
        ),
    ] = "cosine"
    tail_loss: Annotated[
        LossName, Option("Loss of the tail's inverter alone. Default: the preset's.")
    ] = "mse"
    image_loss: Annotated[LossName, Option("Loss of recovered images. Default: the preset's.")] = (
        "mse"
    )
    recovered_weight: float = 0.01  # λ_R: of the recovered right side, where e_i is trained alone
    estimated: Annotated[
        tuple[str, ...],
        Option(
            "Losses of E's estimates in the joint training: cut, layers, names of layers, z; or "
            "none. Default: the preset's.",
            metavar="LOSS,…",
            parse=_losses,
        ),
    ] = ("cut",)
    recovered: Annotated[
        tuple[str, ...],
        Option(
            "Losses of what the generator makes of E(x): cut, layers, names of layers, z, x; or "
            "none. Default: the preset's.",
            metavar="LOSS,…",
            parse=_losses,
        ),
    ] = ("z", "cut", "x")

    def samples(self, layers: int) -> int:
        """Images that a training with so many layers draws, all stages together."""
        steps = self.joint.steps
        if self.layers is not None:
            steps += layers * self.layers.steps
            if self.second_layer is not None and layers > 1:
                steps += self.second_layer.steps - self.layers.steps
        if self.bottom is not None:
            steps += layers * self.bottom.steps
        if self.tail is not None:
            steps += self.tail.steps
        return steps * self.batch_size

    def scaled(self, share: float) -> "Recipe":
        """A share of every stage's steps.

        Raises:
            SpecError: the share is not positive.
        """
        if not (math.isfinite(share) and share > 0):
            raise SpecError(f"the budget is {share}; a share above 0 is needed, 1 for all of it")
        stages = {
            field.name: value.scaled(share)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Budget)
        }
        changes: dict[str, Any] = stages
        return dataclasses.replace(self, **changes)


_ICCV2019 = Recipe(
    architecture=Architecture(family="iccv2019"),
    layers=Budget(
        steps=100 * EPOCH, learning_rate=1e-4, milestones=(20 * EPOCH, 60 * EPOCH), factor=0.1
    ),
    second_layer=Budget(
        steps=100 * EPOCH, learning_rate=1e-4, milestones=(60 * EPOCH, 80 * EPOCH), factor=0.1
    ),
    tail=Budget(steps=100 * EPOCH, learning_rate=0.01),
    joint=Budget(
        steps=1000 * EPOCH,
        learning_rate=1e-5,
        milestones=(50 * EPOCH, 150 * EPOCH, 350 * EPOCH),
        factor=0.5,
    ),
)

_BOTTOM = Budget(steps=1000 * EPOCH, learning_rate=1.5e-4, milestones=(500 * EPOCH,), factor=0.2)

PRESETS: Mapping[str, Recipe] = {
    "default": Recipe(
        joint=Budget(
            steps=11_000,  # of 64: a fifth of what iccv2019 draws, however few the layers
            learning_rate=1e-3,
            warmup=500,
            cosine=True,
            weight_decay=1e-4,
            average_decay=0.999,
            clip_norm=1.0,
        ),
        batch_size=64,
        estimated=("layers",),
    ),
    "iccv2019": _ICCV2019,
    "bottom-up": dataclasses.replace(
        _ICCV2019, bottom=_BOTTOM, joint=_BOTTOM, estimated=(), recovered=("z", "layers", "x")
    ),
}
"""By name: `default`; the release's training, `iccv2019`; its second script, `bottom-up`."""


def preset(name: str) -> Recipe:
    """The recipe of that name (SpecError: there is none)."""
    if name not in PRESETS:
        raise SpecError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
