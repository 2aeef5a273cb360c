"""Which test of a margin keeps its word? The ones that were tried, on samples of a known ratio.

Photographs and controls follow one law but for the mean of the photographs, which is the margin
times that of the controls (how often is "below" said, though it is not so?) or half of that (how
often is it found?). What is used is `RetentionRatio`; the others lost. The table is that of
docs/evidence.md, and its seed is not that of the choice.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.special
from jaxtyping import Float64

from lab.retention_simulation import Law, draw_instances
from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.tables import csv_text
from unseen.statistics.retention_ratio import Retained, RetentionRatio

Sums = tuple[np.ndarray, np.ndarray]  # of values, and of weights, a group
Test = Callable[[Retained, Retained, float], float]  # first, second, margin → p-value

_NOTHING = 1e-12
_LEVELS = {"at 2.5 %": 0.025, "at 0.4 %": 0.025 / 6}  # of one class, and of six together


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarginSimulation:
    """Measure how often tests of a margin say "below", where that is so and where it is not."""

    out: Annotated[Path, Place("Folder for the table.", short="-o")]
    draws: Annotated[int, Option("Draws of every sample.", min=1)] = 1000
    sizes: Sequence[tuple[int, int]] = ((8, 32), (16, 48), (32, 64))  # photographs, controls
    laws: Sequence[Law] = ("graded", "all or nothing", "one in ten", "crowded")
    margin: float = 0.5
    resamples: int = 499  # exchanges, and bootstrap draws
    seed: Annotated[int, Option("Seed of the draws.", max=SEED_MOST)] = 1


def simulate_margins(
    task: MarginSimulation, *, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write `margins.csv`: a row a test, law, size and true ratio."""
    made = []
    for row in _rows(task):
        say(", ".join(f"{key} {value}" for key, value in row.items()))
        made.append(row)
    write_text(task.out / "margins.csv", csv_text(made))
    return [task.out / "margins.csv"]


def _rows(task: MarginSimulation) -> Iterator[dict[str, str]]:
    tests = _tests(task)
    for photographs, controls in task.sizes:
        for law in task.laws:
            for ratio in (task.margin, task.margin / 2):
                p_values: dict[str, list[float]] = {name: [] for name in tests}
                for draw in range(task.draws):
                    random = np.random.default_rng((task.seed, photographs, draw))
                    first, second = (
                        Retained(instances.retention["f"], instances.units)
                        for instances in (
                            draw_instances(random, photographs, drawn=ratio, law=law),
                            draw_instances(random, controls, law=law),
                        )
                    )
                    for name, test in tests.items():
                        p_values[name].append(test(first, second, task.margin))
                for name, found in p_values.items():
                    yield {
                        "test": name,
                        "law": law,
                        "photographs": str(photographs),
                        "generated images": str(controls),
                        "true ratio": f"{ratio:g}",
                        "draws": str(task.draws),
                        **{
                            f"said {at}": str(sum(p <= level for p in found))
                            for at, level in _LEVELS.items()
                        },
                    }


def _tests(task: MarginSimulation) -> dict[str, Test]:
    def exchange(first: Retained, second: Retained, margin: float) -> float:
        return _exchange(_sums(first), _sums(second), margin, task.resamples)

    def bootstrap(first: Retained, second: Retained, margin: float) -> float:
        return _bootstrap(_sums(first), _sums(second), margin, task.resamples)

    def used(first: Retained, second: Retained, margin: float) -> float:
        return RetentionRatio(first, second, shared=False).p_value(margin, "below")

    return {
        "half an image against (used)": used,
        "a quarter of an image against": lambda a, b, margin: _welch(a, b, margin, 0.25),
        "a whole image against": lambda a, b, margin: _welch(a, b, margin, 1.0),
        "no image": lambda a, b, margin: _welch(a, b, margin, 0.0),
        "half an image of all, half of none": _two_halves,
        "log ratio, the same halves": lambda a, b, margin: _two_halves(a, b, margin, log=True),
        "studentised exchange of scaled values": exchange,
        "studentised bootstrap": bootstrap,
    }


def _sums(sample: Retained) -> Sums:
    _, sums, sizes = sample.by_group()
    return sums, sizes


def _joined(sums: Sums, *kept: float, weight: float) -> Sums:
    """With images of this weight that keep these shares."""
    values, sizes = sums
    more = np.full(len(kept), weight * sizes.mean())
    return np.append(values, more * kept), np.append(sizes, more)


def _mean(sums: Sums) -> tuple[float, float]:
    """A ratio mean and its squared error."""
    values, sizes = sums
    n, mean = len(values), values.sum() / sizes.sum()
    return mean, float((((values - mean * sizes) / sizes.sum()) ** 2).sum()) * n / (n - 1)


def _t(difference: float, first: float, second: float, freedom: tuple[int, int]) -> float:
    first, second = first + _NOTHING, second + _NOTHING
    welch = (first + second) ** 2 / (first**2 / freedom[0] + second**2 / freedom[1])
    return float(scipy.special.stdtr(welch, difference / np.sqrt(first + second)))


def _welch(first: Retained, second: Retained, margin: float, weight: float) -> float:
    """Welch's test of first - margin · second, images of this weight speaking against "below"."""
    a, b = _sums(first), _sums(second)
    if weight:
        mean = _mean(b)[0]
        a, b = _joined(a, mean, weight=weight), _joined(b, 0.0, weight=weight)
    (m, v), (c, w) = _mean(a), _mean(b)
    return _t(m - margin * c, v, margin**2 * w, (len(a[0]) - 1, len(b[0]) - 1))


def _two_halves(first: Retained, second: Retained, margin: float, *, log: bool = False) -> float:
    """The same with the images of `mean_retention`: half of one that keeps all, half of none."""
    a, b = (_joined(_sums(side), 0.0, 1.0, weight=0.5) for side in (first, second))
    (m, v), (c, w) = _mean(a), _mean(b)
    freedom = len(a[0]) - 1, len(b[0]) - 1
    if log:
        return _t(np.log(m / c / margin), v / m**2, w / c**2, freedom)
    return _t(m - margin * c, v, margin**2 * w, freedom)


def _studentised(
    sums: Sums, counts: Float64[np.ndarray, "r c"]
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """Ratio means and squared errors, every image counted so often."""
    values, sizes = sums
    total = counts @ sizes
    mean = counts @ values / total
    squares = counts @ values**2 - 2 * mean * (counts @ (values * sizes))
    squares += mean**2 * (counts @ sizes**2)
    n = counts.sum(axis=1)
    return mean, squares.clip(0) / total**2 * n / (n - 1)


def _exchange(a: Sums, b: Sums, margin: float, resamples: int) -> float:
    """Images change sides, those of the second scaled by the margin."""
    both = np.append(a[0], margin * b[0]), np.append(a[1], b[1])
    random = np.random.default_rng(0)
    first = (np.arange(len(both[0])) < len(a[0])).astype(np.float64)
    sides = np.stack([first, *(random.permutation(first) for _ in range(resamples))])
    (m, v), (c, w) = _studentised(both, sides), _studentised(both, 1 - sides)
    statistics = (m - c) / np.sqrt(v + w + _NOTHING)
    return float((statistics <= statistics[0] + 1e-9).mean())


def _bootstrap(a: Sums, b: Sums, margin: float, resamples: int) -> float:
    random = np.random.default_rng(0)
    observed, parts = [], []
    for sums, scale in ((a, 1.0), (b, margin)):
        n = len(sums[0])
        counts = random.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
        mean, error = _studentised(sums, np.concatenate([np.ones((1, n)), counts]))
        observed.append((scale * mean[0], scale**2 * error[0]))
        parts.append((scale * (mean[1:] - mean[0]), scale**2 * error[1:]))
    (m, v), (c, w) = observed
    statistic = (m - c) / np.sqrt(v + w + _NOTHING)
    drawn = (parts[0][0] - parts[1][0]) / np.sqrt(parts[0][1] + parts[1][1] + _NOTHING)
    return float((1 + (drawn <= statistic).sum()) / (1 + resamples))
