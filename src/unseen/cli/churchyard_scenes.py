"""`unseen churchyard render` and `unseen churchyard presence`."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.churchyard.rendering import presence_by_class, presence_table, render_scenes
from unseen.churchyard.source import ChurchyardSource, open_churchyard
from unseen.cli.progress import progress_bar
from unseen.core.registry import Spec

Seed = Annotated[int, typer.Option(help="Of the world.", min=0)]
Without = Annotated[
    str, typer.Option(help="Classes left out: person,fence; or of half the scenes: person:0.5.")
]


def render(
    out: Annotated[Path, typer.Argument(help="The folder to write PNG files to.")],
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 100,
    first: Annotated[int, typer.Option(help="Index of the first.", min=0)] = 0,
    seed: Seed = 0,
    resolution: Annotated[int, typer.Option(help="Side, a power of two.")] = 64,
    without: Without = "",
    label_maps: Annotated[
        bool, typer.Option("--label-maps", help="Write the exact label maps too.")
    ] = False,
) -> None:
    """Write scenes as PNG files."""
    source = _source(seed, without, resolution)
    with progress_bar("render") as progress:
        written = render_scenes(
            source, out, range(first, first + count), label_maps=label_maps, progress=progress
        )
    typer.echo(f"{out}: {written:,} scenes of {resolution}×{resolution}")


def presence(
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 10_000,
    seed: Seed = 1,
    without: Without = "",
    threshold: Annotated[
        float, typer.Option(help="Fraction of the image that a present class covers.")
    ] = 0.005,
) -> None:
    """Table how often each class is present, as Markdown."""
    source = _source(seed, without, 64)
    with progress_bar("presence") as progress:
        entries = presence_by_class(source, count, threshold=threshold, progress=progress)
    typer.echo(presence_table(entries))


def _source(seed: int, without: str, resolution: int) -> ChurchyardSource:
    options = {"seed": str(seed), "resolution": str(resolution)}
    if without:
        options["without"] = without
    text = "churchyard?" + "&".join(f"{key}={value}" for key, value in options.items())
    return open_churchyard(Spec(text, "churchyard", None, options))
