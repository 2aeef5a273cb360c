"""`unseen invert IMAGES --generator G --inverter E --out DIR`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Argument, Fields, Option, SingleFile
from unseen.core.wording import count
from unseen.distribution.segment import default_segmenter
from unseen.engines.engine import Engine
from unseen.generators import load_layered
from unseen.instance_evidence import measuring as evidence_library
from unseen.instance_evidence.evidence_summary import evidence_summary
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.inversion import invert as library
from unseen.inversion.blocks import InversionOpening
from unseen.inversion.inversions import Inversions, curve_runs
from unseen.inversion.invert import InversionRun, preset_for
from unseen.inversion.methods import Inversion, Steps
from unseen.pages import report_folder
from unseen.segmenters import Segmenter, load_segmenter
from unseen.segmenters.protocol import SegmenterName

FAILED = 5
"""Status where the loss of some images was not a number and the others were reconstructed."""

_SHOWN = 6  # failed and skipped images on stderr


Photographs = Annotated[
    str,
    Argument("Photographs: a folder, a zip, a tar, an LSUN LMDB, an .npz or a spec (unseen list)."),
]
Place = Annotated[
    Path,
    Option("Folder for the record, reconstructions and tensors. A run goes on there.", short="-o"),
]
LayerInverter = Annotated[
    str | None,
    Option(
        "The generator's inverter, from `unseen train`, where methods d, e and f begin. Default: "
        "none; they begin as --start says."
    ),
]
Encoder = Annotated[str | None, Option("An inverter trained end to end, for methods b and c.")]
Preset = Annotated[
    str,
    Option(
        "Settings of the optimiser: default, soap, quick, or the paper's iccv2019 (f) and "
        "iccv2019-z (a, c, e)."
    ),
]


def _curve(text: str) -> tuple[str, ...] | Literal["auto"]:
    if text == "auto":
        return "auto"
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def invert(
    images: Photographs,
    generator: Annotated[str, Option("A spec, e.g. progan:church (see: unseen list).")],
    out: Place,
    options: Annotated[dict[str, Any], Fields(InversionRun)],
    changes: Annotated[dict[str, Any], Fields(Inversion, given=True)],
    measuring: EvidenceTask,
    engine: Engine,
    inverter: LayerInverter = None,
    encoder: Encoder = None,
    preset: Preset = "default",
    steps: Steps = None,
    curve: Annotated[
        tuple[str, ...] | Literal["auto"],
        Option(
            "Further runs of f, perturbed up to these layers, for the curve of retention: "
            "layer1,layer6; none; or auto, which is the first layer, half and twice as deep as "
            "the last perturbed layer.",
            metavar="LAYERS",
            parse=_curve,
            shown="auto",
        ),
    ] = "auto",
    segmenter: SegmenterName = None,
    evidence: Annotated[
        bool, Option("Segment the results, and say what they no longer have.")
    ] = True,
    single_file: SingleFile = False,
) -> None:
    """Reconstruct photographs with a generator, and see what it leaves out. Run it again to go on.

    Ends with status 5 where the loss of an image was not a number; the others are reconstructed.
    """
    if steps is not None:
        changes["steps"] = steps
    settings = dataclasses.replace(preset_for(images, preset, **changes), seed=options["seed"])
    task = InversionRun(
        settings=settings,
        classes=measuring.classes if options["by_class"] is not None else None,
        curve=curve if evidence or curve != "auto" else (),
        **options,
    )
    network = load_layered(generator, device=measuring.device)
    judge = None  # loaded before anything is inverted: what is missing is said at once
    named = segmenter or default_segmenter(images)
    if evidence or task.by_class is not None or segmenter is not None:
        judge = load_segmenter(named, device=measuring.device, precision=measuring.precision)
    opening = InversionOpening(
        images=images,
        generator=generator,
        inverter=inverter,
        encoder=encoder,
        segmenter=named,
        device=measuring.device,
        precision=measuring.precision,
    )
    with progress_bar("invert", unit="reconstructions") as progress:
        record = library.invert(
            images,
            network,
            inverter,
            out=out,
            encoder=encoder,
            segmenter=judge,
            task=task,
            progress=progress,
            say=streams.note,
            engine=engine,
            opening=opening,
        )
    part, parts = task.part
    if parts > 1:
        made = sum(len(image.reconstructions) for image in record.images)
        streams.write(f"part {part}/{parts} of {out}: {count(made, 'reconstruction')} there so far")
        return
    runs = [record, *curve_runs(record)]
    for run in runs:
        _note_failed(run)
    for run in runs:
        prefix = "" if run is record else f"up to {run.folder.name}: "
        for line in run.summary().splitlines():
            streams.write(prefix + line)
    if evidence and any(result for image in record.images for result in image.reconstructions):
        _gather(record, judge, measuring, single_file)
    streams.write(f"Record: {out}")
    if any(run.failures for run in runs):
        raise typer.Exit(FAILED)


def _note_failed(record: Inversions) -> None:
    lines = [f"failed: {image.name} by {method}: {why}" for image, method, why in record.failures]
    lines += [f"skipped: {why}" for why in record.skipped.values()]
    for line in lines[:_SHOWN]:
        streams.note(line)
    if len(lines) > _SHOWN:
        streams.note(f"… and {len(lines) - _SHOWN} more, listed in the record")


def _gather(
    record: Inversions, segmenter: Segmenter | None, task: EvidenceTask, single_file: bool
) -> None:
    with progress_bar("segment") as progress:
        evidence = evidence_library.evidence(
            record, segmenter=segmenter, task=task, progress=progress
        )
    streams.write(evidence_summary(evidence))
    streams.write(f"Page: {report_folder(record.folder, single_file=single_file)}")
