"""How long the distance takes, beside the plain way in the same run.

The plain way is NumPy's covariances and SciPy's square root of their product. Ratios are of
processor time, the shortest of several turns, which a busy machine disturbs least.
"""

import dataclasses
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import scipy.linalg

from lab.statistics_simulation import fastest
from unseen.core.options import SEED_MOST, Option
from unseen.core.tables import markdown_table
from unseen.statistics import frechet_distance, frechet_inference
from unseen.statistics.frechet import fidelity

_PLAIN_MOST = 1500  # classes: the plain square root of more takes minutes
_HELD = 20  # classes in an image, on average


@dataclasses.dataclass(frozen=True)
class DistanceSpeed:
    """Time the distance and its interval on areas of many classes."""

    classes: Annotated[Sequence[int], Option("Numbers of classes.", min=2)] = (336,)
    images: Annotated[int, Option("Images on each side.", min=20)] = 10_000
    repeats: Annotated[int, Option("Turns; the shortest counts.", min=1)] = 5
    seed: Annotated[int, Option("Seed of the areas.", max=SEED_MOST)] = 0


def time_distances(task: DistanceSpeed, say: Callable[[str], None] = print) -> str:
    """Measure, and give a table."""
    rows = []
    for classes in task.classes:
        rng = np.random.default_rng([task.seed, classes])
        real, generated = (_areas(task.images, classes, rng) for _ in range(2))
        ratios = ["", "", ""]
        if classes <= _PLAIN_MOST:
            ratios = _against_plain(real, generated, task.repeats)
        started, used = time.perf_counter(), time.process_time()
        result = frechet_inference(real, generated)
        wall, cpu = time.perf_counter() - started, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        values = (*ratios, f"{cpu:.1f}", f"{wall:.1f}", f"{peak:.2f}")
        rows.append((f"{classes:,}", f"{task.images:,}", *values, str(result.permutations)))
        say(f"{classes} classes: {cpu:.1f} s of processor time")
    heading = (
        "classes",
        "images a side",
        "square-root term, ms",
        "× sqrtm of the product",
        "× plain FSD",
        "FSD with interval, s of processor time",
        "s by the clock",
        "peak, GB",
        "exchanges",
    )
    return markdown_table(heading, rows)


def _against_plain(real: np.ndarray, generated: np.ndarray, repeats: int) -> list[str]:
    """The square-root term in ms; how many times faster it is, and the whole distance."""
    sigma_t, sigma_g = np.cov(real.T), np.cov(generated.T)

    def plain() -> float:
        s, t = np.cov(real.T), np.cov(generated.T)
        root = np.trace(scipy.linalg.sqrtm(s @ t)).real
        difference = real.mean(axis=0) - generated.mean(axis=0)
        return float(difference @ difference + np.trace(s) + np.trace(t) - 2 * root)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sqrtm says that singular covariances are not for it
        square_root = fastest(lambda: fidelity(sigma_t, sigma_g), repeats)
        product = fastest(lambda: np.trace(scipy.linalg.sqrtm(sigma_t @ sigma_g)), repeats)
        whole = fastest(lambda: frechet_distance(real, generated), repeats)
        plain_whole = fastest(plain, repeats)
    return [
        f"{1e3 * square_root:.1f}",
        f"{product / square_root:.1f}",
        f"{plain_whole / whole:.1f}",
    ]


def _areas(images: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Percent areas: a few classes nearly always there, a long tail of rare ones."""
    rank = np.arange(1, classes + 1)
    presence = np.clip(1.0 / rank, 1e-3, 0.9)
    presence *= min(_HELD / presence.sum(), 1.0)
    held = rng.random((images, classes), dtype=np.float32) < presence
    area = np.zeros((images, classes))
    area[held] = rng.lognormal(size=int(held.sum()))
    area[:, 0] += 0.02  # no image is empty
    return np.asarray(100 * area / area.sum(axis=1, keepdims=True))
