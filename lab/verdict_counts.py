"""Instance evidence put to the test on the churchyard: what is chosen, and what is then found.

Cut, perturbed layers and λ_reg, or the number of samples and the window of method nearest, are
chosen on development seeds, by the controls of one generator and by the classes that it is known to
draw. Verdicts are then counted over other seeds, for that generator and for one that played no part
in the choice, whose training was without some classes.
Instances of scenes are those of their exact label maps. Every run is kept, so the same command goes
on where it stopped.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lab.verdict_counts_report import (
    Candidate,
    Perturbed,
    Row,
    candidates_csv,
    draw_evidence,
    evidence_markdown,
    rows_csv,
)
from unseen.core.errors import SpecError
from unseen.core.files import sha256_of_file, write_json, write_text
from unseen.core.options import SEED_MOST, Device, Option, Workers
from unseen.distribution.areas import class_name
from unseen.distribution.segment import segment
from unseen.generators import LayeredGenerator, load_layered
from unseen.instance_evidence import measuring
from unseen.instance_evidence.judging import judged_again
from unseen.instance_evidence.measuring import EvidenceTask
from unseen.instance_evidence.record import (
    CONTROL_PASSES,
    ClassEvidence,
    Evidence,
    control_retention,
    read_evidence,
)
from unseen.inversion.inversions import POOL, RECORD, Inversions, Method
from unseen.inversion.invert import InversionRun, invert, preset_for
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.labelled_samples import DrawnSamples
from unseen.inversion.methods import Steps
from unseen.inversion.starts import StartName
from unseen.segmenters import Segmenter, load_segmenter
from unseen.segmenters.protocol import SegmenterPrecision
from unseen.statistics.instances import LEAST_AREA
from unseen.statistics.retention import Judging

DEVELOPMENT = 20_002  # seed of scenes and of controls' latents on which the choice is made
REPORTING = 30_003  # the first of those that are reported
_LOST = 0.2  # of what as many photographs retain: less is lost, in the choice of a setting
PRESENCE = 40_004  # of the scenes whose presences the generators' are compared with


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A generator that is looked at."""

    name: str  # of its folder
    generator: str  # a spec
    inverter: str | None = None  # a file or a spec; method nearest and start nearest need none
    without: Sequence[str] = ()  # classes that its training was without


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceBench:
    """Choose on development seeds; count verdicts on others."""

    out: Annotated[Path, Option("Folder for the results. A run goes on there.", short="-o")]
    subjects: Sequence[Subject]  # the first one chooses, the others play no part
    images: str = "churchyard"  # a spec that takes a seed and has exact label maps
    segmenter: str = "churchyard"
    cuts: Annotated[Sequence[str], Option("Last perturbed layers to choose from.")] = (
        "layer1",
        "layer2",
        "layer4",
        "layer6",
    )
    perturbed: Annotated[
        Sequence[Perturbed],
        Option("Layers to perturb: all (up to the cut), last (the cut alone), or both."),
    ] = ("all", "last")
    regularisations: Annotated[Sequence[float], Option("Values of λ_reg to choose from.")] = (
        1.0,
        10.0,
        100.0,
    )
    seeds: Annotated[int, Option("Seeds over which verdicts are counted.", min=1)] = 20
    first_seed: Annotated[int, Option("First of these seeds.", max=SEED_MOST)] = REPORTING
    by_class: Annotated[int, Option("Scenes, and controls, of each class.", min=1)] = 6
    controls: Annotated[
        int | None,
        Option("Controls of each class. Default: as many as scenes.", min=1),
    ] = None
    development_by_class: Annotated[
        int, Option("Scenes, and controls, of each class for the choice.", min=1)
    ] = 2
    classes: Annotated[
        tuple[str, ...], Option("Classes that scenes are chosen for. Default: all.", name="--class")
    ] = ()
    pool: Annotated[int, Option("Images that the scenes are chosen from.", min=1)] = 500
    presence_count: Annotated[
        int, Option("Images on each side for the presences.", name="--presence", min=1)
    ] = 2_000
    samples: Annotated[
        Sequence[int], Option("Numbers of samples of method nearest to choose from.", min=1)
    ] = (500, 1_000, 2_000)
    windows: Annotated[
        Sequence[float], Option("Windows of method nearest to choose from.", max=1)
    ] = (0.02, 0.03, 0.045)
    methods: Annotated[
        Sequence[Method],
        Option("Methods: f, with d and e for what can be drawn; or nearest.", name="--method"),
    ] = ("d", "e", "f")
    start: Annotated[
        StartName | None,
        Option("What d, e and f begin from; nearest needs no inverter. Default: the inverter."),
    ] = None
    preset: Annotated[str, Option("Settings of the optimiser: default, soap or quick.")] = "default"
    steps: Steps = None
    batch_size: Annotated[int, Option("Images optimised at once.", min=1)] = 16
    workers: Workers = None
    device: Device = "cpu"
    precision: SegmenterPrecision = "fp32"

    def __post_init__(self) -> None:
        wanted = "f" in self.methods or tuple(self.methods) == ("nearest",)
        if not self.subjects or not wanted or not self.cuts or self.seeds < 1:
            raise SpecError(
                "a generator, method f (or nearest alone), a cut and a seed are needed; name one "
                "of each at least"
            )
        if DEVELOPMENT in range(self.first_seed, self.first_seed + self.seeds):
            raise SpecError(
                f"seed {DEVELOPMENT} is the one on which the choice is made, and nothing is "
                f"reported on it; choose a later first seed, such as {REPORTING}"
            )

    @property
    def mosaics(self) -> bool:
        """Whether method nearest is looked at, and not f."""
        return "f" not in self.methods

    def scenes(self, seed: int) -> str:
        """The spec of the scenes of one seed."""
        return f"{self.images}{'&' if '?' in self.images else '?'}seed={seed}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Loaded:
    """A subject, ready."""

    subject: Subject
    generator: LayeredGenerator
    inverter: Inverter | None
    samples: DrawnSamples  # the same for every seed


def measure_evidence(
    task: EvidenceBench, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Choose, report, and write what was found.

    Args:
        task: what.
        say: told of every run.

    Yields:
        The paths written: `development.csv`, `verdicts.csv`, `evidence.md` and the figure.

    Raises:
        UnseenError: as `unseen.invert` and `unseen.evidence` raise them.
    """
    segmenter = load_segmenter(task.segmenter, device=task.device, precision=task.precision)
    first, *others = [_load(subject, segmenter, task.device) for subject in task.subjects]
    candidates = _develop(task, first, segmenter, _presence(task, first, segmenter), say)
    chosen = choose(candidates)
    rule = cut_rule(chosen, first.subject.name)
    say(rule)
    rows: list[Row] = []
    for loaded in (first, *others):
        presence = _presence(task, loaded, segmenter)
        for seed in range(task.first_seed, task.first_seed + task.seeds):
            rows += _report(task, loaded, segmenter, chosen, seed, rule, presence)
            called = [
                row.name
                for row in rows
                if (row.subject, row.seed, row.verdict)
                == (loaded.subject.name, seed, "cannot draw")
            ]
            say(f"{loaded.subject.name}, seed {seed}: cannot draw {', '.join(called) or 'nothing'}")
    names = [subject.name for subject in task.subjects]
    for name, text in (
        ("development.csv", candidates_csv(candidates)),
        ("verdicts.csv", rows_csv(rows)),
        ("evidence.md", evidence_markdown(candidates, chosen, rule, rows, names)),
    ):
        write_text(task.out / name, text)
        yield task.out / name
    yield from draw_evidence(task.out, candidates, chosen, rows, names)


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The smallest searched set that is large enough.

    That is the earliest cut, and there the largest λ_reg; of mosaics the fewest samples, and there
    the largest window.
    It is large enough where its controls pass and no class is lost that the generator is known to
    draw. Of sets that are equal, the one whose controls retain most; where none is large enough,
    of those whose controls pass, or else of all, the one that loses fewest classes.
    """
    enough = [candidate for candidate in candidates if candidate.enough and not candidate.lost]
    if not enough:
        return min(
            candidates,
            key=lambda candidate: (not candidate.enough, len(candidate.lost), -candidate.controls),
        )
    return min(enough, key=lambda candidate: (candidate.size, -candidate.controls))


def cut_rule(chosen: Candidate, generator: str) -> str:
    """The sentence of how the cut was chosen, for the page."""
    kept = (
        f"loses no class which {generator} draws at {chosen.least_drawn:g} of its real presence or "
        "more"
    )
    if chosen.window is None:
        order = "the earliest cut, there the largest λ_reg"
    else:
        order = "the fewest samples, there the largest window"
    wanted = f"whose controls retain {CONTROL_PASSES:g} on average, and that {kept}"
    what = (
        f"the smallest searched set ({order}) {wanted}"
        if chosen.enough and not chosen.lost
        else f"there is no searched set {wanted}, so the one that comes nearest"
    )
    return (
        f"{what} (here {chosen.controls:.2f}: {chosen.searched}); chosen on scenes and latents of "
        f"seed {DEVELOPMENT}, on which nothing is reported"
    )


def _load(subject: Subject, segmenter: Segmenter, device: str) -> _Loaded:
    generator = load_layered(subject.generator, device=device)
    inverter = None if subject.inverter is None else load_inverter(subject.inverter, generator)
    return _Loaded(subject, generator, inverter, DrawnSamples(generator, segmenter))


def _develop(
    task: EvidenceBench,
    first: _Loaded,
    segmenter: Segmenter,
    presence: Mapping[str, tuple[float, float]],
    say: Callable[[str], None],
) -> list[Candidate]:
    """Every candidate's retention on development seeds, the images of all being the same."""
    candidates: list[Candidate] = []
    pool: Path | None = None
    for name, setting in _settings(task, first.generator):
        folder = task.out / "development" / name
        if pool is not None and pool.is_dir() and not (folder / POOL).exists():
            shutil.copytree(pool, folder / POOL)
        pool = pool or folder / POOL
        run = _inversion(task, setting, DEVELOPMENT, task.development_by_class)
        run = dataclasses.replace(run, methods=("nearest",) if task.mosaics else ("f",))
        record = _invert(task, first, segmenter, run, DEVELOPMENT, folder)
        kept = _kept(
            record,
            {"development": True, "version": 3},
            lambda record=record: _retentions(task, record, segmenter),  # type: ignore[misc]
        )
        drawn = [
            name
            for name in kept["lost"]
            if _drawn(*presence.get(name, (1, 0)), setting.least_drawn)
        ]
        candidates.append(
            dataclasses.replace(
                setting,
                controls=kept["controls"],
                photographs=kept["photographs"],
                lost=tuple(drawn),
            )
        )
        say(
            f"development: {setting.searched}: controls retain {kept['controls']:.3f}, "
            f"photographs {kept['photographs']:.3f}; lost, though drawn: "
            f"{', '.join(drawn) or 'nothing'}"
        )
    return candidates


def _settings(task: EvidenceBench, generator: LayeredGenerator) -> Iterator[tuple[str, Candidate]]:
    """The candidates before they are measured, each with the name of its folder."""
    unknown: dict[str, Any] = {"controls": 0.0, "photographs": 0.0, "lost": ()}
    if task.mosaics:
        for samples in task.samples:
            for window in task.windows:
                yield (
                    f"samples-{samples}-window-{window:g}",
                    Candidate(samples=samples, window=window, **unknown),
                )
        return
    for cut in task.cuts:
        for perturbed in task.perturbed:
            for regularisation in task.regularisations:
                yield (
                    f"{cut}-{perturbed}-{regularisation:g}",
                    Candidate(
                        cut=cut,
                        depth=generator.layer_names.index(cut) + 1,
                        perturbed=perturbed,
                        regularisation=regularisation,
                        **unknown,
                    ),
                )


def _retentions(task: EvidenceBench, record: Inversions, segmenter: Segmenter) -> dict[str, Any]:
    evidence = measuring.evidence(record, segmenter=segmenter, task=_evidence_task(task, None))
    photographs = [
        fate.retention
        for instance in evidence.instances
        if instance.role == "photograph"
        for fate in instance.fates
        if fate.method == evidence.primary
    ]
    return {
        "controls": control_retention(evidence, evidence.primary) or 0.0,
        "photographs": float(np.mean(photographs)),
        "lost": [row.name for row in evidence.classes if _is_lost(row, evidence)],
    }


def _is_lost(row: ClassEvidence, evidence: Evidence) -> bool:
    """Retained as little as what cannot be drawn, whether that is more than chance or not."""
    here, rules = row.by(evidence.primary), evidence.rules
    if here.matched.mean is None or here.matched.images < rules.least_images:
        return False
    beside = [(here.controls, rules.half)]
    if evidence.reference is None:
        beside.append((row.peers, rules.half))
    else:
        beside.append((row.by(evidence.reference).matched, _LOST))
    known = [share * mean.mean for mean, share in beside if mean.mean is not None]
    return all(here.matched.mean < limit for limit in known)


def _drawn(real: float, generated: float, least: float) -> bool:
    return real > 0 and generated >= least * real


def _report(
    task: EvidenceBench,
    loaded: _Loaded,
    segmenter: Segmenter,
    chosen: Candidate,
    seed: int,
    rule: str,
    presence: Mapping[str, tuple[float, float]],
) -> list[Row]:
    """The verdicts of one seed."""
    folder = task.out / "reporting" / loaded.subject.name / f"seed-{seed}"
    run = _inversion(task, chosen, seed, task.by_class)
    # The curve takes as long again for every cut, so the first seed's alone.
    if seed == task.first_seed and not task.mosaics:
        run = dataclasses.replace(run, curve=tuple(task.cuts))
    record = _invert(task, loaded, segmenter, run, seed, folder)

    def measured() -> dict[str, Any]:
        measuring.evidence(record, segmenter=segmenter, task=_evidence_task(task, rule))
        return {}

    _kept(record, {"rule": rule, "version": 2}, measured)
    return [
        Row(
            subject=loaded.subject.name,
            seed=seed,
            real_presence=presence.get(row["name"], (0.0, 0.0))[0],
            generated_presence=presence.get(row["name"], (0.0, 0.0))[1],
            planted=row["name"] in loaded.subject.without,
            **row,
        )
        for row in _rows(read_evidence(folder))
    ]


def _rows(evidence: Evidence) -> list[dict[str, Any]]:
    """The classes as the rules of today judge what was measured, whatever they were then."""
    rows = []
    for column, judged in judged_again(evidence, Judging()).items():
        here = judged.by_method[evidence.primary]
        beside = None if evidence.reference is None else judged.by_method[evidence.reference]
        rows.append(
            {
                "name": class_name(column),
                "verdict": judged.verdict or "none",
                "images": here.photographs.images,
                "instances": here.photographs.instances,
                "retained": here.photographs.mean,
                "reference": None if beside is None else beside.photographs.mean,
                "controls": here.controls.mean,
                "p_value": judged.p_value,
            }
        )
    return rows


def _kept(
    record: Inversions, about: Mapping[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What was measured of a run, kept beside it: a bench that goes on does not measure again."""
    path = record.folder / "bench.json"
    key = {**about, "inversions": sha256_of_file(record.folder / RECORD)}
    if path.is_file():
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["key"] == key:
            measured: dict[str, Any] = value["measured"]
            return measured
    measured = make()
    write_json(path, {"key": key, "measured": measured})
    return measured


def _inversion(task: EvidenceBench, chosen: Candidate, seed: int, by_class: int) -> InversionRun:
    changes: dict[str, Any] = {"start": task.start}
    if task.steps is not None:
        changes["steps"] = task.steps
    if chosen.window is not None:
        changes["samples"], changes["window"] = chosen.samples, chosen.window
    else:
        changes["cut"] = chosen.cut
        changes["perturbed"] = (chosen.cut,) if chosen.perturbed == "last" else None
        changes["regularisation"] = chosen.regularisation
    settings = preset_for(task.scenes(seed), task.preset, **changes)
    return InversionRun(
        methods=tuple(task.methods),
        settings=settings,
        by_class=by_class,
        classes=task.classes or None,
        pool=task.pool,
        controls=task.controls,
        controls_seed=seed,
        batch_size=task.batch_size,
        workers=task.workers,
    )


def _invert(
    task: EvidenceBench,
    loaded: _Loaded,
    segmenter: Segmenter,
    run: InversionRun,
    seed: int,
    folder: Path,
) -> Inversions:
    return invert(
        task.scenes(seed),
        loaded.generator,
        loaded.inverter,
        segmenter=segmenter,
        samples=loaded.samples,
        out=folder,
        task=run,
    )


def _evidence_task(task: EvidenceBench, rule: str | None) -> EvidenceTask:
    return EvidenceTask(
        label_maps="true",
        classes=task.classes or None,
        device=task.device,
        precision=task.precision,
        batch_size=task.batch_size,
        cut_rule=rule,
        overwrite=True,  # the same run's, when it was measured before all of it was there
    )


def _presence(
    task: EvidenceBench, loaded: _Loaded, segmenter: Segmenter
) -> dict[str, tuple[float, float]]:
    """Class → share of the scenes, and of the generator's images, that hold it."""
    sides = []
    for name, source in (
        ("scenes", task.scenes(PRESENCE)),
        (loaded.subject.name, loaded.generator),
    ):
        areas = segment(
            source,
            segmenter,
            count=task.presence_count,
            out=task.out / "presence" / f"{name}.parquet",
            workers=task.workers,
        )
        sides.append((areas.fraction >= LEAST_AREA).mean(axis=0))
    return {
        class_name(column): (float(real), float(generated))
        for column, real, generated in zip(areas.columns, *sides, strict=True)
    }
