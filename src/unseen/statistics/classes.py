"""A verdict for every class: omitted, under, over, matched or undecided.

Arrays in, one `ClassComparison` a column out. NumPy and SciPy alone. Definitions are in
docs/statistics.md; the intervals are those of `ratios`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, UInt32

from unseen.core.errors import SampleError
from unseen.core.verdicts import ClassVerdict, SizeVerdict
from unseen.statistics import ratios
from unseen.statistics.area_ratios import LogRatio
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import (
    Grouping,
    MeanArea,
    PresenceMoments,
    effective_counts,
    mean_area,
)
from unseen.statistics.multiplicity import benjamini_hochberg, holm
from unseen.statistics.samples import (
    check_areas,
    check_level,
    check_number,
    check_samples,
    column_blocks,
)

PRESENCE_THRESHOLD = 0.005  # share of the image; specks of fewer pixels are mislabelled ones
# Present in fewer of the pooled images, a class is not tested. Ten against none have a mid-p of
# 2⁻¹⁰: with fewer, no outcome is significant after Bonferroni over 50 classes.
FEWEST_IMAGES = 10
NEARLY_ALWAYS = 0.95  # presence beyond which area, not presence, can still change
OMITTED_BELOW = 0.1  # ratio; a segmenter's false positives forbid asking for zero
MATCHED_WITHIN = (0.8, 1.25)  # ratio; the limits of bioequivalence, a fifth less or as much more
_FACTORS = (1.0, 0.5, 2.0)  # of the presence threshold, with which a verdict is told again
_FEWEST_SIZES = 5  # images with the class on a side; below, t intervals of log areas fall short
OF_TYPICAL = 0.1  # a class counts as present from a tenth of its typical area on
_LEAST_THRESHOLD = 1e-4  # six pixels of a label map of 256 × 256: below, specks count
_ROUNDING = 1e-9  # of effective counts
_POWER = 0.8  # by convention: four of five such samples would show the drop


_Classes = Float64[np.ndarray, " k"]
Table = Float64[np.ndarray, "_ k"] | UInt32[np.ndarray, "_ k"]  # shares of the image, or pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """One class, generated against real.

    Attributes:
        tested: present in at least 10 images of the pooled sample, or in as many as are worth 10
            independent ones.
        verdict: the first that holds of omitted (upper end of the interval < 0.1), under (upper
            < 1), over (lower > 1), matched (interval inside [0.8, 1.25], and that of `size_ratio`
            likewise), undecided; or untested.
        verdict_at_half: the verdict with half the presence threshold.
        verdict_at_twice: the verdict with twice the presence threshold.
        statistic: what `ratio` compares: presence, or mean area where both presences exceed 95 %.
        presence_threshold: share of the image from which on the class counts as present.
        real_presence: share of images in which the class covers at least the threshold; weighted,
            as all means are.
        generated_presence: the same.
        real_presence_interval: exact, for this class and side by itself.
        generated_presence_interval: the same.
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
        size: smaller, larger or alike (inside [0.8, 1.25]) where the class is present, or
            undecided; None where untested, and where `statistic` is area already.
        size_ratio: generated over real geometric mean area, over the images with the class; None
            where fewer than 5 on a side hold it.
        size_interval: of `size_ratio`, simultaneous over the classes that have one.
        real_spread: standard deviation of the area over all images, σ_t.
        generated_spread: the same, σ_g.
        spread_ratio: σ_g / σ_t; None where fewer than 10 images of a side hold the class.
        spread_interval: of `spread_ratio`, for this class by itself.
    """

    tested: bool
    verdict: ClassVerdict
    verdict_at_half: ClassVerdict
    verdict_at_twice: ClassVerdict
    statistic: Literal["presence", "area"]
    presence_threshold: float
    real_presence: float
    generated_presence: float
    real_presence_interval: tuple[float, float]
    generated_presence_interval: tuple[float, float]
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
    size: SizeVerdict | None
    size_ratio: float | None
    size_interval: tuple[float, float] | None
    real_spread: float
    generated_spread: float
    spread_ratio: float | None
    spread_interval: tuple[float, float] | None

    @property
    def depends_on_threshold(self) -> bool:
        """Whether half or twice the presence threshold gives another verdict."""
        return depends_on_threshold(self.verdict, self.verdict_at_half, self.verdict_at_twice)


def verdict_of(interval: tuple[float, float], *, alike: bool = True) -> ClassVerdict:
    """The first verdict that holds of the interval of a ratio, in the order of docs/statistics.md.

    Args:
        interval: lower and upper end, generated over real.
        alike: whether the class is drawn in its size, without which nothing is matched.

    >>> verdict_of((0.4, 0.9)), verdict_of((0.9, 1.1)), verdict_of((0.9, 1.1), alike=False)
    ('under', 'matched', 'undecided')
    """
    lower, upper = interval
    if upper < OMITTED_BELOW:
        return "omitted"
    if upper < 1.0:
        return "under"
    if lower > 1.0:
        return "over"
    inside = lower >= MATCHED_WITHIN[0] and upper <= MATCHED_WITHIN[1]
    return "matched" if inside and alike else "undecided"


def depends_on_threshold(*verdicts: ClassVerdict) -> bool:
    """Whether the verdicts at several thresholds say different things of a class."""
    silent = {"undecided", "untested"}
    return len({"none" if verdict in silent else verdict for verdict in verdicts}) > 1


def compare_classes(
    real: Table,
    generated: Table,
    *,
    presence_threshold: float | Float64[np.ndarray, " k"] = PRESENCE_THRESHOLD,
    level: float = 0.95,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    whole: int = 1,
    family: Sequence[int] | None = None,
) -> list[ClassComparison]:
    """Compare every class of two samples, with intervals that hold for all classes at once.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        generated: the same classes in the same order and unit.
        presence_threshold: a class is present where it covers at least this share of the image;
            one for all classes, or one each, as `own_thresholds` gives them.
        level: of the simultaneous intervals; each test is made at (1 − level) / tests.
        real_design: groups and weights of the real images.
        generated_design: groups and weights of the generated images.
        whole: the image in the unit of the areas, where they are pixels and not shares. Pixels are
            never copied as a whole, only some columns at a time.
        family: the columns that are asked about; the level is divided among these alone. None: all.
            How alike images of a group are is learned from all classes in any case.

    Returns:
        One comparison a column, in column order; of a family in its order.

    Raises:
        SampleError: fewer than two images on either side, other columns, a value that is no share
            of the image, a threshold or level out of range, a design that does not fit, or a side
            that is a single group.
    """
    real, generated = check_sides(presence_threshold, level, real, generated, whole=whole)
    thresholds = np.broadcast_to(np.asarray(presence_threshold, np.float64), real.shape[1:])
    sides = (
        _Side.of(real, real_design, thresholds, whole),
        _Side.of(generated, generated_design, thresholds, whole),
    )
    asked = np.ones(real.shape[1], bool) if family is None else np.zeros(real.shape[1], bool)
    asked[list(family or ())] = True
    sizes = _Sizes(*sides, level, asked)
    tests = _Tests(*sides, 1.0, level, sizes, asked)
    others = [
        _Tests(*sides, factor, level, sizes, asked, alpha=tests.alpha) for factor in _FACTORS[1:]
    ]
    spreads = _Spreads(*sides, tests, level)
    area = [side.area.mean for side in sides]
    given = [side.area_given_presence.mean for side in sides]
    bounds = [count.interval(1.0 - level) for count in tests.counts]
    with np.errstate(divide="ignore", invalid="ignore"):
        area_ratio = area[1] / area[0]
        ratio = np.where(tests.by_area, area_ratio, tests.counts[1].share / tests.counts[0].share)

    def ends(interval: tuple[_Classes, _Classes], k: int) -> tuple[float, float]:
        return float(interval[0][k]), float(interval[1][k])

    return [
        ClassComparison(
            tested=bool(tests.tested[k]),
            verdict=tests.verdict(k),
            verdict_at_half=others[0].verdict(k),
            verdict_at_twice=others[1].verdict(k),
            statistic="area" if tests.by_area[k] else "presence",
            presence_threshold=float(thresholds[k]),
            real_presence=float(tests.counts[0].share[k]),
            generated_presence=float(tests.counts[1].share[k]),
            real_presence_interval=ends(bounds[0], k),
            generated_presence_interval=ends(bounds[1], k),
            real_effective=float(tests.counts[0].images[k]),
            generated_effective=float(tests.counts[1].images[k]),
            real_area=float(area[0][k]),
            generated_area=float(area[1][k]),
            real_area_given_presence=_known(given[0][k]),
            generated_area_given_presence=_known(given[1][k]),
            area_ratio=_known(area_ratio[k]) if area[0][k] > 0 else None,
            ratio=_known(ratio[k]),
            interval=ends(tests.interval, k) if tests.tested[k] else None,
            p_value=_known(tests.p_value[k]) if tests.tested[k] else None,
            p_omitted=_known(tests.p_omitted[k]) if tests.tested[k] else None,
            p_holm=_known(tests.p_holm[k]),
            p_bh=_known(tests.p_bh[k]),
            smallest_detectable_drop=_known(tests.drop[k]),
            size=sizes.verdict(k) if tests.tested[k] and not tests.by_area[k] else None,
            size_ratio=float(np.exp(sizes.ratio.value[k])) if sizes.tested[k] else None,
            size_interval=ends(sizes.interval, k) if sizes.tested[k] else None,
            real_spread=float(spreads.sides[0][k]),
            generated_spread=float(spreads.sides[1][k]),
            spread_ratio=float(np.exp(spreads.ratio.value[k])) if spreads.known[k] else None,
            spread_interval=ends(spreads.interval, k) if spreads.known[k] else None,
        )
        for k in (range(len(asked)) if family is None else family)
    ]


def own_thresholds(real: Table, *, whole: int = 1, part: float = OF_TYPICAL) -> _Classes:
    """A presence threshold for each class, from real areas alone.

    A tenth of the area that a pixel of the class typically belongs to: the median of the areas in
    real images, each weighted by itself, so that specks do not count. At least one pixel in ten
    thousand, and at most the 0.5 % that serves all classes otherwise.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        whole: the image in the unit of the areas, where they are pixels.
        part: of the typical area; a tenth, or more where stray pixels are common.

    Returns:
        Shares of the image; 0.5 % for a class that no real image holds.

    >>> own_thresholds(np.array([[0.003, 0.3], [0.003, 0.2], [0.0, 0.5]])).round(4).tolist()
    [0.0003, 0.005]
    """
    thresholds = np.full(real.shape[1], PRESENCE_THRESHOLD)
    for k in range(real.shape[1]):
        held = np.sort(real[real[:, k] > 0.0, k] / np.float64(whole))
        if len(held):
            total = np.cumsum(held)
            typical = held[np.searchsorted(total, 0.5 * total[-1])]
            thresholds[k] = np.clip(part * typical, _LEAST_THRESHOLD, PRESENCE_THRESHOLD)
    return thresholds


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """What the tests need of one side; arrays have an entry a class."""

    presence: dict[float, PresenceMoments]  # by factor of the presence threshold
    area: MeanArea
    area_given_presence: MeanArea
    log_area: MeanArea  # given presence
    squares: MeanArea  # squared distance of the area from its mean
    images: float  # of equal weight, that would know a mean as well, did groups not count

    @classmethod
    def of(cls, areas: Table, design: Design, thresholds: _Classes, whole: int) -> "_Side":
        """Summed up in blocks of columns, so that memory does not grow with classes."""
        grouping = Grouping(design, len(areas))
        blocks = [
            cls._of_block(shares, grouping, thresholds[block])
            for block, (shares,) in column_blocks(areas, whole=whole)
        ]
        return cls(
            presence={
                factor: PresenceMoments.joined([block.presence[factor] for block in blocks])
                for factor in _FACTORS
            },
            images=blocks[0].images,
            **{
                name: MeanArea.joined([getattr(block, name) for block in blocks])
                for name in ("area", "area_given_presence", "log_area", "squares")
            },
        )

    @classmethod
    def _of_block(
        cls, block: Float64[np.ndarray, "n k"], grouping: Grouping, thresholds: _Classes
    ) -> "_Side":
        present = block >= thresholds
        area = mean_area(block, grouping)
        squares = (block - area.mean) ** 2
        return cls(
            presence={
                factor: PresenceMoments.of(block >= factor * thresholds, grouping)
                for factor in _FACTORS
            },
            area=area,
            area_given_presence=mean_area(block, grouping, present),
            log_area=mean_area(
                np.log(block, where=block > 0.0, out=np.zeros_like(block)),
                grouping,
                present & (block > 0.0),
            ),
            squares=dataclasses.replace(
                mean_area(squares, grouping), freedom=_participants(squares, grouping) - 1.0
            ),
            images=1.0 / grouping.square,
        )


def _participants(values: Float64[np.ndarray, "n k"], grouping: Grouping) -> _Classes:
    """The effective number of groups that share a sum: few where a few groups make most of it."""
    parts = grouping.sums(grouping.shares[:, None] * values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(parts.sum(axis=0) ** 2 / (parts**2).sum(axis=0))


class _Sizes:
    """How large a class is where it is present; arrays have an entry a class."""

    def __init__(
        self, real: _Side, generated: _Side, level: float, asked: Bool[np.ndarray, " k"]
    ) -> None:
        self.ratio = LogRatio.of_logs(real.log_area, generated.log_area)
        least = np.minimum(real.log_area.freedom, generated.log_area.freedom)
        self.tested = asked & self.ratio.known & (least >= _FEWEST_SIZES - 1.0 - _ROUNDING)
        alpha = (1.0 - level) / max(int(self.tested.sum()), 1)
        self.interval = self.ratio.interval(alpha)
        inside = (self.interval[0] >= MATCHED_WITHIN[0]) & (self.interval[1] <= MATCHED_WITHIN[1])
        self.alike = self.tested & inside

    def verdict(self, k: int) -> SizeVerdict:
        """Smaller or larger where the interval does not hold 1, alike where it is inside."""
        if not self.tested[k]:
            return "undecided"
        if self.interval[1][k] < 1.0:
            return "smaller"
        if self.interval[0][k] > 1.0:
            return "larger"
        return "alike" if self.alike[k] else "undecided"


class _Tests:
    """What the tests of all classes say: arrays with an entry a class, NaN where not tested."""

    def __init__(
        self,
        real: _Side,
        generated: _Side,
        factor: float,
        level: float,
        sizes: _Sizes,
        asked: Bool[np.ndarray, " k"],
        alpha: float | None = None,
    ) -> None:
        self._sizes = sizes
        self.counts = effective_counts([real.presence[factor], generated.presence[factor]])
        a, b = (side.count for side in self.counts)
        n, m = (side.images for side in self.counts)
        shares = np.stack([side.share for side in self.counts])
        self.by_area = by_area = np.asarray((shares > NEARLY_ALWAYS).all(axis=0))
        self.tested = tested = np.asarray(asked & (a + b >= FEWEST_IMAGES - _ROUNDING))
        main = alpha is None  # the other thresholds give verdicts alone
        self.alpha = (1.0 - level) / max(int(tested.sum()), 1) if alpha is None else alpha
        self.p_value, self.p_omitted, *interval = np.full((4, len(tested)), np.nan)
        for block, test in ratios.conditional_tests(a, b, n, m):
            interval[0][block], interval[1][block] = test.interval(self.alpha)
            if main:
                self.p_value[block] = test.p_value()
                self.p_omitted[block] = test.lower_tail(OMITTED_BELOW)
        area = LogRatio.of_means(real.area, generated.area)
        area_interval = area.interval(self.alpha)
        self.interval = (
            np.where(by_area, area_interval[0], interval[0]),
            np.where(by_area, area_interval[1], interval[1]),
        )
        if not main:
            return
        self.p_value = np.where(by_area, area.p_value(), self.p_value)
        self.p_omitted = np.where(by_area, area.tail(OMITTED_BELOW), self.p_omitted)
        self.drop, self.p_holm, self.p_bh = np.full((3, len(tested)), np.nan)
        self.drop[tested] = ratios.CountPower(
            shares[0, tested], n[tested], m[tested], alpha=self.alpha, fewest=FEWEST_IMAGES
        ).smallest_drop(_POWER)
        self.drop = np.where(by_area, area.detectable_drop(self.alpha, _POWER), self.drop)
        self.p_holm[tested] = holm(self.p_value[tested])
        self.p_bh[tested] = benjamini_hochberg(self.p_value[tested])

    def verdict(self, k: int) -> ClassVerdict:
        """That of the class's interval, where it was tested."""
        if not self.tested[k]:
            return "untested"
        alike = bool(self.by_area[k] or self._sizes.alike[k])
        return verdict_of((self.interval[0][k], self.interval[1][k]), alike=alike)


class _Spreads:
    """How much the areas of a class vary on either side; arrays have an entry a class."""

    def __init__(self, real: _Side, generated: _Side, tests: _Tests, level: float) -> None:
        self.sides = [np.sqrt(side.squares.mean) for side in (real, generated)]
        self.ratio = LogRatio.of_spreads(
            real.squares, generated.squares, (real.images, generated.images)
        )
        self.interval = self.ratio.interval(1.0 - level)
        least = np.minimum(tests.counts[0].count, tests.counts[1].count)
        self.known = self.ratio.known & (least >= FEWEST_IMAGES - _ROUNDING)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


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


def check_sides(
    presence_threshold: float | _Classes,
    level: float,
    real: Any,
    *generated: Any,
    whole: int = 1,
) -> list[Any]:
    """All sides, real first; SampleError where they or the numbers cannot be used.

    Pixels stay as they are; anything else becomes float64.
    """
    check_level("level", level)
    pairs = [check_samples(real, side, counts=whole != 1) for side in generated]
    sides = [pairs[0][0], *(pair[1] for pair in pairs)]
    if whole == 1:
        check_areas(1, *sides)
    elif max(float(side.max()) for side in sides) > whole:
        raise SampleError(f"areas exceed the {whole} pixels of an image; give its size")
    thresholds = np.atleast_1d(np.asarray(presence_threshold, np.float64))
    if len(thresholds) not in (1, sides[0].shape[1]):
        raise SampleError(
            f"there are {len(thresholds)} presence thresholds for {sides[0].shape[1]} classes; "
            "give one for all, or one each"
        )
    for threshold in (thresholds.min(), thresholds.max()):
        check_number("presence_threshold", float(threshold), 0.0, 1.0)
    return sides
