"""Fréchet distance with its error bars: floor, p-value, corrected value, interval, shares.

NumPy and SciPy alone. What each number means, and how well it does its work in simulation, is in
docs/statistics.md.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.exchange import Sides
from unseen.statistics.frechet import FrechetDistance, fidelity, frechet_shares
from unseen.statistics.grams import Gram
from unseen.statistics.samples import check_areas, check_level, check_number, check_samples

_FEWEST_FOR_HALVES = 16  # groups on a side: below, halves are too small to extrapolate from
_FEWEST_FOR_SCALE = 4  # groups on a side: below, a half of them may be a single image
# Bias over what it grows by on halves: 1 where it falls as 1/n, 2.4 where it falls as n^-½. Few
# permutations of few images can stray further by chance.
_DECAY_WITHIN = (0.5, 2.5)


@dataclasses.dataclass(frozen=True, eq=False)
class FrechetInference:
    """A Fréchet distance and what this sample says about the true one, in percent².

    Attributes:
        plug_in: as published: biased upwards, the more the fewer images.
        floor: expectation of the plug-in had both sides one distribution, at this (n, m).
        p_value: of "no difference", by permutation of images between the sides.
        at_half: mean plug-in between random halves of the sides; None where they are too small.
        corrected: estimate of the true distance; may be below zero.
        interval: of the true distance, at `level`; starts at 0 where p_value > 1 − level.
        shares: what each class adds to the plug-in; not negative, sums to it.
        estimator: name of the rule behind `corrected`.
        level: of the interval.
        permutations: how many are behind floor and p_value.
        seed: of permutations and splits.
    """

    plug_in: FrechetDistance
    floor: float
    p_value: float
    at_half: float | None
    corrected: float
    interval: tuple[float, float]
    shares: Float64[np.ndarray, " k"]
    estimator: str
    level: float
    permutations: int
    seed: int


def frechet_inference(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    seed: int = 0,
    permutations: int = 199,
    splits: int = 40,
    level: float = 0.95,
) -> FrechetInference:
    """Fréchet distance between two samples, with floor, p-value, corrected value and interval.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.
        real_design: which real images belong together, and how much each counts. Whole groups are
            exchanged and halved; means and covariances are weighted.
        generated_design: the same of the generated images.
        seed: of permutations and splits.
        permutations: of groups between the sides; 199 show p-values down to 1 / 200.
        splits: random halvings of both sides, behind the corrected value and its error; with 40
            the interval's t has 80 degrees of freedom and is nearly normal.
        level: of the interval.

    Returns:
        All numbers in percent².

    Raises:
        SampleError: fewer than two rows or groups on either side, other columns, a value that is
            not finite or no percentage, or a number of permutations or splits that is too small.
    """
    real, generated = check_samples(real, generated)
    check_areas(100, real, generated)
    check_number("permutations", permutations, 2)  # the spread of one permutation is unknown
    check_number("splits", splits, 1)
    check_number("seed", seed, 0)
    check_level("level", level)
    rng = np.random.default_rng(seed)
    sides = Sides(real, generated, real_design, generated_design)
    observed = _Terms.between(*sides.grams)
    null = _Null(sides, permutations, splits, rng)
    floor = float(null.values.mean())
    p_value = (1 + int((null.values >= observed.value).sum())) / (1 + permutations)

    if min(sides.effective) >= _FEWEST_FOR_HALVES:
        correction = _correct_by_halves(sides, observed, null, splits, rng)
    else:
        correction = _correct_by_floor(null)
    corrected = observed.value - sides.mean_bias() - correction.covariance_bias
    error = math.sqrt(max(correction.variance, null.variance))
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, correction.freedom)) * error
    lower = max(corrected - reach, 0.0) if p_value <= 1.0 - level else 0.0
    return FrechetInference(
        plug_in=FrechetDistance(observed.value, observed.mean, observed.covariance),
        floor=floor,
        p_value=p_value,
        at_half=correction.at_half,
        corrected=corrected,
        interval=(lower, max(corrected + reach, lower)),
        shares=frechet_shares(
            real, generated, real_design=real_design, generated_design=generated_design
        ),
        estimator=correction.estimator,
        level=level,
        permutations=permutations,
        seed=seed,
    )


class _Null:
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
        self.terms = [_Terms.between(first, self.total - first) for first in firsts]
        self.scale = self._scale(splits, rng)
        self.values = np.asarray(
            [
                self.scale.mean * terms.mean + self.scale.covariance * terms.covariance
                for terms in self.terms
            ]
        )
        self.variance = float(self.values.var(ddof=1))

    def _scale(self, splits: int, rng: np.random.Generator) -> "_Terms":
        if not self.sides.designed or min(self.sides.counts) < _FEWEST_FOR_SCALE:
            return _Terms(1.0, 1.0)
        seen = [
            _within(self.sides.grams, pair)
            for pair in self.sides.pairs(self.sides.halves(splits, rng))
        ]
        exchanged = [_within(sides, halves) for sides, halves in self._halved(splits)]
        ratios = []
        for term in ("mean", "covariance"):
            halves, mixed = (np.mean([getattr(t, term) for t in x]) for x in (seen, exchanged))
            ratios.append(float(halves / mixed) if mixed > 0.0 else 1.0)
        return _Terms(*ratios)

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
        quarters = [_quarters(sides, *halves) for sides, halves in self._halved(splits)]
        whole = np.mean([terms.covariance for terms in self.terms[:splits]])
        halved = np.mean([[terms.covariance for terms in four] for four in quarters])
        return float(whole), float(halved - whole)


@dataclasses.dataclass(frozen=True)
class _Correction:
    """What leads from the plug-in to the corrected value and its error."""

    estimator: str
    at_half: float | None
    covariance_bias: float  # of the plug-in's covariance term
    variance: float  # of the corrected value
    freedom: float  # degrees of freedom of that variance


def _correct_by_floor(null: _Null) -> _Correction:
    """Few images: the bias is taken to be what it would be without a difference."""
    return _Correction(
        estimator="floor-subtracted",
        at_half=None,
        covariance_bias=null.scale.covariance
        * float(np.mean([terms.covariance for terms in null.terms])),
        variance=null.variance,
        freedom=math.inf,
    )


def _correct_by_halves(
    sides: Sides,
    observed: "_Terms",
    null: _Null,
    splits: int,
    rng: np.random.Generator,
) -> _Correction:
    """The bias extrapolated from half the images, where it is larger, to all of them."""
    quarters = [_quarters(sides.grams, *pair) for pair in sides.pairs(sides.halves(splits, rng))]
    covariance_at_half = float(np.mean([[terms.covariance for terms in four] for four in quarters]))
    # The bias falls with the number of images as the floor does; how large it is, the halves of
    # these very sides tell.
    whole, growth = null.growth_on_halves(splits)
    decay = whole / growth if growth > 0.0 else math.inf
    # With a and b the halves of either side, d(a, a) − d(b, b) and d(a, b) − d(b, a) each have four
    # times the variance of the distance's first-order error, and more of the second-order one, of
    # which the correction adds to the plug-in's own. Two contrasts a split: 8 is 2 × 4.
    contrasts = [
        (aa.value - bb.value) ** 2 + (ab.value - ba.value) ** 2 for aa, bb, ab, ba in quarters
    ]
    return _Correction(
        estimator="calibrated-halving",
        at_half=float(np.mean([[terms.value for terms in four] for four in quarters])),
        covariance_bias=(covariance_at_half - observed.covariance)
        * min(max(decay, _DECAY_WITHIN[0]), _DECAY_WITHIN[1]),
        variance=float(np.mean(contrasts)) / 8.0,
        freedom=2.0 * splits,
    )


@dataclasses.dataclass(frozen=True)
class _Terms:
    mean: float
    covariance: float

    @property
    def value(self) -> float:
        return self.mean + self.covariance

    @classmethod
    def between(cls, first: Gram, second: Gram) -> "_Terms":
        sigma_t, sigma_g = first.covariance, second.covariance
        difference = first.mean - second.mean
        trace = float(np.trace(sigma_t) + np.trace(sigma_g))
        return cls(
            float(difference @ difference), max(trace - 2.0 * fidelity(sigma_t, sigma_g), 0.0)
        )


def _within(sides: tuple[Gram, Gram], halves: tuple[Gram, Gram]) -> _Terms:
    """Distances between either side's half and its rest, of both sides together."""
    first, second = (
        _Terms.between(half, side - half) for side, half in zip(sides, halves, strict=True)
    )
    return _Terms(first.mean + second.mean, first.covariance + second.covariance)


def _quarters(
    sides: tuple[Gram, Gram], real_half: Gram, generated_half: Gram
) -> tuple[_Terms, _Terms, _Terms, _Terms]:
    """Distances between halves of the sides: first–first, second–second, and crossed."""
    real_rest, generated_rest = sides[0] - real_half, sides[1] - generated_half
    return (
        _Terms.between(real_half, generated_half),
        _Terms.between(real_rest, generated_rest),
        _Terms.between(real_half, generated_rest),
        _Terms.between(real_rest, generated_half),
    )
