"""Ratio of two proportions: score test, score interval, power.

Vectorised over classes; zero counts are ordinary. NumPy and SciPy alone.
Source: Koopman, Biometrics 40, 1984; Miettinen and Nurminen, Statistics in Medicine 4, 1985.
"""

import numpy as np
import scipy.special
from jaxtyping import Float64, Int64

_Counts = Int64[np.ndarray, "..."]  # broadcast together: a class an entry
_Floats = Float64[np.ndarray, "..."]

_LARGEST_LOG_RATIO = 20.0  # e²⁰: no two samples of images tell a larger ratio from infinity
_BISECTIONS = 50  # 40 / 2⁵⁰: interval ends to 4e-14 on the log scale
_POWER_NODES = 32  # quantiles of the real count over which power is averaged


def score(
    real_count: _Counts,
    generated_count: _Counts,
    n: int,
    m: int,
    ratio: _Floats | float = 1.0,
) -> _Floats:
    """Standardised difference of m-side proportion − ratio × n-side proportion.

    Its variance is taken under the hypothesis that the proportions have this very ratio. Falls
    as `ratio` grows; standard normal, about, where `ratio` is the true one.
    """
    a, b = real_count / n, generated_count / m
    p, q = _fitted(real_count, generated_count, n, m, np.asarray(ratio, dtype=np.float64))
    variance = p * (1.0 - p) * ratio**2 / n + q * (1.0 - q) / m
    difference = b - ratio * a
    with np.errstate(divide="ignore", invalid="ignore"):
        z = difference / np.sqrt(variance)
    return np.asarray(np.where(difference == 0.0, 0.0, z))


def _fitted(
    real_count: _Counts,
    generated_count: _Counts,
    n: int,
    m: int,
    ratio: _Floats,
) -> tuple[_Floats, _Floats]:
    """Most likely proportions (real, generated) among those with the ratio asked for."""
    half = 0.5 * (ratio * (m + real_count) + generated_count + n)
    product = (n + m) * ratio * (real_count + generated_count)
    # The smaller root of (n+m)ρ p² − 2·half·p + (a+b) = 0, in the form that does not cancel.
    root = np.sqrt(np.clip(half**2 - product, 0.0, None))
    p = (real_count + generated_count) / (half + root)
    p = np.clip(p, 0.0, np.minimum(1.0, 1.0 / ratio))
    return p, np.clip(p * ratio, 0.0, 1.0)


def score_interval(
    real_count: _Counts,
    generated_count: _Counts,
    n: int,
    m: int,
    z: float,
) -> tuple[_Floats, _Floats]:
    """Ratios generated over real that a two-sided score test with critical value z keeps.

    Lower ends are 0 where the generated side has none, upper ends infinite where the real side
    has none.
    """

    def end(critical: float) -> _Floats:
        low = np.full(len(real_count), -_LARGEST_LOG_RATIO)
        high = np.full(len(real_count), _LARGEST_LOG_RATIO)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            above = score(real_count, generated_count, n, m, np.exp(middle)) > critical
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(np.exp(0.5 * (low + high)))

    lower = np.where(generated_count == 0, 0.0, end(z))
    upper = np.where(real_count == 0, np.inf, end(-z))
    return lower, upper


def detectable_drop(presence: _Floats, n: int, m: int, *, z: float, power: float = 0.8) -> _Floats:
    """Relative fall of presence that a score test with critical value z calls with this power.

    The real count is averaged over its binomial distribution, the generated count's tail is
    exact.

    Args:
        presence: proportion on the real side.
        n: real images.
        m: generated images.
        z: two-sided critical value of the score test.
        power: share of samples in which the drop is to be called.

    Returns:
        Between 0 and 1; NaN where even a total absence would not be called so often.
    """
    presence = np.asarray(presence, dtype=np.float64)[:, None]
    nodes = (np.arange(_POWER_NODES) + 0.5) / _POWER_NODES
    real_count = _binomial_quantile(nodes, n, presence)  # (k, nodes)
    # The largest generated count that is still called under, −1 where none is.
    low, high = np.full(real_count.shape, -1), np.full(real_count.shape, m)
    while (high - low > 1).any():
        middle = (low + high) // 2
        called = (score(real_count, np.maximum(middle, 0), n, m) < -z) & (middle >= 0)
        low, high = np.where(called, middle, low), np.where(called, high, middle)
    critical = low

    def power_at(drop: _Floats) -> _Floats:
        tail = scipy.special.bdtr(np.maximum(critical, 0), m, presence * (1.0 - drop))
        return np.asarray(np.where(critical < 0, 0.0, tail).mean(axis=1))

    smallest, largest = np.zeros_like(presence), np.ones_like(presence)
    reached = power_at(largest) >= power
    for _ in range(16):  # to 2e-5
        middle_drop = 0.5 * (smallest + largest)
        enough = (power_at(middle_drop) >= power)[:, None]
        smallest = np.where(enough, smallest, middle_drop)
        largest = np.where(enough, middle_drop, largest)
    return np.where(reached, largest[:, 0], np.nan)


def _binomial_quantile(probability: _Floats, n: int, p: _Floats) -> _Counts:
    """Smallest count whose distribution function reaches the probability."""
    low = np.full((len(p), len(probability)), -1)
    high = np.full(low.shape, n)
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = scipy.special.bdtr(np.maximum(middle, 0), n, p) >= probability
        reached &= middle >= 0
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
