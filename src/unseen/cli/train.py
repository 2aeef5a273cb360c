"""`unseen train GENERATOR OUT`."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Argument, Device, Fields, Option, Place
from unseen.generators import load_layered
from unseen.inversion import recipes
from unseen.inversion.inverter_training import InverterTraining, train_inverter
from unseen.inversion.recipes import Recipe
from unseen.inversion.tensorboard import ScalarEvents
from unseen.inversion.training_loop import TrainingProgress


def train(
    generator: Annotated[str, Argument("A spec, e.g. progan:church.pth (see: unseen list).")],
    out: Annotated[Path, Place("Folder of the training. A run goes on there.", short="-o")],
    options: Annotated[dict[str, Any], Fields(InverterTraining)],
    changes: Annotated[dict[str, Any], Fields(Recipe, given=True)],
    preset: Annotated[
        Literal["default", "iccv2019", "bottom-up"],
        Option("Architecture, losses and budgets. The last two are the paper's."),
    ] = "default",
    budget: Annotated[
        float, Option("Share of the preset's steps, e.g. 0.1 for a trial.", min=1e-12, max=1000)
    ] = 1.0,
    halfsize: Annotated[
        bool | None, Option("Let ResNet-18 pool with stride 1. Default: as the sizes need.")
    ] = None,
    tensorboard: Annotated[bool, Option("Write the logs for TensorBoard, too.")] = False,
    device: Device = "auto",
) -> None:
    """Train an inverter of a generator, layer by layer and then together. Run it again to go on."""
    recipe = dataclasses.replace(recipes.preset(preset).scaled(budget), **changes)
    if halfsize is not None:
        architecture = dataclasses.replace(recipe.architecture, halfsize=halfsize)
        recipe = dataclasses.replace(recipe, architecture=architecture)
    task = InverterTraining(folder=out, recipe=recipe, **options)
    with contextlib.ExitStack() as until:
        events = None
        if tensorboard:
            events = until.enter_context(contextlib.closing(ScalarEvents(out / "tensorboard")))
        bar = until.enter_context(progress_bar("train inverter", "batches"))

        def show(progress: TrainingProgress) -> None:
            if events is not None:
                events(progress)
            if bar is not None:
                bar(*progress.overall)

        network = load_layered(generator, device=device)
        inverter = train_inverter(network, task=task, progress=show)
    measured = inverter.provenance["held_out"]
    streams.write(
        f"{out / 'inverter.safetensors'}: layers {', '.join(inverter.layer_names)}; correlation on "
        f"{task.held_out} held-out images: z {measured['z_correlation']:.3f}, "
        f"{inverter.layer_names[-1]} {measured['cut_correlation']:.3f}, "
        f"x {measured['x_correlation']:.3f}"
    )
