"""The difference of two means, with its interval. NumPy and SciPy alone.

Source: Welch, Biometrika 34, 1947.
"""

import dataclasses

import numpy as np
import scipy.special
from jaxtyping import Float64

from unseen.core.errors import SampleError
from unseen.statistics.samples import check_array

_LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """Mean of the first sample minus mean of the second."""

    value: float
    interval: tuple[float, float]  # 95 %, by Welch's t


def mean_difference(
    first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " m"]
) -> MeanDifference:
    """First minus second; the samples are independent, their variances may differ.

    Raises:
        SampleError: fewer than two values on either side, or a value that is not finite.
    """
    first, second = (
        check_array(values, name, axes=1)
        for values, name in ((first, "the first sample"), (second, "the second sample"))
    )
    if min(len(first), len(second)) < 2:
        raise SampleError(
            f"{len(first)} and {len(second)} values; the interval of a difference needs 2 of each"
        )
    value = float(first.mean() - second.mean())
    if not (np.ptp(first) or np.ptp(second)):
        return MeanDifference(value=value, interval=(value, value))
    parts = [(values.var(ddof=1) / len(values), len(values) - 1) for values in (first, second)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / of for part, of in parts)  # Welch and Satterthwaite's
    reach = float(scipy.special.stdtrit(freedom, 0.5 + _LEVEL / 2) * variance**0.5)
    return MeanDifference(value=value, interval=(value - reach, value + reach))
