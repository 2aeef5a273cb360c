"""A verdict for every class: omitted, under, over, matched or undecided.

Arrays in, one `ClassComparison` a column out. NumPy and SciPy alone. Definitions are in
docs/statistics.md; the intervals are those of `ratios`.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.core.errors import SampleError
from unseen.statistics import ratios
from unseen.statistics.frechet import check_samples
from unseen.statistics.multiplicity import holm

Verdict = Literal["omitted", "under", "over", "matched", "undecided", "untested"]
Change = Literal["regressed", "improved", "undecided", "untested"]

PRESENCE_THRESHOLD = 0.005  # share of the image; specks of fewer pixels are mislabelled ones
_FEWEST_IMAGES = 10  # present in fewer of the pooled images, a class is not tested
_NEARLY_ALWAYS = 0.95  # presence beyond which area, not presence, can still change
_OMITTED_BELOW = 0.1  # ratio; a segmenter's false positives forbid asking for zero
_MATCHED_WITHIN = (0.8, 1.25)  # ratio
_POWER = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """One class, generated against real.

    Attributes:
        tested: present in at least 10 images of the pooled sample.
        verdict: the first that holds of omitted (upper end of the interval < 0.1), under (upper
            < 1), over (lower > 1), matched (interval inside [0.8, 1.25]), undecided; or untested.
        statistic: what `ratio` compares: presence, or mean area where both presences exceed 95 %.
        real_presence: share of images in which the class covers at least the threshold.
        generated_presence: the same.
        real_area: mean share of the image, over all images.
        generated_area: the same.
        real_area_given_presence: mean share of the image over images with the class; None where
            there are none.
        generated_area_given_presence: the same.
        area_ratio: generated over real mean area; None where the real side has none.
        ratio: generated over real of `statistic`; infinite where only the generated side has it,
            None where neither has.
        interval: of `ratio`, simultaneous over all tested classes; None where untested. The upper
            end is infinite where the real side has none.
        p_value: two-sided, of ratio 1; None where untested.
        p_holm: adjusted over all tested classes (Holm).
        p_bh: adjusted over all tested classes (Benjamini and Hochberg).
        smallest_detectable_drop: the relative fall of `statistic` that samples like this would
            have called under (or omitted) with 80 % power; None where untested or where not even
            a total absence would be called so often.
    """

    tested: bool
    verdict: Verdict
    statistic: Literal["presence", "area"]
    real_presence: float
    generated_presence: float
    real_area: float
    generated_area: float
    real_area_given_presence: float | None
    generated_area_given_presence: float | None
    area_ratio: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    p_holm: float | None
    p_bh: float | None
    smallest_detectable_drop: float | None


def compare_classes(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    presence_threshold: float = PRESENCE_THRESHOLD,
    level: float = 0.95,
) -> list[ClassComparison]:
    """Compare every class of two samples, with intervals that hold for all classes at once.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        generated: the same classes in the same order and unit.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals; each test is made at (1 − level) / tests.

    Returns:
        One comparison a column, in column order.

    Raises:
        SampleError: fewer than two images on either side, other columns, or a value not finite.
    """
    check_samples(real, generated)
    _check_fractions(real, generated)
    n, m = len(real), len(generated)
    real_count = (real >= presence_threshold).sum(axis=0)
    generated_count = (generated >= presence_threshold).sum(axis=0)
    real_presence, generated_presence = real_count / n, generated_count / m
    real_area, generated_area = real.mean(axis=0), generated.mean(axis=0)
    tested = real_count + generated_count >= _FEWEST_IMAGES
    by_area = (real_presence > _NEARLY_ALWAYS) & (generated_presence > _NEARLY_ALWAYS)
    alpha = (1.0 - level) / max(int(tested.sum()), 1)  # Bonferroni

    with np.errstate(divide="ignore", invalid="ignore"):
        area_ratio = generated_area / real_area
        ratio = np.where(by_area, area_ratio, generated_presence / real_presence)
    p_value, lower, upper = ratios.compare_counts(real_count, generated_count, n, m, alpha=alpha)
    drop = np.full(len(ratio), np.nan)
    drop[tested] = ratios.detectable_drop(real_presence[tested], n, m, alpha=alpha, power=_POWER)
    for k in np.flatnonzero(by_area):
        area = _AreaRatio.of(real[:, k], generated[:, k])
        p_value[k] = area.p_value
        lower[k], upper[k] = area.interval(alpha)
        drop[k] = area.detectable_drop(alpha)

    p_holm, p_bh = np.full(len(ratio), np.nan), np.full(len(ratio), np.nan)
    p_holm[tested] = holm(p_value[tested])
    p_bh[tested] = scipy.stats.false_discovery_control(p_value[tested])

    def number(value: float, *, known: bool = True) -> float | None:
        return float(value) if known and not math.isnan(value) else None

    return [
        ClassComparison(
            tested=bool(tested[k]),
            verdict=_verdict(lower[k], upper[k]) if tested[k] else "untested",
            statistic="area" if by_area[k] else "presence",
            real_presence=float(real_presence[k]),
            generated_presence=float(generated_presence[k]),
            real_area=float(real_area[k]),
            generated_area=float(generated_area[k]),
            real_area_given_presence=_area_given_presence(real[:, k], presence_threshold),
            generated_area_given_presence=_area_given_presence(generated[:, k], presence_threshold),
            area_ratio=number(area_ratio[k], known=bool(real_area[k] > 0)),
            ratio=number(ratio[k]),
            interval=(float(lower[k]), float(upper[k])) if tested[k] else None,
            p_value=number(p_value[k], known=bool(tested[k])),
            p_holm=number(p_holm[k]),
            p_bh=number(p_bh[k]),
            smallest_detectable_drop=number(drop[k]),
        )
        for k in range(len(ratio))
    ]


def _verdict(lower: float, upper: float) -> Verdict:
    """The first that holds, in the order of docs/statistics.md."""
    if upper < _OMITTED_BELOW:
        return "omitted"
    if upper < 1.0:
        return "under"
    if lower > 1.0:
        return "over"
    if lower >= _MATCHED_WITHIN[0] and upper <= _MATCHED_WITHIN[1]:
        return "matched"
    return "undecided"


def _area_given_presence(area: Float64[np.ndarray, " n"], threshold: float) -> float | None:
    present = area[area >= threshold]
    return float(present.mean()) if len(present) else None


def smallest_detectable_drop(
    presence: float, n: int, m: int, *, tests: int = 1, level: float = 0.95, power: float = 0.8
) -> float | None:
    """The relative fall of presence that n real and m generated images can show: for planning.

    Args:
        presence: share of real images that hold the class.
        n: real images.
        m: generated images.
        tests: classes tested at once; the level is divided among them.
        level: of the simultaneous intervals.
        power: share of samples in which the drop is to be called under or omitted.

    Returns:
        Between 0 and 1; None where not even a total absence would be called so often.
    """
    alpha = (1.0 - level) / max(tests, 1)
    drop = ratios.detectable_drop(np.asarray([presence]), n, m, alpha=alpha, power=power)[0]
    return None if math.isnan(drop) else float(drop)


@dataclasses.dataclass(frozen=True)
class _AreaRatio:
    """Log ratio of two mean areas, its delta-method error, Welch's degrees of freedom."""

    log_ratio: float
    error: float
    freedom: float

    @classmethod
    def of(
        cls, real: Float64[np.ndarray, " n"], generated: Float64[np.ndarray, " m"]
    ) -> "_AreaRatio":
        means = real.mean(), generated.mean()
        parts = [
            float(side.var(ddof=1)) / (len(side) * mean**2)
            for side, mean in zip((real, generated), means, strict=True)
        ]
        variance = sum(parts)
        weights = parts[0] ** 2 / (len(real) - 1) + parts[1] ** 2 / (len(generated) - 1)
        freedom = variance**2 / weights if weights > 0 else math.inf
        return cls(math.log(means[1] / means[0]), math.sqrt(variance), freedom)

    def _critical(self, alpha: float) -> float:
        return float(scipy.stats.t.isf(alpha / 2.0, self.freedom))

    @property
    def p_value(self) -> float:
        if self.error == 0.0:
            return 1.0 if self.log_ratio == 0.0 else 0.0
        return float(2.0 * scipy.stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))

    def interval(self, alpha: float) -> tuple[float, float]:
        reach = self._critical(alpha) * self.error
        return math.exp(self.log_ratio - reach), math.exp(self.log_ratio + reach)

    def detectable_drop(self, alpha: float) -> float:
        reach = (self._critical(alpha) + scipy.stats.norm.ppf(_POWER)) * self.error
        return 1.0 - math.exp(-reach)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorChange:
    """One class, a new generator against the previous one, both measured on shared real images.

    Attributes:
        tested: present in at least 10 images of the three samples pooled.
        verdict: regressed or improved where the class moved significantly away from or towards
            the real side; undecided otherwise; or untested.
        statistic: presence, or mean area where all three presences exceed 95 %.
        real: presence (or mean area, share of the image) of the real side.
        previous: the same of the previous generator.
        new: the same of the new generator.
        change: new − previous.
        interval: of `change`, simultaneous over all tested classes; None where untested.
        distance_change: |new − real| − |previous − real|; above zero is worse.
    """

    tested: bool
    verdict: Change
    statistic: Literal["presence", "area"]
    real: float
    previous: float
    new: float
    change: float
    interval: tuple[float, float] | None
    distance_change: float


def compare_generators(
    real: Float64[np.ndarray, "n k"],
    previous: Float64[np.ndarray, "m k"],
    new: Float64[np.ndarray, "q k"],
    *,
    presence_threshold: float = PRESENCE_THRESHOLD,
    level: float = 0.95,
) -> list[GeneratorChange]:
    """Compare two generators class by class, to find what the new one has made worse.

    A class has *regressed* downwards where new < previous and (new + previous) / 2 < real, both
    significantly: together they are the same as |new − real| > |previous − real|. Regression
    upwards and improvement are the mirror images. Each of the two one-sided tests keeps the
    simultaneous level, so their conjunction does.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        previous: of the previous generator, the same classes in the same order and unit.
        new: of the new generator.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals.

    Returns:
        One comparison a column, in column order.

    Raises:
        SampleError: fewer than two images on a side, other columns, or a value not finite.
    """
    sides = (real, previous, new)
    check_samples(real, previous)
    check_samples(real, new)
    _check_fractions(*sides)
    counts = [(side >= presence_threshold).sum(axis=0) for side in sides]
    presence = np.stack([count / len(side) for count, side in zip(counts, sides, strict=True)])
    tested = np.asarray(np.stack(counts).sum(axis=0) >= _FEWEST_IMAGES)
    by_area = np.asarray((presence > _NEARLY_ALWAYS).all(axis=0))
    value = np.where(by_area, np.stack([side.mean(axis=0) for side in sides]), presence)
    # Variances of a mean: of areas as they are; of presences with the pooled proportion, so that
    # a side on which a class never occurs is not taken for certain.
    pooled = np.sum(counts, axis=0) / sum(len(side) for side in sides)
    variance = np.stack(
        [
            np.where(by_area, side.var(axis=0, ddof=1), pooled * (1.0 - pooled)) / len(side)
            for side in sides
        ]
    )
    z = float(scipy.stats.norm.isf((1.0 - level) / (2 * max(int(np.sum(tested)), 1))))
    change = value[2] - value[1]
    reach = z * np.sqrt(variance[1] + variance[2])
    middle = value[2] + value[1] - 2.0 * value[0]  # twice the distance of the mid-point to real
    margin = z * np.sqrt(variance[1] + variance[2] + 4.0 * variance[0])
    down, up = change < -reach, change > reach
    below, above = middle < -margin, middle > margin
    worse = np.asarray((down & below) | (up & above))
    better = np.asarray((up & below) | (down & above))
    distance = np.abs(value[2] - value[0]) - np.abs(value[1] - value[0])

    def verdict(k: int) -> Change:
        if not tested[k]:
            return "untested"
        return "regressed" if worse[k] else "improved" if better[k] else "undecided"

    return [
        GeneratorChange(
            tested=bool(tested[k]),
            verdict=verdict(k),
            statistic="area" if by_area[k] else "presence",
            real=float(value[0, k]),
            previous=float(value[1, k]),
            new=float(value[2, k]),
            change=float(change[k]),
            interval=(
                (float(change[k] - reach[k]), float(change[k] + reach[k])) if tested[k] else None
            ),
            distance_change=float(distance[k]),
        )
        for k in range(real.shape[1])
    ]


def _check_fractions(*sides: Float64[np.ndarray, "_ k"]) -> None:
    for side in sides:
        if side.size and (side.min() < 0.0 or side.max() > 1.0 + 1e-9):
            raise SampleError(
                f"areas range from {side.min():.3g} to {side.max():.3g}; classes are compared on "
                "shares of the image, 0 to 1: give fractions, not percent or pixels"
            )
