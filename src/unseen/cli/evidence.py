"""`unseen evidence`: what reconstructions of photographs no longer have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.files import as_path
from unseen.core.options import SEED_MOST, Argument, Fields, Option, SingleFile
from unseen.core.wording import listed
from unseen.instance_evidence import measuring as library
from unseen.instance_evidence.evidence_summary import evidence_summary
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.instance_evidence.record import FILE
from unseen.inversion.inversions import RECORD
from unseen.pages import report_folder
from unseen.segmenters.protocol import SegmenterName
from unseen.statistics.retention import Judging


def evidence(
    sources: Annotated[
        Sequence[str],
        Argument(
            "Two sets of images (folder, archive or spec) of the same names: photographs and "
            "their reconstructions. Or folders that `unseen invert` wrote: the first for the "
            "verdicts, more for the curve of retention against the last perturbed layer.",
            metavar="PHOTOS RECONSTRUCTIONS | RUN",
        ),
    ],
    options: Annotated[dict[str, Any], Fields(EvidenceTask)],
    out: Annotated[
        Path | None,
        Option(
            "Folder for the record and the pictures. Default: evidence; of a RUN its own folder.",
            short="-o",
        ),
    ] = None,
    controls: Annotated[
        tuple[str, str] | None,
        Option(
            "The generator's own images, and their reconstructions by the same tool. Without them "
            "no class gets a verdict.",
            metavar="IMAGES RECONSTRUCTIONS",
        ),
    ] = None,
    segmenter: SegmenterName = None,
    only_pairs: Annotated[bool, Option("Leave out photographs without a reconstruction.")] = False,
    seed: Annotated[int, Option("Seed of resampling.", max=SEED_MOST)] = 0,
    single_file: SingleFile = False,
) -> None:
    """See what reconstructions no longer have, and rank photographs by what vanished."""
    task = EvidenceTask(judging=Judging(seed=seed), **options)
    runs = [(as_path(source) / RECORD).is_file() for source in sources]
    images: Any = [as_path(source) for source in sources]
    reconstructions = None
    folder = as_path(sources[0]) if out is None else out
    if not all(runs):
        images, reconstructions = _two(sources, runs)
        folder = Path("evidence") if out is None else out
    with progress_bar("segment") as progress:
        record = library.evidence(
            images,
            reconstructions,
            segmenter,
            out=folder,
            controls=controls,
            only_pairs=only_pairs,
            task=task,
            progress=progress,
        )
    streams.write(evidence_summary(record))
    streams.write(f"Record: {folder / FILE}")
    streams.write(f"Page: {report_folder(folder, single_file=single_file)}")


def _two(sources: Sequence[str], runs: Sequence[bool]) -> tuple[str, str]:
    if len(sources) != 2 or any(runs):
        images = [source for source, is_run in zip(sources, runs, strict=True) if not is_run]
        raise SpecError(
            f"{listed(images)} without {RECORD} among {len(sources)} arguments; name photographs "
            "and their reconstructions, or folders that `unseen invert` wrote"
        )
    return sources[0], sources[1]
