"""A ProGAN trained against its discriminator: a stage for the training loop.

Non-saturating loss, lazy R1 penalty, equalised learning rates, moving average of the generator.
All resolutions are trained at once: at 64×64 growing them one by one brings nothing.
Source: Goodfellow et al., 2014 (loss); Mescheder et al., 2018 (R1); Karras et al., 2020 (lazy R1);
Sønderby et al., 2017 (instance noise); Zhao et al., 2020 (differentiable augmentation).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from lab.augmentation import augment
from lab.discriminator import Discriminator
from unseen.generators.progan import ProGAN
from unseen.images.pixels import to_unit
from unseen.inversion.network_learner import Arithmetic, MovingAverage
from unseen.inversion.training_loop import Learner, evaluating

Batches = Callable[[int], Iterator[UInt8[np.ndarray, "n 3 h w"]]]
"""From the number of a step, the endless batches of real images from that step on."""

Inspection = Callable[[nn.Module, int], Mapping[str, float]]
"""Looks at the averaged generator after so many images; what it returns goes to the log."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialStage:
    """Train a generator and its discriminator; more images later go on from the last checkpoint."""

    batches: Batches  # real images
    data: str  # what the batches are, e.g. a spec: part of the training's identity
    images: int  # real images shown, those of the start too; whole batches of them
    widths: tuple[int, ...] = (64, 64, 64, 48, 32, 16)  # latent, 4×4, 8×8, …, 64×64
    discriminator_widths: tuple[int, ...] | None = None  # 4×4, 8×8, …; None: the generator's
    batch_size: int = 32
    learning_rate: float = 1.5e-3  # Adam(0, 0.99), both networks
    r1_gamma: float = 0.2  # penalty γ/2 E|∇D|²
    r1_every: int = 16  # steps between penalties, each of them as much larger
    augmentation: tuple[str, ...] = ()  # changes of all that the discriminator sees
    instance_noise: float = 0.0  # deviation of what the discriminator's images get, of −1 to 1
    average_decay: float = 0.998  # of the generator kept
    arithmetic: Arithmetic = dataclasses.field(default_factory=Arithmetic)
    start: Mapping[str, Any] | None = (
        None  # an earlier learner's state, which this one goes on from
    )
    shown: int = 0  # of `images`, those that the start has been shown
    inspect: Inspection | None = None  # called when the loop validates
    name: str = "generator"

    @property
    def steps(self) -> int:
        """Whole batches."""
        return (self.images - self.shown) // self.batch_size

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the weights after so many images."""
        return {
            "data": self.data,
            "widths": self.widths,
            "discriminator_widths": self.discriminator_widths,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "r1": [self.r1_gamma, self.r1_every],
            **({"augmentation": self.augmentation} if self.augmentation else {}),
            **({"instance_noise": self.instance_noise} if self.instance_noise else {}),
            "average_decay": self.average_decay,
            "arithmetic": dataclasses.asdict(self.arithmetic),
            **({"shown": self.shown} if self.start is not None else {}),
        }

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> "AdversarialLearner":
        """Fresh networks with N(0, 1) weights, or those of the start."""
        del earlier
        learner = AdversarialLearner(self, device)
        if self.start is not None:
            learner.load_state_dict(self.start)
            learner.restart(self.learning_rate)
        return learner


class AdversarialLearner:
    """Both networks and both optimisers.

    Attributes:
        generator: what is trained.
        discriminator: its opponent.
        average: the generator's moving average, which is what to keep.
    """

    def __init__(self, stage: AdversarialStage, device: torch.device) -> None:
        self._stage = stage
        self._device = device
        place = stage.arithmetic.place
        self.generator = place(ProGAN(stage.widths), device)
        widths = stage.discriminator_widths or stage.widths[1:]
        self.discriminator = place(Discriminator(widths), device)
        self.average = MovingAverage(self.generator, stage.average_decay)
        self._optimizers = {
            name: torch.optim.Adam(
                network.parameters(), stage.learning_rate, betas=(0.0, 0.99), fused=True
            )
            for name, network in self._networks().items()
        }
        self._batches: Iterator[UInt8[np.ndarray, "n 3 h w"]] | None = None
        self._next_step = 0  # whose real images the batches give next

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def images_shown(self) -> int:
        """Real images that the discriminator has been shown."""
        return self._stage.shown + self._next_step * self._stage.batch_size

    def restart(self, learning_rate: float) -> None:
        """Go on as another training: its steps are counted from 0, its learning rate holds."""
        self._next_step = 0
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate

    def step(self, index: int, generator: torch.Generator) -> Mapping[str, float | Tensor]:
        """One update of the discriminator, then one of the generator, on the same latents."""
        real = self._real(index)
        latents = torch.randn(len(real), self._stage.widths[0], generator=generator)
        with self._stage.arithmetic.autocast(self._device):
            generated = self.generator(latents.to(self._device))
        penalise = index % self._stage.r1_every == 0
        seen = [self._seen(images, generator) for images in (real, generated.detach(), generated)]
        losses = self._step_discriminator(seen[0], seen[1], penalise)
        losses |= self._step_generator(seen[2])
        self.average.update(self.generator)
        self._next_step = index + 1
        return losses

    def _real(self, index: int) -> Float[Tensor, "n 3 h w"]:
        if self._batches is None or index != self._next_step:
            self._batches = self._stage.batches(index)
        images = torch.from_numpy(to_unit(next(self._batches)))
        return self._stage.arithmetic.images(images, self._device)

    def _seen(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 h w"]:
        """What the discriminator sees of them: real and generated images by the same law.

        Noise, since a generator without noise of its own draws no grain.
        """
        images = augment(images, self._stage.augmentation, generator)
        if not self._stage.instance_noise:
            return images
        noise = torch.randn(images.shape, generator=generator) * self._stage.instance_noise
        return images + self._stage.arithmetic.images(noise, self._device).to(images.dtype)

    def _step_discriminator(
        self,
        real: Float[Tensor, "n 3 h w"],
        generated: Float[Tensor, "n 3 h w"],
        penalise: bool,
    ) -> dict[str, Tensor]:
        stage = self._stage
        with stage.arithmetic.autocast(self._device):
            # Groups of the minibatch deviation are of consecutive images: the halves do not mix.
            scores = self.discriminator(torch.cat([real.to(generated.dtype), generated])).float()
        real_score, generated_score = scores.flatten().chunk(2)
        loss = functional.softplus(generated_score).mean() + functional.softplus(-real_score).mean()
        total = loss
        losses = {"discriminator_loss": loss.detach()}
        if penalise:  # in fp32: the squares of small gradients
            images = real.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                self.discriminator(images).sum(), images, create_graph=True
            )
            penalty = gradient.square().sum(dim=(1, 2, 3)).mean()
            total = loss + stage.r1_gamma / 2 * stage.r1_every * penalty
            losses["squared_gradient"] = penalty.detach()
        self._optimizers["discriminator"].zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._optimizers["discriminator"].step()
        return losses | {
            "real_score": real_score.detach().mean(),
            "generated_score": generated_score.detach().mean(),
        }

    def _step_generator(self, generated: Float[Tensor, "n 3 h w"]) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        with self._stage.arithmetic.autocast(self._device):
            scores = self.discriminator(generated)
        loss = functional.softplus(-scores.float()).mean()
        self._optimizers["generator"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizers["generator"].step()
        self.discriminator.requires_grad_(True)
        return {"generator_loss": loss.detach()}

    def validate(self) -> Mapping[str, float]:
        """What the stage's inspection says of the averaged generator."""
        if self._stage.inspect is None:
            return {}
        with evaluating(self.average.network):
            return self._stage.inspect(self.average.network, self.images_shown)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, moving average."""
        return {
            "step": self._next_step,
            "average": self.average.state_dict(),
            **{name: network.state_dict() for name, network in self._networks().items()},
            **{f"{name}_adam": adam.state_dict() for name, adam in self._optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described."""
        self._batches = None
        self._next_step = state["step"]
        self.average.load_state_dict(state["average"])
        for name, network in self._networks().items():
            network.load_state_dict(state[name])
        for name, adam in self._optimizers.items():
            adam.load_state_dict(state[f"{name}_adam"])
