"""Sums and differences of proportions: their limits, and the test of paired ones.

Counts need not be whole: they may be effective ones. Vectorised over classes. NumPy and SciPy
alone.
Sources: limits of a contrast from the limits of its parts (Zou and Donner, Statistics in Medicine
27, 2008); limits of a proportion: Jeffreys (Brown, Cai and DasGupta, Statistical Science 16, 2001);
paired proportions: McNemar's test with mid-p (Psychometrika 12, 1947).
"""

import numpy as np
import scipy.special
from jaxtyping import Float64

_Floats = Float64[np.ndarray, "..."]  # broadcast together: a class an entry

_TINY = 1e-12


def contrast(
    parts: list[tuple[float, _Floats, _Floats]],
    alpha: float | _Floats,
    correlation: float | _Floats = 0.0,
) -> tuple[_Floats, _Floats]:
    """Limits of Σ weight · count / size, from the limits of each proportion by itself.

    The distance from the estimate to a limit is √Σ (weight · distance of the part)², with the
    part's limit on the side in question: so each side has its own variance, and a side that never
    shows the class is not taken for certain. `correlation` is that of the first two parts.
    """
    value: _Floats | float = 0.0
    below, above = [], []
    for weight, count, size in parts:
        proportion = count / size
        low, high = jeffreys(count, size, alpha)
        value = value + weight * proportion
        first, second = (low, high) if weight > 0 else (high, low)
        below.append(weight * (proportion - first))
        above.append(weight * (second - proportion))
    sign = np.sign(parts[0][0] * parts[1][0]) * correlation
    reaches = [
        np.sqrt(np.maximum(sum(d**2 for d in ends) + 2.0 * sign * ends[0] * ends[1], 0.0))
        for ends in (below, above)
    ]
    return np.asarray(value - reaches[0]), np.asarray(value + reaches[1])


def jeffreys(count: _Floats, size: _Floats, alpha: float | _Floats) -> tuple[_Floats, _Floats]:
    """Equal-tailed limits of a proportion under Jeffreys' prior; 0 and 1 at the ends."""
    low = np.where(count > 0.0, 1.0 - _jeffreys_above(size - count, size, alpha), 0.0)
    return low, np.where(count < size, _jeffreys_above(count, size, alpha), 1.0)


def _jeffreys_above(count: _Floats, size: _Floats, alpha: float | _Floats) -> _Floats:
    """The upper limit.

    From three images with the class on, the closed form of Abramowitz and Stegun 26.5.22: its
    distance from the proportion is right to 1 %.
    """
    z = -scipy.special.ndtri(alpha / 2.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = 0.5 / count, 0.5 / (size - count)
        h = 2.0 / (inverse[0] + inverse[1])
        term = (z**2 - 3.0) / 6.0
        w = -z * np.sqrt(h + term) / h
        w -= (inverse[1] - inverse[0]) * (term + 5.0 / 6.0 - 2.0 / (3.0 * h))
        limit = (count + 0.5) / (count + 0.5 + (size - count + 0.5) * np.exp(2.0 * w))
    few = np.asarray(count < 3.0)
    if count.ndim == 1:  # a class an entry
        first, second = count + 0.5, np.maximum(size - count, 0.0) + 0.5
        exact = scipy.special.betainccinv(first, second, alpha / 2.0)
        return np.asarray(np.where(few, exact, limit))
    # Many draws of every class: from a table of the gamma distribution, to 1 % from 30 images on.
    grid = np.linspace(0.0, 3.0, 25)
    gamma = np.interp(count, grid, scipy.special.gammainccinv(grid + 0.5, alpha / 2.0))
    rare = gamma / (size - 0.5 * count + 0.25 + 0.5 * gamma)
    return np.asarray(np.where(few, rare, limit))


def change_of_pairs(
    lost: _Floats, gained: _Floats, pairs: _Floats, alpha: float | _Floats
) -> tuple[_Floats, _Floats]:
    """Limits of the change of a presence between the images of pairs: (gained − lost) / pairs.

    Args:
        lost: pairs of which the first image alone holds the class.
        gained: pairs of which the second image alone holds it.
        pairs: all of them.
        alpha: level, two-sided.
    """
    shares = lost / pairs, gained / pairs
    # Of one multinomial: what is gained is not lost.
    correlation = -np.sqrt(shares[0] * shares[1] / ((1.0 - shares[0]) * (1.0 - shares[1]) + _TINY))
    return contrast([(-1.0, lost, pairs), (1.0, gained, pairs)], alpha, correlation)


def mcnemar(lost: _Floats, gained: _Floats) -> _Floats:
    """Two-sided p-value of no change, given how many pairs differ (mid-p).

    >>> mcnemar(np.array([9.0]), np.array([1.0])).round(4)
    array([0.0117])
    """
    fewer, discordant = np.minimum(lost, gained), lost + gained
    tail = scipy.special.betainc(np.maximum(discordant - fewer, 1e-9), fewer + 1.0, 0.5)
    tail = tail + np.where(
        fewer > 0,
        scipy.special.betainc(discordant - fewer + 1.0, np.maximum(fewer, 1e-9), 0.5),
        0.0,
    )
    return np.asarray(np.where(discordant == 0, 1.0, np.minimum(tail, 1.0)))
