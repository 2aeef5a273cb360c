"""`unseen train GENERATOR OUT`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from unseen.cli.options import given
from unseen.cli.progress import progress_bar
from unseen.generators import load_generator
from unseen.inversion.inverter_training import InverterTraining, train_inverter
from unseen.inversion.recipes import LossName, Recipe, preset
from unseen.inversion.tensorboard import ScalarEvents
from unseen.inversion.training_loop import TrainingProgress

_LOSSES = (
    "Loss of features and latents: cosine (the release's), l1 (the paper's), mse, or explained "
    "(squared error in units of each dimension's variance)."
)
_NAMES = "cut, layers, layers' names, z{} separated by commas; none for none."


def command(
    generator: Annotated[
        str,
        typer.Argument(
            help="A spec, e.g. progan:church.pth (see: unseen list).", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder of the training; the same folder goes on with it.", show_default=False
        ),
    ],
    cut: Annotated[
        str | None,
        typer.Option(
            help="Invert the layers up to this one. Default: the last of at most 8×8.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Literal["default", "iccv2019", "bottom-up"],
        typer.Option(help="Architecture, losses and budgets; the last two are the paper's."),
    ] = "default",
    budget: Annotated[
        float, typer.Option(help="Share of the preset's steps, e.g. 0.1 for a trial.")
    ] = 1.0,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images a step. Default: the preset's.", min=2, show_default=False),
    ] = None,
    layer_loss: Annotated[
        LossName | None,
        typer.Option(help=f"{_LOSSES} Default: the preset's.", show_default=False),
    ] = None,
    tail_loss: Annotated[
        LossName | None,
        typer.Option(
            help="Loss of the tail's inverter alone. Default: the preset's.", show_default=False
        ),
    ] = None,
    image_loss: Annotated[
        LossName | None,
        typer.Option(help="Loss of recovered images. Default: the preset's.", show_default=False),
    ] = None,
    estimated: Annotated[
        str | None,
        typer.Option(
            help=f"Losses of the estimates in the joint training: {_NAMES.format('')}",
            show_default=False,
        ),
    ] = None,
    recovered: Annotated[
        str | None,
        typer.Option(
            help=f"Losses of what the generator makes of E(x): {_NAMES.format(', x')}",
            show_default=False,
        ),
    ] = None,
    halfsize: Annotated[
        bool | None,
        typer.Option(
            "--halfsize/--no-halfsize",
            help="ResNet-18 pools with stride 1. Default: as the sizes need.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and latents.")] = 0,
    held_out: Annotated[int, typer.Option(help="Images that validation inverts.", min=2)] = 256,
    half: Annotated[
        bool, typer.Option("--half", help="Keep the weights as float16: half the file.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the logs for TensorBoard too.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="fp32, or bf16 (autocast).")
    ] = "fp32",
) -> None:
    """Train an inverter of a generator, layer by layer and then together. Resumable."""
    recipe = _recipe(preset, budget, halfsize)
    changes = {
        "batch_size": batch_size,
        "layer_loss": layer_loss,
        "tail_loss": tail_loss,
        "image_loss": image_loss,
        "estimated": _names(estimated),
        "recovered": _names(recovered),
    }
    task = InverterTraining(
        folder=out,
        cut=cut,
        recipe=dataclasses.replace(recipe, **given(changes)),
        seed=seed,
        precision=precision,
        half=half,
        held_out=held_out,
    )
    events = ScalarEvents(out / "tensorboard") if tensorboard else None
    with progress_bar("train inverter", "batches") as bar:

        def show(progress: TrainingProgress) -> None:
            if events is not None:
                events(progress)
            if bar is not None:
                bar(*progress.overall)

        network = load_generator(generator, device=device)
        inverter = train_inverter(network, task, progress=show)
    measured = inverter.provenance["held_out"]
    typer.echo(
        f"{out / 'inverter.safetensors'}: layers {', '.join(inverter.layer_names)}; correlation on "
        f"{held_out} held-out images: z {measured['z_correlation']:.3f}, "
        f"{inverter.layer_names[-1]} {measured['cut_correlation']:.3f}, "
        f"x {measured['x_correlation']:.3f}"
    )


def _recipe(name: str, budget: float, halfsize: bool | None) -> Recipe:
    recipe = preset(name).scaled(budget)
    if halfsize is None:
        return recipe
    architecture = dataclasses.replace(recipe.architecture, halfsize=halfsize)
    return dataclasses.replace(recipe, architecture=architecture)


def _names(text: str | None) -> tuple[str, ...] | None:
    """What commas separate; `none` is nothing."""
    if text is None:
        return None
    return () if text == "none" else tuple(name.strip() for name in text.split(","))
