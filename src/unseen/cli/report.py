"""`unseen report`: draw the page again from the records, without any model."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.pages import report_folder


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that `unseen compare`, `unseen evidence` or `unseen invert` wrote.",
            metavar="RUN...",
        ),
    ],
) -> None:
    """Draw figures and page of comparisons and of instance evidence from their records."""
    for run in runs:
        typer.echo(f"Page: {report_folder(run)}")
