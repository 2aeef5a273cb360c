"""The six ways of the paper to reconstruct an image, through one interface.

(a) optimise z from a random start; (b) the z of an encoder that was trained end to end; (c)
optimise z from b; (d) the z of the layer-wise inverter E; (e) optimise z from d; (f) from E(x),
optimise perturbations δ_i of chosen layers: r = δ_n + g_n(…(δ_1 + g_1(E(x)))), x' = G_f(r).
Without an inverter d, e and f begin elsewhere, as `unseen.inversion.starts` says.

a to e lie in the range of G and show what G can draw; f searches a larger set and bounds from
above what any r could give. A seventh way, `nearest`, is in `unseen.inversion.nearest`.
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, section 3.2 and figure 6.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unseen.core.errors import ImageError, SpecError
from unseen.core.options import Option
from unseen.generators import LayeredGenerator
from unseen.inversion.inversions import METHODS, Method
from unseen.inversion.inverter import Inverter
from unseen.inversion.layers import Features, made_by_layer, plus_delta, rows_of, split_generator
from unseen.inversion.nearest import NearestSample
from unseen.inversion.optimise import LBFGS, SOAP, Adam, Optimiser, in_company, in_pairs, minimise
from unseen.inversion.perceptual import PERCEPTUAL_NAMES, Perceptual, PerceptualName
from unseen.inversion.starts import (
    Begun,
    Start,
    StartName,
    Targets,
    asks_each,
    check_latents_are_free,
    from_anywhere,
    from_nearest,
    from_network,
    from_noise,
    start_name,
)

Distance = Literal["l1", "mse"]

# Chosen by measurement, which docs/inversion.md tells: the loss is ill-conditioned and without
# noise, which long momentum suits. Larger rates throw images that begin near their solution, as
# the controls do, out of its basin.
DEFAULT_OPTIMISER = Adam(steps=780, learning_rate=0.03, momentum=0.98, falling=True)


def _layers(text: str) -> int | tuple[str, ...]:
    if text.isdecimal():
        return int(text)
    return tuple(part.strip() for part in text.split(","))


Steps = Annotated[
    int | None, Option("Steps of the optimiser, at most. Default: the preset's.", min=1)
]
Cut = Annotated[
    str | None,
    Option(
        "Layer whose features are r. Default: the inverter's last layer; without an inverter the "
        "last one whose features are at most 8×8."
    ),
]
Samples = Annotated[
    int,
    Option("Samples that method nearest, and start nearest, look among. Default: 1000.", min=2),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inversion:
    """How an image is reconstructed: which method, what is searched, and what is minimised.

    The loss of one image is mean |x' − x| + perceptual_weight · distance of the features +
    regularisation · Σ_i mean(δ_i²); the last for method f alone. Method nearest minimises nothing:
    `NearestSamples` says what its weight and window mean.

    >>> Inversion(method="d").method
    'd'
    """

    method: Method = "f"
    start: Annotated[
        StartName | None,
        Option(
            "What methods d, e and f begin from: the inverter; the nearest of --samples samples; "
            "or noise, by running a diffusion pipeline backwards. Default: the inverter where "
            "there is one, else noise for such a pipeline, else nearest."
        ),
    ] = None
    cut: Cut = None
    perturbed: Annotated[
        int | tuple[str, ...] | None,
        Option(
            "Layers that method f perturbs: layer1,layer3, or 3 for the first three. Default: the "
            "preset's, which is all layers up to the cut.",
            metavar="LAYERS",
            parse=_layers,
        ),
    ] = None
    optimiser: Optimiser = DEFAULT_OPTIMISER
    perceptual: Annotated[
        PerceptualName,
        Option(
            "Features that are compared beside pixels. Default: the preset's; for the churchyard "
            "its segmenter's instead of vgg16."
        ),
    ] = "vgg16"
    normalised: bool = True  # VGG-16's input by ImageNet's mean and deviation
    perceptual_weight: float = 1.0
    perceptual_distance: Distance = "l1"  # mean of |difference|, or of its square
    regularisation: Annotated[
        float,
        Option("Weight of the squared perturbations (λ_reg). Default: the preset's.", max=1e9),
    ] = 1.0
    seed: int = 0  # of method a's random latents
    samples: Samples = 1000
    window: Annotated[
        float,
        Option(
            "How far around a spot method nearest compares, as a share of the image's side. "
            "Default: 0.02.",
            max=1,
        ),
    ] = 0.02

    def to_json(self) -> dict[str, Any]:
        """All that decides the result, as JSON."""
        optimiser = {
            "name": type(self.optimiser).__name__.lower(),
            **dataclasses.asdict(self.optimiser),
        }
        return {**dataclasses.asdict(self), "optimiser": optimiser}


PRESETS: Mapping[str, Inversion] = {
    "default": Inversion(),
    # The release's optimisation of layers: one image at a time there, the same steps here.
    "iccv2019": Inversion(
        perturbed=3,
        optimiser=Adam(steps=3000, learning_rate=0.01, halved_at=(800, 1200, 1800)),
        normalised=False,
    ),
    # The release's optimisation of z, for methods a, c and e: L1 + 0.25 · mean (E(x') − E(x))².
    "iccv2019-z": Inversion(
        method="e",
        optimiser=LBFGS(steps=3000),
        perceptual="latents",
        perceptual_weight=0.25,
        perceptual_distance="mse",
    ),
    # In two thirds of the default's time, the loss of photographs is lower and that of controls
    # higher: docs/inversion.md.
    "soap": Inversion(
        optimiser=SOAP(steps=480, learning_rate=0.06, momentum=0.97, falling=True),
    ),
    # In a fifth of the default's time, for many images and first looks: docs/inversion.md.
    "quick": Inversion(
        optimiser=Adam(steps=150, learning_rate=0.08, momentum=0.9, falling=True),
    ),
}


def inversion_preset(name: str, **changes: Any) -> Inversion:
    """A preset's settings with some of them changed.

    Args:
        name: of `PRESETS`.
        changes: fields of `Inversion`; `steps` is the optimiser's.

    Raises:
        SpecError: no such preset, method, features or number of steps.

    >>> inversion_preset("quick", cut="layer2").cut
    'layer2'
    """
    if name not in PRESETS:
        raise SpecError(f"no preset is called {name!r}; known: {', '.join(PRESETS)}")
    settings = PRESETS[name]
    steps = changes.pop("steps", None)
    if steps is not None:
        if steps < 1:
            raise SpecError(f"{steps} steps were asked for; at least 1 is needed")
        changes["optimiser"] = dataclasses.replace(settings.optimiser, steps=steps)
    for field, what, known in (
        ("method", "method is", METHODS),
        ("perceptual", "perceptual features are", PERCEPTUAL_NAMES),
    ):
        if changes.get(field, known[0]) not in known:
            raise SpecError(f"no {what} called {changes[field]!r}; known: {', '.join(known)}")
    return dataclasses.replace(settings, **changes)


@dataclasses.dataclass(frozen=True, eq=False)
class Inverted:
    """What was found for one image; without a batch axis. Where it failed, tensors are NaN."""

    row: int  # in the batch
    reconstruction: Tensor  # (3, h, w), in [−1, 1]
    latents: Tensor  # (z,): what was found, or of method f what it began from
    features: Tensor  # r at the cut
    deltas: Mapping[str, Tensor]  # by layer; method f's
    loss: float
    terms: Mapping[str, float]  # "pixel", "perceptual", "regularisation": before weighting
    steps: int  # evaluations of loss and gradient
    failed: str | None = None
    label_map: None = None  # to be segmented

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is kept of it."""
        return {
            "latents": self.latents,
            "features": self.features,
            "reconstruction": self.reconstruction,
            **{f"delta.{layer}": delta for layer, delta in self.deltas.items()},
        }


class PreparedMethod:
    """One method, made ready for a generator; called with a batch of images.

    Attributes:
        split: the generator, cut.
        perturbed: the layers that method f perturbs.
        cut_alone: whether these are the cut alone unless the settings say otherwise.
    """

    def __init__(
        self,
        generator: LayeredGenerator,
        inverter: Inverter | None,
        settings: Inversion,
        *,
        encoder: Inverter | None = None,
        nearest: NearestSample | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """Check that everything goes together.

        Args:
            generator: one that can be split into layers.
            inverter: E, for start `inverter` of methods d, e and f.
            settings: the method, what is searched, and what is minimised.
            encoder: one that was trained end to end, for methods b and c.
            nearest: the samples, for start `nearest`; several methods may share them. None: drawn
                for this one.
            perceptual: the features that the settings name (see `load_perceptual`).

        Raises:
            GeneratorError: the generator cannot be split, or not there.
            SpecError: the method needs an inverter or encoder that is not given or is another
                generator's; a layer that is not there; features other than the settings name.
        """
        if settings.method == "nearest":
            raise SpecError(
                "method nearest inverts nothing: it is a mosaic of samples; use `NearestSamples`, "
                "or `unseen invert --method nearest`"
            )
        self.settings, self.perceptual = settings, perceptual
        guide = inverter or encoder
        for name, network in (("inverter", inverter), ("encoder", encoder)):
            if network is not None:
                _check(network, generator, name)
        own = getattr(generator, "default_cut", None)
        cut = settings.cut or (own if guide is None else guide.layer_names[-1])
        self.split = split_generator(generator, cut, more=True)
        self.generator = generator
        self.cut_alone: bool = getattr(generator, "perturbs_cut_alone", False)
        if settings.perturbed is None and self.cut_alone:
            settings = dataclasses.replace(settings, perturbed=(self.split.cut,))
        self.perturbed = perturbed_layers(settings, self.split.shapes.layer_names)
        # What d, e and f begin from; the others have a start of their own.
        self.start: StartName | None = None
        if settings.method in ("d", "e", "f"):
            self.start = start_name(settings.start, generator, inverter)
        if (perceptual is None) != (settings.perceptual == "none") or (
            perceptual is not None and perceptual.name != settings.perceptual
        ):
            given = "none" if perceptual is None else perceptual.name
            raise SpecError(
                f"the settings name the perceptual features {settings.perceptual!r} and {given!r} "
                "were given; load the ones named"
            )
        self._start = self._begun_by(inverter, encoder, nearest)

    def __call__(
        self,
        images: Float[Tensor, "n 3 h w"],
        *,
        numbers: Sequence[int] | None = None,
        asked: Sequence[str] | None = None,
    ) -> Iterator[Inverted]:
        """Reconstruct a batch; images come in the order in which they are finished.

        Args:
            images: in [−1, 1], of the generator's resolution.
            numbers: of the images, from which method a's random starts follow; 0, 1, … unless told.
            asked: the prompt or class of each image, where the generator has several.

        Yields:
            Each image once.

        Raises:
            ImageError: another resolution.
            SpecError: prompts or classes are needed, or one is none of the generator's.
        """
        side = self.generator.resolution
        if images.shape[2:] != (side, side):
            raise ImageError(
                f"images of {images.shape[3]}×{images.shape[2]} for a generator of {side}×{side}; "
                "prepare them to its resolution"
            )
        numbers = range(len(images)) if numbers is None else numbers
        problem = self.problem(images, numbers, asked)
        settings = self.settings
        if settings.method in ("b", "d"):
            for row in range(len(images)):
                yield problem.solved(row, problem.start[row], 0, None)
            return
        searches = minimise(problem.loss, problem.start, settings.optimiser, problem.shapes)
        for ended in searches:
            yield problem.solved(ended.row, ended.point, ended.steps, ended.failed)

    def problem(
        self,
        images: Float[Tensor, "n 3 h w"],
        numbers: Sequence[int],
        asked: Sequence[str] | None = None,
    ) -> "Problem":
        """What is minimised for a batch, and where that begins."""
        if asked is None and asks_each(self.generator):
            raise SpecError(
                "the generator asks for images in several ways, and nobody says how for these; "
                "give the prompt or class of each (asked)"
            )
        images = images.to(self.generator.latents(range(1)).device)
        with torch.no_grad():
            return Problem(self, images, self._start(Targets(images, numbers, asked)))

    def _begun_by(
        self, inverter: Inverter | None, encoder: Inverter | None, nearest: NearestSample | None
    ) -> Start:
        """What the searches begin from."""
        settings, generator = self.settings, self.generator
        method = settings.method
        if method in ("a", "c", "e"):
            check_latents_are_free(generator, method)
        if method == "a":
            return from_anywhere(generator, settings.seed)
        if method in ("b", "c"):
            return from_network(_needed(encoder, "encoder that was trained end to end", method))
        if self.start == "inverter":
            return from_network(_needed(inverter, "inverter", method))
        if self.start == "noise":
            return from_noise(generator)
        return from_nearest(
            generator, nearest or nearest_sample(generator, settings, self.perceptual)
        )


def nearest_sample(
    generator: LayeredGenerator, settings: Inversion, perceptual: Perceptual | None
) -> NearestSample:
    """The samples of start `nearest`, compared by what the settings minimise."""
    return NearestSample(
        generator,
        settings.samples,
        perceptual=perceptual,
        weight=settings.perceptual_weight,
        device=generator.latents(range(1)).device,
    )


def perturbed_layers(settings: Inversion, layer_names: Sequence[str]) -> tuple[str, ...]:
    """The layers that method f perturbs, in the generator's order; none for the others.

    Args:
        settings: `perturbed` counts layers or names them; None: all.
        layer_names: the generator's up to the cut.

    Raises:
        SpecError: a layer that is not one of these, or none at all.
    """
    if settings.method != "f":
        return ()
    names, asked = tuple(layer_names), settings.perturbed
    if asked is None:
        return names
    if isinstance(asked, int):
        if not 1 <= asked <= len(names):
            raise SpecError(
                f"{asked} perturbed layers were asked for; there are {len(names)} up to the cut "
                f"{names[-1]!r}"
            )
        return names[:asked]
    if unknown := [name for name in asked if name not in names]:
        raise SpecError(
            f"layer {unknown[0]!r} cannot be perturbed; up to the cut there are {', '.join(names)}"
        )
    if not asked:
        raise SpecError("method f needs a layer to perturb; name one, or use method d")
    return tuple(name for name in names if name in asked)


def _needed(network: Inverter | None, what: str, method: Method) -> Inverter:
    """The network, where it is given."""
    if network is None:
        raise SpecError(f"method {method} needs an {what}, and none is given; name one")
    return network


def _check(inverter: Inverter, generator: LayeredGenerator, what: str) -> None:
    """Refuse another generator's inverter; its file's hash is checked when it is loaded."""
    for name, size, needed in (
        ("latent size", inverter.latent_size, generator.latent_size),
        ("resolution", inverter.resolution, generator.resolution),
    ):
        if size != needed:
            raise SpecError(
                f"the {what} is for another generator: its {name} is {size}, the generator's "
                f"{needed}; load the one that was trained for it"
            )
    cut = inverter.layer_names[-1]
    if generator.layer_names and cut not in generator.layer_names:
        raise SpecError(
            f"the {what} is for another generator: it inverts {cut!r}, which is not one of its "
            f"layers {', '.join(generator.layer_names)}"
        )


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A batch that was drawn: from latents, through features at the cut, to images."""

    latents: Tensor
    features: Tensor  # what the layer at the cut made
    deltas: Mapping[str, Tensor]
    images: Tensor


class Problem:
    """What is minimised for a batch: points (m, d) of some of its rows → losses (m,)."""

    def __init__(self, prepared: PreparedMethod, images: Tensor, begun: Begun) -> None:
        self.prepared, self.settings = prepared, prepared.settings
        self.images, self.latents = images, begun.latents
        self.start = begun.latents
        self.shapes: list[tuple[int, ...]] = [tuple(begun.latents.shape[1:])]
        if prepared.perturbed:
            names = prepared.split.shapes.layer_names
            self.shapes = [
                prepared.split.shapes.features[names.index(name)] for name in prepared.perturbed
            ]
            self.first = names.index(prepared.perturbed[0])
            # Below the first perturbed layer nothing changes: g_i(…g_1(z0)).
            first = names[self.first]
            self.base: Features
            if first in begun.features:
                self.base = begun.features[first]
            else:
                layers = prepared.split.head(in_pairs(self.latents))
                self.base = rows_of(layers[self.first], slice(len(images)))
            lengths = sum(int(np.prod(size)) for size in self.shapes)
            self.start = torch.zeros(len(images), lengths, device=images.device)
        self.wanted = None
        if prepared.perceptual is not None:
            self.wanted = in_company(prepared.perceptual.features, images)

    def loss(self, points: Tensor, rows: Tensor) -> Tensor:
        """What is minimised, for each row."""
        return self._weighted(self._terms(self._draw(points, rows), rows))

    def solved(self, row: int, point: Tensor, steps: int, failed: str | None) -> Inverted:
        """One row's result at its last point."""
        rows = torch.tensor([row], device=self.images.device)
        with torch.no_grad():
            drawn = self._draw(point[None], rows)
            terms = self._terms(drawn, rows)
            loss = self._weighted(terms)
        values = {name: float(value) for name, value in terms.items()}
        if failed is None and not loss.isfinite().all():
            failed = f"the loss is not a number after {steps} steps"
        spoilt = torch.nan if failed is not None else 1.0
        return Inverted(
            row=row,
            reconstruction=drawn.images[0].clamp(-1, 1) * spoilt,
            latents=drawn.latents[0],
            features=drawn.features[0] * spoilt,
            deltas={name: delta[0] * spoilt for name, delta in drawn.deltas.items()},
            loss=float(loss) * spoilt,
            terms={name: value * spoilt for name, value in values.items()},
            steps=steps,
            failed=failed,
        )

    def _draw(self, points: Tensor, rows: Tensor) -> _Drawn:
        split = self.prepared.split
        if not self.prepared.perturbed:
            features = split.head(points)[-1]
            return _Drawn(points, made_by_layer(features), {}, split.tail(features))
        parts = torch.split(points, [int(np.prod(size)) for size in self.shapes], dim=1)
        deltas = {
            name: part.reshape(-1, *size)
            for name, part, size in zip(self.prepared.perturbed, parts, self.shapes, strict=True)
        }
        features = rows_of(self.base, rows)
        for index, name in enumerate(split.shapes.layer_names[self.first :], start=self.first):
            if index > self.first:
                features = split.layers[index](features)
            if name in deltas:
                features = plus_delta(features, deltas[name])
        return _Drawn(self.latents[rows], made_by_layer(features), deltas, split.tail(features))

    def _terms(self, drawn: _Drawn, rows: Tensor) -> dict[str, Tensor]:
        """The loss's summands before weighting, for each row."""
        terms = {"pixel": _mean(drawn.images - self.images[rows], "l1")}
        if self.wanted is not None:
            assert self.prepared.perceptual is not None
            features = self.prepared.perceptual.features(drawn.images)
            distance = self.settings.perceptual_distance
            terms["perceptual"] = _mean(features - self.wanted[rows], distance)
        if drawn.deltas:
            squares = [_mean(delta, "mse") for delta in drawn.deltas.values()]
            terms["regularisation"] = torch.stack(squares).sum(0)
        return terms

    def _weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        weights = {
            "pixel": 1.0,
            "perceptual": self.settings.perceptual_weight,
            "regularisation": self.settings.regularisation,
        }
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)


def _mean(difference: Tensor, distance: Distance) -> Tensor:
    """Mean absolute value or square of each row (m, …) → (m,)."""
    values = difference.abs() if distance == "l1" else difference.square()
    return values.flatten(1).mean(1)
