"""Figure 6 of the paper: the six methods on images whose z is known, and on photographs.

Images are inverted by `unseen.inversion.invert`, a folder a method, so that a run goes on where it
stopped and a method can be added later. Nothing is optimised here.
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, figure 6.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float

from unseen.bench.inversion_methods_report import (
    ORDER,
    Example,
    MethodCorrelation,
    MethodsResult,
    Scatter,
    draw_examples,
    draw_scatter,
    methods_csv,
    methods_markdown,
)
from unseen.bench.layer_bench import LayerBench, rebuilt
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_json, write_text
from unseen.core.options import SEED_MOST, Option
from unseen.core.progress import Progress, part_of, silent
from unseen.generators import LayeredGenerator, load_layered
from unseen.images.pixels import to_unit
from unseen.inversion.inversions import PAPER_METHODS, Inversions, Method, Role
from unseen.inversion.invert import invert, preset_for
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.layers import SplitGenerator, split_generator
from unseen.inversion.methods import Inversion
from unseen.statistics.agreement import DEFINITIONS, Agreement, agreement, order, resamples

GENERATED_SEED = 60_006  # of the generated images' latents: not training's, validation's, controls'
# Of all methods; a, c and e of the last are by iccv2019-z.
PRESETS = ("default", "soap", "quick", "iccv2019")

_BATCH = 64  # images whose true features are computed at once
_POINTS = 200_000  # values of a scatter plot, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodComparison(LayerBench):
    """Invert generated images of known z, and some photographs, by every method."""

    inverter: Annotated[str, Option("Its layer-wise inverter: a file or a spec.")]
    encoder: Annotated[
        str | None,
        Option("An inverter trained end to end. Without it methods b and c are left out."),
    ] = None
    count: Annotated[int, Option("Generated images to invert.", short="-n", min=2)] = 100
    seed: Annotated[
        int,
        Option("Seed of the generated images' latents.", name="--sample-seed", max=SEED_MOST),
    ] = GENERATED_SEED
    photographs: Annotated[
        str,
        Option(
            "Photographs for the rows of examples: a folder, an archive or a spec.",
            name="--images",
        ),
    ] = "churchyard?seed=20003"
    examples: Annotated[
        int, Option("Generated images, and photographs, in the rows of examples.", min=1)
    ] = 3
    draws: int = 2000  # resamples of the images, for intervals

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            known = ", ".join(PRESETS)
            raise SpecError(f"no preset of all methods is called {self.preset!r}; known: {known}")
        super().__post_init__()

    @property
    def methods(self) -> tuple[Method, ...]:
        """Those that the given networks allow."""
        return tuple(m for m in PAPER_METHODS if self.encoder is not None or m not in "bc")

    def settings(self, method: Method, cut: str) -> Inversion:
        """Of one method.

        Raises:
            SpecError: no such preset, features or number of steps.
        """
        changes: dict[str, Any] = {"cut": cut, **self.changes}
        name = self.preset
        if name == "iccv2019" and method != "f":
            name = "iccv2019-z"
            changes.pop("perturbed", None)
        return dataclasses.replace(preset_for(self.photographs, name, **changes), method=method)


def compare_methods(
    task: MethodComparison,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Invert, measure, draw; `progress` gets reconstructions done and of how many.

    Yields:
        The paths written: `methods.json`, `methods.csv`, `methods.md`, `scatter` and `examples` as
        SVG and PNG.

    Raises:
        UnseenError: as `unseen.inversion.invert` raises it.
        SampleError: fewer than two generated images are left on which no method failed.
    """
    generator = load_layered(task.generator, device=task.device)
    records = _invert(task, generator, progress, say)
    first = next(iter(records.values()))
    layers = first.provenance["settings"][first.methods[0]]["layers"]
    split = split_generator(generator, layers[-1])
    numbers = _whole(list(records.values()))
    if len(numbers) < task.count:
        say(
            f"{task.count - len(numbers)} of {task.count} generated images failed, and are left out"
        )
    counts = resamples(len(numbers), draws=task.draws)
    truth = _truth(first, numbers, split)
    agreements: dict[str, dict[str, Agreement]] = {name: {} for name in truth}
    scatters: dict[tuple[str, str], Scatter] = {}
    for method, record in records.items():
        say(f"correlations of method {method}")
        for name, recovered in _recovered(record, numbers, split).items():
            agreements[name][method] = agreement(truth[name], recovered, counts)
            scatters[name, method] = _sampled(truth[name], recovered)
    result = _result(task, records, agreements, numbers, split)
    for name, text in (("csv", methods_csv(result)), ("md", methods_markdown(result))):
        write_text(task.out / f"methods.{name}", text)
    write_json(task.out / "methods.json", result.to_json())
    yield from (task.out / f"methods.{name}" for name in ("json", "csv", "md"))
    yield from draw_scatter(result, scatters, task.out / "scatter")
    yield from draw_examples(_examples(task, records), task.out / "examples")


def _invert(
    task: MethodComparison,
    generator: LayeredGenerator,
    progress: Progress,
    say: Callable[[str], None],
) -> dict[Method, Inversions]:
    """Each method's inversions, made or found."""
    inverter = load_inverter(task.inverter, generator)
    encoder = None if task.encoder is None else load_inverter(task.encoder, generator)
    images = task.examples + task.count
    records: dict[Method, Inversions] = {}
    for number, method in enumerate(task.methods):
        say(f"method {method}")
        settings = task.settings(method, inverter.layer_names[-1])
        needed = method in "def" or settings.perceptual in ("inverter", "latents")
        records[method] = invert(
            task.photographs,
            generator,
            inverter if needed else None,
            out=task.out / "inversions" / method,
            encoder=encoder if method in "bc" else None,
            task=task.run(
                method,
                settings,
                count=task.examples,
                controls=task.count,
                controls_seed=task.seed,
            ),
            progress=part_of(progress, number * images, len(task.methods) * images),
        )
    return records


def _whole(records: Sequence[Inversions]) -> list[int]:
    """The generated images that every method reconstructed."""
    failed = {
        image.number
        for record in records
        for image, _, _ in record.failures
        if image.role == "control"
    }
    controls = records[0].of("control")
    return [image.number for image in controls if image.number not in failed]


def _truth(
    record: Inversions, numbers: Sequence[int], split: SplitGenerator
) -> dict[str, Float[np.ndarray, "n ..."]]:
    """z, r_n and x of the generated images; x as 8 bits, which is what was inverted."""
    images = record.of("control")
    method = record.methods[0]
    latents = np.stack([record.tensors(images[k], method)["true_latents"] for k in numbers])
    device = next(split.layers[0].parameters()).device
    with torch.no_grad():
        features = [
            split.head(batch.to(device))[-1].float().cpu()
            for batch in torch.split(torch.from_numpy(latents), _BATCH)
        ]
    return {
        "z": _directions(latents, split),
        split.cut: torch.cat(features).numpy(),
        "x": np.stack([to_unit(record.target(images[k])) for k in numbers]),
    }


def _recovered(
    record: Inversions, numbers: Sequence[int], split: SplitGenerator
) -> dict[str, Float[np.ndarray, "n ..."]]:
    """What the record's method made of the same; x before it was made 8-bit."""
    images = record.of("control")
    tensors = [record.tensors(images[k], record.methods[0]) for k in numbers]
    return {
        "z": _directions(np.stack([arrays["latents"] for arrays in tensors]), split),
        split.cut: np.stack([arrays["features"] for arrays in tensors]),
        "x": np.stack([arrays["reconstruction"] for arrays in tensors]),
    }


def _directions(
    latents: Float[np.ndarray, "n z"], split: SplitGenerator
) -> Float[np.ndarray, "n z"]:
    """Latents of one length, where the generator sees their direction alone."""
    if not split.shapes.scale_free:
        return latents
    lengths = np.sqrt(np.square(latents, dtype=np.float64).mean(axis=1, keepdims=True))
    scaled: Float[np.ndarray, "n z"] = (latents / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def _sampled(true: Float[np.ndarray, "n ..."], recovered: Float[np.ndarray, "n ..."]) -> Scatter:
    """Some of the values, the same ones for every method."""
    x, y = true.reshape(-1), recovered.reshape(-1)
    if x.size > _POINTS:
        chosen = np.random.default_rng(0).choice(x.size, _POINTS, replace=False)
        x, y = x[chosen], y[chosen]
    return Scatter(true=x, recovered=y)


def _result(
    task: MethodComparison,
    records: Mapping[Method, Inversions],
    agreements: Mapping[str, Mapping[str, Agreement]],
    numbers: Sequence[int],
    split: SplitGenerator,
) -> MethodsResult:
    steps = [pair for pair in ORDER if all(method in records for method in pair)]
    controls = {method: record.of("control") for method, record in records.items()}
    return MethodsResult(
        package_version=package_version(),
        methods=tuple(records),
        quantities=tuple(agreements),
        cut=split.cut,
        images=len(numbers),
        failed=task.count - len(numbers),
        scale_free=split.shapes.scale_free,
        steps={
            method: float(np.mean([images[k].reconstructions[method].steps for k in numbers]))
            for method, images in controls.items()
        },
        measured=tuple(
            MethodCorrelation(
                method=method,
                quantity=quantity,
                definition=definition,
                value=recovered.of(definition) if recovered.value.dimensions else None,
                interval=recovered.interval(definition) if recovered.value.dimensions else None,
                dimensions=recovered.value.dimensions,
                constant_dimensions=recovered.value.constant_dimensions,
            )
            for quantity, by_method in agreements.items()
            for method, recovered in by_method.items()
            for definition in DEFINITIONS
        ),
        order={
            definition: {
                quantity: tuple(order(agreements[quantity], steps, definition))
                for quantity in (split.cut, "x")
            }
            for definition in DEFINITIONS
        },
        provenance={
            "task": {
                field.name: getattr(task, field.name)
                for field in dataclasses.fields(task)
                if field.name not in ("out", "overwrite", "batch_size")
            },
            "inversions": {method: dict(record.provenance) for method, record in records.items()},
        },
    )


def _examples(task: MethodComparison, records: Mapping[Method, Inversions]) -> list[Example]:
    """The first generated images and photographs, with all that was made of them."""
    first = next(iter(records.values()))
    roles: dict[str, Role] = {"generated images": "control", "photographs": "photograph"}
    return [
        Example(
            block=block,
            target=first.target(image),
            made={
                method: rebuilt(record, record.of(role)[row], method)
                for method, record in records.items()
            },
        )
        for block, role in roles.items()
        for row, image in enumerate(first.of(role)[: task.examples])
    ]
