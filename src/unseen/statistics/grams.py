"""Means and covariances of many subsets of the same rows, fast.

Areas are mostly zeros (an image holds a dozen of 336 classes), so the products of a subset are
taken over the non-zeros where that is cheaper. NumPy and SciPy alone.
"""

import dataclasses

import numpy as np
import scipy.sparse
from jaxtyping import Float64, Int64

# Above this share of non-zeros the dense product is the faster one (measured at 336 classes).
_SPARSE_DENSITY = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Gram:
    """Sums over some rows: enough for their mean and covariance, and they add and subtract."""

    count: int
    total: Float64[np.ndarray, " k"]
    products: Float64[np.ndarray, "k k"]

    def __add__(self, other: "Gram") -> "Gram":
        return Gram(
            self.count + other.count, self.total + other.total, self.products + other.products
        )

    def __sub__(self, other: "Gram") -> "Gram":
        return Gram(
            self.count - other.count, self.total - other.total, self.products - other.products
        )

    @property
    def mean(self) -> Float64[np.ndarray, " k"]:
        """Mean row."""
        return np.asarray(self.total / self.count)

    @property
    def covariance(self) -> Float64[np.ndarray, "k k"]:
        """Covariance with ddof = 1."""
        mean = self.mean
        return np.asarray((self.products - np.outer(self.total, mean)) / (self.count - 1))


class Rows:
    """A table of areas whose subsets are asked for their sums."""

    def __init__(self, table: Float64[np.ndarray, "n k"]) -> None:
        self._dense = table
        density = np.count_nonzero(table) / max(table.size, 1)
        self._sparse = scipy.sparse.csr_array(table) if density < _SPARSE_DENSITY else None

    def gram(self, indices: Int64[np.ndarray, " r"]) -> Gram:
        """Sums over the rows named."""
        if self._sparse is not None:
            chosen = self._sparse[indices]
            products = (chosen.T @ chosen).toarray()
            return Gram(len(indices), np.asarray(chosen.sum(axis=0)), products)
        rows = self._dense[indices]
        return Gram(len(indices), rows.sum(axis=0), rows.T @ rows)
