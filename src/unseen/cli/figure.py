"""`unseen figure`: one figure of a run, for a paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from unseen.cli import streams
from unseen.core.figure_style import FigureWidth
from unseen.core.options import Argument, Labels, Option
from unseen.pages import figures as library
from unseen.pages.figures import FIGURE_KINDS, FigureKind


def figure(
    kind: Annotated[
        FigureKind,
        Argument(
            "What to draw: histogram or intervals of a comparison; instances, retention or "
            "curves of evidence; pairs of evidence, or of photographs and images of the same "
            "names.",
            metavar="|".join(FIGURE_KINDS),
        ),
    ],
    run: Annotated[
        Path,
        Argument("Folder that `unseen compare`, `unseen invert` or `unseen evidence` wrote."),
    ],
    classes: Annotated[
        Sequence[str],
        Option("Show this class alone. It may be repeated.", name="--class", repeated=True),
    ] = (),
    out: Annotated[
        Path | None,
        Option("File to write: .pdf, .svg or .png. Default: KIND.pdf.", short="-o"),
    ] = None,
    width: FigureWidth = None,
    labels: Labels = None,
    count: Annotated[
        int, Option("Photographs in pairs, objects in instances.", short="-n", min=1, max=100)
    ] = 4,
) -> None:
    """Draw one figure of a run, for a paper: vector graphics, text that stays text, no paths."""
    file = out or Path(f"{kind}.pdf")
    library.figure(kind, run, file, classes=classes, width=width, labels=labels, count=count)
    streams.write(f"Figure: {file}")
