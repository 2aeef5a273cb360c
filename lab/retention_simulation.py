"""Is a class's verdict good? Simulation of retention with matched controls, the truth known.

Instances get an area, a perimeter ratio, a contrast and a retention: it grows with the area, falls
with the perimeter ratio, and varies between images and within them. A class that is drawn has the
controls' law given its covariates; one that is not retains four fifths of the share below which
the rule calls it. The functions measured are those of `unseen.statistics.retention`; the tables are
those of docs/evidence.md.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float64, Int64

from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.tables import csv_text
from unseen.statistics.retention import Instances, Judging, judge_classes, mean_retention

_CLASSES = 6  # in every photograph; of the runs that look for a class, one is not drawn
_LEFT = 0.8  # of the share below which the rule calls it, a class that is not drawn retains
_IN_COMMON = 0.5  # share of the variance that both mosaics of a photograph have in common
_LARGE = 100_000  # images for the true mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """One kind of sample."""

    photographs: int
    controls: int  # images of the generator
    instances: float = 2.0  # of a class in a photograph that holds it, on average
    times_larger: float = 1.0  # areas of the controls' instances, against the photographs'
    dependence: float = 0.5  # share of the variance that instances of one image have in common
    rebuilt: float = 1.0  # of what controls retain, what photographs do, whatever the class
    reference: bool = False  # mosaics: judged beside those of other photographs, not beside peers

    @property
    def undrawn(self) -> float:
        """What a class that is not drawn retains of what it would."""
        judging = Judging()
        return _LEFT * (judging.fifth if self.reference else judging.half)


DESIGNS = (
    Design(photographs=8, controls=32),
    Design(photographs=16, controls=48),
    Design(photographs=32, controls=64),
    Design(photographs=16, controls=48, times_larger=2.0),
    Design(photographs=16, controls=48, times_larger=3.5),
    Design(photographs=16, controls=48, instances=5.0, dependence=0.8),
    Design(photographs=16, controls=16),
    Design(photographs=16, controls=48, rebuilt=0.4),
    Design(photographs=8, controls=32, reference=True),
    Design(photographs=16, controls=48, reference=True),
    Design(photographs=32, controls=64, reference=True),
    Design(photographs=16, controls=48, instances=5.0, dependence=0.8, reference=True),
    Design(photographs=16, controls=48, rebuilt=0.4, reference=True),
)
COVERED = (5, 8, 15, 30)  # images, of the table of intervals
HARDER = (0.0, 1.2, 2.5)  # what is retained, from the most of a thing to less than half


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetentionSimulation:
    """Measure false alarms and power of the verdicts, and coverage of the intervals."""

    out: Annotated[Path, Place("Folder for the tables.", short="-o")]
    draws: Annotated[int, Option("Draws of every design.", min=1)] = 400
    designs: Sequence[Design] = DESIGNS
    permutations: int = 499  # the default of the package is 9,999
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 0


def draw_instances(
    random: np.random.Generator,
    images: int,
    *,
    instances: float = 2.0,
    area: float = 0.03,
    dependence: float = 0.5,
    drawn: float = 1.0,
    harder: float = 0.0,
    reference: bool = False,
) -> Instances:
    """Instances under method "f", and "reference" where that is asked for.

    Args:
        random: the source of chance.
        images: that hold them, one at least each.
        instances: on average in an image.
        area: typical fraction of the image.
        dependence: share of the variance (before the squashing to 0 … 1) that is the image's.
        drawn: factor on the retention; 1 is a class that the generator draws like any other.
        harder: taken from the logit of the retention.
        reference: whether another mosaic of the same instances is there, of everything drawn.
    """
    counts = 1 + random.poisson(instances - 1, images)
    image = np.repeat(np.arange(images), counts)
    n = len(image)
    typical = np.log(area)
    size = np.exp(np.clip(random.normal(typical, 0.8, n), np.log(0.005), np.log(0.5)))
    ratio = np.exp(random.normal(0.25, 0.15, n))
    typical_logit = 1.8 - harder + 0.9 * np.log(size / 0.03) - 1.5 * (ratio - 1.3)
    chance = _chance(random, image, dependence)
    retention = {"f": drawn * _retained(typical_logit + 2.2 * chance)}
    contrast = random.gamma(3, 0.05, n)
    if reference:
        again = _chance(random, image, dependence)
        chance = np.sqrt(_IN_COMMON) * chance + np.sqrt(1 - _IN_COMMON) * again
        retention["reference"] = _retained(typical_logit + 2.2 * chance)
    return Instances(image, size, ratio, contrast, retention)


def _chance(
    random: np.random.Generator, image: Int64[np.ndarray, " n"], dependence: float
) -> Float64[np.ndarray, " n"]:
    """Standard normal numbers; those of one image have a share of the variance in common."""
    own, shared = random.normal(size=len(image)), random.normal(size=image.max() + 1)
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
    for design in task.designs:
        alarms = called = detected = 0
        for draw in range(task.draws):
            null = _judge(task, design, draw, drawn=1.0)
            alarms += any(p is not None and p < 0.05 for _, p in null)
            called += any(verdict == "cannot draw" for verdict, _ in null)
            detected += _judge(task, design, draw, drawn=design.undrawn)[0][0] == "cannot draw"
        yield {
            "photographs": str(design.photographs),
            "generated images": str(design.controls),
            "instances a class and photograph": f"{design.instances:g}",
            "controls larger": f"{design.times_larger:g}",
            "dependence": f"{design.dependence:g}",
            "photographs rebuilt": f"{design.rebuilt:g}",
            "beside": "reference" if design.reference else "peers",
            "draws": str(task.draws),
            "p < 0.05, any class": str(alarms),
            "cannot draw, any class": str(called),
            "undrawn class found": str(detected),
        }


def _judge(
    task: RetentionSimulation, design: Design, draw: int, *, drawn: float
) -> list[tuple[str | None, float | None]]:
    """Verdict and adjusted p-value of every class; `drawn` is the first one's."""
    random = np.random.default_rng((task.seed, task.designs.index(design), draw))
    photographs = {
        str(k): draw_instances(
            random,
            design.photographs,
            instances=design.instances,
            dependence=design.dependence,
            drawn=design.rebuilt * (drawn if k == 0 else 1.0),
            reference=design.reference,
        )
        for k in range(_CLASSES)
    }
    controls = draw_instances(
        random,
        design.controls,
        instances=6.0,
        area=0.03 * design.times_larger,
        dependence=design.dependence,
        reference=design.reference,
    )
    judged = judge_classes(
        photographs,
        controls,
        primary="f",
        reference="reference" if design.reference else None,
        judging=Judging(permutations=task.permutations, resamples=1, seed=draw),
    )
    return [(judgement.verdict, judgement.p_holm) for judgement in judged.values()]


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
        low, high = mean_retention(
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
