"""A learner of one network and one optimiser, and the parts that any learner may use.

Segmenter and layer inverters are this learner with different losses; a GAN's learner has two
optimisers and uses the parts (`Arithmetic`, `MovingAverage`) alone.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import torch

from unseen.core.devices import warn_of_slow_bf16
from unseen.inversion.training_loop import evaluating

Module = TypeVar("Module", bound=torch.nn.Module)
Losses = Mapping[str, torch.Tensor]
"""Scalars by name; `loss` is the one that is minimised."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a network computes; weights and optimiser stay in fp32 either way."""

    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast
    channels_last: bool = False  # memory order of images; faster convolutions on most hardware

    def place(self, network: Module, device: torch.device) -> Module:
        """Move a network to its device and memory order."""
        warn_of_slow_bf16(device.type, self.precision)
        network.to(device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def images(self, images: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Move a batch (n, c, h, w) to its device and memory order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(device, memory_format=order)

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """The context in which the network runs forwards."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


class MovingAverage:
    """Exponential moving average of a network's weights; buffers are copied.

    The decay warms up as min(decay, (1 + t) / (10 + t)): the random start is soon forgotten.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Take one step towards `network`."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        average: list[torch.Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(average, list(network.parameters()), 1 - decay)
        for kept, current in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Weights and the number of updates."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]


class NetworkLearner:
    """One network, one optimiser; gradients are reset at every step.

    Attributes:
        network: what is trained.
        average: its moving average, or None.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: Callable[[torch.nn.Module, int, torch.Generator], Losses],
        *,
        device: torch.device,
        arithmetic: Arithmetic | None = None,
        learning_rate: Callable[[int], float] | None = None,
        average_decay: float | None = None,
        clip_norm: float | None = None,
        validation: Callable[[torch.nn.Module], Mapping[str, float]] | None = None,
    ) -> None:
        """Hold them together.

        Args:
            network: placed on `device` already.
            optimizer: over the network's parameters.
            losses: draws batch `index` from the generator and gives its losses; run in autocast.
            device: where the network is.
            arithmetic: precision and memory order; fp32 by default.
            learning_rate: step → learning rate; the optimiser's own if None.
            average_decay: decay of a moving average that validation then uses.
            clip_norm: largest gradient norm.
            validation: measures a network that is in evaluation mode.
        """
        self.network = network
        self.optimizer = optimizer
        self.average = None if average_decay is None else MovingAverage(network, average_decay)
        self._losses = losses
        self._device = device
        self._arithmetic = arithmetic or Arithmetic()
        self._learning_rate = learning_rate
        self._clip_norm = clip_norm
        self._validation = validation

    @property
    def result(self) -> torch.nn.Module:
        """The network to keep: the moving average where there is one."""
        return self.network if self.average is None else self.average.network

    def step(self, index: int, generator: torch.Generator) -> Mapping[str, float | torch.Tensor]:
        """Reset gradients, go forwards, backwards and one optimiser step."""
        if self._learning_rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(index)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._arithmetic.autocast(self._device):
            losses = self._losses(self.network, index, generator)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        return {name: value.detach() for name, value in losses.items()}

    def validate(self) -> Mapping[str, float]:
        """Measure `result` in evaluation mode without gradients."""
        if self._validation is None:
            return {}
        with evaluating(self.result), self._arithmetic.autocast(self._device):
            return self._validation(self.result)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, moving average."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
