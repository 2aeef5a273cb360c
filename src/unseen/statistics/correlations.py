"""How well something was recovered: three measures of agreement between arrays.

NumPy alone. Source: Bau et al., ICCV 2019, figure 6: the paper's words ask for the correlation per
dimension, averaged; its notebook pools all values.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64

from unseen.core.errors import SampleError

_BLOCK = 1 << 14  # dimensions at a time


@dataclasses.dataclass(frozen=True)
class Correlations:
    """Agreement between true and recovered samples; 1 is perfect."""

    per_dimension: float  # Pearson's r over the samples, averaged over dimensions; NaN: none left
    pooled: float  # Pearson's r over all values of all samples at once
    cosine: float  # of each sample's flattened values, averaged over samples
    dimensions: int  # those that per_dimension averages
    constant_dimensions: int  # left out: their true values do not vary over the samples


def correlations(
    true: Float[np.ndarray, "n ..."], recovered: Float[np.ndarray, "n ..."]
) -> Correlations:
    """Correlations of recovered with true samples, by the three definitions in use.

    A dimension whose true values are constant has no correlation and is left out; one whose
    recovered values alone are constant counts as 0, for they say nothing of the true ones.

    Args:
        true: one row a sample; further axes are flattened.
        recovered: the same shape.

    Raises:
        SampleError: no samples, other shapes, or a value that is not finite.

    >>> true = np.array([[1.0], [2.0], [3.0]])
    >>> correlations(true, 2 * true + 1).per_dimension
    1.0
    """
    x, y = flat_pair(true, recovered)
    products = np.zeros((len(x), 3))  # Σ x², Σ y², Σ x·y of every sample
    sums = np.zeros(2)  # Σ x, Σ y over all values
    by_dimension, constant = [np.zeros(0)], 0
    for a, b in blocks(x, y, _BLOCK):
        products += np.stack([(a * a).sum(1), (b * b).sum(1), (a * b).sum(1)], axis=1)
        sums += a.sum(), b.sum()
        varies = np.ptp(a, axis=0) > 0
        constant += int((~varies).sum())
        a, b = a[:, varies], b[:, varies]
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        by_dimension.append(pearson((a * b).sum(0), np.square(a).sum(0), np.square(b).sum(0)))
    r = np.concatenate(by_dimension)
    means = np.array([sums[0] ** 2, sums[1] ** 2, sums.prod()]) / max(x.size, 1)
    pooled = products.sum(axis=0, keepdims=True) - means
    return Correlations(
        per_dimension=float(r.mean()) if r.size else float("nan"),
        pooled=float(pearson(pooled[:, 2], pooled[:, 0], pooled[:, 1])[0]),
        cosine=float(pearson(products[:, 2], products[:, 0], products[:, 1]).mean()),
        dimensions=r.size,
        constant_dimensions=constant,
    )


def flat_pair(
    true: Float[np.ndarray, "n ..."], recovered: Float[np.ndarray, "n ..."]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Both arrays with one row a sample.

    Raises:
        SampleError: no samples, other shapes, or a value that is not finite.
    """
    if true.shape != recovered.shape or not len(true):
        raise SampleError(
            f"the true samples have the shape {true.shape} and the recovered ones "
            f"{recovered.shape}; the same is needed, and at least one sample"
        )
    for name, side in (("true", true), ("recovered", recovered)):
        if not np.isfinite(side).all():
            raise SampleError(f"the {name} samples hold values that are not finite; leave them out")
    return true.reshape(len(true), -1), recovered.reshape(len(recovered), -1)


def blocks(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], size: int
) -> Iterator[tuple[Float64[np.ndarray, "n b"], Float64[np.ndarray, "n b"]]]:
    """Some dimensions at a time, as float64: whole images of 256×256 would fill gigabytes."""
    for first in range(0, x.shape[1], size):
        chosen = slice(first, first + size)
        yield x[:, chosen].astype(np.float64), y[:, chosen].astype(np.float64)


def pearson(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """The correlation of these sums of products; 0 where nothing varies."""
    scale = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    ratio: np.ndarray = np.divide(xy, scale, out=np.zeros_like(scale), where=scale > 0)
    return ratio
