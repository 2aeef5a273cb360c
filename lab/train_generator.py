"""`python -m lab train generator --out FOLDER`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lab.churchyard_generator import GeneratorTraining, train_generator
from unseen.cli.progress import progress_bar
from unseen.inversion.training_loop import TrainingProgress

_DEFAULT = GeneratorTraining(folder=Path())


def command(
    out: Annotated[
        Path, typer.Option(help="Folder of the training; the same folder goes on with it.")
    ],
    without: Annotated[
        str, typer.Option(help="Classes the world is without, e.g. car,fence. Default: none.")
    ] = "",
    images: Annotated[int, typer.Option(help="Scenes to show; more go on.")] = _DEFAULT.images,
    seed: Annotated[int, typer.Option(help="Of weights and latents.")] = _DEFAULT.seed,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished training to go on from, with other settings or in another "
            "world; its scenes count.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Scenes a step.", min=2)] = _DEFAULT.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's, both networks.")
    ] = _DEFAULT.learning_rate,
    r1_gamma: Annotated[float, typer.Option(help="Weight of the R1 penalty.")] = _DEFAULT.r1_gamma,
    instance_noise: Annotated[
        float,
        typer.Option(
            min=0, help="Deviation of the noise on all the discriminator sees; 1 is grey."
        ),
    ] = _DEFAULT.instance_noise,
    average_decay: Annotated[
        float, typer.Option(help="Of the moving average that is kept.")
    ] = _DEFAULT.average_decay,
    precision: Annotated[
        Literal["bf16", "fp32"], typer.Option(help="bf16 (autocast) or fp32.")
    ] = "bf16",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = _DEFAULT.device,
    workers: Annotated[
        int, typer.Option(help="Processes that render scenes.", min=0)
    ] = _DEFAULT.workers,
) -> None:
    """Train a generator on the churchyard. Resumable: run it again to go on."""
    task = GeneratorTraining(
        folder=out,
        without=without,
        images=images,
        seed=seed,
        start=start,
        batch_size=batch_size,
        learning_rate=learning_rate,
        r1_gamma=r1_gamma,
        instance_noise=instance_noise,
        average_decay=average_decay,
        precision=precision,
        device=device,
        workers=workers,
    )
    with progress_bar("train generator") as bar:

        def show(progress: TrainingProgress) -> None:
            if bar is not None:
                before = task.images - progress.steps * task.batch_size  # a start's, and no batch
                bar(before + progress.step * task.batch_size, task.images)

        path = train_generator(task, progress=show)
    typer.echo(f"{path}: load it with progan:{path}")
