import numpy as np
import pytest

from unseen.statistics.multiplicity import holm


def test_holm_is_that_of_his_paper():
    # Holm, Scandinavian Journal of Statistics 6, 1979: p(i) times (k − i + 1), made monotone
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert len(holm(np.zeros(0))) == 0
