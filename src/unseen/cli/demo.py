"""`unseen demo`: the whole method on the built-in world, without a download."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from unseen.churchyard.generator import PLANTED, TWINS
from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Option, SingleFile
from unseen.core.wording import count as counted
from unseen.core.wording import listed, plural, share, times
from unseen.distribution.comparison import Comparison, GeneratedSide
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.distribution.comparison_summary import summary
from unseen.instance_evidence.evidence_summary import evidence_summary
from unseen.instance_evidence.measuring import EvidenceTask, evidence
from unseen.instance_evidence.record import Evidence
from unseen.inversion.invert import InversionRun, invert, preset_for
from unseen.inversion.methods import Inversion
from unseen.pages import report

SCENES = "churchyard?seed=1"
FULL: Literal["churchyard-full"] = "churchyard-full"  # its twin never saw what is PLANTED
EACH = 8  # scenes a class
CLASSES = (*PLANTED, "tree", "path")  # two that were never shown beside two that were
CUT = "layer1"
CUT_RULE = (
    "all settings were chosen on other scenes with churchyard-full, as docs/evidence.md tells"
)


def demo(
    out: Annotated[
        Path, Option("Folder for the records, the figures and the page.", short="-o")
    ] = Path("unseen-demo"),
    count: Annotated[int, Option("Images on each side.", short="-n", min=2)] = 1000,
    each: Annotated[
        int, Option(f"Scenes to invert for each of {', '.join(CLASSES)}.", min=1)
    ] = EACH,
    steps: Annotated[
        int | None, Option("Steps of the optimiser. Default: those of the preset quick.", min=1)
    ] = None,
    samples: Annotated[
        int,
        Option("Samples of the generator, and scenes, that each scene is compared with.", min=2),
    ] = Inversion.samples,
    generator: Annotated[
        Literal["churchyard-full", "churchyard-diffusion"],
        Option("Generator to look at, beside its twin: a ProGAN, or a diffusion model."),
    ] = FULL,
    single_file: SingleFile = False,
) -> None:
    """Compare the churchyard with two generators, one of which was never shown some of it."""
    twin = TWINS[generator]
    streams.write(
        "The built-in churchyard plays the real images. Two generators were trained on it:\n"
        f"{generator} saw all of it, {twin} a churchyard without {listed(map(plural, PLANTED))}.\n"
    )
    task = ComparisonRun(
        real=SCENES,
        generated=(generator, twin),
        out=out,
        count=count,
        overwrite=True,
    )
    comparison = run_comparison(task, watch=progress_bar)
    streams.write(summary(comparison))
    changes = {} if steps is None else {"steps": steps}
    # Mosaics give the verdicts. Searches lie beside them where there is an inverter to begin from.
    inverter, cut = (twin, CUT) if generator == FULL else (None, None)
    settings = preset_for(SCENES, "quick", cut=cut, samples=samples, **changes)
    evidence = _invert(out, twin, inverter, each, settings)
    streams.write(evidence_summary(evidence))
    page = report(out, comparison, evidence, single_file=single_file)
    streams.write(f"\nPage: {page}")
    streams.write(f"{_of_the_sets(comparison)}\n{_of_the_scenes(evidence)}")


def _invert(out: Path, twin: str, inverter: str | None, each: int, settings: Inversion) -> Evidence:
    """Scenes that hold most of a class, inverted by the generator that was not shown all."""
    task = InversionRun(
        methods=("nearest",) if inverter is None else ("d", "f", "nearest"),
        settings=settings,
        by_class=each,
        classes=CLASSES,
        pool=40 * each,
        controls=max(1, each // 4),
        workers=0,
        overwrite=True,
    )
    with progress_bar("invert", unit="reconstructions") as progress:
        record = invert(
            SCENES, twin, inverter, out=out / "inversions", task=task, progress=progress
        )
    with progress_bar("segment") as progress:
        return evidence(
            record,
            out=out,
            task=EvidenceTask(
                label_maps="true", judged_by="nearest", overwrite=True, cut_rule=CUT_RULE
            ),
            progress=progress,
        )


def _of_the_sets(comparison: Comparison) -> str:
    """What the comparison found of the planted classes, in a sentence."""

    def drawn(side: GeneratedSide) -> str:
        rows = {row.name: row for row in side.classes}
        return listed(
            [f"{plural(name)} {times(rows[name].ratio)} ({rows[name].verdict})" for name in PLANTED]
        )

    full, without = comparison.generated
    return (
        f"Against how often they occur, {without.label}, which never saw them, draws "
        f"{drawn(without)}, and {full.label} {drawn(full)}."
    )


def _of_the_scenes(evidence: Evidence) -> str:
    """What the mosaics of its samples keep of them, in a sentence."""
    rows = {row.name: row for row in evidence.classes}
    by = {method.key: method.label for method in evidence.methods}

    def kept(method: str, names: Sequence[str]) -> str:
        means = {name: rows[name].by(method).photographs.mean for name in names if name in rows}
        return listed([f"{share(mean)} of {plural(name)}" for name, mean in means.items()])

    beside = ""
    if evidence.reference is not None:
        beside = f", the {by[evidence.reference]} {kept(evidence.reference, PLANTED)}"
    called = [row.name for row in evidence.named("cannot draw")]
    return (
        f"Of {counted(evidence.photographs.images, 'scene')} the {by[evidence.primary]} keep "
        f"{kept(evidence.primary, PLANTED)} ({kept(evidence.primary, CLASSES[len(PLANTED) :])})"
        f"{beside}: "
        + (
            f"it cannot draw {listed(called)}."
            if called
            else "single scenes do not show that it cannot draw them."
        )
    )
