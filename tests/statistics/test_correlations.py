"""Agreement of recovered with true samples, against NumPy's and SciPy's own words."""

import numpy as np
import pytest
from scipy import stats

from unseen.statistics import correlations as module
from unseen.statistics.correlations import correlations


def test_the_three_measures_are_those_of_numpy_and_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 5)  # 24 dimensions in blocks of 5
    rng = np.random.default_rng(0)
    true = rng.standard_normal((9, 2, 3, 4)).astype(np.float32) + 2
    recovered = (true + 0.5 * rng.standard_normal(true.shape)).astype(np.float32)
    found = correlations(true, recovered)
    x, y = true.reshape(9, 24).astype(np.float64), recovered.reshape(9, 24).astype(np.float64)
    each = [stats.pearsonr(x[:, d], y[:, d]).statistic for d in range(24)]
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    # float64 throughout
    assert found.per_dimension == pytest.approx(np.mean(each), abs=1e-10)
    assert found.pooled == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-10)
    assert found.cosine == pytest.approx(cosine.mean(), abs=1e-10)
    assert (found.dimensions, found.constant_dimensions) == (24, 0)


def test_constant_true_dimensions_are_left_out_and_counted() -> None:
    true = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    found = correlations(true, true + np.array([0.0, 1.0]))
    assert found.per_dimension == pytest.approx(1)
    assert (found.dimensions, found.constant_dimensions) == (1, 1)


def test_recovered_values_that_never_vary_explain_nothing() -> None:
    true = np.array([[0.0, 0.0], [1.0, 1.0]])
    recovered = np.array([[0.0, 3.0], [1.0, 3.0]])
    assert correlations(true, recovered).per_dimension == pytest.approx(0.5)


def test_without_a_dimension_that_varies_there_is_no_mean() -> None:
    found = correlations(np.ones((3, 2)), np.ones((3, 2)))
    assert np.isnan(found.per_dimension)
    assert found.pooled == 0
