"""A pipeline of diffusers as layers: its steps from pure noise to the image, cut at noise levels.

With a deterministic sampler an image is a function of the noisy x_t at any level t: integrate from
t to 0, then decode. The steps are the pipeline's own: its call is run with the noise that it draws
replaced by x_t and with a part of its timesteps, so whatever the call does (prompts, guidance,
classes) is in every layer. The same steps run backwards give the x_t of any image.
Sources: Song et al., Denoising Diffusion Implicit Models, ICLR 2021 (the sampler, and its
inversion); Lipman et al., Flow Matching, ICLR 2023; Pan et al., Effective Real Image Editing with
Accelerated Iterative Diffusion Inversion, ICCV 2023 (the fixed point of a step).
"""

import contextlib
import copy
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from unseen.core.errors import GeneratorError, SpecError
from unseen.core.user_code import user_code
from unseen.generators.diffusers_pipeline import image_stream
from unseen.generators.layered import GreyToRgb

if TYPE_CHECKING:
    from unseen.generators.diffusers_pipeline import PipelineGenerator

# One step from x_t depends on x_t alone; others draw noise, or remember earlier steps.
DETERMINISTIC = ("DDIMScheduler", "FlowMatchEulerDiscreteScheduler")
PURE, DECODER, IMAGE = "t=1", "decoder", "image"  # the first layer, the last cut, the last layer
ITERATIONS = 30  # of the fixed point of a step backwards at most; 1 is the plain DDIM inversion
TOLERANCE = 1e-5  # root mean square of what a step forwards misses, in units of x_t
_NEAR = 0.06  # from a tenth to the step that is named by it
_SMALL = 1e-3  # a sample that no clipping changes, which shows how a step scales x_t


class _Reached(Exception):  # noqa: N818
    """Ends a call of the pipeline where the wanted tensor is known."""

    def __init__(self, value: Any) -> None:
        super().__init__("the wanted point of the pipeline's call is reached")
        self.value = value


class _GivenNoise(TorchFunctionMode):
    """The first noise that is drawn is what `give` makes of its shape; a second is refused."""

    def __init__(self, give: Callable[[tuple[int, ...]], Tensor]) -> None:
        super().__init__()
        self.give, self.given = give, False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn:
            return func(*args, **kwargs)
        if self.given:
            raise GeneratorError(
                "the pipeline draws noise in its steps, so an image does not follow from x_t; "
                f"add scheduler={DETERMINISTIC[0]} to the spec"
            )
        self.given = True
        noise = self.give(tuple(args[0]))
        return noise.to(device=kwargs.get("device"), dtype=kwargs.get("dtype"))


class Asked(NamedTuple):
    """What passes between layers where images are asked for in several ways: x_t, and how."""

    states: Tensor  # (n, c, h, w)
    which: Tensor  # int64 (n,): the generator's first image that is asked for so

    @property
    def made(self) -> Tensor:
        """What the layer itself made."""
        return self.states

    def plus(self, delta: Tensor) -> "Asked":
        """The same, with something added to x_t."""
        return self._replace(states=self.states + delta)

    def rows(self, rows: Tensor | slice) -> "Asked":
        """Those of some of the images."""
        return Asked(self.states[rows], self.which[rows])


@dataclasses.dataclass(eq=False)
class PipelineSteps:
    """The steps of a pipeline's call, one by one; x_t is in the shape of the noise it draws.

    States are numbered: 0 is pure noise, `count` what is decoded. `which` numbers, for every state,
    an image that is asked for as this one is; nothing: as image 0.
    """

    pipeline: Any  # of diffusers
    arguments: Callable[[Sequence[int]], Mapping[str, Any]]  # of a call that draws these images
    checkpointing: bool = True  # keep a step's input alone for the gradient, and run it again
    dtype: torch.dtype = dataclasses.field(default=torch.float32, init=False)  # of the noise

    def __post_init__(self) -> None:
        name = type(self.pipeline).__name__
        scheduler = self.pipeline.scheduler
        kind, config = type(scheduler).__name__, scheduler.config
        if kind not in DETERMINISTIC or config.get("stochastic_sampling"):
            raise GeneratorError(
                f"{name} steps by {kind}, which cannot be cut at a noise level: it draws noise or "
                f"remembers earlier steps; add scheduler={' or '.join(DETERMINISTIC)} to the spec"
            )
        self._forward = inspect.unwrap(type(self.pipeline).__call__)  # without torch.no_grad
        self.denoiser = self._part("transformer", "unet")
        self.decoder = self._part("vae", "vqvae", "movq")
        if self.denoiser is None or self._forward is type(self.pipeline).__call__:
            raise GeneratorError(
                f"{name} has no transformer or unet through whose call a gradient could pass; "
                "draw its images by index (compare, or invert --method nearest)"
            )
        for part in self.pipeline.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False)
        self._texts: tuple[str, Any] | None = None  # the last prompts that were encoded
        # Where the numbers of one image's noise stand in what is stepped; None: where they were.
        self._order: Tensor | None = None
        with torch.no_grad():
            self._measure()

    @property
    def count(self) -> int:
        """Steps of a call."""
        return len(self.timesteps)

    def integrate(
        self,
        states: Float[Tensor, "n c h w"],
        first: int,
        last: int,
        which: Sequence[int] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """State `last` of what is in state `first`."""
        if first == last:
            return states
        state: Tensor = self._call(states, first, last, which, decoding=False)
        if self._order is not None:
            state = state.flatten(1)[:, self._order.argsort()].reshape(states.shape)
        return state.float()

    def decode(
        self, states: Float[Tensor, "n c h w"], which: Sequence[int] | None = None
    ) -> Float[Tensor, "n 3 h2 w2"]:
        """The images of the last states, which may lie a little outside [−1, 1]."""
        if self.decoder is not None:
            states = self.decoder.decode(self._decoded(states, which)).sample
        return GreyToRgb.forward(states.float())

    def encode(self, images: Float[Tensor, "n 3 h2 w2"]) -> Float[Tensor, "n c h w"]:
        """The last states whose images are most like these: the encoder's means."""
        if self.decoder is None:
            channels = self.shape[0]
            return images if channels == images.shape[1] else images.mean(1, keepdim=True)
        encoded = self.decoder.encode(images.to(self.decoder.dtype))
        if hasattr(encoded, "latent_dist"):
            means: Tensor = encoded.latent_dist.mode()
        else:
            means = encoded.latents if hasattr(encoded, "latents") else encoded.latent
        # What the pipeline decodes is a·x_0 + b, number by number.
        corners = torch.zeros(2, *self.shape, device=means.device)
        corners[1] = 1
        offset, end = self._decoded(corners).float()
        latents: Tensor = (means.float() - offset) / (end - offset)
        return latents

    def undo(
        self, states: Float[Tensor, "n c h w"], step: int, which: Sequence[int] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """The states before a step, found as the fixed point of x ← x + (y − f(x)) / a.

        f is the step and a·x + b·m(x), with the network's answer m. Begun from y, the first
        iteration is the plain DDIM inversion. An image stays at the x that f takes nearest to y.
        """
        scale = self._scale(step)
        best, trial = states, states
        lowest = torch.full((len(states),), torch.inf, device=states.device)
        active = torch.ones_like(lowest, dtype=torch.bool)
        for _ in range(ITERATIONS + 1):
            missed = states - self.integrate(trial, step, step + 1, which)
            size = missed.square().flatten(1).mean(1).sqrt()
            better = active & (size < lowest)
            best = torch.where(better[:, None, None, None], trial, best)
            lowest = torch.where(better, size, lowest)
            active = better & (size > TOLERANCE)
            if not active.any():
                break
            trial = trial + missed / scale
        return best

    def level(self, state: int) -> float:
        """The noise level of a state: 1 is pure noise, 0 none."""
        if state in (0, self.count):
            return float(state == 0)
        return float(self.timesteps[state]) / int(self._scheduler.config.num_train_timesteps)

    def _part(self, *names: str) -> Any:
        parts = (getattr(self.pipeline, name, None) for name in names)
        return next((part for part in parts if isinstance(part, nn.Module)), None)

    def _measure(self) -> None:
        """Run a step on one image: the noise's shape and dtype, the timesteps, the resolution."""
        drawn: list[Tensor] = []

        def give(shape: tuple[int, ...]) -> Tensor:
            drawn.append(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
            return drawn[0]

        sample, self._scheduler = self._first_step(give)
        noise = drawn[0]
        self.shape, self.dtype = tuple(noise.shape[1:]), sample.dtype
        self.timesteps = self._scheduler.timesteps
        given, stepped = noise.to(sample).flatten(), sample[:1].flatten()
        if sample.shape[1:] != noise.shape[1:] and len(given) == len(stepped):
            self._order = self._packing(noise.shape)
            given = given[self._order]
        if noise.ndim != 4 or not torch.equal(given, stepped):
            raise GeneratorError(
                f"{type(self.pipeline).__name__} changes the noise {tuple(noise.shape)} that it "
                f"draws, to {tuple(sample.shape)}, before its first step; such a "
                "pipeline draws images by index and cannot be cut"
            )
        image = self.decode(sample.new_zeros(1, *self.shape))
        if image.shape[2] != image.shape[3]:
            raise GeneratorError(
                f"{type(self.pipeline).__name__} draws {image.shape[3]}×{image.shape[2]} pixels; "
                "inversion needs square images: add size=N to the spec"
            )
        self.resolution, self.device = int(image.shape[3]), sample.device

    def _first_step(self, give: Callable[[tuple[int, ...]], Tensor]) -> Any:
        """What the first step of one image is given, and the scheduler."""
        return self._run([0], give, _Window(0, None, looks=True))

    def _packing(self, shape: Sequence[int]) -> Tensor:
        """Which number of the noise stands at each place of what is stepped, as Flux packs it.

        The numbers' own numbers are given as noise, digit by digit: bf16 has eight bits.
        """
        numbers = torch.arange(math.prod(shape))
        order = torch.zeros_like(numbers)
        base, weight = 256, 1
        while weight < len(numbers):
            digits = (numbers // weight % base).float().reshape(*shape)
            stepped, _ = self._first_step(lambda _, digits=digits: digits)  # type: ignore[misc]
            order += weight * stepped[:1].flatten().round().long().cpu()
            weight *= base
        return order.clamp(0, len(numbers) - 1).to(stepped.device)

    def _decoded(self, states: Tensor, which: Sequence[int] | None = None) -> Tensor:
        """What the pipeline gives its decoder for these last states."""
        decoded: Tensor = self._call(states, self.count, self.count, which, decoding=True)
        return decoded

    def _scale(self, step: int) -> float:
        """How a step scales x_t where the network answers nothing."""
        sample = torch.full((1, 1, 2, 2), _SMALL, dtype=torch.float64)
        scheduler = copy.copy(self._scheduler)
        stepped = scheduler.step(torch.zeros_like(sample), self.timesteps[step], sample)
        return float(stepped.prev_sample.mean()) / _SMALL

    def _call(
        self,
        states: Tensor,
        first: int,
        last: int,
        which: Sequence[int] | None,
        *,
        decoding: bool,
    ) -> Tensor:
        def give(shape: tuple[int, ...]) -> Tensor:
            if shape != states.shape:
                raise GeneratorError(
                    f"the pipeline draws noise of {shape} for {tuple(states.shape)}; one image a "
                    "prompt or class is needed"
                )
            return states

        window = _Window(first, None if decoding else last, decodes=decoding)
        reached: Tensor = self._run([0] * len(states) if which is None else which, give, window)
        return reached

    def _run(
        self,
        which: Sequence[int],
        give: Callable[[tuple[int, ...]], Tensor],
        window: "_Window",
    ) -> Any:
        """A call of the pipeline, up to where the window ends it."""
        replaced = [(self.denoiser, "forward", self._checkpointed(self.denoiser.forward))]
        if self.decoder is not None:
            replaced.append((self.decoder, "decode", _reach))
        if hasattr(self.pipeline, "encode_prompt"):
            encode = self._remembered(self.pipeline.encode_prompt)
            replaced.append((self.pipeline, "encode_prompt", encode))
        window.count = len(which)
        scheduler = window.of(self.pipeline.scheduler)
        try:
            with _instead(self.pipeline, scheduler, replaced), _GivenNoise(give):
                self._forward(self.pipeline, **self.arguments(which), output_type="np")
        except _Reached as reached:
            return reached.value
        raise GeneratorError(f"{type(self.pipeline).__name__} ended without the steps asked for")

    def _remembered(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        """The text encoders' answer, kept while every step of a search asks for the same."""

        @functools.wraps(encode)
        def run(*arguments: Any, **named: Any) -> Any:
            if any(isinstance(value, Tensor) for value in (*arguments, *named.values())):
                return encode(*arguments, **named)
            asked = repr((arguments, sorted(named.items())))
            if self._texts is None or self._texts[0] != asked:
                with torch.no_grad():
                    self._texts = asked, encode(*arguments, **named)
            return self._texts[1]

        return run

    def _checkpointed(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def run(*arguments: Any, **named: Any) -> Any:
            if not (self.checkpointing and torch.is_grad_enabled()):
                return forward(*arguments, **named)
            return checkpoint(
                forward, *arguments, use_reentrant=False, preserve_rng_state=False, **named
            )

        return run


def _reach(decoded: Tensor, *_: Any, **__: Any) -> None:
    raise _Reached(decoded)


@contextlib.contextmanager
def _instead(
    pipeline: Any, scheduler: Any, replaced: Sequence[tuple[Any, str, Any]]
) -> Iterator[None]:
    """The pipeline with another scheduler, and parts with other functions, for a while."""
    own = pipeline.scheduler
    pipeline.scheduler = scheduler
    for part, name, function in replaced:
        part.__dict__[name] = function
    try:
        yield
    finally:
        pipeline.scheduler = own
        for part, name, _ in replaced:
            del part.__dict__[name]


@dataclasses.dataclass
class _Window:
    """A part of the timesteps, and where the call ends."""

    first: int
    last: int | None  # None: the end
    decodes: bool = False  # goes on behind the steps, to the decoder
    looks: bool = False  # ends at the first step, with what it is given and all timesteps
    count: int = 1  # images; a call that guides may double them

    def of(self, scheduler: Any) -> Any:
        """A copy of the scheduler that steps through the window alone.

        Every step is taken by a fresh copy of the one that knows all timesteps.
        """
        window = copy.copy(scheduler)
        whole = copy.copy(scheduler)

        @functools.wraps(scheduler.set_timesteps)
        def set_timesteps(*arguments: Any, **named: Any) -> None:
            whole.set_timesteps(*arguments, **named)
            own = {name: window.__dict__[name] for name in ("set_timesteps", "step")}
            timesteps = whole.timesteps[self.first : self.last]
            vars(window).update({**vars(whole), "timesteps": timesteps, **own})

        @functools.wraps(scheduler.step)
        def step(output: Tensor, timestep: Any, sample: Tensor, *more: Any, **named: Any) -> Any:
            if self.looks:
                raise _Reached((sample, whole))
            stepped = copy.copy(whole).step(output, timestep, sample, *more, **named)
            after = stepped[0] if isinstance(stepped, tuple) else stepped.prev_sample
            if not self.decodes and torch.equal(
                torch.as_tensor(timestep), torch.as_tensor(window.timesteps[-1])
            ):
                raise _Reached(after[: self.count])
            return stepped

        vars(window).update({"set_timesteps": set_timesteps, "step": step})
        return window


class _Named(nn.Sequential):
    """Layers whose names may hold a point, as noise levels do."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(layers)


class _Pure(nn.Module):
    """Latents (n z) in the shape of the noise; a further number says how the image is asked for."""

    def __init__(self, shape: Sequence[int], *, several: bool) -> None:
        super().__init__()
        self.shape, self.several = tuple(shape), several

    def forward(self, latents: Float[Tensor, "n z"]) -> Tensor | Asked:
        size = math.prod(self.shape)
        states = latents[:, :size].reshape(len(latents), *self.shape)
        return Asked(states, latents[:, size].detach().long()) if self.several else states


class _Between(nn.Module):
    """The steps from one state to another."""

    def __init__(self, steps: PipelineSteps, first: int, last: int) -> None:
        super().__init__()
        self.steps, self.first, self.last = steps, first, last

    def forward(self, features: Tensor | Asked) -> Tensor | Asked:
        states, which = _parts(features)
        states = self.steps.integrate(states, self.first, self.last, which)
        return features._replace(states=states) if isinstance(features, Asked) else states


class _Image(nn.Module):
    """The last steps and the decoder. It holds the weights of both networks."""

    def __init__(self, steps: PipelineSteps, first: int) -> None:
        super().__init__()
        self.steps, self.first = steps, first
        self.denoiser, self.decoder = steps.denoiser, steps.decoder

    def forward(self, features: Tensor | Asked) -> Float[Tensor, "n 3 h2 w2"]:
        states, which = _parts(features)
        states = self.steps.integrate(states, self.first, self.steps.count, which)
        return self.steps.decode(states, which)


def _parts(features: Tensor | Asked) -> tuple[Tensor, list[int] | None]:
    """x_t, and how every image is asked for where that differs."""
    if isinstance(features, Asked):
        return features.states, features.which.tolist()
    return features, None


@dataclasses.dataclass(eq=False)
class NoiseLevels:
    """A pipeline's generator as a layered one: its layers are noise levels.

    The first layer, `t=1`, is pure noise. Further ones are x_t at the steps nearest to t = 0.9,
    0.8, …, 0.1, as far as there is a step within 0.06. Behind `decoder` the decoder alone is left.
    Where images are asked for in several ways (prompts, classes), the latents hold one number more:
    the first image that is asked for so. `ask` sets it.

    Raises:
        GeneratorError: its sampler draws noise or remembers earlier steps, its images are not
            square, or no gradient passes through its call.
        SpecError: it is offloaded.

    >>> load_layered("diffusers:churchyard").layer_names  # doctest: +SKIP
    ('t=1', 't=0.9', 't=0.8', …, 't=0.1', 'decoder', 'image')
    """

    generator: "PipelineGenerator"

    perturbs_cut_alone: ClassVar[bool] = True  # δ is of x_t: what lies before it is not run

    def __post_init__(self) -> None:
        own = self.generator
        texts = own.conditions(range(max(len(own.prompts), len(own.classes)))) or []
        # Every way of asking → the first image that is asked for so.
        self._ways = {text: index for index, text in reversed(list(enumerate(texts)))}
        self.asks_each = len(self._ways) > 1
        if any(hasattr(part, "_hf_hook") for part in own.pipeline.components.values()):
            raise SpecError(f"{own.spec} has offload, through which no gradient passes; leave it")
        with user_code(own.spec, GeneratorError):
            self.steps = PipelineSteps(own.pipeline, own.asked, own.checkpointing)
        self._states = self._named_states()
        self.layer_names = (*self._states, IMAGE)
        inner = [name for name in self._states if name != DECODER]
        self.default_cut = min(
            inner, key=lambda name: abs(self.steps.level(self._states[name]) - 0.5)
        )
        self.noise_shape = self.steps.shape  # of one image's latents: a map of neighbours
        self.latent_size = math.prod(self.noise_shape) + self.asks_each
        self.resolution = self.steps.resolution
        levels = {name: self.steps.level(state) for name, state in self._states.items()}
        self.provenance: Mapping[str, Any] = {
            **own.provenance,
            "levels": levels,
            "backwards": {"iterations": ITERATIONS, "tolerance": TOLERANCE},
        }

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """What every image was asked for."""
        return self.generator.conditions(indices)

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> Float[Tensor, "n 3 h w"]:
        """The images with these indices, by the pipeline's own call."""
        return self.generator.draw(indices, seed=seed)

    def latents(self, indices: Iterable[int], *, seed: int = 1) -> Float[Tensor, "n z"]:
        """The noise from which the pipeline draws these images."""
        shape, indices = (1, *self.steps.shape), list(indices)
        rows = [
            torch.randn(shape, generator=image_stream(seed, k), dtype=self.steps.dtype).flatten(1)
            for k in indices
        ]
        noise = torch.cat(rows).float().to(self.steps.device)
        return self.ask(noise, self.conditions(indices) or []) if self.asks_each else noise

    def ask(self, latents: Float[Tensor, "n z"], texts: Sequence[str]) -> Float[Tensor, "n y"]:
        """The same noise, of images that are asked for by these texts.

        Raises:
            SpecError: a text that is none of the generator's prompts or classes.
        """
        if not self.asks_each:
            return latents
        noise = latents[:, : math.prod(self.noise_shape)]
        return torch.cat([noise, noise.new_tensor(self._which(texts))[:, None]], dim=1)

    def _which(self, texts: Sequence[str]) -> list[int]:
        """The first images that are asked for by these texts."""
        if unknown := [text for text in texts if text not in self._ways]:
            known = ", ".join(repr(text) for text in list(self._ways)[:3])
            raise SpecError(
                f"{self.generator.spec} is not asked for {unknown[0]!r}, but for {known}, …; add "
                "it to the file of prompts, such as prompts=photos/metadata.jsonl"
            )
        return [self._ways[text] for text in texts]

    def __call__(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [−1, 1], in float32 and without gradient."""
        head, tail = self.split(PURE)
        with torch.no_grad():
            images: Tensor = tail(head(latents.to(self.steps.device)))
        return images.clamp(-1, 1)

    def split(self, layer: str) -> tuple[nn.Module, nn.Module]:
        """Head (latents → x_t) and tail (x_t → images).

        Raises:
            SpecError: there is no such level.
        """
        if layer not in self.layer_names:
            raise SpecError(
                f"the generator has no layer {layer!r}; it has {', '.join(self.layer_names)}"
            )
        pure = _Pure(self.steps.shape, several=self.asks_each)
        layers: dict[str, nn.Module] = {PURE: pure}
        earlier = 0
        for name, state in self._states.items():
            if name != PURE:
                layers[name] = _Between(self.steps, earlier, state)
            earlier = state
            if name == layer:
                return _Named(layers).eval(), _Named({IMAGE: _Image(self.steps, state)}).eval()
        layers[IMAGE] = _Image(self.steps, earlier)
        return _Named(layers).eval(), nn.Identity().eval()

    def backwards(
        self, images: Float[Tensor, "n 3 h w"], asked: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """What leads to these images: the encoder's answer, then every step undone.

        Args:
            images: in [−1, 1], of the generator's resolution.
            asked: the prompt or class of each, where the generator has several.

        Returns:
            The noise of each image as `z` (n z), and x_t (n c h w) by the layer's name; where
            images are asked for in several ways, as `Asked`.
        """
        which = self._which(asked or []) if self.asks_each else None
        names = {state: name for name, state in self._states.items()}
        found: dict[str, Any] = {}
        with torch.no_grad():
            states = self.steps.encode(images.to(self.steps.device))
            for state in range(self.steps.count, -1, -1):
                if state < self.steps.count:
                    states = self.steps.undo(states, state, which)
                if state in names:
                    found[names[state]] = (
                        states
                        if which is None
                        else Asked(states, torch.tensor(which, device=states.device))
                    )
        return {**found, "z": self.ask(states.flatten(1), asked or [])}

    def _named_states(self) -> dict[str, int]:
        """The states at which the pipeline may be cut, by name; t = 0.5 chooses first."""
        free = {state: self.steps.level(state) for state in range(1, self.steps.count)}
        tenths = {}
        for tenth in sorted((t / 10 for t in range(9, 0, -1)), key=lambda t: abs(t - 0.5)):
            nearest = min(free, key=lambda state: abs(free[state] - tenth), default=None)
            if nearest is not None and abs(free[nearest] - tenth) <= _NEAR:
                tenths[tenth] = nearest
                del free[nearest]
        named = {f"t={tenth:g}": tenths[tenth] for tenth in sorted(tenths, reverse=True)}
        return {PURE: 0, **named} | ({DECODER: self.steps.count} if self.steps.decoder else {})
