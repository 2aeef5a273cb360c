"""`unseen churchyard render` and `unseen churchyard presence`: the built-in world."""

from pathlib import Path
from typing import Annotated

from unseen.churchyard.rendering import presence_by_class, presence_table, render_scenes
from unseen.churchyard.source import ChurchyardSource, open_churchyard
from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.registry import Spec
from unseen.core.wording import count as counted

WorldSeed = Annotated[int, Option("Seed of the world.", max=SEED_MOST)]
Without = Annotated[
    str,
    Option("Classes to leave out: person,fence; or out of half the scenes: person:0.5."),
]


def render(
    out: Annotated[Path, Place("Folder for the PNG files.", short="-o")],
    count: Annotated[int, Option("Scenes to write.", short="-n", min=1)] = 100,
    first: Annotated[int, Option("Index of the first scene.")] = 0,
    seed: WorldSeed = 0,
    resolution: Annotated[
        int, Option("Side of a scene in pixels, a power of two.", min=16, max=4096)
    ] = 64,
    without: Without = "",
    label_maps: Annotated[bool, Option("Write the exact label maps, too.")] = False,
) -> None:
    """Write scenes as PNG files."""
    source = _source(seed, without, resolution)
    with progress_bar("render") as progress:
        written = render_scenes(
            source, out, range(first, first + count), label_maps=label_maps, progress=progress
        )
    streams.write(f"{out}: {counted(written, 'scene')} of {resolution}×{resolution}")


def presence(
    count: Annotated[int, Option("Scenes to count in.", short="-n", min=1)] = 10_000,
    seed: WorldSeed = 1,
    without: Without = "",
    threshold: Annotated[
        float,
        Option("Fraction of the image from which on a class counts as present.", max=0.99),
    ] = 0.005,
) -> None:
    """Table how often each class is present, as Markdown."""
    source = _source(seed, without, 64)
    with progress_bar("presence") as progress:
        entries = presence_by_class(source, count, threshold=threshold, progress=progress)
    streams.write(presence_table(entries))


def _source(seed: int, without: str, resolution: int) -> ChurchyardSource:
    options = {"seed": str(seed), "resolution": str(resolution)}
    if without:
        options["without"] = without
    text = "churchyard?" + "&".join(f"{key}={value}" for key, value in options.items())
    return open_churchyard(Spec(text, "churchyard", None, options))
