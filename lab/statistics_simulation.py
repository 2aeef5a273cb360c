"""Is the statistics' word good? Simulation on populations of areas whose true distance is known.

A population is a finite table of images; samples are drawn from it with replacement, so that its
moments, and with them the true Fréchet distance between two populations, are exact. The functions
measured are the public ones of `unseen.statistics`. The tables are those of docs/statistics.md.
"""

import dataclasses
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float64

from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Option, Place
from unseen.core.tables import csv_text, markdown_table
from unseen.statistics import compare_classes, frechet_inference
from unseen.statistics.frechet import fidelity

SIZES = (1000, 2000, 5000, 10_000)
SHIFTS = ("null", "0.5", "1", "10", "absent")
_CLASSES = 336
_ABSENT = 7  # in about a tenth of the images
_BLOCK = 5000  # images of a population rendered at once
# Mean plug-in distance between two samples of the population itself, by size: what the shifts are
# multiples of. Rounded from 24 draws; the tables report the floor they measured.
_FLOORS = {1000: 22.5, 2000: 12.0, 5000: 5.2, 10_000: 2.65}


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Measure bias, coverage, false alarms, power and speed."""

    out: Annotated[Path, Place("Folder for draws and tables. A run goes on there.", short="-o")]
    draws: Annotated[int, Option("Draws of every size and shift.", min=1)] = 60
    class_draws: Annotated[
        int, Option("Draws of every design of classes, with and without planted drops.", min=1)
    ] = 400
    sizes: Annotated[Sequence[int], Option("Images on each side.", min=2)] = SIZES
    shifts: Sequence[str] = SHIFTS  # some of these
    class_designs: Sequence[tuple[int, int]] = ((1000, 1000), (5000, 5000), (5000, 1000))  # images
    permutations: int = 19  # of each inference; the default of the package is larger
    splits: int = 6  # likewise
    rows: int = 100_000  # images in a population
    seed: Annotated[int, Option("Seed of populations and draws.", max=SEED_MOST)] = 0


class Table:
    """A population: a finite table of images, and its exact moments."""

    def __init__(self, percent: np.ndarray) -> None:
        self.percent = percent
        rows, classes = percent.shape
        total, products = np.zeros(classes), np.zeros((classes, classes))
        for start in range(0, rows, 10 * _BLOCK):
            block = percent[start : start + 10 * _BLOCK].astype(np.float64)
            total += block.sum(axis=0)
            products += block.T @ block
        self.mean = total / rows
        self.covariance = products / rows - np.outer(self.mean, self.mean)

    def sample(self, n: int, rng: np.random.Generator) -> Float64[np.ndarray, "n k"]:
        """Percent areas of n images drawn with replacement."""
        return self.percent[rng.integers(len(self.percent), size=n)].astype(np.float64)


class Population(Table):
    """Scenes: a few classes nearly always there, a long tail of rare ones."""

    def __init__(self, *, rows: int, seed: int, shift: float = 0.0, absent: int | None = None):
        super().__init__(_areas(rows, seed, shift, absent))


def _areas(rows: int, seed: int, shift: float, absent: int | None) -> np.ndarray:
    """Percent areas of scenes: a few classes nearly always there, a long tail of rare ones.

    Six hidden scene factors make classes occur together. Sizes given presence are log-normal;
    areas are whole pixels of 256 × 256. `shift` moves presences and sizes of every class, mostly
    against each other, so that means and covariances change about equally. The same seed gives
    the same scenes whatever the shift.
    """
    rng = np.random.default_rng(seed)
    rank = np.arange(1, _CLASSES + 1)
    presence = np.clip(2.2 * rank**-0.75 * np.exp(-rank / 110), 2e-4, 0.97)
    size = np.exp(3.5 * rank**-0.45) * np.exp(0.5 * rng.standard_normal(_CLASSES))
    spread = rng.uniform(0.5, 1.1, _CLASSES)
    more_often = rng.standard_normal(_CLASSES)
    larger = 0.5 * rng.standard_normal(_CLASSES) - 0.8 * more_often
    loading = 0.5 * rng.standard_normal((_CLASSES, 6))
    scene = rng.standard_normal((rows, 6))
    unit = np.sqrt(1 + (loading**2).sum(axis=1))
    edge = unit * scipy.special.ndtri(np.clip(presence * np.exp(shift * more_often), 0, 0.995))
    percent = np.empty((rows, _CLASSES), dtype=np.float32)
    for start in range(0, rows, _BLOCK):
        hidden = scene[start : start + _BLOCK] @ loading.T
        present = hidden + rng.standard_normal(hidden.shape, dtype=np.float32) < edge
        noise = rng.standard_normal(hidden.shape, dtype=np.float32)
        area = np.exp(spread * noise + shift * larger) * size * present
        if absent is not None:
            area[:, absent] = 0.0
        area[:, 0] += 1e-3  # no image is empty
        pixels = np.round(65536 * area / area.sum(axis=1, keepdims=True))
        percent[start : start + _BLOCK] = 100 * pixels / pixels.sum(axis=1, keepdims=True)
    return percent


def true_distance(real: Table, generated: Table) -> float:
    """Fréchet distance between two populations, from their exact moments."""
    difference = real.mean - generated.mean
    covariance_term = np.trace(real.covariance) + np.trace(generated.covariance)
    covariance_term -= 2.0 * fidelity(real.covariance, generated.covariance)
    return float(difference @ difference + max(covariance_term, 0.0))


class Gradient:
    """The first-order part of the sampling error: known here, and its expectation is zero.

    Taking it off a draw leaves the bias and nine tenths less noise (a control variate).
    """

    def __init__(self, real: Table, generated: Table) -> None:
        self.real, self.generated = real, generated
        unit = np.eye(len(real.mean))
        self.of_real = unit - _transport(real.covariance, generated.covariance)
        self.of_generated = unit - _transport(generated.covariance, real.covariance)

    def error(
        self, real: Float64[np.ndarray, "n k"], generated: Float64[np.ndarray, "m k"]
    ) -> float:
        """What two samples' distance is off by, to first order."""
        moved = (real.mean(axis=0) - self.real.mean) - (
            generated.mean(axis=0) - self.generated.mean
        )
        first_order = 2.0 * (self.real.mean - self.generated.mean) @ moved
        first_order += (self.of_real * (np.cov(real.T) - self.real.covariance)).sum()
        first_order += (self.of_generated * (np.cov(generated.T) - self.generated.covariance)).sum()
        return float(first_order)


def _transport(
    source: Float64[np.ndarray, "k k"], target: Float64[np.ndarray, "k k"]
) -> Float64[np.ndarray, "k k"]:
    """Optimal transport map between centred Gaussians, on the range of the source."""
    eigenvalues, vectors = np.linalg.eigh(source)
    kept = eigenvalues > eigenvalues[-1] * 1e-13
    root = vectors[:, kept] * np.sqrt(eigenvalues[kept])
    inverse = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    squares, directions = np.linalg.eigh(root.T @ target @ root)
    middle = (directions * np.sqrt(np.clip(squares, 0.0, None))) @ directions.T
    return np.asarray(inverse @ middle @ inverse.T)


def simulate(task: Simulation, say: Callable[[str], None] = print) -> list[Path]:
    """Run what is missing, then write the tables.

    Args:
        task: what to measure.
        say: told of every finished cell.

    Returns:
        The tables written: CSV each, and all of them in one Markdown file.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    real = Population(rows=task.rows, seed=task.seed)
    _measure_speed(task, real, say)
    _measure_classes(task, real, say)
    _measure_distances(task, real, say)
    return write_tables(task.out)


def _measure_distances(task: Simulation, real: Population, say: Callable[[str], None]) -> None:
    log = Log(task.out / "distance.jsonl")
    for n in task.sizes:
        for name in task.shifts:
            if log.count(n=n, shift=name) >= task.draws:
                continue
            generated = _shifted(task, real, name, n)
            truth = true_distance(real, generated)
            gradient = Gradient(real, generated)
            for draw in range(log.count(n=n, shift=name), task.draws):
                rng = np.random.default_rng([task.seed, n, SHIFTS.index(name), draw])
                first, second = real.sample(n, rng), generated.sample(n, rng)
                start = time.process_time()
                result = frechet_inference(
                    first, second, seed=draw, permutations=task.permutations, splits=task.splits
                )
                log.append(
                    n=n,
                    shift=name,
                    draw=draw,
                    truth=truth,
                    first_order=gradient.error(first, second),
                    plug_in=result.plug_in.value,
                    floor=result.floor,
                    at_half=result.at_half,
                    corrected=result.corrected,
                    interval=result.interval,
                    p_value=result.p_value,
                    seconds=time.process_time() - start,
                )
            say(f"distance: n = {n}, shift {name}: {task.draws} draws")


def _shifted(task: Simulation, real: Population, name: str, n: int) -> Population:
    if name == "null":
        return real
    if name == "absent":
        return Population(rows=task.rows, seed=task.seed, absent=_ABSENT)
    log = Log(task.out / "strengths.jsonl")
    if not log.count(n=n, shift=name):
        distance = float(name) * _FLOORS.get(n, 22.5 * 1000 / n)
        log.append(n=n, shift=name, strength=_strength(task.rows, task.seed, distance))
    strength = next(log.matching(n=n, shift=name))["strength"]
    return Population(rows=task.rows, seed=task.seed, shift=strength)


def _strength(rows: int, seed: int, distance: float) -> float:
    """The shift that gives about this distance; the tables say the exact one."""
    few = min(rows, 20_000)
    base = Population(rows=few, seed=seed)
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = 0.5 * (low + high)
        reached = true_distance(base, Population(rows=few, seed=seed, shift=middle))
        low, high = (middle, high) if reached < distance else (low, middle)
    return 0.5 * (low + high)


def _measure_classes(task: Simulation, real: Population, say: Callable[[str], None]) -> None:
    log = Log(task.out / "classes.jsonl")
    presence = (real.percent >= 0.5).mean(axis=0)
    planted = [int(np.abs(presence - p).argmin()) for p in (0.01, 0.02, 0.05, 0.1, 0.3)]
    planted.append(int(presence.argmax()))
    planted = list(dict.fromkeys(planted))
    for n, m in task.class_designs:
        for draw in range(log.count(n=n, m=m), task.class_draws):
            rng = np.random.default_rng([task.seed, n, m, draw])
            first, second = real.sample(n, rng) / 100, real.sample(m, rng) / 100
            null = compare_classes(first, second)
            third = real.sample(m, rng) / 100
            drops = {k: null[k].smallest_detectable_drop for k in planted}
            for k, drop in drops.items():
                if drop is not None:
                    _plant(third, k, drop, by_area=null[k].statistic == "area", rng=rng)
            # Fresh images on both sides: with `first` again, chance would count twice.
            dropped = compare_classes(real.sample(n, rng) / 100, third)
            log.append(
                n=n,
                m=m,
                draw=draw,
                tests=sum(c.tested for c in null),
                calls=sum(c.verdict in ("omitted", "under", "over") for c in null),
                drops={str(k): [presence[k], null[k].statistic, d] for k, d in drops.items()},
                detected={str(k): dropped[k].verdict in ("omitted", "under") for k in planted},
            )
        say(f"classes: n = {n}, m = {m}: {task.class_draws} draws")


def _plant(
    fraction: Float64[np.ndarray, "m k"],
    k: int,
    drop: float,
    *,
    by_area: bool,
    rng: np.random.Generator,
) -> None:
    """Make class k rarer (or, where it is always there, smaller) in place; class 1 takes over."""
    other = 1 if k != 1 else 2
    if by_area:
        gone = drop * fraction[:, k]
    else:
        gone = np.where(rng.random(len(fraction)) < drop, fraction[:, k], 0.0)
    fraction[:, k] -= gone
    fraction[:, other] += gone


def _measure_speed(task: Simulation, real: Population, say: Callable[[str], None]) -> None:
    log = Log(task.out / "speed.jsonl")
    n = max(task.sizes)
    if log.count(n=n):
        return
    rng = np.random.default_rng(task.seed)
    first, second = real.sample(n, rng), real.sample(n, rng)
    sigma_t, sigma_g = np.cov(first.T), np.cov(second.T)
    square_root = fastest(lambda: fidelity(sigma_t, sigma_g))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sqrtm says that singular covariances are not for it
        product = fastest(lambda: np.trace(scipy.linalg.sqrtm(sigma_t @ sigma_g)))
    started, used = time.perf_counter(), time.process_time()
    frechet_inference(first, second)
    compare_classes(first / 100, second / 100)
    log.append(
        n=n,
        square_root=square_root,
        sqrtm_of_product=product,
        comparison_wall=time.perf_counter() - started,
        comparison_cpu=time.process_time() - used,
    )
    say(f"speed: square root {square_root * 1e3:.1f} ms, sqrtm {product * 1e3:.1f} ms")


def fastest(run: Callable[[], object], repeats: int = 15) -> float:
    """Shortest processor time in seconds: what a busy machine disturbs least."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


class Log:
    """Draws as JSON lines, each written as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            if lines and not lines[-1].endswith("\n"):  # killed while writing it
                lines.pop()
                path.write_text("".join(lines))
            self.rows = [json.loads(line) for line in lines]

    def count(self, **key: object) -> int:
        """How many draws have these values."""
        return len(list(self.matching(**key)))

    def matching(self, **key: object) -> Iterator[dict[str, Any]]:
        """The draws that have these values."""
        return (row for row in self.rows if all(row[k] == v for k, v in key.items()))

    def append(self, **row: Any) -> None:
        """Add a draw and write it."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> list[Path]:
    """Write rows as CSV, and as a Markdown table beside it.

    Returns:
        Both files.
    """
    write_text(path, csv_text(rows))
    write_text(path.with_suffix(".md"), markdown_of(rows) + "\n")
    return [path, path.with_suffix(".md")]


def measured_table(
    path: Path,
    name: str,
    rows: Iterable[Mapping[str, object]],
    say: Callable[[str], None],
) -> Path:
    """Write a table of rows that are measured as they are asked for, unless it is there.

    Args:
        path: of the CSV; Markdown lies beside it.
        name: what the table is called where its rows are told.
        rows: an iterator, which is not begun where the table is there.
        say: told of every row.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        for row in rows:
            kept.append(row)
            say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
        write_table(path, kept)
    return path


def markdown_of(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a Markdown table under the names of the first one."""
    return markdown_table(rows[0], (row.values() for row in rows))


def write_tables(out: Path) -> list[Path]:
    """Tables of the draws in a folder: `distance.csv`, `classes.csv`, … and `tables.md`."""
    tables = {
        "distance": _distance_table(Log(out / "distance.jsonl").rows),
        "false_alarms": _false_alarm_table(Log(out / "classes.jsonl").rows),
        "detection": _detection_table(Log(out / "classes.jsonl").rows),
        "speed": _speed_table(Log(out / "speed.jsonl").rows),
    }
    written = []
    for name, table in tables.items():
        if not table:
            continue
        written.append(out / f"{name}.csv")
        write_text(written[-1], csv_text(table))
    pages = [markdown_of(table) for table in tables.values() if table]
    write_text(out / "tables.md", "\n\n".join(pages) + "\n")
    return [*written, out / "tables.md"]


def _distance_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    cells = defaultdict(list)
    for row in rows:
        cells[row["n"], row["shift"]].append(row)
    table: list[dict[str, object]] = []
    for (n, shift), cell in sorted(cells.items(), key=lambda c: (c[0][0], SHIFTS.index(c[0][1]))):
        null = cells.get((n, "null"), cell)
        floor = float(np.mean([row["floor"] for row in null]))
        truth = cell[0]["truth"]

        def bias(estimate: Callable[[Mapping[str, Any]], float]) -> np.ndarray:
            # read at once, before the loop moves on
            return np.asarray([estimate(r) - known_error(r) - truth for r in cell]) / floor  # noqa: B023

        corrected = bias(lambda r: float(r["corrected"]))
        covered = np.asarray([r["interval"][0] <= truth <= r["interval"][1] for r in cell])
        table.append(
            {
                "n": n,
                "shift": shift,
                "draws": len(cell),
                "floor": f"{floor:.2f}",
                "true FSD": f"{truth:.2f}",
                "plug-in bias %": f"{100 * bias(lambda r: float(r['plug_in'])).mean():+.1f}",
                "minus floor %": (
                    f"{100 * bias(lambda r: float(r['plug_in'] - r['floor'])).mean():+.1f}"
                ),
                "2F(n) − F(n/2) %": (
                    f"{100 * bias(lambda r: float(2 * r['plug_in'] - r['at_half'])).mean():+.1f}"
                ),
                "corrected %": f"{100 * corrected.mean():+.1f}",
                "± MC error": f"{100 * corrected.std() / np.sqrt(max(len(cell) - 1, 1)):.1f}",
                "coverage %": f"{100 * covered.mean():.0f}",
                "± MC": f"{100 * np.sqrt(0.95 * 0.05 / len(cell)):.1f}",
                "mean width": f"{np.mean([r['interval'][1] - r['interval'][0] for r in cell]):.2f}",
            }
        )
    return table


def known_error(row: Mapping[str, Any]) -> float:
    """A part of a draw's error whose expectation is zero: taken off, it leaves less noise.

    Under the null the first-order error vanishes, but exchanging images between the sides
    changes nothing, so that plug-in − floor has expectation zero.
    """
    known = row["plug_in"] - row["floor"] if row["shift"] == "null" else row["first_order"]
    return float(known)


def _false_alarm_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    designs = defaultdict(list)
    for row in rows:
        designs[row["n"], row["m"]].append(row)
    return [
        {
            "real images": n,
            "generated images": m,
            "null draws": len(cell),
            "classes tested": f"{np.mean([row['tests'] for row in cell]):.0f}",
            "draws with any class called": sum(row["calls"] > 0 for row in cell),
        }
        for (n, m), cell in designs.items()
    ]


def _detection_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    designs = defaultdict(list)
    for row in rows:
        for k, (presence, statistic, drop) in row["drops"].items():
            if drop is not None:
                designs[row["n"], row["m"], presence, statistic].append((drop, row["detected"][k]))
    return [
        {
            "real images": n,
            "generated images": m,
            "presence %": f"{100 * presence:.1f}",
            "statistic": statistic,
            "printed drop %": f"{100 * np.mean([drop for drop, _ in cell]):.1f}",
            "draws": len(cell),
            "detected %": f"{100 * np.mean([detected for _, detected in cell]):.0f}",
        }
        for (n, m, presence, statistic), cell in sorted(designs.items())
        if len(cell) > 1
    ]


def _speed_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    return [
        {
            "images a side": row["n"],
            "square-root term, ms": f"{1e3 * row['square_root']:.1f}",
            "sqrtm of the product, ms": f"{1e3 * row['sqrtm_of_product']:.1f}",
            "times faster": f"{row['sqrtm_of_product'] / row['square_root']:.1f}",
            "whole comparison, s": f"{row['comparison_wall']:.1f}",
            "of processor time, s": f"{row['comparison_cpu']:.1f}",
        }
        for row in rows
    ]
