"""Ratio of two proportions: test, interval, power.

Vectorised over classes; zero counts and unequal numbers of images are ordinary, and so are
effective numbers, which are not whole. The test is conditional on how many images hold the class on
both sides together, and counts the outcome seen by half (mid-p): at ratio one that is Fisher's
exact test, whose error rate hardly depends on presence or on the sizes of the sides. The score
test, which does without the sums, called rare classes at up to twelve times its level where the
sides were unequal. NumPy and SciPy alone.
Sources: Fisher's conditional test with Lancaster's mid-p (Journal of the American Statistical
Association 56, 1961); most likely proportions at a given ratio: Miettinen and Nurminen, Statistics
in Medicine 4, 1985; saddlepoint form: Barndorff-Nielsen, Biometrika 73, 1986.
"""

from collections.abc import Iterator

import numpy as np
import scipy.special
from jaxtyping import Float64, Int64

_Counts = Int64[np.ndarray, "..."]
_Floats = Float64[np.ndarray, "..."]  # broadcast together: a class an entry
_Numbers = Float64[np.ndarray, "..."] | Int64[np.ndarray, "..."] | float | int  # likewise

_LARGEST_LOG_RATIO = 20.0  # e²⁰: no two samples of images tell a larger ratio from infinity
_BISECTIONS = 32  # 40 / 2³²: interval ends to 1e-8 on the log scale
_REACH = 10.0  # standard deviations of the conditional count that are summed over
_ROUNDING = 1e-9  # of effective numbers: below it two counts are equal
_POWER_NODES = 32  # quantiles of the real count over which power is averaged


def compare_counts(
    real_count: _Numbers, generated_count: _Numbers, n: _Numbers, m: _Numbers, *, alpha: float
) -> tuple[_Floats, _Floats, _Floats]:
    """P-values of ratio one, lower and upper ends of the interval of the ratio.

    As `ConditionalTest` gives them, in blocks of classes about equally frequent: a class takes as
    long as the most frequent one beside it.
    """
    result = np.empty((3, np.size(real_count)))
    for block, test in conditional_tests(real_count, generated_count, n, m):
        result[0, block] = test.p_value()
        result[1:, block] = test.interval(alpha)
    return result[0], result[1], result[2]


def conditional_tests(
    real_count: _Numbers, generated_count: _Numbers, n: _Numbers, m: _Numbers
) -> Iterator[tuple[_Counts, "ConditionalTest"]]:
    """Tests of classes about equally frequent, with the places of the classes."""
    sides = np.broadcast_arrays(
        *(
            np.atleast_1d(number).astype(np.float64)
            for number in (real_count, generated_count, n, m)
        )
    )
    order = np.argsort(sides[0] + sides[1])
    for block in np.array_split(order, max(len(order) // 32, 1)):
        yield block, ConditionalTest(*(side[block] for side in sides))


class ConditionalTest:
    """Tests of any ratio of the proportions behind two counts, a class an entry.

    Args:
        real_count: images that hold the class, of n.
        generated_count: images that hold the class, of m.
        n: real images.
        m: generated images.
    """

    def __init__(
        self, real_count: _Numbers, generated_count: _Numbers, n: _Numbers, m: _Numbers
    ) -> None:
        sides = np.broadcast_arrays(
            *(np.asarray(number, np.float64) for number in (real_count, generated_count, n, m))
        )
        self._a, self._b, self._n, self._m = a, b, n, m = sides
        total = a + b
        least, most = np.maximum(0.0, total - n), np.minimum(m, total)
        share = total / (n + m)
        spread = np.sqrt(n * m / (n + m) * share * (1.0 - share)) + 1.0
        middle = total * m / (n + m)
        low = np.maximum(least, np.minimum(middle, b) - _REACH * spread)
        high = np.minimum(most, np.maximum(middle, b) + _REACH * spread)
        # Counts that differ from the one seen by whole images.
        fewer, more = (
            np.floor(reach + _ROUNDING).astype(np.int64) for reach in (b - low, high - b)
        )
        steps = np.arange(int((fewer + more).max(initial=0)) + 1) - fewer[:, None]
        steps = np.minimum(steps, more[:, None])
        counts = np.clip(b[:, None] + steps, least[:, None], most[:, None])
        held = np.arange(steps.shape[1]) <= (fewer + more)[:, None]
        self._counts = counts
        ways = _log_choose(m[:, None], counts) + _log_choose(n[:, None], total[:, None] - counts)
        self._log_ways = np.where(held, ways, -np.inf)
        self._below = np.where(steps < 0, 1.0, 0.0) + np.where(steps == 0, 0.5, 0.0)

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

    def interval(self, alpha: _Numbers) -> tuple[_Floats, _Floats]:
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

    def _end(self, tail: _Numbers) -> _Floats:
        low = np.full(len(self._a), -_LARGEST_LOG_RATIO)
        high = np.full(len(self._a), _LARGEST_LOG_RATIO)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            beyond = self.lower_tail(np.exp(middle)) < tail  # the tail falls as the ratio grows
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.asarray(np.exp(0.5 * (low + high)))


def _log_choose(n: _Floats, k: _Floats) -> _Floats:
    log_factorial = scipy.special.gammaln
    return np.asarray(log_factorial(n + 1) - log_factorial(k + 1) - log_factorial(n - k + 1))


def _fitted(
    real_count: _Floats, generated_count: _Floats, n: _Floats, m: _Floats, ratio: _Floats
) -> tuple[_Floats, _Floats]:
    """Most likely proportions (real, generated) among those with the ratio asked for."""
    half = 0.5 * (ratio * (m + real_count) + generated_count + n)
    product = (n + m) * ratio * (real_count + generated_count)
    # The smaller root of (n+m)ρ p² − 2·half·p + (a+b) = 0, in the form that does not cancel.
    root = np.sqrt(np.clip(half**2 - product, 0.0, None))
    p = (real_count + generated_count) / (half + root)
    p = np.clip(p, 0.0, np.minimum(1.0, 1.0 / ratio))
    return p, np.clip(p * ratio, 0.0, 1.0)


class CountPower:
    """How often samples of these sizes have the ratio's interval end below a limit.

    The real count is averaged over its binomial distribution, the generated count's tail is
    exact.

    Args:
        presence: proportion on the real side, a class an entry.
        n: real images.
        m: generated images.
        alpha: level of the two-sided test.
        limit: of the ratio: 1 where "under" is asked for, 0.1 for "omitted".
        fewest: images that must hold the class on both sides together for it to be tested.
    """

    def __init__(
        self,
        presence: _Floats,
        n: _Numbers,
        m: _Numbers,
        *,
        alpha: _Numbers,
        limit: float = 1.0,
        fewest: int = 0,
    ) -> None:
        self._presence = np.asarray(presence, dtype=np.float64)[:, None]
        shape = np.broadcast_shapes(self._presence.shape, (1, _POWER_NODES))
        real, self._m, alpha = (
            np.broadcast_to(np.asarray(number, np.float64).reshape(-1, 1), (shape[0], 1))
            for number in (n, m, alpha)
        )
        nodes = (np.arange(_POWER_NODES) + 0.5) / _POWER_NODES
        count = _binomial_quantile(nodes, real, self._presence)  # (k, nodes)
        # The largest generated count that is still called, −1 where none is.
        z = -scipy.special.ndtri(alpha / 2.0)
        low = np.full(shape, -1)
        high = np.broadcast_to(np.ceil(self._m).astype(np.int64), shape)
        while (high - low > 1).any():
            middle = (low + high) // 2
            score = conditional_score(count, np.maximum(middle, 0), real, self._m, limit)
            called = (middle >= 0) & (score < -z)
            low, high = np.where(called, middle, low), np.where(called, high, middle)
        self._most = low
        # The largest generated count with which the class would not be tested, −1 where none is.
        self._untested = np.ceil(fewest - count - _ROUNDING) - 1

    def of(self, drop: _Numbers) -> _Floats:
        """Share of samples whose interval ends below the limit after this relative fall.

        Args:
            drop: of the presence, 0 to 1, a class an entry.
        """
        fallen = self._presence * (1.0 - np.asarray(drop, np.float64).reshape(-1, 1))
        called = _binomial(self._most, self._m, fallen)
        called = called - _binomial(self._untested, self._m, fallen)
        return np.asarray(np.clip(called, 0.0, None).mean(axis=1))

    def smallest_drop(self, power: float) -> _Floats:
        """The relative fall from which on the interval ends below the limit this often.

        Returns:
            Between 0 and 1; NaN where even a total absence would not be called so often.
        """
        smallest, largest = np.zeros((2, len(self._presence)))
        largest = largest + 1.0
        reached = self.of(largest) >= power
        for _ in range(16):  # to 2e-5
            middle = 0.5 * (smallest + largest)
            enough = self.of(middle) >= power
            smallest = np.where(enough, smallest, middle)
            largest = np.where(enough, middle, largest)
        return np.where(reached, largest, np.nan)


def conditional_score(
    real_count: _Numbers, generated_count: _Numbers, n: _Numbers, m: _Numbers, ratio: float = 1.0
) -> _Floats:
    """Standard normal score of the conditional test of a ratio, in closed form.

    The modified likelihood root; within 0.1 of the exact mid-p score where counts are not zero.
    Where the generated count is zero, exact at ratio one, elsewhere as if images were drawn with
    replacement.
    """
    a, b, n, m = (
        np.asarray(number, dtype=np.float64) for number in (real_count, generated_count, n, m)
    )
    x, y = a / n, b / m
    p, q = _at_ratio(a, b, n, m, ratio)

    def log_likelihood(p: _Floats, q: _Floats) -> _Floats:
        xlogy, xlog1py = scipy.special.xlogy, scipy.special.xlog1py
        likelihood = xlogy(a, p) + xlog1py(n - a, -p) + xlogy(b, q) + xlog1py(m - b, -q)
        return np.asarray(likelihood)

    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.clip(log_likelihood(x, y) - log_likelihood(p, q), 0.0, None)
        log_odds = scipy.special.logit(q) - scipy.special.logit(p)
        apart = scipy.special.logit(y) - scipy.special.logit(x) - log_odds
        root = np.sign(y - q) * np.sqrt(2.0 * gain)
        information = n * x * (1 - x) * m * y * (1 - y)
        information = information / (n * p * (1 - p) + m * q * (1 - q))
        wald = apart * np.sqrt(information)
        score = root + np.log(wald / root) / root
    score = np.where(np.isfinite(score), score, np.where(np.isfinite(root), root, 0.0))
    # P(no generated image holds it | a images do), counted by half. At ratio one it is
    # C(n, a) / C(n + m, a).
    log_none = scipy.special.gammaln(n + 1.0) - scipy.special.gammaln(n - a + 1.0)
    log_none = log_none - scipy.special.gammaln(n + m + 1.0)
    log_none = log_none + scipy.special.gammaln(n + m - a + 1.0)
    if ratio != 1.0:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_none = a * np.log(n * p / (n * p + m * q))
        log_none = np.where(a == 0, 0.0, log_none)
    none = scipy.special.ndtri(0.5 * np.exp(np.maximum(log_none, -600.0)))
    return np.asarray(np.where(generated_count == 0, none, score))


def _at_ratio(
    a: _Floats, b: _Floats, n: _Floats, m: _Floats, ratio: float = 1.0
) -> tuple[_Floats, _Floats]:
    """Proportions with the odds tested for a ratio, and as many images in all as were seen."""
    if ratio == 1.0:
        pooled = (a + b) / (n + m)
        return pooled, pooled
    p, q = _fitted(a, b, n, m, np.asarray(ratio))
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = q * (1.0 - p) / (p * (1.0 - q))
    odds = np.where(np.isfinite(odds), odds, ratio)
    # n p + m q = a + b with q = θ p / (1 + (θ − 1) p): n (θ − 1) p² + (n + m θ − t (θ − 1)) p = t
    total, square = a + b, n * (odds - 1.0)
    linear = n + m * odds - total * (odds - 1.0)
    root = np.sqrt(np.clip(linear**2 + 4.0 * square * total, 0.0, None))
    p = np.clip(2.0 * total / (linear + root), 0.0, 1.0)
    return p, np.clip((total - n * p) / m, 0.0, 1.0)


def _binomial(count: _Numbers, n: _Floats, p: _Floats) -> _Floats:
    """Distribution function of a count of n trials, which need not be whole; 0 below zero."""
    inside = np.clip(count, 0.0, np.maximum(n - 1e-9, 0.0))
    below = scipy.special.betainc(n - inside, inside + 1.0, 1.0 - p)
    return np.asarray(np.where(count < 0, 0.0, np.where(count >= n, 1.0, below)))


def _binomial_quantile(probability: _Floats, n: _Floats, p: _Floats) -> _Counts:
    """Smallest count whose distribution function reaches the probability."""
    shape = np.broadcast_shapes(p.shape, probability.shape)
    low, high = np.full(shape, -1), np.broadcast_to(np.floor(n).astype(np.int64), shape)
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = _binomial(middle, n, p) >= probability
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
