import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.differences import mean_difference


def test_the_interval_is_welchs() -> None:
    found = mean_difference(np.array([1.0, 2.0, 3.0]), np.array([2.0, 6.0]))
    # by hand: variances 1 and 8 → standard error √(1/3 + 4); Welch–Satterthwaite's degrees of
    # freedom (13/3)² / ((1/3)²/2 + 4²/1) = 1.1696; t(0.975, 1.1696) = 9.0828 (scipy.stats.t.ppf)
    assert found.value == -2
    assert found.interval == pytest.approx((-2 - 9.0828 * 2.0817, -2 + 9.0828 * 2.0817), rel=1e-4)


def test_values_that_do_not_vary_leave_no_doubt() -> None:
    assert mean_difference(np.ones(2), np.zeros(3)).interval == (1, 1)


def test_one_value_is_too_few() -> None:
    with pytest.raises(SampleError, match="1 and 2 values"):
        mean_difference(np.ones(1), np.ones(2))
