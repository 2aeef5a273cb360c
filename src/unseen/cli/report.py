"""`unseen report`: draw the page again from the records, without any model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from unseen.cli import streams
from unseen.core.options import Argument, Labels, Option, SingleFile
from unseen.pages import print_pdf, report_folder


def report(
    runs: Annotated[
        Sequence[Path],
        Argument(
            "Folders that `unseen compare`, `unseen evidence` or `unseen invert` wrote.",
            metavar="RUN",
        ),
    ],
    labels: Labels = None,
    single_file: SingleFile = False,
    pdf: Annotated[
        bool,
        Option("Print the page to report.pdf beside it, on A4, by Chromium or Chrome."),
    ] = False,
) -> None:
    """Draw figures and page of comparisons and of instance evidence from their records."""
    for run in runs:
        page = report_folder(run, labels=labels, single_file=single_file)
        streams.write(f"Page: {page}")
        if pdf:
            streams.write(f"PDF: {print_pdf(page)}")
