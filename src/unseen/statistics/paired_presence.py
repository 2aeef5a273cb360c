"""Presence in pairs: of the photographs that hold a class, how many drawn images hold it.

Arrays in, one `PairedClass` a column out. Pairs of one group, such as photographs with one caption,
are worth fewer independent ones. Definitions are in docs/statistics.md, and what else was tried.
NumPy and SciPy alone.
Sources: exact limits of a proportion: Clopper and Pearson, Biometrika 26, 1934, with the effective
number of pairs (Korn and Graubard, Survey Methodology 24, 1998).
"""

import dataclasses

import numpy as np
import scipy.special
from jaxtyping import Bool, Float64

from unseen.core.errors import SampleError
from unseen.statistics.classes import FEWEST_IMAGES, PRESENCE_THRESHOLD, check_sides
from unseen.statistics.contrasts import change_of_pairs, mcnemar
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import Grouping, PresenceMoments, effective_counts
from unseen.statistics.multiplicity import holm

_Classes = Float64[np.ndarray, " k"]
Interval = tuple[float, float]

_KNOWN_FROM = 10  # pairs from which on a class says something of the correlation within groups


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedClass:
    """One class in pairs of a real image and the image that was drawn for its caption.

    Attributes:
        tested: as many images of the pairs hold it as are worth 10 independent ones.
        held: pairs whose real image holds the class.
        kept: those of them whose generated image holds it, too.
        kept_interval: exact 95 % interval of kept / held, of this class alone; (0, 1) where no real
            image holds it.
        lacking: pairs whose real image lacks the class.
        added: those of them whose generated image holds it.
        added_interval: likewise, of added / lacking.
        difference: presence in the generated images of the pairs minus that in the real ones.
        difference_interval: simultaneous over the tested classes; None where untested.
        p_value: of no difference, given how many pairs differ (McNemar, mid-p); None where
            untested.
        p_holm: adjusted over the tested classes.
    """

    tested: bool
    held: int
    kept: int
    kept_interval: Interval
    lacking: int
    added: int
    added_interval: Interval
    difference: float
    difference_interval: Interval | None
    p_value: float | None
    p_holm: float | None


def compare_pairs(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    presence_threshold: float | Float64[np.ndarray, " k"] = PRESENCE_THRESHOLD,
    level: float = 0.95,
    design: Design = INDEPENDENT,
) -> list[PairedClass]:
    """Compare pairs of a real and a generated image class by class.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        generated: row i was drawn for what row i of `real` shows.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the intervals.
        design: groups of the pairs; weights play no part.

    Returns:
        One comparison a column, in column order.

    Raises:
        SampleError: other numbers of rows, or as `compare_classes`.

    >>> real, generated = np.zeros((100, 1)), np.zeros((100, 1))
    >>> real[:40], generated[:30] = 0.1, 0.1
    >>> bench = compare_pairs(real, generated)[0]
    >>> bench.held, bench.kept, [round(end, 2) for end in bench.kept_interval]
    (40, 30, [0.59, 0.87])
    """
    sides = check_sides(presence_threshold, level, real, generated)
    if len(sides[0]) != len(sides[1]):
        raise SampleError(
            f"there are {len(sides[0])} real and {len(sides[1])} generated images; pairs need "
            "equal numbers"
        )
    holds, drawn = (side >= presence_threshold for side in sides)
    design = Design(groups=design.groups)
    grouping = Grouping(design, len(holds))
    kept = SharesOfPairs.of(drawn, holds, grouping)
    added = SharesOfPairs.of(drawn, ~holds, grouping)
    presences = effective_counts([PresenceMoments.of(side, grouping) for side in (holds, drawn)])
    tested = np.asarray(presences[0].count + presences[1].count >= FEWEST_IMAGES - 1e-9)
    lost, gained = effective_counts(
        [PresenceMoments.of(differ, grouping) for differ in (holds & ~drawn, drawn & ~holds)]
    )
    pairs = np.minimum(lost.images, gained.images)
    counts = pairs * lost.share, pairs * gained.share
    alpha = (1.0 - level) / max(int(tested.sum()), 1)  # Bonferroni
    limits = change_of_pairs(*counts, pairs, alpha)
    p_value = mcnemar(*counts)
    p_holm = np.full(len(tested), np.nan)
    p_holm[tested] = holm(p_value[tested])
    kept_limits, added_limits = kept.interval(1.0 - level), added.interval(1.0 - level)
    difference = drawn.mean(axis=0) - holds.mean(axis=0)
    return [
        PairedClass(
            tested=bool(tested[k]),
            held=int(kept.pairs[k]),
            kept=int(kept.count[k]),
            kept_interval=(float(kept_limits[0][k]), float(kept_limits[1][k])),
            lacking=int(added.pairs[k]),
            added=int(added.count[k]),
            added_interval=(float(added_limits[0][k]), float(added_limits[1][k])),
            difference=float(difference[k]),
            difference_interval=((float(limits[0][k]), float(limits[1][k])) if tested[k] else None),
            p_value=float(p_value[k]) if tested[k] else None,
            p_holm=float(p_holm[k]) if tested[k] else None,
        )
        for k in range(len(tested))
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class SharesOfPairs:
    """Of the pairs that are counted for a class, the share that has it; an entry a class.

    With e = has − share, the pairs of one group add Σ_{i≠j} e_i e_j to the variance of their sum.

    Attributes:
        pairs: counted, M.
        count: those of them that have the class.
        share: count / M; ½ where none is counted.
        excess: Σ_g Σ_{i≠j in g} e_i e_j.
        most: the excess if the pairs of a group were copies: share (1 − share) (Σ_g m_g² − M).
        together: Σ_g m_g² / M − 1: how many others of its group a pair has, on average.
        groups: groups that have the class in some counted pair or lack it in some, the fewer.
    """

    pairs: _Classes
    count: _Classes
    share: _Classes
    excess: _Classes
    most: _Classes
    together: _Classes
    groups: _Classes

    @classmethod
    def of(
        cls, has: Bool[np.ndarray, "n k"], counted: Bool[np.ndarray, "n k"], grouping: Grouping
    ) -> "SharesOfPairs":
        """The shares and what groups do to them.

        Args:
            has: whether pair i has class k.
            counted: whether pair i counts for class k.
            grouping: of the pairs.
        """
        members = grouping.sums(counted.astype(np.float64))  # m_g
        having = grouping.sums((has & counted).astype(np.float64))
        pairs, count = members.sum(axis=0), having.sum(axis=0)
        share = np.divide(count, pairs, out=np.full(len(pairs), 0.5), where=pairs > 0)
        squares = ((having - share * members) ** 2).sum(axis=0)
        singly = pairs * share * (1.0 - share)
        together = (members**2).sum(axis=0) - pairs
        return cls(
            pairs=pairs,
            count=count,
            share=share,
            excess=squares - singly,
            most=share * (1.0 - share) * together,
            together=np.divide(together, pairs, out=np.zeros(len(pairs)), where=pairs > 0),
            groups=np.minimum((having > 0).sum(axis=0), (having < members).sum(axis=0)).astype(
                np.float64
            ),
        )

    def effective(self) -> _Classes:
        """How many independent pairs would know the shares as well: M / (1 + ρ (Σ m_g² / M − 1)).

        ρ, the correlation within groups, is the largest of the class's own and its mean over the
        classes.
        """
        return np.asarray(self.pairs / (1.0 + self.correlation() * self.together))

    def correlation(self) -> _Classes:
        """ρ of every class."""
        own = np.divide(self.excess, self.most, out=np.zeros(len(self.most)), where=self.most > 0)
        known = (self.pairs >= _KNOWN_FROM) & (self.most > 0)
        means = [float(self.excess.sum() / self.most.sum())] if self.most.sum() > 0 else [1.0]
        means += [float(own[known].mean())] if known.any() else []
        return np.asarray(np.clip(np.maximum(own, max(means)), 0.0, 1.0))

    def interval(self, alpha: float) -> tuple[_Classes, _Classes]:
        """Exact limits of every share by itself; 0 and 1 where no pair is counted."""
        size = self.effective()
        count = self.share * size
        with np.errstate(invalid="ignore"):
            low = scipy.special.betaincinv(count, size - count + 1.0, alpha / 2.0)
            high = scipy.special.betaincinv(count + 1.0, size - count, 1.0 - alpha / 2.0)
        low = np.where((self.count > 0) & (self.pairs > 0), low, 0.0)
        return low, np.where((self.count < self.pairs) & (self.pairs > 0), high, 1.0)
