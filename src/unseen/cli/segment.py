"""`unseen segment IMAGES_OR_GENERATOR OUT.parquet`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from unseen.cli.drawing import (
    GeneratorBatchSize,
    GeneratorPrecision,
    KeepImages,
    LatentSeed,
    RoundingChoice,
)
from unseen.cli.progress import progress_bar
from unseen.distribution.areas import Areas
from unseen.distribution.segment import default_segmenter, segment
from unseen.generators.drawn_images import BATCH_SIZE
from unseen.generators.sources import keep_drawn, open_source
from unseen.segmenters import load_segmenter

_SHOWN = 6  # classes in the line that sums up, broken images on stderr


def command(
    images: Annotated[
        str,
        typer.Argument(
            help="A folder of images, a zip, an LSUN LMDB, an .npz, or the spec of images or of a "
            "generator (see: unseen list).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="The areas file to write (.parquet).", show_default=False)
    ],
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="Spec or folder of the segmenter. Default: upp; churchyard for the churchyard.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            help="Images to take: a seeded subset, or a generator's first. Default: all.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the subset.")] = 0,
    part: Annotated[
        str, typer.Option(help="2/4: only the second quarter of the images, to be merged later.")
    ] = "1/1",
    channel: Annotated[str, typer.Option(help="Channel of the segmenter.")] = "object",
    match_resolution: Annotated[
        int | None,
        typer.Option(
            help="Degrade every image to this side first: the other set's native one.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="fp32 or bf16; recorded.")
    ] = "fp32",
    batch_size: Annotated[int, typer.Option(help="Images a call of the segmenter.", min=1)] = 16,
    workers: Annotated[
        int | None,
        typer.Option(help="Decoding processes. Default: one a core.", min=0, show_default=False),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken", help="Count and list images that cannot be decoded; do not stop."
        ),
    ] = False,
    keep_maps: Annotated[
        Path | None,
        typer.Option(help="Folder for the label maps, as 16-bit PNG.", show_default=False),
    ] = None,
    latent_seed: LatentSeed = 1,
    rounding: RoundingChoice = "nearest",
    generator_precision: GeneratorPrecision = "fp32",
    generator_batch_size: GeneratorBatchSize = BATCH_SIZE,
    keep_images: KeepImages = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace what another run left at OUT or kept."),
    ] = False,
) -> None:
    """Measure how much of every image each class covers. Resumable: run it again to go on."""
    source = open_source(
        images,
        device=device,
        precision=generator_precision,
        seed=latent_seed,
        rounding=rounding,
        batch_size=generator_batch_size,
    )
    if keep_images is not None:
        source = keep_drawn(source, keep_images, overwrite=overwrite)
    network = load_segmenter(
        segmenter or default_segmenter(source), device=device, precision=precision
    )
    with progress_bar("segment") as progress:
        areas = segment(
            source,
            network,
            out=out,
            count=count,
            seed=seed,
            part=_part(part),
            channel=channel,
            match_resolution=match_resolution,
            batch_size=batch_size,
            workers=workers,
            skip_broken=skip_broken,
            keep_maps=keep_maps,
            overwrite=overwrite,
            progress=progress,
        )
    _tell_broken(areas)
    typer.echo(f"{out}: {_summary(areas)}")


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise typer.BadParameter(f"{text!r} is no part; write 2/4 for the second of four")
    return int(part), int(parts)


def _tell_broken(areas: Areas) -> None:
    broken = [each for source in areas.provenance["images"] for each in source["broken"]]
    for each in broken[:_SHOWN]:
        typer.echo(f"unseen: skipped: {each['reason']}", err=True)
    if broken:
        rest = ", the first listed here and all" if len(broken) > _SHOWN else ", listed"
        typer.echo(f"unseen: {len(broken):,} broken images skipped{rest} in the record", err=True)


def _summary(areas: Areas) -> str:
    height, width = areas.provenance["label_map"]
    mean = areas.percent.mean(axis=0)
    largest = sorted(range(len(mean)), key=lambda k: -mean[k])[:_SHOWN]
    shares = ", ".join(
        f"{areas.columns[k].partition('/')[2]} {mean[k]:.1f} %" for k in largest if mean[k] > 0
    )
    return (
        f"{len(areas):,} images, {len(areas.columns)} classes, label maps {height}×{width}; "
        f"mean shares: {shares}"
    )
