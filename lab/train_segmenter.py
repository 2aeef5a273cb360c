"""`python -m lab train segmenter --out FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer

from lab.churchyard_segmenter import (
    SegmenterStage,
    SegmenterTraining,
    train_segmenter,
)
from unseen.cli.progress import progress_bar
from unseen.inversion.training_loop import TrainingProgress

_STAGE = SegmenterStage()


def command(
    out: Annotated[
        Path, typer.Option(help="Folder of the training; the same folder goes on with it.")
    ],
    steps: Annotated[int, typer.Option(help="Batches.", min=1)] = _STAGE.steps,
    batch_size: Annotated[int, typer.Option(help="Scenes a batch.", min=1)] = _STAGE.batch_size,
    scenes: Annotated[int, typer.Option(help="Different scenes.", min=1)] = _STAGE.scenes,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 1,
    learning_rate: Annotated[
        float, typer.Option(help="AdamW's peak, of one cycle.")
    ] = _STAGE.learning_rate,
    largest_weight: Annotated[
        float, typer.Option(help="Of a rare class in the loss.")
    ] = _STAGE.largest_weight,
    start: Annotated[
        Path | None,
        typer.Option(help="Weights to begin with. Default: fresh ones.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    test_scenes: Annotated[
        int, typer.Option(help="Scenes that the model card measures.", min=1)
    ] = 2000,
) -> None:
    """Train the churchyard's segmenter; write weights and model card. Resumable."""
    task = SegmenterTraining(
        folder=out,
        out=out / "segmenter.safetensors",
        stage=SegmenterStage(
            steps=steps,
            batch_size=batch_size,
            scenes=scenes,
            learning_rate=learning_rate,
            largest_weight=largest_weight,
            start=start,
        ),
        seed=seed,
        device=device,
        test_scenes=test_scenes,
    )
    with progress_bar("train segmenter") as bar:

        def show(progress: TrainingProgress) -> None:
            if bar is not None:
                bar(progress.step * batch_size, progress.steps * batch_size)

        path = train_segmenter(task, progress=show)
    typer.echo(f"{path}: load it with churchyard:{path}; its card is {path.with_suffix('.md')}")
