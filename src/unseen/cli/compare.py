"""`unseen compare`: what generated images lack against real ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unseen.cli import streams
from unseen.cli.gate import Gate
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.files import write_text
from unseen.core.options import Option
from unseen.core.records import to_json
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.distribution.comparison_summary import summary
from unseen.pages import report


def compare(
    task: ComparisonRun,
    itself: Annotated[
        bool, Option("Compare two disjoint halves of the real side.", name="--self")
    ] = False,
    fail_on: Annotated[
        Sequence[str],
        Option(
            "End with status 3, and name the classes: omitted, under (or omitted), regressed (the "
            "last side against the side before it), 'fsd>30' (corrected). The last side is judged.",
            metavar="CONDITION",
            repeated=True,
        ),
    ] = (),
    require_power: Annotated[
        str | None,
        Option(
            "End with status 4 where the sample could not have shown it: 'presence>=1%,drop<=50%'.",
            metavar="POWER",
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        Option(
            "File for the record, too; - writes it to stdout instead of the text.",
            name="--json",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Compare generated images with real ones: distance, verdict for every class, page."""
    if itself == bool(task.generated):
        raise SpecError(
            "name one generated side or more, or compare the real side with itself by --self"
            if not itself
            else "--self compares the real side with itself; name no generated side"
        )
    gate = Gate.parse(fail_on, require_power)
    gate.check(len(task.generated) or 1)
    comparison = run_comparison(task, watch=progress_bar)
    page = report(task.out, comparison, keep_current=True)
    record = to_json(comparison)
    if json_file == "-":
        streams.write_json(record)
    else:
        if json_file is not None:
            text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
            write_text(Path(json_file), text + "\n")
        streams.write(summary(comparison))
        streams.write(f"Page: {page}")
    status, reasons = gate.judge(comparison)
    for reason in reasons:
        streams.complain(reason)
    if status:
        raise typer.Exit(status)
