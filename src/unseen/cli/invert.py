"""`unseen invert IMAGES --generator G --inverter E --out DIR`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from unseen.cli.evidence import JudgedBy
from unseen.cli.options import given
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.wording import printable
from unseen.distribution.segment import default_segmenter
from unseen.generators import load_generator
from unseen.instance_evidence.evidence_summary import evidence_summary
from unseen.instance_evidence.measuring import EvidenceTask, LabelMaps, evidence_of_inversions
from unseen.inversion.inversions import METHODS, Inversions, Method, curve_runs
from unseen.inversion.invert import CONTROLS_SEED, InversionRun, invert, preset_for
from unseen.inversion.methods import Inversion
from unseen.pages import report_folder
from unseen.segmenters import Segmenter, load_segmenter

FAILED = 5
"""Status where the loss of some images was not a number and the others were reconstructed."""

_SHOWN = 6  # failed and skipped images on stderr


def command(
    images: Annotated[
        str,
        typer.Argument(
            help="Photographs: a folder, a zip, an LSUN LMDB, an .npz, or a spec (see: unseen "
            "list).",
            show_default=False,
        ),
    ],
    generator: Annotated[
        str, typer.Option(help="A spec, e.g. progan:church (see: unseen list).", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the record, reconstructions and tensors; a run that was interrupted "
            "goes on there.",
            show_default=False,
        ),
    ],
    inverter: Annotated[
        str | None,
        typer.Option(
            help="The generator's, from `unseen train`, for methods d, e and f.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="An inverter trained end to end, for methods b and c.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="Of a (optimise z from random), b (encoder), c (optimise z from b), d (layer-wise "
            "inverter), e (optimise z from d), f (perturb layers from d), nearest (a mosaic of "
            "samples; no inverter); several: d,f,nearest."
        ),
    ] = "f",
    preset: Annotated[
        str, typer.Option(help="default, or the paper's iccv2019 (f) and iccv2019-z (a, c, e).")
    ] = "default",
    cut: Annotated[
        str | None,
        typer.Option(help="Layer whose features are r. Default: the inverter's last."),
    ] = None,
    perturbed: Annotated[
        str | None,
        typer.Option(
            help="Layers that f perturbs: layer1,layer3, or 3 for the first three. Default: the "
            "preset's; all up to the cut.",
            show_default=False,
        ),
    ] = None,
    curve: Annotated[
        str,
        typer.Option(
            help="Further runs of f, perturbed up to these layers, for the curve of retention: "
            "layer1,layer6; none; or auto: the first layer, half and twice as deep as the last "
            "perturbed one."
        ),
    ] = "auto",
    cut_rule: Annotated[
        str | None,
        typer.Option(help="How the cut was chosen: a sentence for the page.", show_default=False),
    ] = None,
    label_maps: Annotated[
        LabelMaps,
        typer.Option(
            help="Where the photographs' instances come from: segmenter, or true for a source with "
            "exact label maps (the churchyard)."
        ),
    ] = "segmenter",
    regularisation: Annotated[
        float | None,
        typer.Option(help="Weight of the perturbations' squares. Default: 1.", min=0.0),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of the optimiser, at most. Default: the preset's.", min=1)
    ] = None,
    perceptual: Annotated[
        Literal["vgg16", "segmenter", "inverter", "latents", "none"] | None,
        typer.Option(
            help="Features that are compared beside pixels. Default: the preset's; of `default` "
            "vgg16, for the churchyard its segmenter's.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help=f"That method nearest looks among. Default: {Inversion.samples}.", min=2),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="How far around a spot method nearest compares, as a share of the image's side. "
            f"Default: {Inversion.window:g}.",
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="For the evidence, and for its features. Default: upp; churchyard for the "
            "churchyard.",
            show_default=False,
        ),
    ] = None,
    judged_by: JudgedBy = None,
    evidence: Annotated[
        bool, typer.Option(help="Segment the results and say what they no longer have.")
    ] = True,
    count: Annotated[
        int | None,
        typer.Option(help="Photographs, a seeded subset. Default: all.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the subset, and of method a's starts.")] = 0,
    by_class: Annotated[
        int | None,
        typer.Option(
            help="Photographs of each class, drawn from those that hold most of it; controls are "
            "chosen in the same way. Default: all photographs.",
            min=1,
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        int,
        typer.Option(help="Photographs, and own images, that --by-class chooses from.", min=1),
    ] = 500,
    class_: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Choose photographs for this class, and judge it, alone; may be repeated.",
            show_default=False,
        ),
    ] = None,
    controls: Annotated[
        int | None,
        typer.Option(
            help="The generator's own images, inverted in the same way; with --by-class of each "
            "class. Default: none; with --by-class as many.",
            min=0,
            show_default=False,
        ),
    ] = None,
    controls_seed: Annotated[
        int, typer.Option(help="Of the controls' latents.", min=0)
    ] = CONTROLS_SEED,
    batch_size: Annotated[
        int, typer.Option(help="Images optimised at once: memory, not results.", min=1)
    ] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="List images that cannot be decoded, go on.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other inversions in the folder.")
    ] = False,
) -> None:
    """Reconstruct photographs by a generator, and see what it leaves out of them. Resumable.

    Ends with status 5 where the loss of an image was not a number; the others are reconstructed.
    """
    changes = {
        "cut": cut,
        "perturbed": None if perturbed is None else _layers(perturbed),
        "regularisation": regularisation,
        "steps": steps,
        "perceptual": perceptual,
        "samples": samples,
        "window": window,
    }
    settings = dataclasses.replace(preset_for(images, preset, **given(changes)), seed=seed)
    methods = _methods(method)
    network = load_generator(generator, device=device)
    task = InversionRun(
        methods=methods,
        settings=settings,
        count=count,
        seed=seed,
        by_class=by_class,
        pool=pool,
        classes=class_ if by_class is not None else None,
        controls=controls,
        controls_seed=controls_seed,
        curve=_curve(curve) if evidence or curve != "auto" else (),
        batch_size=batch_size,
        skip_broken=skip_broken,
        overwrite=overwrite,
    )
    judge = None  # loaded before anything is inverted: what is missing is said at once
    if evidence or by_class is not None or segmenter is not None:
        judge = load_segmenter(segmenter or default_segmenter(images), device=device)
    with progress_bar("invert", unit="reconstructions") as progress:
        record = invert(
            images,
            network,
            inverter,
            out=out,
            encoder=encoder,
            segmenter=judge,
            task=task,
            progress=progress,
            say=lambda line: typer.echo(f"unseen: {printable(line)}", err=True),
        )
    further = curve_runs(record)
    for one in (record, *further):
        _tell(one)
    for run in (record, *further):
        upto = "" if run is record else f"up to {run.folder.name}: "
        typer.echo("\n".join(printable(f"{upto}{line}") for line in run.summary().splitlines()))
    if evidence and any(result for one in record.images for result in one.reconstructions.values()):
        _gather(
            record,
            judge,
            EvidenceTask(
                label_maps=label_maps,
                classes=class_,
                device=device,
                batch_size=batch_size,
                overwrite=overwrite,
                cut_rule=cut_rule,
                judged_by=judged_by,
            ),
        )
    typer.echo(f"Record: {out}")
    if any(one.failures for one in (record, *further)):
        raise typer.Exit(FAILED)


def _curve(text: str) -> tuple[str, ...] | Literal["auto"]:
    if text == "auto":
        return "auto"
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def _layers(text: str) -> int | tuple[str, ...]:
    if text.isdecimal():
        return int(text)
    return tuple(part.strip() for part in text.split(","))


def _methods(text: str) -> tuple[Method, ...]:
    asked = [part.strip() for part in text.split(",")]
    if unknown := [one for one in asked if one not in METHODS]:
        raise SpecError(f"no method is called {unknown[0]!r}; known: {', '.join(METHODS)}")
    return tuple(method for method in METHODS if method in asked)


def _tell(record: Inversions) -> None:
    """Failed and skipped images, on stderr."""
    lines = [f"failed: {one.name} by {method}: {why}" for one, method, why in record.failures]
    lines += [f"skipped: {why}" for why in record.skipped.values()]
    for line in lines[:_SHOWN]:
        typer.echo(f"unseen: {printable(line)}", err=True)
    if len(lines) > _SHOWN:
        typer.echo(f"unseen: … and {len(lines) - _SHOWN} more, listed in the record", err=True)


def _gather(record: Inversions, segmenter: Segmenter | None, task: EvidenceTask) -> None:
    with progress_bar("segment") as progress:
        found = evidence_of_inversions(record, segmenter, task=task, progress=progress)
    typer.echo(evidence_summary(found))
    typer.echo(f"Page: {report_folder(record.folder)}")
