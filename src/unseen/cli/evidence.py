"""`unseen evidence`: what reconstructions of photographs no longer have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.instance_evidence.evidence_summary import evidence_summary
from unseen.instance_evidence.measuring import (
    EvidenceTask,
    LabelMaps,
    evidence,
    evidence_of_inversions,
)
from unseen.instance_evidence.record import FILE
from unseen.inversion.inversions import RECORD
from unseen.pages import report_folder
from unseen.segmenters import Precision
from unseen.statistics.retention import Judging

JudgedBy = Annotated[
    str | None,
    typer.Option(
        help="The method that verdicts are about. Default: f, or else nearest.",
        show_default=False,
    ),
]


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
    judged_by: JudgedBy = None,
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
        judged_by=judged_by,
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
    typer.echo(evidence_summary(found))
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
