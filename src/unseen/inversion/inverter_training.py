"""Training of inverters: every layer's, the tail's, then all of them together.

Stages for the training loop: `e_1` … `e_n` and `e_f` alone, `bottom_1` … `bottom_n` (e_b … e_1
together), `joint` (E). Which of them there are is a recipe's affair. Latents are fresh at every
step; validation is in evaluation mode, on latents of another stream.
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, section 3.2.
"""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from unseen.core.errors import SpecError
from unseen.core.files import as_path, package_version
from unseen.core.lock import LOCK, locked
from unseen.core.options import SEED_MOST, Option, check_options
from unseen.core.progress import shown
from unseen.generators import Generator, Precision, load_layered
from unseen.inversion.inverter import Inverter, invert_layers
from unseen.inversion.inverter_file import round_to_half, write_inverter
from unseen.inversion.inverter_networks import layer_inverter, tail_inverter
from unseen.inversion.layers import SplitGenerator, split_generator
from unseen.inversion.network_learner import Arithmetic, NetworkLearner
from unseen.inversion.recipes import PRESETS, Budget, LossName, Recipe
from unseen.inversion.training_loop import Learner, Stage, Training, TrainingProgress, train
from unseen.statistics.correlations import correlations

HELD_OUT_SEED = 10_001  # of the latents that validation inverts
Terms = Mapping[str, Tensor]  # losses by name
Pairs = Mapping[str, tuple[Tensor, Tensor]]  # what was true and what was recovered, by name
_VALIDATION_BATCH = 32
_VARIANCE_SEED = 40_004
_VARIANCE_LATENTS = 1_024  # a variance within 5 %


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverterTraining:
    """Train an inverter of a generator; with the same folder it goes on where it stopped.

    >>> InverterTraining(cut="layer2").cut
    'layer2'
    """

    folder: Path | None = None  # checkpoints, logs, `inverter.safetensors`; None: nothing is kept
    cut: Annotated[
        str | None,
        Option("Last layer to invert. Default: the last layer whose features are at most 8×8."),
    ] = None
    recipe: Recipe = PRESETS["default"]
    seed: Annotated[int, Option("Seed of the first weights and of the latents.", max=SEED_MOST)] = 0
    precision: Annotated[
        Precision, Option("Number format of the training: fp32, or bf16 by autocast.")
    ] = "fp32"
    half: Annotated[
        bool, Option("Keep the weights of convolutions as float16, in a file of half the size.")
    ] = False
    held_out: Annotated[int, Option("Images that validation inverts.", min=2)] = 256
    checkpoint_every: int = 500  # steps
    validate_every: int = 1_000  # steps; also after the last of a stage


class TrainingOptions(TypedDict, total=False):
    """The fields of `InverterTraining` but for the folder, as keywords."""

    cut: str | None
    recipe: Recipe
    seed: int
    precision: Precision
    half: bool
    held_out: int
    checkpoint_every: int
    validate_every: int


def train_inverter(
    generator: str | Path | Generator,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    task: InverterTraining | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    **options: Unpack[TrainingOptions],
) -> Inverter:
    """Train an inverter, on the device where the generator's latents are.

    The folder then holds `inverter.safetensors`, and a log (`STAGE.csv`) and a checkpoint of every
    stage.

    Args:
        generator: a generator, or its spec. Its `split` must give a sequence of layers that pass
            plain tensors.
        out: the folder, in place of that of `task`; None there too: nothing is kept.
        device: where a generator that is given by its spec computes.
        task: what to train and where to keep it; None: the default recipe, kept nowhere.
        progress: called when a stage begins or goes on, and after every step; None: a bar in a
            notebook.
        options: fields of `InverterTraining`, in place of those of `task`, e.g. `cut="layer4"`.

    Returns:
        The inverter, in evaluation mode. Its provenance holds, under `held_out`, the correlations
        of held-out latents, features and images, by dimension and pooled.

    Raises:
        GeneratorError: the generator cannot be split.
        SpecError: it has no such layer to cut at, or a setting makes no training.
        RecordError: the folder holds another training.
        TrainingError: a loss is no longer finite; run it again to go on from the last checkpoint.
        StorageError: the folder cannot be written.

    >>> train_inverter("progan:church", "runs/church", cut="layer4")  # doctest: +SKIP
    """
    task = dataclasses.replace(task or InverterTraining(), **options)
    place = task.folder if out is None else out
    task = dataclasses.replace(task, folder=None if place is None else as_path(place))
    generator = load_layered(generator, device=device)
    split = split_generator(generator, task.cut)
    _check(task, split)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_frozen(*split.layers, split.tail))
        folder = task.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        latents = generator.latents(range(task.held_out), seed=HELD_OUT_SEED)
        bench = _Bench(split, task, latents)
        stages = _stages(bench)
        run = Training(
            stages=stages,
            folder=folder,
            seed=task.seed,
            device=str(latents.device),
            checkpoint_every=task.checkpoint_every,
            validate_every=task.validate_every,
        )
        learner = train(run, progress=progress or _bar())["joint"]
        assert isinstance(learner, NetworkLearner)
        inverter = learner.result
        assert isinstance(inverter, Inverter)
        inverter.requires_grad_(True).eval()
        if task.half:
            round_to_half(inverter)  # before it is measured
        inverter.provenance = {
            "generator": dict(generator.provenance),
            "generator_tensors_sha256": bench.weights_sha256,
            "recipe": dataclasses.asdict(task.recipe),
            "preset": next((k for k, v in PRESETS.items() if v == task.recipe), "custom"),
            "samples": task.recipe.samples(len(split.layers)),
            "seed": task.seed,
            "precision": task.precision,
            "package_version": package_version(),
            "held_out": {"images": task.held_out, **learner.validate()},
        }
        if task.folder is not None:
            # Another run that begins in the folder removes what is half written there.
            with locked(task.folder / LOCK):
                write_inverter(inverter, task.folder / "inverter.safetensors", half=task.half)
    return inverter


def _bar() -> Callable[[TrainingProgress], None]:
    report = shown(None, "train inverter", "batches")
    return lambda told: report(*told.overall)


def _check(task: InverterTraining, split: SplitGenerator) -> None:
    check_options(task)
    if task.held_out < 2 or task.recipe.batch_size < 2:
        raise SpecError(
            f"{task.held_out} held-out images and batches of {task.recipe.batch_size}: a "
            "correlation and a batch norm need at least 2"
        )
    if not _named(task.recipe.estimated, split) and not _named(task.recipe.recovered, split):
        raise SpecError("the joint training has no loss; name estimated or recovered ones")
    if "x" in task.recipe.estimated:
        raise SpecError("an inverter estimates no image; x can only be recovered")


@contextlib.contextmanager
def _frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients pass through and none are kept."""
    wanted = [value for module in modules for value in module.parameters() if value.requires_grad]
    for value in wanted:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in wanted:
            value.requires_grad_(True)


def _named(names: Sequence[str], split: SplitGenerator) -> list[str]:
    """Losses by layers' own names: `cut` and `layers` are replaced."""
    layers = split.shapes.layer_names
    replaced: dict[str, Sequence[str]] = {"cut": [split.cut], "layers": layers}
    known = ("z", *layers, "x")
    wanted = [layer for name in names for layer in replaced.get(name, [name])]
    for name in wanted:
        if name not in known:
            raise SpecError(
                f"there is no loss {name!r}; choose some of cut, layers, {', '.join(known)}"
            )
    return list(dict.fromkeys(wanted))


def measure_loss(
    name: LossName, estimated: Tensor, true: Tensor, variance: Tensor | None = None
) -> Tensor:
    """A loss by name, in float32, averaged over everything but what it compares.

    Args:
        name: which.
        estimated: (n, c, h, w) or (n, d).
        true: the same shape.
        variance: of the true values' dimensions, for `explained`.
    """
    estimated, true = estimated.float(), true.float()
    if name == "cosine":  # over channels, or over a latent's numbers
        return (1 - functional.cosine_similarity(estimated, true, dim=1, eps=1e-12)).mean()
    if name == "l1":
        return functional.l1_loss(estimated, true)
    if name == "mse":
        return functional.mse_loss(estimated, true)
    assert variance is not None
    return ((estimated - true).square() / variance).mean()


class _Bench:
    """What all stages share: the generator, the recipe, held-out latents."""

    def __init__(self, split: SplitGenerator, task: InverterTraining, latents: Tensor) -> None:
        self.split = split
        self.task = task
        self.recipe = task.recipe
        self.latents = latents  # held out
        self.device = latents.device
        self.weights_sha256 = split.weights_sha256
        self.arithmetic = Arithmetic(
            precision="bf16" if task.precision == "bf16" else "fp32", channels_last=True
        )

    def loss(self, name: LossName, what: str, estimated: Tensor, true: Tensor) -> Tensor:
        """A loss on a layer's features, on "z" or on "x"."""
        variance = self.variances.get(what) if name == "explained" else None
        return measure_loss(name, estimated, true, variance)

    @functools.cached_property
    def variances(self) -> dict[str, Tensor]:
        """Of every dimension of z, r_1 … r_n and x, over latents of a stream of their own.

        Dimensions that hardly vary are divided by a hundredth of the mean variance.
        """
        latents = torch.randn(
            _VARIANCE_LATENTS,
            self.split.shapes.latent_size,
            generator=torch.Generator().manual_seed(_VARIANCE_SEED),
        )
        names = ("z", *self.split.shapes.layer_names, "x")
        totals: dict[str, list[Tensor]] = {}
        for batch in torch.split(latents.to(self.device), _VALIDATION_BATCH):
            features = self.features(batch, len(self.split.layers))
            values = [*features, self.images(features[-1])]
            for name, value in zip(names, values, strict=True):
                value = value.double()
                sums_of = totals.setdefault(name, [torch.zeros_like(value[0]) for _ in range(2)])
                sums_of[0] += value.sum(dim=0)
                sums_of[1] += value.square().sum(dim=0)
        variances = {}
        for name, (first, second) in totals.items():
            variance = second / _VARIANCE_LATENTS - (first / _VARIANCE_LATENTS).square()
            variances[name] = (variance.clamp(min=0) + 0.01 * variance.mean()).float()
        return variances

    def draw(self, generator: torch.Generator) -> Tensor:
        """A batch of fresh latents."""
        size = (self.recipe.batch_size, self.split.shapes.latent_size)
        return torch.randn(size, generator=generator).to(self.device)

    def features(self, latents: Tensor, number: int) -> list[Tensor]:
        """r_0 = z, r_1 … r_number, without gradient."""
        features = [latents]
        with torch.no_grad():
            for layer in self.split.layers[:number]:
                features.append(layer(features[-1]))
        return features

    def images(self, features: Tensor) -> Tensor:
        """What the tail makes of the cut's features, without gradient."""
        with torch.no_grad():
            images: Tensor = self.split.tail(features)
            return images

    def compare(self, answer: Callable[[Tensor], Pairs]) -> dict[str, float]:
        """Correlations over all held-out latents.

        Args:
            answer: latents → (true, recovered) by name.
        """
        compared: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for latents in torch.split(self.latents, _VALIDATION_BATCH):
            for name, (true, recovered) in answer(latents).items():
                compared.setdefault(name, []).append((true.float().cpu(), recovered.float().cpu()))
        measured = {}
        for name, pairs in compared.items():
            result = correlations(
                torch.cat([true for true, _ in pairs]).numpy(),
                torch.cat([recovered for _, recovered in pairs]).numpy(),
            )
            measured[f"{name}_correlation"] = result.per_dimension
            measured[f"{name}_pooled"] = result.pooled
        return measured


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Stage:
    """What the stages have in common; `part` says what is trained."""

    name: str
    budget: Budget
    bench: _Bench

    @property
    def steps(self) -> int:
        return self.budget.steps

    def identity(self) -> Mapping[str, Any]:
        """The generator's weights, and every setting of this stage and of those before it."""
        task = self.bench.task
        return {
            "generator": self.bench.weights_sha256,
            "shapes": dataclasses.asdict(self.bench.split.shapes),
            "recipe": dataclasses.asdict(task.recipe),
            "precision": task.precision,
            "held_out": task.held_out,
        }

    def learn(
        self,
        network: nn.Module,
        device: torch.device,
        losses: Callable[[nn.Module, int, torch.Generator], Terms],
        answer: Callable[[nn.Module, Tensor], Pairs],
    ) -> NetworkLearner:
        """A learner with the budget's optimiser; `answer` gives (true, recovered) of latents."""
        budget = self.budget
        network = self.bench.arithmetic.place(network, device)
        return NetworkLearner(
            network,
            torch.optim.AdamW(
                network.parameters(), budget.learning_rate, weight_decay=budget.weight_decay
            ),
            losses,
            device=device,
            arithmetic=self.bench.arithmetic,
            learning_rate=budget.rate,
            average_decay=budget.average_decay,
            clip_norm=budget.clip_norm,
            validation=lambda network: self.bench.compare(functools.partial(answer, network)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _LayerStage(_Stage):
    """e_i alone: left loss plus λ_R times right loss, on the generator's own features."""

    number: int  # i, from 1

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:
        del earlier
        bench, number = self.bench, self.number
        recipe, layer = bench.recipe, bench.split.layers[number - 1]
        below, name = ("z", *bench.split.shapes.layer_names)[number - 1 : number + 1]

        def losses(
            network: nn.Module, _index: int, generator: torch.Generator
        ) -> Mapping[str, Tensor]:
            *_, true, right = bench.features(bench.draw(generator), number)
            left = network(right)
            terms = {"left": bench.loss(recipe.layer_loss, below, left, true)}
            terms["loss"] = terms["left"]
            if recipe.recovered_weight:
                terms["right"] = bench.loss(recipe.layer_loss, name, layer(left), right)
                terms["loss"] = terms["left"] + recipe.recovered_weight * terms["right"]
            return terms

        def answer(network: nn.Module, latents: Tensor) -> Pairs:
            *_, true, right = bench.features(latents, number)
            return {"left": (true, network(right))}

        network = layer_inverter(bench.split.shapes, number - 1)
        return self.learn(network, device, losses, answer)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _TailStage(_Stage):
    """e_f alone: the left loss only."""

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:
        del earlier
        bench = self.bench
        count = len(bench.split.layers)

        def losses(
            network: nn.Module, _index: int, generator: torch.Generator
        ) -> Mapping[str, Tensor]:
            true = bench.features(bench.draw(generator), count)[-1]
            left = network(bench.images(true))
            return {"loss": bench.loss(bench.recipe.tail_loss, bench.split.cut, left, true)}

        def answer(network: nn.Module, latents: Tensor) -> Pairs:
            true = bench.features(latents, count)[-1]
            return {"left": (true, network(bench.images(true)))}

        network = tail_inverter(bench.split.shapes, bench.recipe.architecture)
        return self.learn(network, device, losses, answer)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _BottomStage(_Stage):
    """e_b … e_1 together, on r_b: recovered z and r_1 … r_b."""

    number: int  # b, from 1

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:
        bench, number = self.bench, self.number
        recipe, names = bench.recipe, bench.split.shapes.layer_names
        network = nn.ModuleList(
            layer_inverter(bench.split.shapes, index) for index in range(number)
        )
        below = earlier.get(f"bottom_{number - 1}")
        for index, layer in enumerate(network):
            alone = earlier.get(f"e_{index + 1}")
            if below is not None and index < number - 1:
                layer.load_state_dict(_result(below).get_submodule(str(index)).state_dict())
            elif alone is not None:
                layer.load_state_dict(_result(alone).state_dict())

        def invert(network: nn.Module, features: Tensor) -> Tensor:
            assert isinstance(network, nn.ModuleList)
            return invert_layers(tuple(network), names, features)["z"]

        def losses(
            network: nn.Module, _index: int, generator: torch.Generator
        ) -> Mapping[str, Tensor]:
            true = bench.features(bench.draw(generator), number)
            current = invert(network, true[-1])
            terms = {"z": bench.loss(recipe.layer_loss, "z", current, true[0])}
            for name, layer, features in zip(
                names, bench.split.layers[:number], true[1:], strict=False
            ):
                current = layer(current)
                terms[name] = bench.loss(recipe.layer_loss, name, current, features)
            return {"loss": torch.stack(list(terms.values())).sum(), **terms}

        def answer(network: nn.Module, latents: Tensor) -> Pairs:
            true = bench.features(latents, number)
            recovered = invert(network, true[-1])
            features = bench.features(recovered, number)[-1]
            return {"z": (latents, recovered), "cut": (true[-1], features)}

        return self.learn(network, device, losses, answer)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _JointStage(_Stage):
    """E: the parts trained before it, composed, then all of them together."""

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:
        bench = self.bench
        split, recipe = bench.split, bench.recipe
        network = Inverter(split.shapes, recipe.architecture)
        _fill(network, earlier)
        estimated, recovered = _named(recipe.estimated, split), _named(recipe.recovered, split)
        names = split.shapes.layer_names

        def losses(
            network: nn.Module, _index: int, generator: torch.Generator
        ) -> Mapping[str, Tensor]:
            assert isinstance(network, Inverter)
            features = bench.features(bench.draw(generator), len(names))
            true = dict(zip(("z", *names), features, strict=True))
            images = bench.images(features[-1])
            estimates = network.estimates(images)
            terms = {
                f"estimated_{name}": bench.loss(
                    recipe.layer_loss, name, estimates[name], true[name]
                )
                for name in estimated
            }
            if recovered:
                made = {"z": estimates["z"]}
                if recovered != ["z"]:
                    made |= dict(zip(names, split.head(estimates["z"]), strict=True))
                for name in recovered:
                    if name == "x":
                        drawn = split.tail(made[split.cut])
                        terms["recovered_x"] = bench.loss(recipe.image_loss, "x", drawn, images)
                    else:
                        terms[f"recovered_{name}"] = bench.loss(
                            recipe.layer_loss, name, made[name], true[name]
                        )
            return {"loss": torch.stack(list(terms.values())).sum(), **terms}

        def answer(network: nn.Module, latents: Tensor) -> Pairs:
            assert isinstance(network, Inverter)
            true = bench.features(latents, len(names))[-1]
            images = bench.images(true)
            estimates = network.estimates(images)
            features = bench.features(estimates["z"], len(names))[-1]
            return {
                "z": (latents, estimates["z"]),
                "cut": (true, features),
                "estimated_cut": (true, estimates[split.cut]),
                "x": (images, bench.images(features)),
            }

        return self.learn(network, device, losses, answer)


def _result(learner: Learner) -> nn.Module:
    assert isinstance(learner, NetworkLearner)
    return learner.result


def _fill(network: Inverter, earlier: Mapping[str, Learner]) -> None:
    """Compose E* of what earlier stages trained; parts that none trained stay as they are."""
    count = len(network.layers)
    for number in range(1, count + 1):
        if f"e_{number}" in earlier:
            part = _result(earlier[f"e_{number}"])
            network.layers[number - 1].load_state_dict(part.state_dict())
    if f"bottom_{count}" in earlier:
        network.layers.load_state_dict(_result(earlier[f"bottom_{count}"]).state_dict())
    if "e_f" in earlier:
        network.tail.load_state_dict(_result(earlier["e_f"]).state_dict())


def _stages(bench: _Bench) -> list[Stage]:
    """The recipe's stages, in order."""
    recipe = bench.recipe
    numbers = range(1, len(bench.split.layers) + 1)
    stages: list[Stage] = []
    if recipe.layers is not None:
        for number in numbers:
            budget = (number == 2 and recipe.second_layer) or recipe.layers
            stages.append(
                _LayerStage(name=f"e_{number}", budget=budget, bench=bench, number=number)
            )
    if recipe.tail is not None:
        stages.append(_TailStage(name="e_f", budget=recipe.tail, bench=bench))
    if recipe.bottom is not None:
        stages += [
            _BottomStage(name=f"bottom_{number}", budget=recipe.bottom, bench=bench, number=number)
            for number in numbers
        ]
    stages.append(_JointStage(name="joint", budget=recipe.joint, bench=bench))
    return stages
