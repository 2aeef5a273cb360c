"""`unseen report`: draw the page again from the record, without any model."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.pages import report
from unseen.records.comparison import read_comparison


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders that `unseen compare --out` wrote.", metavar="RUN..."),
    ],
) -> None:
    """Draw figures and page of comparisons from their records."""
    for run in runs:
        folder = run.parent if run.name == "comparison.json" else run
        page = report(folder, read_comparison(folder))
        typer.echo(f"Page: {page}")
