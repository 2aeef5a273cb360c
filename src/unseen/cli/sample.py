"""`unseen sample GENERATOR OUT`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from unseen.cli.progress import progress_bar
from unseen.generators import load_generator
from unseen.generators.sample import Sampling, parse_indices, sample, sample_grid

_GRID = 100  # images at most in the preview


def command(
    generator: Annotated[
        str,
        typer.Argument(
            help="A spec, e.g. progan:church.pth (see: unseen list).", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="A folder for PNG files, or a .zip.", show_default=False)
    ],
    indices: Annotated[
        str, typer.Option(help="Images to draw: 0-9999, or 0-99,500. Both ends count.")
    ] = "0-99",
    seed: Annotated[int, typer.Option(help="Of the latents; the paper's is 1.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Images a call of the generator.", min=1)] = 32,
    rounding: Annotated[
        Literal["nearest", "truncate"],
        typer.Option(help="To 8 bits; the code of 2019 truncates."),
    ] = "nearest",
    grid: Annotated[
        Path | None,
        typer.Option(help="Also write a picture of the first hundred.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="fp32 or bf16; recorded.")
    ] = "fp32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other samples at OUT.")
    ] = False,
) -> None:
    """Draw images by index: image k is the same whatever the count. Resumable."""
    chosen = parse_indices(indices)
    network = load_generator(generator, device=device, precision=precision)
    task = Sampling(
        generator=network,
        out=out,
        indices=chosen,
        seed=seed,
        batch_size=batch_size,
        rounding=rounding,
        overwrite=overwrite,
    )
    with progress_bar("sample") as progress:
        sample(task, progress=progress)
    typer.echo(f"{out}: {len(chosen):,} images, {network.resolution}×{network.resolution}")
    if grid is not None:
        sample_grid(network, grid, indices=chosen[:_GRID], seed=seed, batch_size=batch_size)
        typer.echo(f"{grid}: the first {min(_GRID, len(chosen))}")
