"""From a Fréchet distance of two samples to that of what they were drawn from: bias and variance.

NumPy alone. `inference` and `frechet_change` make intervals of it; docs/statistics.md says how good
they are.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from unseen.statistics.exchange import Sides
from unseen.statistics.frechet import fidelity
from unseen.statistics.grams import Gram

FEWEST_FOR_HALVES = 16  # groups on a side: below, halves are too small to extrapolate from
_FEWEST_FOR_SCALE = 4  # groups on a side: below, a half of them may be a single image
# Bias over what it grows by on halves: 1 where it falls as 1/n, 2.4 where it falls as n^-½. Few
# permutations of few images can stray further by chance.
_DECAY_WITHIN = (0.5, 2.5)


@dataclasses.dataclass(frozen=True)
class Terms:
    """Both terms of a Fréchet distance."""

    mean: float
    covariance: float

    @property
    def value(self) -> float:
        """The distance."""
        return self.mean + self.covariance

    @classmethod
    def between(cls, first: Gram, second: Gram) -> "Terms":
        """The distance of two sides of which these are the sums."""
        # The factor of fewer images than classes is narrow: of the side that has fewer.
        if second.weight < min(first.weight, len(first.total)):
            first, second = second, first
        sigma_t, sigma_g = first.covariance, second.covariance
        difference = first.mean - second.mean
        trace = float(np.trace(sigma_t) + np.trace(sigma_g))
        return cls(
            float(difference @ difference), max(trace - 2.0 * fidelity(sigma_t, sigma_g), 0.0)
        )


class Null:
    """Distances between sides whose groups were exchanged at random: what no difference gives.

    Sides of equal images and other groups (photographs against clips, say) vary by chance to unlike
    degrees. An exchange mixes the two, which is right only between sides of equal numbers. So both
    terms are multiplied by what halves of the real and the generated side differ by, over what
    halves of the exchanged sides do.
    """

    def __init__(
        self, sides: Sides, permutations: int, splits: int, rng: np.random.Generator
    ) -> None:
        self.sides = sides
        self.exchanges = sides.exchanges(permutations, rng)
        self.total = sides.grams[0] + sides.grams[1]
        firsts = sides.rows.grams([exchange.first for exchange in self.exchanges])
        self.terms = [Terms.between(first, self.total - first) for first in firsts]
        self.scale = self._scale(splits, rng)
        self.values = np.asarray(
            [
                self.scale.mean * terms.mean + self.scale.covariance * terms.covariance
                for terms in self.terms
            ]
        )
        self.variance = float(self.values.var(ddof=1))

    def _scale(self, splits: int, rng: np.random.Generator) -> Terms:
        if not self.sides.designed or min(self.sides.counts) < _FEWEST_FOR_SCALE:
            return Terms(1.0, 1.0)
        seen = [
            _within(self.sides.grams, pair)
            for pair in self.sides.pairs(self.sides.halves(splits, rng))
        ]
        exchanged = [_within(sides, halves) for sides, halves in self._halved(splits)]
        ratios = []
        for term in ("mean", "covariance"):
            halves, mixed = (np.mean([getattr(t, term) for t in x]) for x in (seen, exchanged))
            ratios.append(float(halves / mixed) if mixed > 0.0 else 1.0)
        return Terms(*ratios)

    def _halved(self, splits: int) -> Iterator[tuple[tuple[Gram, Gram], tuple[Gram, Gram]]]:
        """Some exchanged sides, and halves of both."""
        exchanges = self.exchanges[:splits]
        firsts = self.sides.rows.grams([exchange.first for exchange in exchanges])
        halves = self.sides.pairs([(e.first_half, e.second_half) for e in exchanges])
        for first, pair in zip(firsts, halves, strict=True):
            yield (first, self.total - first), pair

    def growth_on_halves(self, splits: int) -> tuple[float, float]:
        """The covariance term's mean over some permutations, and by how much halving raises it."""
        # Each halving beside its own whole, so that what the two share by chance does not count.
        quarters = [quarters_of(sides, *halves) for sides, halves in self._halved(splits)]
        whole = np.mean([terms.covariance for terms in self.terms[:splits]])
        halved = np.mean([[terms.covariance for terms in four] for four in quarters])
        return float(whole), float(halved - whole)


@dataclasses.dataclass(frozen=True)
class Correction:
    """What leads from the plug-in to the corrected value and its error."""

    estimator: str
    at_half: float | None
    covariance_bias: float  # of the plug-in's covariance term
    variance: float  # of the corrected value
    freedom: float  # degrees of freedom of that variance


def correct_by_floor(null: Null) -> Correction:
    """Few images: the bias is taken to be what it would be without a difference."""
    return Correction(
        estimator="floor-subtracted",
        at_half=None,
        covariance_bias=null.scale.covariance
        * float(np.mean([terms.covariance for terms in null.terms])),
        variance=null.variance,
        freedom=math.inf,
    )


def correct_by_halves(
    observed: Terms, null: Null, quarters: Sequence[tuple[Terms, ...]]
) -> Correction:
    """The bias extrapolated from half the images, where it is larger, to all of them.

    Args:
        observed: the distance of the sides.
        null: distances of exchanged sides.
        quarters: distances between halves of the sides, four a split.
    """
    covariance_at_half = float(np.mean([[terms.covariance for terms in four] for four in quarters]))
    # The bias falls with the number of images as the floor does; how large it is, the halves of
    # these very sides tell.
    whole, growth = null.growth_on_halves(len(quarters))
    decay = whole / growth if growth > 0.0 else math.inf
    return Correction(
        estimator="calibrated-halving",
        at_half=float(np.mean([[terms.value for terms in four] for four in quarters])),
        covariance_bias=(covariance_at_half - observed.covariance)
        * min(max(decay, _DECAY_WITHIN[0]), _DECAY_WITHIN[1]),
        variance=variance_of(np.asarray([[t.value for t in four] for four in quarters])),
        freedom=2.0 * len(quarters),
    )


def variance_of(quarters: Float64[np.ndarray, "s 4"]) -> float:
    """Sampling variance of a value, from its values on halves of the sides.

    With a and b the halves of either side, d(a, a) − d(b, b) and d(a, b) − d(b, a) each have four
    times the variance of the distance's first-order error, and more of the second-order one, of
    which the correction adds to the plug-in's own. Two contrasts a split: 8 is 2 × 4.
    """
    aa, bb, ab, ba = quarters.T
    return float(np.mean((aa - bb) ** 2 + (ab - ba) ** 2)) / 8.0


def _within(sides: tuple[Gram, Gram], halves: tuple[Gram, Gram]) -> Terms:
    """Distances between either side's half and its rest, of both sides together."""
    first, second = (
        Terms.between(half, side - half) for side, half in zip(sides, halves, strict=True)
    )
    return Terms(first.mean + second.mean, first.covariance + second.covariance)


def quarters_of(
    sides: tuple[Gram, Gram], real_half: Gram, generated_half: Gram
) -> tuple[Terms, Terms, Terms, Terms]:
    """Distances between halves of the sides: first–first, second–second, and crossed."""
    real_rest, generated_rest = sides[0] - real_half, sides[1] - generated_half
    return (
        Terms.between(real_half, generated_half),
        Terms.between(real_rest, generated_rest),
        Terms.between(real_half, generated_rest),
        Terms.between(real_rest, generated_half),
    )
