"""Means and covariances of many subsets of the same rows, or of groups of rows, fast.

Areas are mostly zeros: an image holds a dozen of 336 classes, so that of its 56,616 products of
two classes about a hundred are not zero. These are listed once; the sums of many subsets are then
one product of that sparse list with the subsets' indicator columns. A table that is too large for
this is read block by block. NumPy and SciPy alone.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Float64, Int64, Shaped

# Listed products take 12 bytes each; beyond this many the dense product is taken instead.
_MOST_PRODUCTS = 16_000_000  # 192 MB
_SUBSETS_AT_ONCE = 16
_SUMS_AT_ONCE = 256 * 2**20  # bytes of products of subsets that are being summed
_BLOCK = 32_768  # rows of a table that is read block by block


@dataclasses.dataclass(frozen=True, eq=False)
class Gram:
    """Sums over some rows: enough for their mean and covariance, and they add and subtract.

    Attributes:
        weight: Σ w of the rows; where all count alike, how many they are.
        squares: Σ w².
        total: Σ w x.
        products: Σ w x xᵀ.
    """

    weight: float
    squares: float
    total: Float64[np.ndarray, " k"]
    products: Float64[np.ndarray, "k k"]

    @classmethod
    def of(
        cls,
        rows: Float64[np.ndarray, "n k"],
        weights: Float64[np.ndarray, " n"] | None = None,
    ) -> "Gram":
        """Sums over rows; without weights all count 1."""
        if weights is None:
            count = float(len(rows))
            return cls(count, count, rows.sum(axis=0), rows.T @ rows)
        weighted = rows * weights[:, None]
        squares = float(weights @ weights)
        return cls(float(weights.sum()), squares, weighted.sum(axis=0), weighted.T @ rows)

    def __add__(self, other: "Gram") -> "Gram":
        return Gram(
            self.weight + other.weight,
            self.squares + other.squares,
            self.total + other.total,
            self.products + other.products,
        )

    def __sub__(self, other: "Gram") -> "Gram":
        return Gram(
            self.weight - other.weight,
            self.squares - other.squares,
            self.total - other.total,
            self.products - other.products,
        )

    @property
    def mean(self) -> Float64[np.ndarray, " k"]:
        """Mean row."""
        return np.asarray(self.total / self.weight)

    @property
    def covariance(self) -> Float64[np.ndarray, "k k"]:
        """Covariance with ddof = 1; of weighted rows, unbiased where the rows are independent."""
        freedom = self.weight - self.squares / self.weight  # n − 1 where every weight is 1
        return np.asarray((self.products - np.outer(self.total, self.mean)) / freedom)


class Rows:
    """A table of areas whose groups of rows are asked for their sums.

    Args:
        table: one row an image, one column a class.
        units: the group of every row, numbered without gaps; None: each row is a group.
        weights: what every row counts; None: all count 1.
    """

    def __init__(
        self,
        table: Float64[np.ndarray, "n k"],
        units: Int64[np.ndarray, " n"] | None = None,
        weights: Float64[np.ndarray, " n"] | None = None,
    ) -> None:
        self._table, self._units, self._weights = table, units, weights
        held = np.count_nonzero(table, axis=1).astype(np.int64)
        sparse = int((held * (held + 1) // 2).sum()) <= min(_MOST_PRODUCTS, table.size)
        self._products = _listed_products(table, held) if sparse else None

    def _rows_of(self, groups: Int64[np.ndarray, " g"]) -> Int64[np.ndarray, " r"]:
        if self._units is None:
            return groups
        inside = np.zeros(self._units.max() + 1, dtype=bool)
        inside[groups] = True
        return np.flatnonzero(inside[self._units])

    def gram(self, groups: Int64[np.ndarray, " g"]) -> Gram:
        """Sums over the rows of the groups named."""
        indices = self._rows_of(groups)
        weights = None if self._weights is None else self._weights[indices]
        return Gram.of(self._table[indices], weights)

    def grams(self, subsets: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Gram]:
        """Sums over each subset of groups, in order."""
        if self._products is None:
            yield from (self.gram(groups) for groups in subsets)
            return
        n, k = self._table.shape
        weights = np.ones(n) if self._weights is None else self._weights
        most = min(_SUBSETS_AT_ONCE, max(_SUMS_AT_ONCE // (8 * k * k), 1))
        for start in range(0, len(subsets), most):
            block = subsets[start : start + most]
            member = np.zeros((n, len(block)))
            for column, groups in enumerate(block):
                indices = self._rows_of(groups)
                member[indices, column] = weights[indices]
            totals = member.T @ self._table
            products = (self._products @ member).T.reshape(len(block), k, k)
            for column, (total, upper) in enumerate(zip(totals, products, strict=True)):
                held = member[:, column]
                yield Gram(float(held.sum()), float(held @ held), total, _whole(upper))


class Blocks:
    """Two tables whose groups of rows are asked for their sums, read block by block.

    Args:
        tables: the real and the generated one; a row an image, a column a class, in any unit.
        unit: what their numbers are multiplied by.
        kept: the columns that count.
        units: the group of every row, the real ones first, numbered without gaps.
        weights: what every row counts; None: all count 1.
    """

    def __init__(
        self,
        tables: Sequence[Shaped[np.ndarray, "_ k"]],
        unit: float,
        kept: Int64[np.ndarray, " c"],
        units: Int64[np.ndarray, " n"],
        weights: Float64[np.ndarray, " n"] | None = None,
    ) -> None:
        self._tables, self._unit, self._kept = tables, unit, kept
        self._units, self._weights = units, weights

    def gram(self, groups: Int64[np.ndarray, " g"]) -> Gram:
        """Sums over the rows of the groups named."""
        return next(self.grams([groups]))

    def grams(self, subsets: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Gram]:
        """Sums over each subset of groups, in order; every table is read once a batch of them."""
        most = max(_SUMS_AT_ONCE // (8 * len(self._kept) ** 2), 1)
        for start in range(0, len(subsets), most):
            yield from self._batch(subsets[start : start + most])

    def _batch(self, subsets: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Gram]:
        k = len(self._kept)
        inside = np.zeros((int(self._units.max()) + 1, len(subsets)))
        for column, groups in enumerate(subsets):
            inside[groups, column] = 1.0
        weight, squares = np.zeros(len(subsets)), np.zeros(len(subsets))
        totals, products = np.zeros((len(subsets), k)), np.zeros((k * k, len(subsets)))
        for first, rows in self._blocks():
            member = inside[self._units[first : first + len(rows)]]
            if self._weights is not None:
                member *= self._weights[first : first + len(rows), None]
            held = np.count_nonzero(rows, axis=1).astype(np.int64)
            products += _listed_products(rows, held) @ member
            totals += member.T @ rows
            weight += member.sum(axis=0)
            squares += (member**2).sum(axis=0)
        for column in range(len(subsets)):
            upper = products[:, column].reshape(k, k)
            yield Gram(float(weight[column]), float(squares[column]), totals[column], _whole(upper))

    def _blocks(self) -> Iterator[tuple[int, Float64[np.ndarray, "b c"]]]:
        """Some rows of either table at a time, with the number of the first."""
        first = 0
        for table in self._tables:
            for start in range(0, len(table), _BLOCK):
                part = table[start : start + _BLOCK, self._kept]
                yield first + start, part * np.float64(self._unit)
            first += len(table)


def _whole(upper: Float64[np.ndarray, "k k"]) -> Float64[np.ndarray, "k k"]:
    """The symmetric matrix of which this is the upper half."""
    whole = np.asarray(upper + upper.T)
    np.fill_diagonal(whole, upper.diagonal())
    return whole


def _listed_products(
    table: Float64[np.ndarray, "n k"], held: Int64[np.ndarray, " n"]
) -> scipy.sparse.csc_array:
    """Row i·k + j, column r: the product of classes i ≤ j in row r of the table."""
    n, k = table.shape
    ends = np.concatenate([[0], np.cumsum(held * (held + 1) // 2)])
    codes, values = np.empty(ends[-1], dtype=np.int32), np.empty(ends[-1])
    for count in np.unique(held[held > 0]):
        rows = np.flatnonzero(held == count)
        chosen = table[rows]
        classes = np.nonzero(chosen)[1].reshape(len(rows), count)
        areas = np.take_along_axis(chosen, classes, axis=1)
        i, j = np.triu_indices(count)
        places = ends[rows][:, None] + np.arange(len(i))
        codes[places] = classes[:, i] * k + classes[:, j]
        values[places] = areas[:, i] * areas[:, j]
    return scipy.sparse.csc_array((values, codes, ends), shape=(k * k, n))
