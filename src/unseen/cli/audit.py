"""`unseen audit`: check the segmenter by hand, and correct a comparison by what people saw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from unseen.audit.correcting import correct
from unseen.audit.drawing import Auditing, draw_audit
from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.files import as_path
from unseen.core.options import Argument, Option, SingleFile
from unseen.distribution.comparison_summary import summary
from unseen.pages import report_folder
from unseen.pages.audit_page import audit_page
from unseen.pages.small_figures import slug


def audit(
    run: Annotated[Path, Argument("Folder that `unseen compare` wrote.")],
    task: Auditing,
    class_name: Annotated[
        str | None, Option("Write a page that asks for this class.", name="--class")
    ] = None,
    out: Annotated[
        Path | None,
        Option("File of the page (.html). Default: audit-CLASS.html in the folder.", short="-o"),
    ] = None,
    labels: Annotated[
        Sequence[Path],
        Option(
            "Correct the comparison by these answers (CSV). Several files are several people.",
            metavar="FILE",
            repeated=True,
            greedy=True,
        ),
    ] = (),
    single_file: SingleFile = False,
) -> None:
    """Label pictures by hand to check the segmenter; then correct a class by the labels."""
    if bool(labels) == (class_name is not None):
        raise SpecError(
            "give --class to write a page for labelling, or --labels to correct the comparison"
        )
    folder = as_path(run)
    if class_name is not None:
        with progress_bar("audit") as progress:
            name, pictures = draw_audit(folder, class_name, task, progress=progress)
        page = audit_page(out or folder / f"audit-{slug(name)}.html", name, pictures)
        streams.write(f"Page: {page}: {len(pictures):,} pictures, a key each; then --labels FILE")
        return
    comparison, missing = correct(folder, map(as_path, labels))
    for text in missing:
        streams.note(text)
    streams.write(summary(comparison))
    streams.write(f"Page: {report_folder(folder, single_file=single_file)}")
