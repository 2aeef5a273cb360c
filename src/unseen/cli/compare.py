"""`unseen compare`: what generated images lack against real ones."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.drawing import (
    GeneratorBatchSize,
    GeneratorPrecision,
    KeepImages,
    LatentSeed,
    RoundingChoice,
)
from unseen.cli.gate import Gate
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.files import write_text
from unseen.core.records import to_json
from unseen.core.wording import printable
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.distribution.comparison_summary import summary
from unseen.generators.drawn_images import BATCH_SIZE
from unseen.pages import report
from unseen.segmenters import Precision


def command(
    real: Annotated[
        str,
        typer.Argument(
            help="The real side: a folder or archive of images, the spec of images or of a "
            "generator, an areas file (.parquet), or tally:FILE.npy."
        ),
    ],
    generated: Annotated[
        list[str] | None,
        typer.Argument(help="One generated side or more, of the same kinds; the newest last."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the record, the figures and the page.")
    ] = Path("comparison"),
    itself: Annotated[
        bool, typer.Option("--self", help="Compare two disjoint halves of the real side.")
    ] = False,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="Spec of the segmenter: upp unless told otherwise, churchyard where all sides are "
            "the churchyard's."
        ),
    ] = None,
    second_segmenter: Annotated[
        str | None,
        typer.Option(help="Verdicts by this one too; where the two disagree, undecided."),
    ] = None,
    channel: Annotated[str, typer.Option(help="Of the segmenter.")] = "object",
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=2,
            help="Images a side: a seeded subset, or a generator's first. Needed where a side "
            "never ends, as a generator does not.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of subsets, permutations, resampling.")] = 0,
    presence_threshold: Annotated[
        float,
        typer.Option(
            min=1e-6, max=0.99, help="A class is present from this fraction of the image on."
        ),
    ] = 0.005,
    match_resolution: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Degrade all images to this side in pixels first, the generator's native one, so "
            "that it is not tested for blur.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, … or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16, of the segmenter.")] = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call of the segmenter.")] = 16,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes; one a core unless told.")
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Count and list broken images, go on.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option(help="Keep the images that hold most of each class for the page.")
    ] = True,
    latent_seed: LatentSeed = 1,
    rounding: RoundingChoice = "nearest",
    generator_precision: GeneratorPrecision = "fp32",
    generator_batch_size: GeneratorBatchSize = BATCH_SIZE,
    keep_images: KeepImages = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace areas and kept images of another run."),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="End with status 3 and name the classes: omitted, under (or omitted), regressed "
            "(the last side against the one before), 'fsd>30' (corrected). Judges the last side."
        ),
    ] = None,
    require_power: Annotated[
        str | None,
        typer.Option(
            help="End with status 4 where the sample could not have shown it: "
            "'presence>=1%,drop<=50%'."
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="Write the record here too; - for stdout, without the text."),
    ] = None,
) -> None:
    """Compare generated images with real ones: distance, verdict for every class, page."""
    sides = generated or []
    if itself == bool(sides):
        raise SpecError(
            "name one generated side or more, or compare the real side with itself by --self"
            if not itself
            else "--self compares the real side with itself; name no generated side"
        )
    precisions: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16"}
    if precision not in precisions:
        raise SpecError(f"--precision {precision!r} is not known; known: fp32, bf16")
    gate = Gate.parse(fail_on or [], require_power)
    gate.check(len(sides) or 1)
    task = ComparisonRun(
        real=real,
        generated=tuple(sides),
        out=out,
        segmenter=segmenter,
        second_segmenter=second_segmenter,
        channel=channel,
        count=count,
        seed=seed,
        presence_threshold=presence_threshold,
        match_resolution=match_resolution,
        device=device,
        precision=precisions[precision],
        batch_size=batch_size,
        workers=workers,
        skip_broken=skip_broken,
        pictures=pictures,
        sample_seed=latent_seed,
        rounding=rounding,
        generator_precision=generator_precision,
        generator_batch_size=generator_batch_size,
        keep_images=keep_images,
        overwrite=overwrite,
    )
    comparison = run_comparison(task, watch=progress_bar)
    page = report(out, comparison)
    text = json.dumps(to_json(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        if json_file is not None:
            write_text(Path(json_file), text)
        typer.echo(summary(comparison))
        typer.echo(f"Page: {page}")
    status, reasons = gate.judge(comparison)
    for line in reasons:
        typer.echo(printable(line), err=True)
    if status:
        raise typer.Exit(status)
