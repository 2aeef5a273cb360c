"""Two sides as groups of images: exchanged between the sides at random, and halved.

Images of one group are never separated. NumPy and SciPy alone; `inference` measures what is drawn.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Float64, Int64

from unseen.core.errors import SampleError
from unseen.statistics.design import Design
from unseen.statistics.grams import Gram, Rows

# Groups of one side that say this many times as much as the other side's are matched by bundles of
# the smaller groups. Below it, the nearest whole number of groups in a bundle is one.
_BUNDLE_FROM = 1.5

Groups = Int64[np.ndarray, " _"]


@dataclasses.dataclass(frozen=True, eq=False)
class Exchange:
    """Which groups a random exchange puts on the first side, and halves of both new sides."""

    first: Groups
    first_half: Groups
    second_half: Groups


class Sides:
    """A real and a generated side whose groups are numbered through, the real ones first.

    Args:
        real: one row an image, one column a class.
        generated: the same classes.
        real_design: groups and weights of the real images.
        generated_design: groups and weights of the generated images.

    Raises:
        SampleError: a side has groups, and only one of them; or the designs do not fit.
    """

    def __init__(
        self,
        real: Float64[np.ndarray, "n k"],
        generated: Float64[np.ndarray, "m k"],
        real_design: Design,
        generated_design: Design,
    ) -> None:
        sides = (("real", real, real_design), ("generated", generated, generated_design))
        units, weights, self.effective, self._mean_variances = [], [], [], []
        for name, table, design in sides:
            unit = design.units(len(table))
            weight = design.shares(len(table)) * len(table)  # 1 on average
            size = np.bincount(unit, weight)
            if len(size) < 2:
                raise SampleError(
                    f"all {len(table)} images of {name} are one group; what chance does from "
                    "group to group cannot be told from fewer than 2: add groups"
                )
            # Kish's effective number: a large or heavy group among small ones counts for more.
            self.effective.append(float(size.sum() ** 2 / (size**2).sum()))
            variance, effect = _variance_of_mean(table, unit, weight)
            self._mean_variances.append(variance)
            units.append(unit)
            # By what they say of the mean, so that exchanges mix sides in that proportion.
            weights.append(weight / effect)
        self.counts = (int(units[0].max()) + 1, int(units[1].max()) + 1)
        self.images = (len(real), len(generated))
        grouped = self.counts != self.images
        self.designed = grouped or any(design.weights is not None for _, _, design in sides)
        pooled = np.concatenate([real, generated])
        self.rows = Rows(
            _compact(pooled[:, pooled.any(axis=0)]),
            np.concatenate([units[0], self.counts[0] + units[1]]) if grouped else None,
            np.concatenate(weights) if self.designed else None,
        )
        n, m = self.counts
        self.groups = (np.arange(n), np.arange(n, n + m))
        self.grams = (self.rows.gram(self.groups[0]), self.rows.gram(self.groups[1]))

    def mean_bias(self) -> float:
        """E|μ̂_t − μ̂_g|² − |μ_t − μ_g|²: what chance adds to the squared difference of means."""
        if not self.designed:  # tr Σ_t / n + tr Σ_g / m
            traces = [np.trace(gram.covariance) for gram in self.grams]
            return float(traces[0] / self.images[0] + traces[1] / self.images[1])
        return sum(self._mean_variances)

    def halves(self, splits: int, rng: np.random.Generator) -> list[tuple[Groups, Groups]]:
        """Random halves of the groups of either side."""
        n, m = self.counts
        return [
            (rng.permutation(n)[: n // 2], n + rng.permutation(m)[: m // 2]) for _ in range(splits)
        ]

    def exchanges(self, number: int, rng: np.random.Generator) -> list[Exchange]:
        """Random exchanges of groups between the sides.

        Both new sides say about as much as the old ones: where a group of one side says much more,
        groups of the other are exchanged in random bundles that say as much.
        """
        return [self._exchange(rng) for _ in range(number)]

    def _exchange(self, rng: np.random.Generator) -> Exchange:
        n, m = self.counts
        ratio = (self.grams[1].weight / m) / (self.grams[0].weight / n)
        if max(ratio, 1.0 / ratio) < _BUNDLE_FROM:
            order, ends = rng.permutation(n + m), np.arange(n + m + 1)
        else:
            bundles = [
                *_bundles(self.groups[0], ratio, rng),
                *_bundles(self.groups[1], 1.0 / ratio, rng),
            ]
            n = max(round(n / ratio), 2) if ratio > 1.0 else n
            m = len(bundles) - n
            chosen = rng.permutation(n + m)
            order = np.concatenate([bundles[i] for i in chosen])
            ends = np.cumsum([0, *(len(bundles[i]) for i in chosen)])
        return Exchange(
            first=order[: ends[n]],
            first_half=order[: ends[n // 2]],
            second_half=order[ends[n] : ends[n + m // 2]],
        )

    def pairs(self, subsets: Sequence[tuple[Groups, Groups]]) -> Iterator[tuple[Gram, Gram]]:
        """Sums over both subsets of every pair."""
        grams = self.rows.grams([subset for pair in subsets for subset in pair])
        return zip(grams, grams, strict=True)


def _compact(table: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "n c"]:
    """The table in as many coordinates as it has rows, where these are fewer than classes.

    A rotation changes no distance: with Xᵀ = Q R, the rows of Rᵀ have the products of those of X.
    """
    n, k = table.shape
    return table if n >= k else np.ascontiguousarray(np.asarray(np.linalg.qr(table.T, mode="r")).T)


def _bundles(groups: Groups, ratio: float, rng: np.random.Generator) -> list[Groups]:
    """Groups in random bundles of about `ratio`; one by one where that is below 1."""
    if ratio <= 1.0:
        return [groups[i : i + 1] for i in range(len(groups))]
    return np.array_split(rng.permutation(groups), max(round(len(groups) / ratio), 2))


def _variance_of_mean(
    table: Float64[np.ndarray, "n k"], units: Groups, weights: Float64[np.ndarray, " n"]
) -> tuple[float, float]:
    """Trace of the covariance of a mean, from group to group; and its design effect.

    The effect is that trace over what as many independent images of equal weight would give. It is
    1 at least, and at most what groups of copies would give.
    """
    count = int(units.max()) + 1
    mean = weights @ table / weights.sum()
    residuals = weights[:, None] * (table - mean)
    sums = scipy.sparse.csr_array((np.ones(len(units)), (units, np.arange(len(units))))) @ residuals
    variance = count / (count - 1) * float((sums**2).sum()) / weights.sum() ** 2
    spread = float(weights @ ((table - mean) ** 2).sum(axis=1)) / weights.sum()
    size = np.bincount(units, weights)
    most = len(table) * (size**2).sum() / size.sum() ** 2
    effect = variance * len(table) / spread if spread > 0.0 else 1.0
    return variance, float(np.clip(effect, 1.0, most))
