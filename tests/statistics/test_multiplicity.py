import numpy as np
import pytest
import scipy.stats

from unseen.statistics.multiplicity import benjamini_hochberg, holm


def test_holm_is_that_of_his_paper():
    # Holm, Scandinavian Journal of Statistics 6, 1979: p(i) times (k − i + 1), made monotone
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert len(holm(np.zeros(0))) == 0


def test_benjamini_and_hochbergs_is_scipys():
    p_values = np.random.default_rng(1).choice([0.001, 0.02, 0.03, 0.2, 0.9, 1.0], 40)
    expected = scipy.stats.false_discovery_control(p_values)
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, rtol=1e-12)
    assert len(benjamini_hochberg(np.zeros(0))) == 0
