"""`unseen demo`: the method on the built-in world, without a download."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.churchyard.generator import PLANTED
from unseen.cli.progress import progress_bar
from unseen.cli.summary import summary
from unseen.pages import report
from unseen.pages.words import times
from unseen.pipeline.comparison_run import ComparisonRun, run_comparison
from unseen.records.comparison import GeneratedSide


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the record, the figures and the page.")
    ] = Path("unseen-demo"),
    count: Annotated[int, typer.Option("--count", "-n", min=2, help="Images on each side.")] = 1000,
) -> None:
    """Compare the churchyard with two generators, one of which was never shown some of it."""
    planted = " and ".join(f"{name}s" for name in PLANTED)
    typer.echo(
        "The built-in churchyard plays the real images. Two generators were trained on it:\n"
        f"churchyard-full saw all of it, churchyard-planted a churchyard without {planted}.\n"
    )
    task = ComparisonRun(
        real="churchyard?seed=1",
        generated=("churchyard-full", "churchyard-planted"),
        out=out,
        count=count,
        overwrite=True,
    )
    comparison = run_comparison(task, watch=progress_bar)
    page = report(out, comparison)
    typer.echo(summary(comparison))
    full, without = comparison.generated
    typer.echo(f"Never shown to churchyard-planted: {_verdicts(without)}.")
    typer.echo(f"The same by churchyard-full: {_verdicts(full)}.")
    typer.echo(f"Page: {page}")


def _verdicts(side: GeneratedSide) -> str:
    """What was found of the planted classes: `car 0.10×, under; fence 0.82×, undecided`."""
    rows = {row.name: row for row in side.classes}
    return "; ".join(f"{name} {times(rows[name].ratio)}, {rows[name].verdict}" for name in PLANTED)
