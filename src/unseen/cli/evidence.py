"""`unseen evidence`: what reconstructions of photographs no longer have."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.progress import progress_bar
from unseen.cli.summary import printable
from unseen.errors import SpecError
from unseen.pages import report_folder
from unseen.pages.words import percent
from unseen.pipeline.evidence import (
    EvidenceTask,
    LabelMaps,
    evidence,
    evidence_of_inversions,
)
from unseen.records.areas import class_name
from unseen.records.evidence import FILE, ClassEvidence, Evidence, Mean, Picture
from unseen.records.inversions import RECORD
from unseen.segmenters import Precision
from unseen.statistics.retention import Judging

_MOST_ROWS = 12  # classes, and images, in the summary; the rest is in the record
_MOST_THINGS = 3  # that vanished, a photograph
_WIDTH = 100


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="PHOTOS RECONSTRUCTIONS: two sets of images (folder, archive or spec) of the same "
            "names; or folders that `unseen invert` wrote, the first for the verdicts, more for "
            "the curve of retention against the last perturbed layer.",
            metavar="PHOTOS RECONSTRUCTIONS | RUN...",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the record and the pictures. Default: evidence; of a RUN its own.",
            show_default=False,
        ),
    ] = None,
    controls: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="The generator's own images, and their reconstructions by the same tool. Without "
            "them no class gets a verdict.",
            metavar="IMAGES RECONSTRUCTIONS",
            show_default=False,
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="Spec or folder of the segmenter. Default: upp; churchyard for the churchyard.",
            show_default=False,
        ),
    ] = None,
    channel: Annotated[str, typer.Option(help="Channel of the segmenter.")] = "object",
    label_maps: Annotated[
        LabelMaps,
        typer.Option(
            help="Where the photographs' instances come from: segmenter, or true for a source with "
            "exact label maps (the churchyard). Reconstructions are always segmented."
        ),
    ] = "segmenter",
    class_: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Judge this class alone; may be repeated.", show_default=False
        ),
    ] = None,
    least_area: Annotated[
        float,
        typer.Option(help="An instance covers this fraction of the image.", min=1e-6, max=0.99),
    ] = 0.005,
    only_pairs: Annotated[
        bool, typer.Option("--only-pairs", help="Leave out photographs without reconstruction.")
    ] = False,
    cut_rule: Annotated[
        str | None,
        typer.Option(help="How the cut was chosen: a sentence for the record.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of permutations and resampling.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="fp32 or bf16, of the segmenter.")] = "fp32",
    batch_size: Annotated[int, typer.Option(help="Images a call of the segmenter.", min=1)] = 16,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other evidence in the folder.")
    ] = False,
) -> None:
    """See which things reconstructions no longer have, and rank photographs by what vanished."""
    task = EvidenceTask(
        channel=channel,
        label_maps=label_maps,
        least_area=least_area,
        classes=class_,
        judging=Judging(seed=seed),
        device=device,
        precision=precision,
        batch_size=batch_size,
        overwrite=overwrite,
        cut_rule=cut_rule,
    )
    runs = [(Path(one) / RECORD).is_file() for one in sources]
    with progress_bar("segment") as progress:
        if all(runs):
            if controls is not None:
                raise SpecError(
                    "a run of `unseen invert` holds its controls already; leave --controls out"
                )
            folder = Path(sources[0]) if out is None else out
            found = evidence_of_inversions(
                [Path(one) for one in sources], segmenter, out=folder, task=task, progress=progress
            )
        else:
            photographs, reconstructions = _two(sources, runs)
            folder = Path("evidence") if out is None else out
            found = evidence(
                photographs,
                reconstructions,
                segmenter,
                out=folder,
                controls=controls,
                only_pairs=only_pairs,
                task=task,
                progress=progress,
            )
    typer.echo(summary(found))
    typer.echo(f"Record: {folder / FILE}")
    typer.echo(f"Page: {report_folder(folder)}")


def _two(sources: Sequence[str], runs: Sequence[bool]) -> tuple[str, str]:
    if len(sources) != 2 or any(runs):
        held = [one for one, is_run in zip(sources, runs, strict=True) if not is_run]
        raise SpecError(
            f"{len(sources)} place{'' if len(sources) == 1 else 's'} given, of which "
            f"{', '.join(held)} hold{'s' if len(held) == 1 else ''} no {RECORD}; name photographs "
            "and their reconstructions, or folders that `unseen invert` wrote"
        )
    return sources[0], sources[1]


def summary(record: Evidence) -> str:
    """The worst classes, the worst photographs, and the caveats, for a terminal."""
    return "\n".join(printable(line) for text in _lines(record) for line in text.split("\n"))


def _lines(record: Evidence) -> Iterator[str]:
    controls = record.controls
    beside = f", {controls.images:,} controls ({controls.label})" if controls else ""
    yield f"{record.photographs.images:,} photographs ({record.photographs.label}){beside}"
    yield ""
    yield "  Classes, the least retained first"
    rows = sorted(record.classes, key=lambda one: one.rank) if not controls else record.classes
    yield from _aligned([_class_cells(record, one) for one in rows[:_MOST_ROWS]])
    if len(rows) > _MOST_ROWS:
        yield f"    … and {len(rows) - _MOST_ROWS} more in the record"
    yield ""
    yield "  Photographs, those that lost most first"
    ranked = [one for one in record.pictures if one.rank is not None]
    yield from _aligned([_picture_cells(record, one) for one in ranked[:_MOST_ROWS]])
    if len(ranked) > _MOST_ROWS:
        yield f"    … and {len(ranked) - _MOST_ROWS} more in the record"
    yield ""
    for text in record.caveats:
        yield textwrap.fill(text, _WIDTH, initial_indent="Note: ", subsequent_indent="      ")


def _class_cells(record: Evidence, row: ClassEvidence) -> list[str]:
    found = row.by(record.primary)
    cells: list[str] = [] if row.verdict is None else [row.verdict]
    cells += [row.name, f"{_mean(found.photographs)} retained"]
    if record.controls is not None:
        cells.append(f"{_mean(found.controls)} of its controls")
    vanished = f"{row.vanished} of {row.instances} vanished, in {row.images} photographs"
    return [*cells, vanished if row.images != 1 else vanished.removesuffix("s")]


def _mean(found: Mean) -> str:
    if found.mean is None:
        return "–"
    low, high = found.interval
    if low is None or high is None:
        return f"{100 * found.mean:.0f} %"
    return f"{100 * found.mean:.0f} % [{100 * low:.0f} – {100 * high:.0f}]"


def _picture_cells(record: Evidence, picture: Picture) -> list[str]:
    gone = [
        one
        for one in record.instances
        if one.image == picture.id
        and any(
            fate.method == record.primary and fate.retention < record.rules.vanished_below
            for fate in one.fates
        )
    ]
    things = ", ".join(f"{class_name(one.column)} {percent(one.area)}" for one in gone)
    if len(gone) > _MOST_THINGS:
        listed = [f"{class_name(one.column)} {percent(one.area)}" for one in gone[:_MOST_THINGS]]
        things = f"{', '.join(listed)} and {len(gone) - _MOST_THINGS} more"
    return [f"{picture.rank}.", picture.name, f"vanished: {things}" if gone else "nothing vanished"]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"    {'  '.join(cells)}".rstrip()
