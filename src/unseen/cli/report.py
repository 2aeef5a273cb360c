"""`unseen report`: draw the page again from the records, without any model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from unseen.cli import streams
from unseen.core.options import Argument
from unseen.pages import report_folder


def report(
    runs: Annotated[
        Sequence[Path],
        Argument(
            "Folders that `unseen compare`, `unseen evidence` or `unseen invert` wrote.",
            metavar="RUN",
            repeated=True,
        ),
    ],
) -> None:
    """Draw figures and page of comparisons and of instance evidence from their records."""
    for run in runs:
        streams.write(f"Page: {report_folder(run)}")
