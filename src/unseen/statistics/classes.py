"""A verdict for every class: omitted, under, over, matched or undecided.

Arrays in, one `ClassComparison` a column out. NumPy and SciPy alone. Definitions are in
docs/statistics.md; the intervals are those of `ratios`.
"""

import dataclasses
import math
from typing import Any, Literal

import numpy as np
import scipy.stats
from jaxtyping import Float64

from unseen.core.verdicts import ClassVerdict
from unseen.statistics import ratios
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import (
    Grouping,
    MeanArea,
    PresenceMoments,
    effective_counts,
    mean_area,
)
from unseen.statistics.multiplicity import holm
from unseen.statistics.samples import check_areas, check_level, check_number, check_samples

PRESENCE_THRESHOLD = 0.005  # share of the image; specks of fewer pixels are mislabelled ones
# Present in fewer of the pooled images, a class is not tested. Ten against none have a mid-p of
# 2⁻¹⁰: with fewer, no outcome is significant after Bonferroni over 50 classes.
FEWEST_IMAGES = 10
NEARLY_ALWAYS = 0.95  # presence beyond which area, not presence, can still change
OMITTED_BELOW = 0.1  # ratio; a segmenter's false positives forbid asking for zero
_MATCHED_WITHIN = (0.8, 1.25)  # ratio; the limits of bioequivalence, a fifth less or as much more
_ROUNDING = 1e-9  # of effective counts
_BLOCK = 2**22  # areas of one side worked on at once: some 32 MB a copy
_POWER = 0.8  # by convention: four of five such samples would show the drop


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """One class, generated against real.

    Attributes:
        tested: present in at least 10 images of the pooled sample, or in as many as are worth 10
            independent ones.
        verdict: the first that holds of omitted (upper end of the interval < 0.1), under (upper
            < 1), over (lower > 1), matched (interval inside [0.8, 1.25]), undecided; or untested.
        statistic: what `ratio` compares: presence, or mean area where both presences exceed 95 %.
        real_presence: share of images in which the class covers at least the threshold; weighted,
            as all means are.
        generated_presence: the same.
        real_effective: independent images that would know the presence as well; all of them where
            there are no groups and weights.
        generated_effective: the same.
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
        p_omitted: one-sided, of a ratio of at least 0.1; None where untested.
        p_holm: adjusted over all tested classes (Holm).
        p_bh: adjusted over all tested classes (Benjamini and Hochberg).
        smallest_detectable_drop: the relative fall of `statistic` that samples like this would
            have called under (or omitted) with 80 % power; None where untested or where not even
            a total absence would be called so often.
    """

    tested: bool
    verdict: ClassVerdict
    statistic: Literal["presence", "area"]
    real_presence: float
    generated_presence: float
    real_effective: float
    generated_effective: float
    real_area: float
    generated_area: float
    real_area_given_presence: float | None
    generated_area_given_presence: float | None
    area_ratio: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    p_omitted: float | None
    p_holm: float | None
    p_bh: float | None
    smallest_detectable_drop: float | None


def compare_classes(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    presence_threshold: float = PRESENCE_THRESHOLD,
    level: float = 0.95,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
) -> list[ClassComparison]:
    """Compare every class of two samples, with intervals that hold for all classes at once.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        generated: the same classes in the same order and unit.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals; each test is made at (1 − level) / tests.
        real_design: groups and weights of the real images.
        generated_design: groups and weights of the generated images.

    Returns:
        One comparison a column, in column order.

    Raises:
        SampleError: fewer than two images on either side, other columns, a value that is no share
            of the image, a threshold or level out of range, a design that does not fit, or a side
            that is a single group.
    """
    real, generated = check_sides(presence_threshold, level, real, generated)
    sides = (
        _Side.of(real, real_design, presence_threshold),
        _Side.of(generated, generated_design, presence_threshold),
    )
    tests = _Tests(*sides, level)
    area = [side.area.mean for side in sides]
    given = [side.area_given_presence.mean for side in sides]
    with np.errstate(divide="ignore", invalid="ignore"):
        area_ratio = area[1] / area[0]
        ratio = np.where(tests.by_area, area_ratio, tests.counts[1].share / tests.counts[0].share)
    return [
        ClassComparison(
            tested=tested,
            verdict=_verdict(tests.lower[k], tests.upper[k]) if tested else "untested",
            statistic="area" if tests.by_area[k] else "presence",
            real_presence=float(tests.counts[0].share[k]),
            generated_presence=float(tests.counts[1].share[k]),
            real_effective=float(tests.counts[0].images[k]),
            generated_effective=float(tests.counts[1].images[k]),
            real_area=float(area[0][k]),
            generated_area=float(area[1][k]),
            real_area_given_presence=_known(given[0][k]),
            generated_area_given_presence=_known(given[1][k]),
            area_ratio=_known(area_ratio[k]) if area[0][k] > 0 else None,
            ratio=_known(ratio[k]),
            interval=(float(tests.lower[k]), float(tests.upper[k])) if tested else None,
            p_value=_known(tests.p_value[k]) if tested else None,
            p_omitted=_known(tests.p_omitted[k]) if tested else None,
            p_holm=_known(tests.p_holm[k]),
            p_bh=_known(tests.p_bh[k]),
            smallest_detectable_drop=_known(tests.drop[k]),
        )
        for k, tested in enumerate(map(bool, tests.tested))
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """What the tests need of one side; arrays have an entry a class."""

    presence: PresenceMoments
    area: MeanArea
    area_given_presence: MeanArea

    @classmethod
    def of(cls, areas: Float64[np.ndarray, "n k"], design: Design, threshold: float) -> "_Side":
        """Summed up in blocks of columns, so that memory does not grow with classes."""
        grouping = Grouping(design, len(areas))
        presence, area, given = [], [], []
        columns = max(_BLOCK // len(areas), 1)
        for start in range(0, areas.shape[1], columns):
            block = areas[:, start : start + columns]
            present = block >= threshold
            presence.append(PresenceMoments.of(present, grouping))
            area.append(mean_area(block, grouping))
            given.append(mean_area(block, grouping, present))
        return cls(PresenceMoments.joined(presence), MeanArea.joined(area), MeanArea.joined(given))


class _Tests:
    """What the tests of all classes say: arrays with an entry a class, NaN where not tested."""

    def __init__(self, real: _Side, generated: _Side, level: float) -> None:
        self.counts = effective_counts([real.presence, generated.presence])
        a, b = (side.count for side in self.counts)
        n, m = (side.images for side in self.counts)
        shares = np.stack([side.share for side in self.counts])
        self.by_area = np.asarray((shares > NEARLY_ALWAYS).all(axis=0))
        self.tested = tested = np.asarray(a + b >= FEWEST_IMAGES - _ROUNDING)
        alpha = (1.0 - level) / max(int(tested.sum()), 1)  # Bonferroni
        self.p_value, self.p_omitted, self.lower, self.upper = np.full((4, len(tested)), np.nan)
        for block, test in ratios.conditional_tests(a, b, n, m):
            self.p_value[block] = test.p_value()
            self.p_omitted[block] = test.lower_tail(OMITTED_BELOW)
            self.lower[block], self.upper[block] = test.interval(alpha)
        self.drop, self.p_holm, self.p_bh = np.full((3, len(tested)), np.nan)
        self.drop[tested] = ratios.CountPower(
            shares[0, tested], n[tested], m[tested], alpha=alpha, fewest=FEWEST_IMAGES
        ).smallest_drop(_POWER)
        for k in np.flatnonzero(self.by_area).tolist():
            area = _AreaRatio.of(real.area, generated.area, k)
            self.p_value[k] = area.p_value
            self.p_omitted[k] = area.lower_tail(OMITTED_BELOW)
            self.lower[k], self.upper[k] = area.interval(alpha)
            self.drop[k] = area.detectable_drop(alpha)
        self.p_holm[tested] = holm(self.p_value[tested])
        self.p_bh[tested] = scipy.stats.false_discovery_control(self.p_value[tested])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _verdict(lower: float, upper: float) -> ClassVerdict:
    """The first that holds, in the order of docs/statistics.md."""
    if upper < OMITTED_BELOW:
        return "omitted"
    if upper < 1.0:
        return "under"
    if lower > 1.0:
        return "over"
    if lower >= _MATCHED_WITHIN[0] and upper <= _MATCHED_WITHIN[1]:
        return "matched"
    return "undecided"


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

    Raises:
        SampleError: a number out of range.

    >>> round(smallest_detectable_drop(0.1, 2000, 2000), 2)
    0.25
    """
    check_number("presence", presence, 0.0, 1.0)
    for name, number in (("n", n), ("m", m), ("tests", tests)):
        check_number(name, number, 1)
    check_level("level", level)
    check_level("power", power)
    alpha = (1.0 - level) / tests
    counts = ratios.CountPower(np.asarray([presence]), n, m, alpha=alpha, fewest=FEWEST_IMAGES)
    return _known(counts.smallest_drop(power)[0])


@dataclasses.dataclass(frozen=True)
class _AreaRatio:
    """Log ratio of two mean areas, its delta-method error, Welch's degrees of freedom."""

    log_ratio: float
    error: float
    freedom: float

    @classmethod
    def of(cls, real: MeanArea, generated: MeanArea, k: int) -> "_AreaRatio":
        sides = (real, generated)
        parts = [float(side.variance[k] / side.mean[k] ** 2) for side in sides]
        variance = sum(parts)
        weights = sum(
            part**2 / float(side.freedom[k]) for part, side in zip(parts, sides, strict=True)
        )
        freedom = variance**2 / weights if weights > 0 else math.inf
        return cls(math.log(generated.mean[k] / real.mean[k]), math.sqrt(variance), freedom)

    def _critical(self, alpha: float) -> float:
        return float(scipy.stats.t.isf(alpha / 2.0, self.freedom))

    @property
    def p_value(self) -> float:
        if self.error == 0.0:
            return 1.0 if self.log_ratio == 0.0 else 0.0
        return float(2.0 * scipy.stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))

    def lower_tail(self, ratio: float) -> float:
        """One-sided p-value of "at least this ratio"."""
        apart = self.log_ratio - math.log(ratio)
        if self.error == 0.0:
            return float(apart >= 0.0)
        return float(scipy.stats.t.cdf(apart / self.error, self.freedom))

    def interval(self, alpha: float) -> tuple[float, float]:
        reach = self._critical(alpha) * self.error
        return math.exp(self.log_ratio - reach), math.exp(self.log_ratio + reach)

    def detectable_drop(self, alpha: float) -> float:
        reach = (self._critical(alpha) + scipy.stats.norm.ppf(_POWER)) * self.error
        return 1.0 - math.exp(-reach)


def check_sides(
    presence_threshold: float, level: float, real: Any, *generated: Any
) -> list[Float64[np.ndarray, "_ k"]]:
    """All sides as float64, real first; SampleError where they or the numbers cannot be used."""
    check_number("presence_threshold", presence_threshold, 0.0, 1.0)
    check_level("level", level)
    pairs = [check_samples(real, side) for side in generated]
    sides = [pairs[0][0], *(pair[1] for pair in pairs)]
    check_areas(1, *sides)
    return sides
