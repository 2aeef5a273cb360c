"""What a new generator changed against the previous one, class by class, on the same real images.

Arrays in, one `GeneratorChange` a column out. NumPy and SciPy alone. Definitions are in
docs/statistics.md, and what else was tried.
Sources: as in `contrasts`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special
from jaxtyping import Bool, Float64

from unseen.core.errors import SampleError
from unseen.core.verdicts import Change
from unseen.statistics import ratios
from unseen.statistics.classes import (
    FEWEST_IMAGES,
    NEARLY_ALWAYS,
    OMITTED_BELOW,
    PRESENCE_THRESHOLD,
    Table,
    check_sides,
)
from unseen.statistics.contrasts import change_of_pairs, contrast, mcnemar
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import (
    Grouping,
    MeanArea,
    PresenceMoments,
    effective_counts,
    mean_area,
)
from unseen.statistics.samples import column_blocks

_Floats = Float64[np.ndarray, "..."]  # broadcast together: a class an entry

_POWER = 0.8  # by convention: four of five such samples would show the regression
_NODES = 128  # points of a lattice over which power is averaged: its error is about 1 %
_LEAST_P = 1e-12  # p-values below are given as this: no level that anybody asks for is smaller
_BISECTIONS = 20  # of log p between that and 0: p to 3e-5 of itself
_TINY = 1e-12
_ROUNDING = 1e-9  # of effective counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorChange:
    """One class, a new generator against the previous one, both measured on shared real images.

    Attributes:
        tested: present in at least 10 images of the three samples pooled.
        verdict: regressed or improved where the class moved significantly away from or towards
            the real side; undecided otherwise; or untested. A class of the real images that the
            new generator no longer draws has not improved.
        statistic: presence, or mean area where all three presences exceed 95 %.
        real: presence (or mean area, share of the image) of the real side.
        previous: the same of the previous generator.
        new: the same of the new generator.
        change: new − previous.
        interval: of `change`, simultaneous over all tested classes; None where untested.
        p_value: the smallest level at which this class alone would have moved: the larger p of
            the two tests behind the verdict, not adjusted; None where untested.
        distance_change: |new − real| − |previous − real|; above zero is worse.
        smallest_detectable_regression: the relative fall of `statistic` from the previous generator
            that samples like these would have called regressed with 80 % power; None where untested
            or where not even a total loss would be called so often.
    """

    tested: bool
    verdict: Change
    statistic: Literal["presence", "area"]
    real: float
    previous: float
    new: float
    change: float
    interval: tuple[float, float] | None
    p_value: float | None
    distance_change: float
    smallest_detectable_regression: float | None


def compare_generators(
    real: Table,
    previous: Table,
    new: Table,
    *,
    paired: bool = False,
    presence_threshold: float | Float64[np.ndarray, " k"] = PRESENCE_THRESHOLD,
    level: float = 0.95,
    real_design: Design = INDEPENDENT,
    previous_design: Design = INDEPENDENT,
    new_design: Design = INDEPENDENT,
    whole: int = 1,
    family: Sequence[int] | None = None,
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
        paired: row i of both generators was drawn from the same latents or prompt.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals.
        real_design: groups and weights of the real images.
        previous_design: of the previous generator's images.
        new_design: of the new generator's images; pairs are grouped and weighed by this.
        whole: as in `compare_classes`.
        family: as in `compare_classes`.

    Returns:
        One comparison a column, in column order; of a family in its order.

    Raises:
        SampleError: as `compare_classes`; or pairs, and the generators have other numbers of rows.

    >>> real, previous, new = (np.zeros((1000, 1)) for _ in range(3))
    >>> real[:300], previous[:290], new[:100] = 0.1, 0.1, 0.1
    >>> compare_generators(real, previous, new)[0].verdict
    'regressed'
    """
    sides = check_sides(presence_threshold, level, real, previous, new, whole=whole)
    if paired and len(sides[1]) != len(sides[2]):
        raise SampleError(
            f"the previous generator has {len(sides[1])} images and the new one {len(sides[2])}; "
            "pairs need equal numbers"
        )
    designs = [real_design, new_design if paired else previous_design, new_design]
    groupings = [Grouping(design, len(side)) for design, side in zip(designs, sides, strict=True)]
    thresholds = np.broadcast_to(np.asarray(presence_threshold, np.float64), sides[0].shape[1:])
    presences, areas = _summed(sides, groupings, thresholds, paired, whole)
    counts, presence = _counts(presences)
    means = _Means.of(areas)
    columns = range(len(counts.total)) if family is None else family
    tested = np.isin(np.arange(len(counts.total)), list(columns))
    tested &= counts.total >= FEWEST_IMAGES - _ROUNDING
    by_area = np.asarray((presence > NEARLY_ALWAYS).all(axis=0))
    value = np.where(by_area, means.value, presence)
    alpha = (1.0 - level) / max(int(np.sum(tested)), 1)  # Bonferroni
    tests = _Tests(counts, means, by_area)
    low, high = tests.change(alpha)
    p_value = tests.p_value()
    drop = tests.detectable_drop(alpha)
    distance = np.abs(value[2] - value[0]) - np.abs(value[1] - value[0])
    worse = (value[2] < value[1]) == (value[1] + value[2] < 2.0 * value[0])
    gone = tests.gone(alpha)

    def verdict(k: int) -> Change:
        if not tested[k]:
            return "untested"
        if p_value[k] > alpha or (gone[k] and not worse[k]):
            return "undecided"
        return "regressed" if worse[k] else "improved"

    return [
        GeneratorChange(
            tested=bool(tested[k]),
            verdict=verdict(k),
            statistic="area" if by_area[k] else "presence",
            real=float(value[0, k]),
            previous=float(value[1, k]),
            new=float(value[2, k]),
            change=float(value[2, k] - value[1, k]),
            interval=(float(low[k]), float(high[k])) if tested[k] else None,
            p_value=float(p_value[k]) if tested[k] else None,
            distance_change=float(distance[k]),
            smallest_detectable_regression=(
                float(drop[k]) if tested[k] and not np.isnan(drop[k]) else None
            ),
        )
        for k in columns
    ]


class _Tests:
    """Both tests of every class, by presence or by mean area; arrays with an entry a class."""

    def __init__(
        self, counts: "_Unpaired | _Pairs", means: "_Means", by_area: Bool[np.ndarray, " k"]
    ) -> None:
        self.counts, self.means, self.by_area = counts, means, by_area

    def change(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new − previous."""
        low, high = np.where(self.by_area, self.means.change(alpha), self.counts.change(alpha))
        return low, high

    def p_value(self) -> _Floats:
        """The smallest level at which both limits exclude zero and the test of counts rejects."""
        low = np.full(len(self.by_area), np.log(_LEAST_P))
        high = np.zeros(len(self.by_area))
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            alpha = np.exp(middle)
            moved = np.where(self.by_area, _moved(self.means, alpha), _moved(self.counts, alpha))
            low, high = np.where(moved, low, middle), np.where(moved, middle, high)
        p_change = np.where(self.by_area, 0.0, self.counts.p_value())
        return np.maximum(np.exp(high), p_change)

    def gone(self, alpha: float) -> Bool[np.ndarray, " k"]:
        """Whether real images hold the class and the new generator draws it no longer.

        It draws none, or so few that they are taken for false positives of the segmenter.
        """
        (a, n), (c, q) = self.counts.sides[0], self.counts.sides[2]
        tail = np.empty(len(a))
        for block, test in ratios.conditional_tests(a, c, n, q):
            tail[block] = test.lower_tail(OMITTED_BELOW)
        omitted = tail < alpha / 2.0
        return np.asarray(~self.by_area & (a > 0) & ((c == 0) | omitted))

    def detectable_drop(self, alpha: float) -> _Floats:
        """The relative fall from the previous generator that is called with 80 % power, or NaN."""
        return np.where(
            self.by_area, self.means.detectable_drop(alpha), _detectable_drop(self.counts, alpha)
        )


@dataclasses.dataclass(frozen=True)
class _Unpaired:
    """Images that hold the class, of how many: a real, b previous, c new."""

    a: _Floats
    n: _Floats
    b: _Floats
    m: _Floats
    c: _Floats
    q: _Floats

    @property
    def total(self) -> _Floats:
        """Images of all sides that hold the class."""
        return np.asarray(sum(count for count, _ in self.sides))

    @property
    def sides(self) -> list[tuple[_Floats, _Floats]]:
        """Count and size of real, previous and new."""
        return [(self.a, self.n), (self.b, self.m), (self.c, self.q)]

    def change(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new − previous."""
        return contrast([(-1.0, self.b, self.m), (1.0, self.c, self.q)], alpha)

    def middle(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new + previous − 2 real."""
        parts = [(1.0, self.b, self.m), (1.0, self.c, self.q), (-2.0, self.a, self.n)]
        return contrast(parts, alpha)

    def p_value(self) -> _Floats:
        """Of new = previous, by the conditional test."""
        p_value = np.empty(len(self.b))
        for block, test in ratios.conditional_tests(self.b, self.c, self.m, self.q):
            p_value[block] = test.p_value()
        return p_value

    def rejects(self, alpha: float) -> Bool[np.ndarray, "..."]:
        """Whether the conditional test calls new < previous, in closed form."""
        score = ratios.conditional_score(self.b, self.c, self.m, self.q)
        return np.asarray(score < scipy.special.ndtri(alpha / 2.0))

    def drawn(self, drop: _Floats, nodes: Float64[np.ndarray, "4 i"]) -> "_Unpaired":
        """Such counts where the new generator has lost a share of the previous one's."""
        return _Unpaired(
            _quantile(nodes[0], self.n, self.a / self.n),
            self.n,
            _quantile(nodes[1], self.m, self.b / self.m),
            self.m,
            _quantile(nodes[2], self.q, self.b / self.m * (1.0 - drop)),
            self.q,
        )


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Real images that hold the class, and pairs of generated ones: in both, lost, gained."""

    a: _Floats
    n: _Floats
    both: _Floats
    lost: _Floats  # of the previous generator alone
    gained: _Floats  # of the new generator alone
    m: _Floats  # pairs, by which the change is known
    known: _Floats  # pairs, by which the presence of both generators together is known

    @property
    def total(self) -> _Floats:
        """Images of all sides that hold the class."""
        return np.asarray(sum(count for count, _ in self.sides))

    @property
    def sides(self) -> list[tuple[_Floats, _Floats]]:
        """Count and size of real, previous and new."""
        previous, new = self.both + self.lost, self.both + self.gained
        return [(self.a, self.n), (previous, self.m), (new, self.m)]

    def change(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new − previous: gained − lost."""
        return change_of_pairs(self.lost, self.gained, self.m, alpha)

    def middle(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new + previous − 2 real."""
        discordant = (self.lost + self.gained) / self.m
        mean = self.both / self.m + 0.5 * discordant
        # The mean of a pair's two presences is 0, ½ or 1: as a proportion it is worth more pairs.
        variance = mean * (1.0 - mean) - 0.25 * discordant
        size = self.known * mean * (1.0 - mean) / np.maximum(variance, _TINY)
        size = np.where(variance > _TINY, size, self.known)
        return contrast([(2.0, mean * size, size), (-2.0, self.a, self.n)], alpha)

    def p_value(self) -> _Floats:
        """Of new = previous, given how many pairs differ."""
        return mcnemar(self.lost, self.gained)

    def rejects(self, alpha: float) -> Bool[np.ndarray, "..."]:
        """Whether that test calls new < previous."""
        return np.asarray((self.p_value() <= alpha) & (self.gained < self.lost))

    def drawn(self, drop: _Floats, nodes: Float64[np.ndarray, "4 i"]) -> "_Pairs":
        """Such counts where the new generator has lost a share of what it would have drawn.

        Before the loss, as much was lost as gained: half of the pairs that differ, each.
        """
        half = 0.5 * (self.lost + self.gained) / self.m
        previous = (self.both + self.lost) / self.m
        half = np.minimum(half, np.minimum(previous, 1.0 - previous))
        p_both = (previous - half) * (1.0 - drop)
        p_gained = half * (1.0 - drop)
        both = _quantile(nodes[1], self.m, p_both)
        lost = _quantile(nodes[2], self.m - both, (previous - p_both) / (1.0 - p_both + _TINY))
        rest = 1.0 - previous + _TINY
        gained = _quantile(nodes[3], self.m - both - lost, np.minimum(p_gained / rest, 1.0))
        real = _quantile(nodes[0], self.n, self.a / self.n)
        return _Pairs(real, self.n, both, lost, gained, self.m, self.known)


def _summed(
    sides: list[Table],
    groupings: list[Grouping],
    thresholds: Float64[np.ndarray, " k"],
    paired: bool,
    whole: int,
) -> tuple[list[PresenceMoments], list[MeanArea]]:
    """Presences and mean areas of real, previous and new.

    Where images are pairs, behind these the presences in the previous image alone and in the new
    one alone, and the means of new − previous and new + previous.
    """
    held: list[list[PresenceMoments]] = [[] for _ in range(5 if paired else 3)]
    areas: list[list[MeanArea]] = [[] for _ in held]
    by = [*groupings, groupings[2], groupings[2]][: len(held)]
    for block, shares in column_blocks(*sides, whole=whole):
        present = [share >= thresholds[block] for share in shares]
        if paired:
            present += [present[1] & ~present[2], ~present[1] & present[2]]
            shares += [shares[2] - shares[1], shares[2] + shares[1]]
        for which, grouping in enumerate(by):
            held[which].append(PresenceMoments.of(present[which], grouping))
            areas[which].append(mean_area(shares[which], grouping))
    return [PresenceMoments.joined(parts) for parts in held], [
        MeanArea.joined(parts) for parts in areas
    ]


def _counts(
    presences: list[PresenceMoments],
) -> tuple[_Unpaired | _Pairs, Float64[np.ndarray, "3 k"]]:
    """What is counted on the three sides, in independent images, and the presences."""
    sides = effective_counts(presences[:3])
    presence = np.stack([side.share for side in sides])
    real, previous, new = sides
    if len(presences) == 3:
        numbers = [number for side in sides for number in (side.count, side.images)]
        return _Unpaired(*numbers), presence
    lost, gained = effective_counts(presences[3:])
    pairs = np.minimum(lost.images, gained.images)
    both = np.clip(previous.share - lost.share, 0.0, 1.0)
    known = np.minimum(previous.images, new.images)
    shares = pairs * both, pairs * lost.share, pairs * gained.share
    return _Pairs(real.count, real.images, *shares, pairs, known), presence


@dataclasses.dataclass(frozen=True)
class _Means:
    """The mean areas of the three sides: contrasts with their errors and degrees of freedom."""

    value: Float64[np.ndarray, "3 k"]  # of real, previous, new
    change_value: _Floats  # new − previous
    change_error: _Floats
    change_freedom: _Floats
    middle_value: _Floats  # new + previous − 2 real
    middle_error: _Floats
    middle_freedom: _Floats

    @classmethod
    def of(cls, areas: list[MeanArea]) -> "_Means":
        """From the mean areas of real, previous and new images, and of pairs where there are."""
        real, previous, new, *pairs = areas
        change, middle = [(-1.0, previous), (1.0, new)], [(1.0, previous), (1.0, new)]
        if pairs:
            change, middle = [(1.0, pairs[0])], [(1.0, pairs[1])]
        value = np.stack([side.mean for side in areas[:3]])
        return cls(value, *_sum(change), *_sum([*middle, (-2.0, real)]))

    def change(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new − previous, by Student's t with Welch's degrees of freedom."""
        reach = scipy.special.stdtrit(self.change_freedom, 1.0 - alpha / 2.0) * self.change_error
        return self.change_value - reach, self.change_value + reach

    def middle(self, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
        """Limits of new + previous − 2 real."""
        reach = scipy.special.stdtrit(self.middle_freedom, 1.0 - alpha / 2.0) * self.middle_error
        return self.middle_value - reach, self.middle_value + reach

    def detectable_drop(self, alpha: float) -> _Floats:
        """The relative fall that both tests call with 80 % power; NaN where it is above 1."""
        power = float(scipy.special.ndtri(_POWER))
        change, middle = (
            (scipy.special.stdtrit(freedom, 1.0 - alpha / 2.0) + power) * error
            for freedom, error in (
                (self.change_freedom, self.change_error),
                (self.middle_freedom, self.middle_error),
            )
        )
        # Without a fall the mid-point stands at middle_value less the change.
        fall = np.maximum(change, middle + self.middle_value - self.change_value)
        with np.errstate(divide="ignore", invalid="ignore"):
            drop = fall / self.value[1]
        return np.where(drop <= 1.0, drop, np.nan)


def _sum(parts: list[tuple[float, MeanArea]]) -> tuple[_Floats, _Floats, _Floats]:
    """Weighted sum of independent means, its error, Welch's degrees of freedom."""
    value = np.sum([weight * part.mean for weight, part in parts], axis=0)
    variances = [weight**2 * part.variance for weight, part in parts]
    variance = np.sum(variances, axis=0)
    spent = np.sum(
        [known**2 / part.freedom for known, (_, part) in zip(variances, parts, strict=True)], axis=0
    )
    freedom = variance**2 / np.maximum(spent, np.finfo(np.float64).tiny)
    return value, np.sqrt(variance), np.maximum(freedom, 1.0)


def _moved(tests: _Unpaired | _Pairs | _Means, alpha: float | _Floats) -> Bool[np.ndarray, "..."]:
    """Whether both contrasts exclude zero."""
    moved = [(low > 0.0) | (high < 0.0) for low, high in (tests.change(alpha), tests.middle(alpha))]
    return np.asarray(moved[0] & moved[1])


def _detectable_drop(counts: _Unpaired | _Pairs, alpha: float) -> _Floats:
    """The smallest relative fall that is called regressed with 80 % power; NaN where none is.

    Power is the share of lattice points whose counts are called.
    """
    columns = {
        field.name: getattr(counts, field.name)[:, None] for field in dataclasses.fields(counts)
    }
    spread = type(counts)(**columns)
    nodes = _lattice()

    def power(drop: _Floats) -> _Floats:
        drawn = spread.drawn(drop[:, None], nodes)
        called = drawn.rejects(alpha)
        called &= (drawn.change(alpha)[1] < 0.0) & (drawn.middle(alpha)[1] < 0.0)
        return np.asarray(called.mean(axis=1))

    low, high = np.zeros(len(counts.a)), np.ones(len(counts.a))
    reached = power(high) >= _POWER
    for _ in range(9):  # to 0.2 %
        middle = 0.5 * (low + high)
        enough = power(middle) >= _POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reached, high, np.nan)


def _lattice() -> Float64[np.ndarray, "4 i"]:
    """Points that fill the cube of four dimensions evenly.

    Source: the additive recurrence with the root of x⁵ = x + 1 (Roberts, 2018).
    """
    steps = 1.1673039782614187 ** -np.arange(1.0, 5.0)
    return np.asarray((0.5 + steps[:, None] * np.arange(1, _NODES + 1)) % 1.0)


def _quantile(probability: _Floats, size: _Floats, p: _Floats) -> _Floats:
    """Quantiles of the binomial distribution by Cornish and Fisher: to one image in 99 of 100."""
    z = scipy.special.ndtri(probability)
    variance = size * p * (1.0 - p)
    skew = (1.0 - 2.0 * p) * (z**2 - 1.0) / 6.0
    count = np.rint(size * p + z * np.sqrt(variance) + np.where(variance > 0.0, skew, 0.0))
    return np.asarray(np.clip(count, 0.0, size))
