"""Ratio of two proportions: test, interval, power.

Vectorised over classes; zero counts and unequal numbers of images are ordinary. The test is
conditional on how many images hold the class on both sides together, and counts the outcome seen
by half (mid-p): at ratio one that is Fisher's exact test, whose error rate hardly depends on
presence or on the sizes of the sides. The score test, which does without the sums, called rare
classes at up to twelve times its level where the sides were unequal. NumPy and SciPy alone.
Sources: Fisher's conditional test with Lancaster's mid-p (Journal of the American Statistical
Association 56, 1961); most likely proportions at a given ratio: Miettinen and Nurminen, Statistics
in Medicine 4, 1985; saddlepoint form: Barndorff-Nielsen, Biometrika 73, 1986.
"""

import numpy as np
import scipy.special
from jaxtyping import Float64, Int64

_Counts = Int64[np.ndarray, "..."]  # broadcast together: a class an entry
_Floats = Float64[np.ndarray, "..."]

_LARGEST_LOG_RATIO = 20.0  # e²⁰: no two samples of images tell a larger ratio from infinity
_BISECTIONS = 32  # 40 / 2³²: interval ends to 1e-8 on the log scale
_REACH = 10.0  # standard deviations of the conditional count that are summed over
_POWER_NODES = 32  # quantiles of the real count over which power is averaged


def compare_counts(
    real_count: _Counts, generated_count: _Counts, n: int, m: int, *, alpha: float
) -> tuple[_Floats, _Floats, _Floats]:
    """P-values of ratio one, lower and upper ends of the interval of the ratio.

    As `ConditionalTest` gives them, in blocks of classes about equally frequent: a class takes as
    long as the most frequent one beside it.
    """
    result = np.empty((3, len(real_count)))
    order = np.argsort(real_count + generated_count)
    for block in np.array_split(order, max(len(order) // 32, 1)):
        test = ConditionalTest(real_count[block], generated_count[block], n, m)
        result[0, block] = test.p_value()
        result[1:, block] = test.interval(alpha)
    return result[0], result[1], result[2]


class ConditionalTest:
    """Tests of any ratio of the proportions behind two counts, a class an entry.

    Args:
        real_count: images that hold the class, of n.
        generated_count: images that hold the class, of m.
        n: real images.
        m: generated images.
    """

    def __init__(self, real_count: _Counts, generated_count: _Counts, n: int, m: int) -> None:
        self._a, self._b, self._n, self._m = real_count, generated_count, n, m
        total = real_count + generated_count
        least, most = np.maximum(0, total - n), np.minimum(m, total)
        share = total / (n + m)
        spread = np.sqrt(n * m / (n + m) * share * (1.0 - share)) + 1.0
        middle = total * m / (n + m)
        low = np.maximum(least, np.minimum(middle, generated_count) - _REACH * spread)
        high = np.minimum(most, np.maximum(middle, generated_count) + _REACH * spread)
        low, high = low.astype(np.int64), high.astype(np.int64)
        width = int((high - low).max(initial=0)) + 1
        counts = low[:, None] + np.arange(width)
        self._held = counts <= high[:, None]
        counts = np.minimum(counts, high[:, None])
        self._counts = counts
        self._log_ways = np.where(
            self._held, _log_choose(m, counts) + _log_choose(n, total[:, None] - counts), -np.inf
        )
        self._below = np.where(counts < generated_count[:, None], 1.0, 0.0)
        self._below += np.where(counts == generated_count[:, None], 0.5, 0.0)

    def lower_tail(self, ratio: _Floats | float) -> _Floats:
        """Probability of a smaller generated count, and half of that of this one."""
        p, q = _fitted(self._a, self._b, self._n, self._m, np.asarray(ratio, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_odds = np.log(q) + np.log1p(-p) - np.log(p) - np.log1p(-q)
        log_odds = np.clip(np.where(np.isnan(log_odds), 0.0, log_odds), -500.0, 500.0)
        weights = self._log_ways + self._counts * log_odds[:, None]
        weights = np.exp(weights - weights.max(axis=1, keepdims=True))
        return np.asarray((weights * self._below).sum(axis=1) / weights.sum(axis=1))

    def p_value(self) -> _Floats:
        """Two-sided, of ratio one: twice the smaller tail."""
        tail = self.lower_tail(1.0)
        return np.asarray(np.minimum(2.0 * np.minimum(tail, 1.0 - tail), 1.0))

    def interval(self, alpha: float) -> tuple[_Floats, _Floats]:
        """Ratios generated over real that the two-sided test at level alpha keeps.

        Lower ends are 0 where the generated side has none, upper ends infinite where the real
        side has none.
        """
        lower = np.where(self._b == 0, 0.0, self._end(1.0 - alpha / 2.0))
        upper = np.where(self._a == 0, np.inf, self._end(alpha / 2.0))
        # A side on which every image holds the class tells nothing given the total. But no ratio
        # q / p is below q nor above 1 / p, and these have exact bounds (Clopper and Pearson).
        least_p, least_q = (
            scipy.special.betaincinv(np.maximum(count, 1), size - count + 1.0, alpha / 2.0)
            for count, size in ((self._a, self._n), (self._b, self._m))
        )
        lower = np.where((self._a == self._n) & (self._b > 0), least_q, lower)
        upper = np.where((self._b == self._m) & (self._a > 0), 1.0 / least_p, upper)
        return lower, upper

    def _end(self, tail: float) -> _Floats:
        low = np.full(len(self._a), -_LARGEST_LOG_RATIO)
        high = np.full(len(self._a), _LARGEST_LOG_RATIO)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            beyond = self.lower_tail(np.exp(middle)) < tail  # the tail falls as the ratio grows
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.asarray(np.exp(0.5 * (low + high)))


def _log_choose(n: int, k: _Counts) -> _Floats:
    log_factorial = scipy.special.gammaln(np.arange(n + 2, dtype=np.float64) + 1.0)
    return np.asarray(log_factorial[n] - log_factorial[k] - log_factorial[n - k])


def _fitted(
    real_count: _Counts, generated_count: _Counts, n: int, m: int, ratio: _Floats
) -> tuple[_Floats, _Floats]:
    """Most likely proportions (real, generated) among those with the ratio asked for."""
    half = 0.5 * (ratio * (m + real_count) + generated_count + n)
    product = (n + m) * ratio * (real_count + generated_count)
    # The smaller root of (n+m)ρ p² − 2·half·p + (a+b) = 0, in the form that does not cancel.
    root = np.sqrt(np.clip(half**2 - product, 0.0, None))
    p = (real_count + generated_count) / (half + root)
    p = np.clip(p, 0.0, np.minimum(1.0, 1.0 / ratio))
    return p, np.clip(p * ratio, 0.0, 1.0)


def detectable_drop(
    presence: _Floats, n: int, m: int, *, alpha: float, power: float = 0.8
) -> _Floats:
    """Relative fall of presence that the two-sided test at level alpha calls with this power.

    The real count is averaged over its binomial distribution, the generated count's tail is
    exact.

    Args:
        presence: proportion on the real side.
        n: real images.
        m: generated images.
        alpha: level of the two-sided test.
        power: share of samples in which the drop is to be called.

    Returns:
        Between 0 and 1; NaN where even a total absence would not be called so often.
    """
    presence = np.asarray(presence, dtype=np.float64)[:, None]
    nodes = (np.arange(_POWER_NODES) + 0.5) / _POWER_NODES
    real_count = _binomial_quantile(nodes, n, presence)  # (k, nodes)
    # The largest generated count that is still called under, −1 where none is.
    z = -float(scipy.special.ndtri(alpha / 2.0))
    low, high = np.full(real_count.shape, -1), np.full(real_count.shape, m)
    while (high - low > 1).any():
        middle = (low + high) // 2
        called = (middle >= 0) & (_saddlepoint(real_count, np.maximum(middle, 0), n, m) < -z)
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


def _saddlepoint(real_count: _Counts, generated_count: _Counts, n: int, m: int) -> _Floats:
    """Standard normal score of the conditional test of ratio one, in closed form.

    The modified likelihood root; within 0.1 of the exact mid-p score where counts are not zero.
    Exact where the generated count is zero.
    """
    a, b = real_count.astype(np.float64), generated_count.astype(np.float64)
    x, y, pooled = a / n, b / m, (a + b) / (n + m)

    def log_likelihood(p: _Floats, q: _Floats) -> _Floats:
        xlogy, xlog1py = scipy.special.xlogy, scipy.special.xlog1py
        likelihood = xlogy(a, p) + xlog1py(n - a, -p) + xlogy(b, q) + xlog1py(m - b, -q)
        return np.asarray(likelihood)

    gain = np.clip(log_likelihood(x, y) - log_likelihood(pooled, pooled), 0.0, None)
    root = np.sign(y - x) * np.sqrt(2.0 * gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = n * x * (1 - x) * m * y * (1 - y) / ((n + m) * pooled * (1 - pooled))
        wald = (scipy.special.logit(y) - scipy.special.logit(x)) * np.sqrt(information)
        score = root + np.log(wald / root) / root
    score = np.where(np.isfinite(score), score, root)
    # P(no generated image holds it | a images do) = C(n, a) / C(n + m, a), counted by half
    log_none = scipy.special.gammaln(n + 1.0) - scipy.special.gammaln(n - a + 1.0)
    log_none -= scipy.special.gammaln(n + m + 1.0) - scipy.special.gammaln(n + m - a + 1.0)
    none = scipy.special.ndtri(0.5 * np.exp(np.maximum(log_none, -600.0)))
    return np.asarray(np.where(generated_count == 0, none, score))


def _binomial_quantile(probability: _Floats, n: int, p: _Floats) -> _Counts:
    """Smallest count whose distribution function reaches the probability."""
    shape = np.broadcast_shapes(p.shape, probability.shape)
    low, high = np.full(shape, -1), np.full(shape, n)
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = scipy.special.bdtr(np.maximum(middle, 0), n, p) >= probability
        reached &= middle >= 0
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
