"""`unseen export`: the pictures of a comparison, for other tools."""

from pathlib import Path
from typing import Annotated

from unseen.cli import streams
from unseen.core.options import Argument, Option
from unseen.integrations.exports import ExportFormat
from unseen.integrations.exports import export as library


def export(
    run: Annotated[Path, Argument("Folder that `unseen compare` wrote.")],
    folder: Annotated[Path, Argument("A new folder for the export.")],
    to: Annotated[
        ExportFormat, Option("Format: COCO panoptic, or a dataset of FiftyOne on disk.")
    ] = "coco-panoptic",
) -> None:
    """Write the pictures of a comparison with label maps and verdicts, for other tools."""
    for file in library(run, folder, to):
        streams.write(f"Export: {file}")
