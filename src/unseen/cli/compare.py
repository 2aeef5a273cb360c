"""`unseen compare`: what generated images lack against real ones."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.files import as_path, write_text
from unseen.core.options import Option, SingleFile
from unseen.core.records import to_json
from unseen.distribution.comparison_exports import as_junit, as_markdown
from unseen.distribution.comparison_run import ComparisonRun, Judge, run_comparison
from unseen.distribution.comparison_summary import summary
from unseen.distribution.gate import Gate
from unseen.distribution.gate_history import check_history, judge_with_history
from unseen.engines.engine import Engine
from unseen.pages import report


def compare(
    task: ComparisonRun,
    engine: Engine,
    itself: Annotated[
        bool, Option("Compare two disjoint halves of the real side.", name="--self")
    ] = False,
    fail_on: Annotated[
        Sequence[str],
        Option(
            "End with status 3, and name the classes: omitted, under (or omitted), regressed (the "
            "last side against the side before it), 'fsd>30' (its interval). The last side is "
            "judged.",
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
    history: Annotated[
        Path | None,
        Option(
            "A gate of many runs: file (.json) by which the false alarms of all runs together keep "
            "5 %.",
            metavar="FILE",
        ),
    ] = None,
    every_side: Annotated[
        bool,
        Option("Judge every generated side. The false alarms of all together keep 5 %."),
    ] = False,
    markdown: Annotated[
        Path | None,
        Option("File for a summary in Markdown, as a pull request shows it.", metavar="FILE"),
    ] = None,
    junit: Annotated[
        Path | None,
        Option("File for the gate's result in JUnit XML, as dashboards read it.", metavar="FILE"),
    ] = None,
    single_file: SingleFile = False,
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
    gate = Gate.parse(fail_on, require_power, every_side=every_side)
    gate.check(len(task.generated) or 1)
    if gate.out_of_reach:
        streams.note(f"status 0 is out of reach: {gate.out_of_reach}")
    judge = _judge(gate, history, junit)
    comparison = run_comparison(task, watch=progress_bar, judge=judge, engine=engine)
    page = report(task.out, comparison, keep_current=True, single_file=single_file)
    for file, text_of in ((markdown, as_markdown), (junit, as_junit)):
        if file is not None:
            write_text(file, text_of(comparison))
    record = to_json(comparison)
    if json_file == "-":
        streams.write_json(record)
    else:
        if json_file is not None:
            text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
            write_text(as_path(json_file), text + "\n")
        streams.write(summary(comparison))
        streams.write(f"Page: {page}")
    if comparison.gate is not None:
        for reason in comparison.gate.sentences:
            streams.complain(reason)
        if comparison.gate.status:
            raise typer.Exit(comparison.gate.status)


def _judge(gate: Gate, history: Path | None, junit: Path | None) -> Judge | None:
    """What judges the comparison; None: nothing was asked for."""
    asked = gate.fail_on or gate.power
    for option, file in (("--junit", junit), ("--history", history)):
        if file is not None and not asked:
            raise SpecError(f"{option} is of a gate; name what it fails on by --fail-on")
    if history is None:
        return gate.judge if asked else None
    check_history(history)
    return functools.partial(judge_with_history, history, gate)
