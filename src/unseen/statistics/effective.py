"""What the images of a side are worth as independent ones, class by class.

Images of one group say less than as many independent ones, and so do images of unequal weight. A
side becomes a weighted share of images with the class, and the number of independent images that
would know it as well; without groups and weights these are the plain ones. How the numbers enter
the tests was chosen by simulation (docs/statistics.md). NumPy and SciPy alone.
Source of the effective numbers: Rao and Scott, Biometrics 48, 1992.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.special
from jaxtyping import Bool, Float64, Int64

from unseen.core.errors import SampleError
from unseen.statistics.design import Design

_Classes = Float64[np.ndarray, " k"]

_KNOWN_FROM = 10  # images with the class from which on its correlation says something
# How many groups the largest correlation shown by any class counts for, beside a class's own. One
# gave two to five more false calls in a hundred draws where few classes are correlated.
_BORROWED_GROUPS = 2.0


class Grouping:
    """Shares of a side's images, and sums of them over its groups.

    Args:
        design: of the side.
        images: of the side.

    Raises:
        SampleError: the design is that of other images, or all images are one group.
    """

    def __init__(self, design: Design, images: int) -> None:
        self.images = images
        self.equal = design.weights is None
        self.shares = design.shares(images)
        self._sum: scipy.sparse.csr_array | None = None
        self.square = float(self.shares @ self.shares)  # Σ w², 1 / n for equal weights
        self.group_square = self.square  # Σ W², W a group's weight
        if design.groups is not None:
            units = design.units(images)
            weights = np.bincount(units, self.shares)
            if len(weights) < 2:
                raise SampleError(
                    f"all {images} images of a side are one group; what chance does from group to "
                    "group cannot be told from fewer than 2: add groups"
                )
            self._sum = scipy.sparse.csr_array((np.ones(images), (units, np.arange(images))))
            self.group_square = float(weights @ weights)

    @property
    def together(self) -> float:
        """Σ W² − Σ w²: how much of a variance is correlation within groups; 0 without groups."""
        return self.group_square - self.square if self._sum is not None else 0.0

    def sums(self, values: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "g k"]:
        """Sums over the images of every group; the values themselves without groups."""
        return values if self._sum is None else np.asarray(self._sum @ values)

    def mean(self, values: Float64[np.ndarray, "n k"]) -> _Classes:
        """Weighted means."""
        return np.asarray(values.mean(axis=0) if self.equal else self.shares @ values)


@dataclasses.dataclass(frozen=True, eq=False)
class PresenceMoments:
    """How a side's images hold each class; arrays have an entry a class.

    Attributes:
        images: of the side.
        present: images that hold the class.
        share: their share, weighted.
        independent: images of equal weight that would know the share as well, did groups not count.
        together: Σ W² − Σ w² of the design, 0 without groups.
        excess: images² times what groups add to the variance of the share.
        excess_error: its standard error.
        most: the excess if the images of a group were copies.
        groups: groups that hold the class in some images or lack it in some, the fewer of both.
    """

    images: int
    present: Int64[np.ndarray, " k"]
    share: _Classes
    independent: _Classes
    together: float
    excess: _Classes
    excess_error: _Classes
    most: _Classes
    groups: _Classes

    @classmethod
    def of(cls, present: Bool[np.ndarray, "n k"], grouping: Grouping) -> "PresenceMoments":
        """The moments of one side.

        Args:
            present: whether image i holds class k.
            grouping: of the side.
        """
        n, k = present.shape
        count = present.sum(axis=0)
        share = count / n
        independent = np.full(k, float(n))
        nothing = np.zeros(k)
        values, residuals, singly = nothing, nothing, share * (1.0 - share) * grouping.square
        if not grouping.equal or grouping.together > 0.0:
            values = present.astype(np.float64)
        if not grouping.equal:
            share = np.where(count == n, 1.0, grouping.shares @ values)
            residuals = grouping.shares[:, None] * (values - share)
            singly = (residuals**2).sum(axis=0)
            # Not more than equal weights would give where the class is unrelated to the weights: a
            # class that only light images hold by chance is not known better for it.
            with np.errstate(divide="ignore", invalid="ignore"):
                known = share * (1.0 - share) / singly
            most_known = 1.0 / grouping.square
            independent = np.where(singly > 0.0, np.minimum(known, most_known), most_known)
        if grouping.together == 0.0:
            moments = nothing, nothing, nothing, nothing
        else:
            residuals = grouping.shares[:, None] * (values - share)
            squares = grouping.sums(residuals) ** 2 / (1.0 - grouping.group_square)
            held, size = grouping.sums(values), grouping.sums(np.ones((n, 1)))
            moments = (
                n**2 * (squares.sum(axis=0) - singly),
                n**2 * np.sqrt(((squares - squares.mean(axis=0)) ** 2).sum(axis=0)),
                n**2 * share * (1.0 - share) * grouping.together,
                np.minimum((held > 0).sum(axis=0), (held < size).sum(axis=0)).astype(np.float64),
            )
        return cls(n, count, share, independent, grouping.together, *moments)

    @classmethod
    def joined(cls, parts: Sequence["PresenceMoments"]) -> "PresenceMoments":
        """The moments of the classes of all parts, which are of the same images."""
        arrays = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(cls)
            if field.name not in ("images", "together")
        }
        return cls(images=parts[0].images, together=parts[0].together, **arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class EffectiveCounts:
    """A side as independent images of equal weight; arrays have an entry a class.

    Attributes:
        share: of images that hold the class, weighted.
        count: effective number of images that hold it: share × images.
        images: effective number of images; no more than there are.
    """

    share: _Classes
    count: _Classes
    images: _Classes

    def part(self, classes: slice) -> "EffectiveCounts":
        """Some of the classes."""
        return EffectiveCounts(self.share[classes], self.count[classes], self.images[classes])

    def interval(self, alpha: float) -> tuple[_Classes, _Classes]:
        """Exact interval of every share by itself (Clopper and Pearson)."""
        rest = self.images - self.count
        with np.errstate(invalid="ignore"):
            lower = scipy.special.betaincinv(self.count, rest + 1.0, alpha / 2.0)
            upper = scipy.special.betaincinv(self.count + 1.0, rest, 1.0 - alpha / 2.0)
        return np.where(self.count > 0.0, lower, 0.0), np.where(rest > 0.0, upper, 1.0)


def effective_counts(sides: Sequence[PresenceMoments]) -> list[EffectiveCounts]:
    """The sides as independent images: plain counts without groups and weights.

    With ρ the correlation of presence within a group, n images of equal weight in groups of s are
    worth n / (1 + (s − 1) ρ). The correlation is the largest of the side's own, that of all
    sides, the mean over classes, and one that is borrowed: a class in few groups hardly shows its
    own, and gets the largest that any class shows (less its error) as though two groups had it.

    Args:
        sides: of one comparison; a class has the same entry in each.

    Returns:
        One a side, in order.
    """
    grouped = [side for side in sides if side.together > 0.0]
    lent = _lent(grouped) if grouped else 0.0
    counts = []
    for side in sides:
        loss = np.zeros(len(side.share))
        if side.together > 0.0:
            own = _ratio(side.excess, side.most)
            loss = np.clip(np.maximum(own, lent), 0.0, 1.0) * side.together
        images = side.independent / (1.0 + loss * side.independent)
        plain = (side.independent == side.images) & (loss == 0.0)
        count = np.where(
            plain, side.present, np.where(side.share == 1.0, images, side.share * images)
        )
        counts.append(EffectiveCounts(share=side.share, count=count, images=images))
    return counts


def _lent(sides: Sequence[PresenceMoments]) -> _Classes:
    """What every class's correlation is at least, from all grouped sides and all classes."""
    excess = np.sum([side.excess for side in sides], axis=0)
    error = np.sqrt(np.sum([side.excess_error**2 for side in sides], axis=0))
    most = np.sum([side.most for side in sides], axis=0)
    groups = np.sum([side.groups for side in sides], axis=0)
    pooled = _ratio(excess, most)
    known = (np.sum([side.present for side in sides], axis=0) >= _KNOWN_FROM) & (most > 0.0)
    # Classes that are seen often weigh more in the first mean, rare ones in the second.
    means = [float(excess.sum() / most.sum())] if most.sum() > 0.0 else []
    means += [float(pooled[known].mean())] if known.any() else []
    common = max(means, default=1.0)
    shown = max(common, float(_ratio(excess - error, most).max(initial=0.0)))
    borrowed = np.clip(pooled, 0.0, None) * groups + _BORROWED_GROUPS * shown
    borrowed = borrowed / (groups + _BORROWED_GROUPS)
    return np.asarray(np.maximum(np.maximum(pooled, common), borrowed))


def _ratio(excess: _Classes, most: _Classes) -> _Classes:
    return np.asarray(np.divide(excess, most, out=np.zeros_like(excess), where=most > 0.0))


@dataclasses.dataclass(frozen=True, eq=False)
class MeanArea:
    """Weighted means, with what chance does to them from group to group.

    Attributes:
        mean: NaN where no image is counted.
        variance: of the mean; NaN where fewer than two groups are counted.
        freedom: degrees of freedom of the variance, by the effective number of groups.
    """

    mean: _Classes
    variance: _Classes
    freedom: _Classes

    @classmethod
    def joined(cls, parts: Sequence["MeanArea"]) -> "MeanArea":
        """The means of the classes of all parts."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("mean", "variance", "freedom")
            )
        )


def mean_area(
    values: Float64[np.ndarray, "n k"],
    grouping: Grouping,
    counted: Bool[np.ndarray, "n k"] | None = None,
) -> MeanArea:
    """Means of the values of a side, over the images that are counted for each class.

    Args:
        values: one row an image, one column a class.
        grouping: of the side.
        counted: whether image i counts for class k; None: every image does.

    Returns:
        Means in the unit of the values; variances in its square.
    """
    weights = np.broadcast_to(grouping.shares[:, None], values.shape)
    weights = weights if counted is None else weights * counted
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weights.sum(axis=0)
        mean = (
            (weights * values).sum(axis=0) / total if counted is not None else grouping.mean(values)
        )
        # Σ W² of the groups' weights: one over the effective number of groups.
        square = (grouping.sums(np.asarray(weights)) ** 2).sum(axis=0) / total**2
        residuals = grouping.sums(weights * (values - mean)) / total
        variance = (residuals**2).sum(axis=0) / (1.0 - square)
        freedom = 1.0 / square - 1.0
    some = freedom > 1e-9  # one group alone says nothing of the variance
    return MeanArea(mean, np.where(some, variance, np.nan), np.where(some, freedom, np.nan))
