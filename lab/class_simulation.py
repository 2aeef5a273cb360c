"""False calls and power of the verdicts about classes, also in groups, and of rules that lost.

Presences are drawn a group at a time from beta-binomial distributions, whose correlation within a
group is known exactly; areas given presence are log-normal. The functions measured are those of
`unseen.statistics`; the tables are those of docs/statistics.md.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float64

from lab.statistics_simulation import measured_table
from unseen.core.options import SEED_MOST, Option, Place
from unseen.statistics import Design, compare_classes
from unseen.statistics.area_ratios import LogRatio
from unseen.statistics.classes import FEWEST_IMAGES
from unseen.statistics.effective import (
    Grouping,
    MeanArea,
    PresenceMoments,
    effective_counts,
    mean_area,
)
from unseen.statistics.ratios import ConditionalTest, CountPower

_LEVEL = 0.05
_CLASSES = 120
_GROUPED = (  # groups and images a group, real and generated; correlation within a group
    *((100, 10, 100, 10, rho) for rho in ("0", "0.1", "0.3", "0.9")),
    *((200, 10, 200, 10, rho) for rho in ("0", "0.1", "0.3", "0.9")),
    *((2000, 1, 200, 10, rho) for rho in ("0", "0.3", "0.9", "one in ten 0.9")),
    (100, 10, 100, 10, "one in ten 0.9"),
    (12, 50, 12, 50, "0.3"),
)
_PRESENCES = (0.01, 0.02, 0.05, 0.1, 0.3)
_SIZES = ((200, 200), (200, 10_000), (1000, 1000), (10_000, 200), (5000, 1000), (5000, 5000))
_TESTS = 100  # classes tested at once in the table of drops


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassSimulation:
    """Measure false calls and power of class verdicts with groups, and the rules beside them."""

    out: Annotated[Path, Place("Folder for the tables.", short="-o")]
    draws: Annotated[int, Option("Draws of every design.", min=1)] = 400
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 0
    tables: Sequence[str] = ("groups", "multiplicity", "drops", "sizes", "spreads", "scale")


def simulate_classes(task: ClassSimulation, say: Callable[[str], None] = print) -> list[Path]:
    """Measure what is missing in the folder, a table at a time.

    Args:
        task: what to measure.
        say: told of every row.

    Returns:
        The tables: CSV each, and Markdown.
    """
    measured: dict[str, Callable[[ClassSimulation], Iterator[Mapping[str, object]]]] = {
        "groups": _groups,
        "multiplicity": _multiplicity,
        "drops": _drops,
        "sizes": _sizes,
        "spreads": _spreads,
        "scale": _scale,
    }
    return [
        measured_table(task.out / f"class_{name}.csv", name, measured[name](task), say)
        for name in task.tables
    ]


def presences() -> Float64[np.ndarray, " k"]:
    """A few classes nearly always there, and a long tail."""
    rank = np.arange(1, _CLASSES + 1)
    return np.asarray(np.clip(1.2 * rank**-0.9 * np.exp(-rank / 60), 3e-4, 0.9))


def correlations(kind: str) -> Float64[np.ndarray, " k"]:
    """Within a group, a class: one number for all, or 0.9 for every tenth and 0 for the others."""
    if kind == "one in ten 0.9":
        return np.where(np.arange(_CLASSES) % 10 == 5, 0.9, 0.0)
    return np.full(_CLASSES, float(kind))


def draw_presences(
    rng: np.random.Generator,
    presence: Float64[np.ndarray, " k"],
    correlation: Float64[np.ndarray, " k"],
    groups: int,
    size: int,
) -> Bool[np.ndarray, "n k"]:
    """Whether each image holds each class, groups one after the other."""
    if size == 1:
        return np.asarray(rng.random((groups, len(presence))) < presence)
    some = np.maximum(correlation, 1e-6)
    chance = rng.beta(
        presence * (1 - some) / some, (1 - presence) * (1 - some) / some, (groups, len(presence))
    )
    chance = np.where(correlation > 0.0, chance, presence)
    held = rng.random((groups, size, len(presence))) < chance[:, None]
    return np.asarray(held.reshape(groups * size, -1))


def _p_values(
    sides: Sequence[Bool[np.ndarray, "_ k"]], designs: Sequence[Design]
) -> tuple[Float64[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """P-values of ratio one, and what is tested."""
    moments = [
        PresenceMoments.of(side, Grouping(design, len(side)))
        for side, design in zip(sides, designs, strict=True)
    ]
    real, generated = effective_counts(moments)
    test = ConditionalTest(real.count, generated.count, real.images, generated.images)
    falls = test.lower_tail(1.0)
    return falls, real.count + generated.count >= FEWEST_IMAGES


def _called(
    sides: Sequence[Bool[np.ndarray, "_ k"]], designs: Sequence[Design]
) -> tuple[Bool[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Which classes are called, and which of them under."""
    tail, tested = _p_values(sides, designs)
    alpha = _LEVEL / max(int(tested.sum()), 1)
    under = tested & (tail < alpha / 2)
    return under | (tested & (1.0 - tail < alpha / 2)), under


def _groups(task: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """False calls of three treatments of groups, and power beside that of independent images."""
    presence = presences()
    plain = (Design(), Design())
    for real_groups, real_size, groups, size, kind in _GROUPED:
        rng = np.random.default_rng([task.seed, real_groups, size, *kind.encode()])
        designs = [
            Design(groups=np.repeat(np.arange(number), each)) if each > 1 else Design()
            for number, each in ((real_groups, real_size), (groups, size))
        ]
        rho, calls = correlations(kind), np.zeros(3)
        found: list[list[np.ndarray]] = [[], []]
        for _ in range(task.draws):
            real = draw_presences(rng, presence, rho, real_groups, real_size)
            generated = draw_presences(rng, presence, rho, groups, size)
            calls[0] += _called([real, generated], plain)[0].any()
            calls[1] += _called([real, generated], designs)[0].any()
            first = [side[::each] for side, each in ((real, real_size), (generated, size))]
            calls[2] += _called(first, plain)[0].any()
            if kind == "0":
                fallen = generated & (rng.random(generated.shape) < 0.4)
                for treatment, treated in enumerate((plain, designs)):
                    found[treatment].append(_called([real, fallen], treated)[1])
        row: dict[str, object] = {
            "real": f"{real_groups:,} × {real_size}",
            "generated": f"{groups:,} × {size}",
            "correlation": kind,
            "draws": task.draws,
            "groups ignored %": f"{100 * calls[0] / task.draws:.1f}",
            "effective counts %": f"{100 * calls[1] / task.draws:.1f}",
            "one image a group %": f"{100 * calls[2] / task.draws:.1f}",
            "power ignored %": "",
            "power effective %": "",
        }
        if kind == "0":
            alone, grouped = (np.mean(each, axis=0) for each in found)
            shown = (alone > 0.3) & (alone < 0.98)
            row["power ignored %"] = f"{100 * alone[shown].mean():.1f}"
            row["power effective %"] = f"{100 * grouped[shown].mean():.1f}"
        yield row


def _correlated(
    rng: np.random.Generator, n: int, presence: Float64[np.ndarray, " k"], shared: float
) -> Bool[np.ndarray, "n k"]:
    """Classes that occur together: hidden normals, of whose variance a part is in common."""
    hidden = np.sqrt(shared) * rng.standard_normal((n, 1))
    hidden = hidden + np.sqrt(1 - shared) * rng.standard_normal((n, len(presence)))
    return np.asarray(hidden < scipy.stats.norm.ppf(presence))


def _multiplicity(task: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """Family-wise error and power of three corrections, on the same draws."""
    names = ("Bonferroni", "Holm", "Westfall and Young")
    for count, shared, label in (
        (60, 0.0, "60, independent"),
        (60, 0.8, "60, strongly correlated"),
        (8, 0.8, "8, strongly correlated"),
    ):
        presence = np.clip(0.6 * np.arange(1, count + 1) ** -0.8, 0.004, 0.9)
        lost = np.arange(count) % 3 == 1  # a third of the classes, half of it gone
        rng = np.random.default_rng([task.seed, count, round(10 * shared)])
        errors, powers = np.zeros(3), np.zeros(3)
        n = 600
        for _ in range(task.draws):
            real = _correlated(rng, n, presence, shared)
            for fallen in (False, True):
                generated = _correlated(rng, n, presence, shared)
                if fallen:
                    generated &= ~(lost & (rng.random(generated.shape) < 0.5))
                called = _three_corrections(rng, real, generated)
                if fallen:
                    powers += [each[lost].mean() for each in called]
                else:
                    errors += [each.any() for each in called]
        for i, name in enumerate(names):
            yield {
                "classes": label,
                "draws": task.draws,
                "correction": name,
                "any false call %": f"{100 * errors[i] / task.draws:.1f}",
                "found of the fallen %": f"{100 * powers[i] / task.draws:.1f}",
            }


def _three_corrections(
    rng: np.random.Generator,
    real: Bool[np.ndarray, "n k"],
    generated: Bool[np.ndarray, "m k"],
    exchanges: int = 199,
) -> list[Bool[np.ndarray, " k"]]:
    """Which classes Bonferroni, Holm and the step-down smallest p of exchanges call."""
    tail, tested = _p_values([real, generated], [Design(), Design()])
    p = np.where(tested, 2.0 * np.minimum(tail, 1.0 - tail), 1.0)
    order = np.argsort(p)
    k = int(tested.sum())
    rank = np.empty(len(p), int)
    rank[order] = np.arange(len(p))
    steps = np.maximum.accumulate(p[order] * np.maximum(k - np.arange(len(p)), 1))
    holm = (steps <= _LEVEL)[rank] & tested
    pooled = np.concatenate([real, generated]).astype(np.float32)
    pick = np.argsort(rng.random((exchanges, len(pooled))), axis=1) < len(real)
    count = np.round(pick.astype(np.float32) @ pooled)
    total = pooled.sum(axis=0)
    below = scipy.stats.hypergeom(len(pooled), total.astype(int), len(real))
    tails = below.cdf(count) - 0.5 * below.pmf(count)
    exchanged = np.where(tested, 2.0 * np.minimum(tails, 1.0 - tails), 1.0)
    # Step-down: the smallest p among the classes not called before.
    least = np.minimum.accumulate(exchanged[:, order[::-1]], axis=1)[:, ::-1]
    adjusted = np.maximum.accumulate((1 + (least <= p[order]).sum(axis=0)) / (1 + exchanges))
    return [tested & (p * k <= _LEVEL), holm, (adjusted <= _LEVEL)[rank] & tested]


def _drops(_: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """Exactly, by summing over counts: how often the printed drop is found in fresh samples."""
    alpha = _LEVEL / _TESTS
    for n, m in _SIZES:
        for presence in _PRESENCES:
            counts = np.arange(n + 1)
            chance = scipy.stats.binom.pmf(counts, n, presence)
            likely = counts[chance > 1e-7]
            seen = likely / n
            printed = CountPower(seen, n, m, alpha=alpha, fewest=FEWEST_IMAGES).smallest_drop(0.8)
            weight = chance[likely] * np.isfinite(printed)
            share = weight.sum()
            found = np.zeros(len(likely))
            some = weight > 0
            if some.any():
                truth = CountPower(
                    np.full(int(some.sum()), presence), n, m, alpha=alpha, fewest=FEWEST_IMAGES
                )
                found[some] = truth.of(printed[some])
            yield {
                "real images": n,
                "generated images": m,
                "presence %": f"{100 * presence:.0f}",
                "samples that print a drop %": f"{100 * share:.1f}",
                "printed drop %": f"{100 * (weight * np.nan_to_num(printed)).sum() / share:.1f}"
                if share > 1e-4
                else "none",
                "found %": f"{100 * (weight * found).sum() / share:.1f}" if share > 1e-4 else "",
            }


def _column(values: Float64[np.ndarray, "n d"]) -> MeanArea:
    return mean_area(values, Grouping(Design(), len(values)))


def _sizes(task: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """False calls of two tests of size, in multiples of their level; a column a draw."""
    alpha = 0.001
    for spread in (0.5, 1.0, 1.5):
        for a, b in ((5, 5), (20, 20), (10, 200), (50, 1000), (200, 200)):
            rng = np.random.default_rng([task.seed, round(10 * spread), a, b])
            draws = 100 * task.draws
            called = np.zeros(2)
            for _ in range(10):
                sides = [
                    np.exp(spread * rng.standard_normal((size, draws // 10))) for size in (a, b)
                ]
                means = LogRatio.of_means(*(_column(side) for side in sides))
                logs = LogRatio.of_logs(*(_column(np.log(side)) for side in sides))
                called += [float((each.p_value() < alpha).sum()) for each in (means, logs)]
            yield {
                "log standard deviation": spread,
                "images with the class": f"{a} / {b}",
                "draws": draws,
                "means, false calls ÷ level": f"{called[0] / draws / alpha:.2f}",
                "geometric means": f"{called[1] / draws / alpha:.2f}",
            }


def _spreads(task: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """Coverage of intervals of σ_g / σ_t at no difference; a column a draw."""
    for spread, presence in ((0.5, 1.0), (1.0, 1.0), (1.0, 0.3), (1.0, 0.1)):
        for n, m in ((100, 100), (1000, 1000), (1000, 200), (200, 5000)):
            rng = np.random.default_rng([task.seed, round(10 * spread), round(10 * presence), n, m])
            squares = []
            for size in (n, m):
                areas = 0.05 * np.exp(spread * rng.standard_normal((size, task.draws)))
                areas *= rng.random(areas.shape) < presence
                squares.append((areas - areas.mean(axis=0)) ** 2)
            plain = [_column(each) for each in squares]
            delta = LogRatio.of_means(*plain)
            shared = [
                dataclasses.replace(
                    mean, freedom=each.sum(axis=0) ** 2 / (each**2).sum(axis=0) - 1.0
                )
                for mean, each in zip(plain, squares, strict=True)
            ]
            chosen = LogRatio.of_spreads(shared[0], shared[1], (float(n), float(m)))
            row: dict[str, object] = {
                "log standard deviation": spread,
                "presence %": f"{100 * presence:.0f}",
                "images": f"{n:,} / {m:,}",
                "draws": task.draws,
            }
            for name, ratio in (("delta method covers %", delta), ("chosen covers %", chosen)):
                lower, upper = ratio.interval(_LEVEL)
                row[name] = f"{100 * ((lower <= 1.0) & (upper >= 1.0))[ratio.known].mean():.1f}"
            yield row


def _scale(task: ClassSimulation) -> Iterator[Mapping[str, object]]:
    """Processor time of the class table, on independent areas of many classes."""
    for classes, n in ((336, 10_000), (1203, 10_000), (4000, 10_000)):
        rng = np.random.default_rng([task.seed, classes])
        presence = np.clip(2.0 / np.arange(1, classes + 1), 1e-3, 0.9)
        sides = [
            np.where(rng.random((n, classes)) < presence, 0.5 / classes, 0.0) for _ in range(2)
        ]
        started, used = time.perf_counter(), time.process_time()
        compare_classes(*sides, presence_threshold=0.1 / classes)
        yield {
            "classes": classes,
            "images a side": n,
            "processor time, s": f"{time.process_time() - used:.1f}",
            "wall clock, s": f"{time.perf_counter() - started:.1f}",
        }
