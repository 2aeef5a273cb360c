"""`unseen demo`: the method on the built-in world, without a download."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.progress import progress_bar
from unseen.cli.summary import summary
from unseen.pages import report
from unseen.pipeline.comparison_run import ComparisonRun, run_comparison

OMITTED = ("person", "fence")  # what the side that plays the generator never draws


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the record, the figures and the page.")
    ] = Path("unseen-demo"),
    count: Annotated[int, typer.Option("--count", "-n", min=2, help="Scenes on each side.")] = 1000,
) -> None:
    """Compare the churchyard with a churchyard that draws no persons and no fences."""
    typer.echo(
        "The built-in churchyard plays the real images; the same world, with other scenes and "
        f"without its {OMITTED[0]}s and {OMITTED[1]}s, plays the generator.\n"
    )
    task = ComparisonRun(
        real="churchyard?seed=1",
        generated=(f"churchyard?seed=2&without={','.join(OMITTED)}",),
        out=out,
        count=count,
        overwrite=True,
    )
    comparison = run_comparison(task, watch=progress_bar)
    page = report(out, comparison)
    typer.echo(summary(comparison))
    (side,) = comparison.generated
    called = {
        verdict: ", ".join(row.name for row in side.classes if row.verdict == verdict) or "none"
        for verdict in ("omitted", "under", "over")
    }
    typer.echo(f"Left out on purpose: {', '.join(OMITTED)}.")
    typer.echo(
        "Called " + "; ".join(f"{verdict}: {names}" for verdict, names in called.items()) + "."
    )
    typer.echo(f"Page: {page}")
