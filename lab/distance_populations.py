"""Populations of areas on which the distance is simulated: light tails, heavy tails, few factors.

Each is a finite table, so that its true distances are exact. A shifted population has the same
scenes: `shift` moves presences and sizes, `absent` takes a class away, `collapse` draws every image
towards the mean, as a generator does that varies too little.
"""

import dataclasses

import numpy as np
import scipy.special

from lab.statistics_simulation import Population, Table


@dataclasses.dataclass(frozen=True)
class Kind:
    """How areas of a population are spread.

    Attributes:
        falls: presence of the class of rank r falls as r to the minus this.
        sizes: standard deviation of the classes' log sizes.
        spread: of the log size given presence, least and most.
        factors: hidden scene factors that make classes occur together.
        loading: of a class on each of them, in standard deviations of its own noise.
    """

    falls: float
    sizes: float
    spread: tuple[float, float]
    factors: int
    loading: float


KINDS = {
    "light": Kind(0.45, 0.4, (0.2, 0.5), 5, 0.3),
    "heavy": Kind(0.8, 1.5, (1.0, 1.9), 5, 0.5),  # rare classes that fill an image when there
    "correlated": Kind(0.6, 0.8, (0.4, 0.9), 2, 2.5),
}
# Shift: factors on presence and size; a class that is absent; spread left of that of the real side.
SHIFTS: dict[str, tuple[float, int | None, float]] = {
    "null": (0.0, None, 1.0),
    "shifted": (0.7, None, 1.0),
    "absent": (0.0, 2, 1.0),
    "collapsed": (0.0, None, 0.5),
}


def population(kind: str, classes: int, shift: str, *, rows: int, seed: int) -> Table:
    """A population of a kind, shifted. The same seed gives the same scenes.

    The kind "scenes" is that of the other tables: a long tail of 336 classes.
    """
    strength, absent, left = SHIFTS[shift]
    if kind == "scenes":
        percent = Population(rows=rows, seed=seed, shift=strength / 3, absent=absent).percent
    else:
        percent = _areas(KINDS[kind], classes, strength, absent, rows, seed)
    mean = percent.mean(axis=0, dtype=np.float64)
    return Table((mean + left * (percent - mean)).astype(np.float32))


def _areas(
    kind: Kind, classes: int, strength: float, absent: int | None, rows: int, seed: int
) -> np.ndarray:
    rng = np.random.default_rng([seed, classes])
    rank = np.arange(1, classes + 1)
    presence = np.clip(1.3 * rank**-kind.falls * np.exp(-2 * rank / classes), 4e-3, 0.95)
    size = np.exp(kind.sizes * rng.standard_normal(classes))
    spread = rng.uniform(*kind.spread, classes)
    more_often = rng.standard_normal(classes)
    larger = 0.5 * rng.standard_normal(classes) - 0.8 * more_often
    loading = kind.loading * rng.standard_normal((classes, kind.factors))
    hidden = rng.standard_normal((rows, kind.factors)) @ loading.T
    hidden += rng.standard_normal(hidden.shape)
    unit = np.sqrt(1 + (loading**2).sum(axis=1))
    edge = unit * scipy.special.ndtri(np.clip(presence * np.exp(strength * more_often), 0, 0.98))
    noise = spread * rng.standard_normal(hidden.shape)
    area = np.exp(noise + strength * larger) * size * (hidden < edge)
    if absent is not None:
        area[:, absent] = 0.0
    area[:, 0] += 0.02  # no image is empty
    return np.asarray(100 * area / area.sum(axis=1, keepdims=True))
