"""How well something was recovered: three measures of agreement between arrays.

NumPy alone. Source: Bau et al., ICCV 2019, figure 6: the paper's words ask for the correlation per
dimension, averaged; its notebook pools all values.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

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
    """
    x = true.reshape(len(true), -1)
    y = recovered.reshape(len(recovered), -1)
    products = np.zeros((len(x), 3))  # Σ x², Σ y², Σ x·y of every sample
    sums = np.zeros(2)  # Σ x, Σ y over all values
    each, constant = [], 0
    for first in range(0, x.shape[1], _BLOCK):  # blocks: images of 256×256 would fill gigabytes
        a = x[:, first : first + _BLOCK].astype(np.float64)
        b = y[:, first : first + _BLOCK].astype(np.float64)
        products += np.stack([(a * a).sum(1), (b * b).sum(1), (a * b).sum(1)], axis=1)
        sums += a.sum(), b.sum()
        varies = np.ptp(a, axis=0) > 0
        constant += int((~varies).sum())
        a, b = a[:, varies], b[:, varies]
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        each.append(_ratio((a * b).sum(0), np.square(a).sum(0), np.square(b).sum(0)))
    found = np.concatenate(each) if each else np.zeros(0)
    means = np.array([sums[0] ** 2, sums[1] ** 2, sums.prod()]) / max(x.size, 1)
    pooled = products.sum(axis=0, keepdims=True) - means
    return Correlations(
        per_dimension=float(found.mean()) if found.size else float("nan"),
        pooled=float(_ratio(pooled[:, 2], pooled[:, 0], pooled[:, 1])[0]),
        cosine=float(_ratio(products[:, 2], products[:, 0], products[:, 1]).mean()),
        dimensions=found.size,
        constant_dimensions=constant,
    )


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """The correlation of these sums of products; 0 where nothing varies."""
    scale = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    ratio: np.ndarray = np.divide(xy, scale, out=np.zeros_like(scale), where=scale > 0)
    return ratio
