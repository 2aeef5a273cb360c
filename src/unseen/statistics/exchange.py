"""Two sides as groups of images: exchanged between the sides at random, and halved.

Images of one group are never separated. NumPy alone; `inference` measures what is drawn.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from unseen.core.errors import SampleError
from unseen.statistics.design import Design, effective_images
from unseen.statistics.grams import Blocks, Gram, Rows

# Groups of one side that say this many times as much as the other side's are matched by bundles of
# the smaller groups. Below it, the nearest whole number of groups in a bundle is one.
_BUNDLE_FROM = 1.5
_MOST_IN_MEMORY = 24_000_000  # entries of both tables: 192 MB of float64
# With more groups the lists of random exchanges alone would take gigabytes. 1,000 bundles leave the
# error of an interval known to 3 %, and of the smaller side there are always 100.
_MOST_GROUPS = 65_536
_BUNDLES = 1000
_FEWEST_BUNDLES = 100

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
        percent: what a unit of either table is, in percent of the image.

    Raises:
        SampleError: a side has groups, and only one of them; or the designs do not fit.
    """

    def __init__(
        self,
        real: Shaped[np.ndarray, "n k"],
        generated: Shaped[np.ndarray, "m k"],
        real_design: Design,
        generated_design: Design,
        percent: float = 1.0,
    ) -> None:
        sides = (("real", real, real_design), ("generated", generated, generated_design))
        units, weights = [], []
        self.effective: list[float] = []  # independent groups of equal size
        self.worth: list[float] = []  # independent images that know the mean as well
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
            plain = len(size) == len(table) and design.weights is None
            self.worth.append(float(len(table) if plain else effective_images(table, design)))
            units.append(unit)
            # By what they say of the mean, so that exchanges mix sides in that proportion.
            weights.append(weight * (self.worth[-1] / len(table)))
        self.images = (len(real), len(generated))
        counts = [int(unit.max()) + 1 for unit in units]
        self.designed = self.images != tuple(counts) or any(
            design.weights is not None for _, _, design in sides
        )
        if sum(counts) > _MOST_GROUPS:
            units = _bundled(units, counts)
            counts = [int(unit.max()) + 1 for unit in units]
        self.counts = (counts[0], counts[1])
        weight_of = np.concatenate(weights) if self.designed else None
        unit_of = np.concatenate([units[0], counts[0] + units[1]])
        kept = np.flatnonzero(real.any(axis=0) | generated.any(axis=0))
        self.kept: Groups | None = kept  # columns behind the coordinates; None: rotated
        if len(unit_of) * len(kept) > _MOST_IN_MEMORY:
            self.rows: Rows | Blocks = Blocks((real, generated), percent, kept, unit_of, weight_of)
        else:
            table = np.concatenate([real[:, kept], generated[:, kept]]) * np.float64(percent)
            if len(table) < len(kept):
                table, self.kept = _rotated(table), None
            grouped = self.images != self.counts
            self.rows = Rows(table, unit_of if grouped else None, weight_of)
        n, m = self.counts
        self.groups = (np.arange(n), np.arange(n, n + m))
        self.grams = (self.rows.gram(self.groups[0]), self.rows.gram(self.groups[1]))

    @property
    def uneven(self) -> bool:
        """Whether an exchange gives what chance does only up to a factor.

        Without groups and weights it is exact. Between as many groups that say about as much it
        is right, even where one side's vary more: either new side has half of both.
        """
        n, m = self.counts
        ratio = (self.grams[1].weight / m) / (self.grams[0].weight / n)
        return self.designed and (n != m or max(ratio, 1.0 / ratio) >= _BUNDLE_FROM)

    def mean_bias(self) -> float:
        """E|μ̂_t − μ̂_g|² − |μ_t − μ_g|²: what chance adds to the squared difference of means.

        Of independent images it is tr Σ_t / n + tr Σ_g / m.
        """
        traces = [np.trace(gram.covariance) for gram in self.grams]
        return float(traces[0] / self.worth[0] + traces[1] / self.worth[1])

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


def _rotated(table: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "n n"]:
    """A table of fewer rows than columns in as many coordinates as rows.

    A rotation changes no distance: with Xᵀ = Q R, the rows of Rᵀ have the products of those of X.
    """
    return np.ascontiguousarray(np.asarray(np.linalg.qr(table.T, mode="r")).T)


def _bundled(units: Sequence[Groups], counts: Sequence[int]) -> list[Groups]:
    """Larger groups, of groups taken at random: a few hundred say what millions would.

    A random half of random bundles is a random half of the groups. Only the draws are less apart
    from one another.
    """
    rng = np.random.default_rng(0)
    size = min(-(-sum(counts) // _BUNDLES), max(min(counts) // _FEWEST_BUNDLES, 1))
    return [
        (rng.permutation(count) // size)[unit] for unit, count in zip(units, counts, strict=True)
    ]


def _bundles(groups: Groups, ratio: float, rng: np.random.Generator) -> list[Groups]:
    """Groups in random bundles of about `ratio`; one by one where that is below 1."""
    if ratio <= 1.0:
        return [groups[i : i + 1] for i in range(len(groups))]
    return np.array_split(rng.permutation(groups), max(round(len(groups) / ratio), 2))
