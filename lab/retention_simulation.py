"""Is a class's verdict good? Simulation of retention with matched controls, the truth known.

Instances get an area, a perimeter ratio, a contrast and a retention: it grows with the area, falls
with the perimeter ratio, and varies between images and within them. A class that is drawn has the
controls' law given its covariates. Of another class the true ratio to these is known: the margin of
the verdict, or half of it. The functions measured are those of `unseen.statistics.retention`; the
tables are those of docs/evidence.md.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.tables import csv_text
from unseen.statistics.retention import ClassJudgement, Instances, Judging, judge_classes
from unseen.statistics.retention import mean_retention as mean_of

# How a class of a true ratio below 1 loses what it loses: a part of every instance; all or nothing
# of an image; a little more than that of nine images in ten, and nothing of the tenth. In "crowded"
# images some hold twenty instances.
Law = Literal["graded", "all or nothing", "one in ten", "crowded"]

_CLASSES = 6  # in every photograph
_FRAGILE = 0.4  # of what is drawn, what is found again of a fragile class in any image
_IN_COMMON = 0.5  # share of the variance that both mosaics of a photograph have in common
_CROPS_IN_COMMON = 0.9  # share of an image's variance that all crops of a photograph have in common
_LARGE = 100_000  # images for the true mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """One kind of sample."""

    photographs: int  # that are independent
    controls: int  # images of the generator
    law: Law = "graded"
    asked: int = _CLASSES  # classes that are judged; the others are peers
    instances: float = 2.0  # of a class in a photograph that holds it, on average
    times_larger: float = 1.0  # areas of the controls' instances, against the photographs'
    dependence: float = 0.5  # share of the variance that instances of one image have in common
    rebuilt: float = 1.0  # of what controls retain, what photographs do, whatever the class
    crops: int = 1  # of every photograph
    declared: bool = True  # that they belong together
    own: int = 16  # images of the generator that hold the fragile class
    reference: bool = False  # mosaics: judged beside those of other photographs, not beside peers
    sought: float = 0.5  # of the margin, what a class retains that is to be found

    @property
    def margin(self) -> float:
        """Ratio below which the verdict puts a class that is not drawn."""
        return Judging.third if self.reference else Judging.half


DESIGNS = (
    Design(photographs=8, controls=32),
    Design(photographs=16, controls=48),
    Design(photographs=32, controls=64),
    Design(photographs=16, controls=48, law="all or nothing"),
    Design(photographs=32, controls=64, law="all or nothing"),
    Design(photographs=16, controls=48, law="one in ten"),
    Design(photographs=16, controls=48, law="crowded"),
    Design(photographs=16, controls=48, asked=1),
    Design(photographs=16, controls=48, asked=1, law="all or nothing"),
    Design(photographs=16, controls=48, asked=1, law="one in ten"),
    Design(photographs=16, controls=48, times_larger=2.0),
    Design(photographs=16, controls=48, instances=5.0, dependence=0.8),
    Design(photographs=16, controls=16, own=4),
    Design(photographs=16, controls=48, rebuilt=0.4),
    Design(photographs=16, controls=48, crops=5),
    Design(photographs=16, controls=48, crops=5, declared=False),
    Design(photographs=16, controls=48, reference=True),
    Design(photographs=32, controls=64, reference=True),
    Design(photographs=16, controls=48, reference=True, law="all or nothing"),
    Design(photographs=16, controls=48, reference=True, rebuilt=0.4),
    Design(photographs=8, controls=32, sought=0.2),
    Design(photographs=16, controls=48, reference=True, sought=0.2),
)
COVERED = (5, 8, 15, 30)  # images, of the table of intervals
HARDER = (0.0, 1.2, 2.5)  # what is retained, from the most of a thing to less than half


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetentionSimulation:
    """Measure false alarms and power of the verdicts, and coverage of the intervals."""

    out: Annotated[Path, Place("Folder for the tables. A run goes on there.", short="-o")]
    draws: Annotated[int, Option("Draws of every design.", min=1)] = 400
    designs: Sequence[Design] = DESIGNS
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 0


def draw_instances(
    random: np.random.Generator,
    images: int,
    *,
    instances: float = 2.0,
    area: float = 0.03,
    dependence: float = 0.5,
    drawn: float = 1.0,
    law: Law = "graded",
    crops: int = 1,
    harder: float = 0.0,
    reference: bool = False,
) -> Instances:
    """Instances under method "f", under "d" with half of that, and under "reference" if asked for.

    Args:
        random: the source of chance.
        images: that hold them and are independent, one instance at least each.
        instances: on average in an image.
        area: typical fraction of the image.
        dependence: share of the variance (before the squashing to 0 … 1) that is the image's.
        drawn: factor on the mean retention; 1 is a class that the generator draws like any other.
        law: how a class loses what it loses.
        crops: images that are made of each, much like each other.
        harder: taken from the logit of the retention.
        reference: whether another mosaic of the same instances is there, of everything drawn.
    """
    group = np.repeat(np.arange(images), crops)
    if law == "crowded":
        counts = np.minimum(random.zipf(1.9, len(group)), 20)
    else:
        counts = 1 + random.poisson(instances - 1, len(group))
    image = np.repeat(np.arange(len(group)), counts)
    n = len(image)
    size = np.exp(np.clip(random.normal(np.log(area), 0.8, n), np.log(0.005), np.log(0.5)))
    ratio = np.exp(random.normal(0.25, 0.15, n))
    typical_logit = 1.8 - harder + 0.9 * np.log(size / 0.03) - 1.5 * (ratio - 1.3)
    chance = _chance(random, image, group, dependence)
    whole = _retained(typical_logit + 2.2 * chance)
    retention = {
        "f": _lost(random, whole, group[image], drawn, law),
        "d": _lost(random, whole, group[image], drawn * Judging.half, law),
    }
    contrast = random.gamma(3, 0.05, n)
    if reference:
        again = _chance(random, image, group, dependence)
        chance = np.sqrt(_IN_COMMON) * chance + np.sqrt(1 - _IN_COMMON) * again
        retention["reference"] = _retained(typical_logit + 2.2 * chance)
    return Instances(image, size, ratio, contrast, retention, group[image])


def _lost(
    random: np.random.Generator,
    whole: Float64[np.ndarray, " n"],
    group: Int64[np.ndarray, " n"],
    drawn: float,
    law: Law,
) -> Float64[np.ndarray, " n"]:
    """What is retained where the mean is `drawn` times that of a class that is drawn."""
    chance = random.random(group.max() + 1)[group]
    factor = np.full(len(whole), drawn)
    if law == "all or nothing":
        factor = (chance < drawn).astype(np.float64)
    elif law == "one in ten":
        spared = min(0.1, drawn / 2)
        factor = np.where(chance < spared, 1.0, (drawn - spared) / (1 - spared))
    kept: Float64[np.ndarray, " n"] = factor * whole
    return kept


def _chance(
    random: np.random.Generator,
    image: Int64[np.ndarray, " n"],
    group: Int64[np.ndarray, " i"],
    dependence: float,
) -> Float64[np.ndarray, " n"]:
    """Standard normal numbers; those of one image have a share of the variance in common."""
    own, shared = random.normal(size=len(image)), random.normal(size=len(group))
    if len(np.unique(group)) < len(group):
        common = random.normal(size=group.max() + 1)[group]
        shared = np.sqrt(_CROPS_IN_COMMON) * common + np.sqrt(1 - _CROPS_IN_COMMON) * shared
    both: Float64[np.ndarray, " n"]
    both = np.sqrt(dependence) * shared[image] + np.sqrt(1 - dependence) * own
    return both


def _retained(logit: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Beyond 0 and 1, and clipped: many instances are retained whole, some not at all."""
    share: Float64[np.ndarray, " n"] = 1.1 / (1 + np.exp(-logit)) - 0.05
    return share.clip(0, 1)


def simulate_retention(
    task: RetentionSimulation, *, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write `verdicts.csv` and `intervals.csv`.

    Args:
        task: what is drawn, and how often.
        say: called with a line a row.

    Returns:
        The tables.
    """
    tables = [task.out / "verdicts.csv", task.out / "intervals.csv"]
    for path, rows in zip(tables, (_verdicts(task), _intervals(task)), strict=True):
        made: list[dict[str, str]] = []
        for row in rows:
            say(", ".join(f"{key} {value}" for key, value in row.items()))
            made.append(row)
        write_text(path, csv_text(made))
    return tables


def _verdicts(task: RetentionSimulation) -> Iterator[dict[str, str]]:
    """A row a design; kept in a file of its own, so that a run goes on."""
    for design in task.designs:
        key = {"draws": task.draws, "seed": task.seed, **dataclasses.asdict(design)}
        path = task.out / "designs" / f"{'-'.join(map(str, key.values()))}.json"
        if path.is_file():
            counts = json.loads(path.read_text(encoding="utf-8"))
        else:
            counts = _counts(task, design)
            write_text(path, json.dumps(counts))
        described = dataclasses.asdict(design)
        if design.reference:
            described["own"] = 0  # not looked at
        yield {
            **{name.replace("_", " "): f"{value}" for name, value in described.items()},
            "draws": str(task.draws),
            **{name: str(value) for name, value in counts.items()},
        }


def _counts(task: RetentionSimulation, design: Design) -> dict[str, int]:
    """Draws in which something is called, by what was true."""
    counts = dict.fromkeys(("drawn called", "margin called", "fragile called"), 0)
    counts |= dict.fromkeys(("sought found", "false can draw", "can draw found"), 0)
    for draw in range(task.draws):
        line = _judge(task, design, draw, drawn=design.margin)
        counts["margin called"] += line["0"].verdict == "cannot draw"
        others = [judged for name, judged in line.items() if name != "0"]
        counts["drawn called"] += any(judged.verdict == "cannot draw" for judged in others)
        found = _judge(task, design, draw, drawn=design.margin * design.sought)
        counts["sought found"] += found["0"].verdict == "cannot draw"
        if design.reference:
            continue
        counts["false can draw"] += any(judged.verdict == "can draw" for judged in line.values())
        fragile = _judge(task, design, draw, drawn=_FRAGILE, fragile=True)
        counts["fragile called"] += fragile["0"].verdict == "cannot draw"
        well = _judge(task, design, draw, drawn=1.0, within_range=0.9)
        counts["can draw found"] += well["0"].verdict == "can draw"
    return counts


def _judge(
    task: RetentionSimulation,
    design: Design,
    draw: int,
    *,
    drawn: float,
    fragile: bool = False,
    within_range: float | None = None,
) -> Mapping[str, ClassJudgement]:
    """The classes; of the first one `drawn` is kept, in photographs, or as a fragile one anywhere.

    Method d keeps half of what f keeps of every class, or `within_range` times as much.
    """
    random = np.random.default_rng((task.seed, task.designs.index(design), draw))
    law: dict[str, Any] = {"dependence": design.dependence, "reference": design.reference}
    photographs = {
        str(k): draw_instances(
            random,
            design.photographs,
            instances=design.instances,
            drawn=design.rebuilt * (drawn if k == 0 else 1.0),
            law=design.law,
            crops=design.crops,
            **law,
        )
        for k in range(_CLASSES)
    }
    if within_range is not None:
        for instances in photographs.values():
            instances.retention["d"][:] = within_range * instances.retention["f"]
    if not design.declared:
        photographs = {
            name: dataclasses.replace(instances, groups=None)
            for name, instances in photographs.items()
        }
    area = 0.03 * design.times_larger
    several = 3 * design.instances  # classes that the photographs do not hold among them
    controls = draw_instances(random, design.controls, instances=several, area=area, **law)
    own = None
    if fragile:
        own = {"0": draw_instances(random, design.own, drawn=drawn, law=design.law, **law)}
        controls = Instances.joined([controls, own["0"]])
    return judge_classes(
        photographs,
        controls,
        primary="f",
        range_methods=() if design.reference else ("d",),
        reference="reference" if design.reference else None,
        asked=list(photographs)[: design.asked],
        own=own,
        judging=Judging(resamples=1, seed=draw),
    )


def _intervals(task: RetentionSimulation) -> Iterator[dict[str, str]]:
    for harder in HARDER:
        world = draw_instances(np.random.default_rng((task.seed, 999)), _LARGE, harder=harder)
        truth = float(world.retention["f"].mean())
        for images in COVERED:
            yield _coverage(task, images, harder, truth)


def _coverage(
    task: RetentionSimulation, images: int, harder: float, truth: float
) -> dict[str, str]:
    """How often the interval holds the true mean."""
    inside = above = below = 0
    width = 0.0
    for draw in range(task.draws):
        random = np.random.default_rng((task.seed, 1000 + images, draw))
        instances = draw_instances(random, images, harder=harder)
        low, high = mean_of(
            instances.retention["f"], instances.images, resamples=999, seed=draw
        ).interval or (0.0, 1.0)
        inside += low <= truth <= high
        above += low > truth
        below += high < truth
        width += high - low
    return {
        "images": str(images),
        "draws": str(task.draws),
        "true mean": f"{truth:.3f}",
        "coverage %": f"{100 * inside / task.draws:.1f}",
        "lower end above the truth %": f"{100 * above / task.draws:.1f}",
        "upper end below the truth %": f"{100 * below / task.draws:.1f}",
        "mean width": f"{width / task.draws:.2f}",
    }
