import csv

import numpy as np
import pytest
import scipy.stats
from lab.retention_margins import MarginSimulation, _exchange, _sums, _welch, simulate_margins

from unseen.statistics.retention_ratio import Retained


def sample(values):
    return Retained(np.asarray(values), np.arange(len(values)))


FIRST, SECOND = sample([0.1, 0.2, 0.3]), sample([0.7, 0.8, 0.9, 0.95])


def test_without_an_image_more_it_is_welchs_test():
    expected = scipy.stats.ttest_ind(
        FIRST.values, SECOND.values, equal_var=False, alternative="less"
    ).pvalue
    assert _welch(FIRST, SECOND, 1.0, 0.0) == pytest.approx(expected, rel=1e-6)


def test_exchanges_reach_what_is_lowest_as_often_as_chance_does():
    # one of 35 ways to choose three of seven is the observed one, the lowest
    p_value = _exchange(_sums(FIRST), _sums(SECOND), 1.0, 4999)
    assert p_value == pytest.approx(1 / 35, abs=0.008)  # three standard errors


def test_the_table_has_a_row_a_test_and_law(tmp_path):
    task = MarginSimulation(out=tmp_path, draws=2, sizes=((8, 12),), laws=("graded",), resamples=9)
    (path,) = simulate_margins(task)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 8 * 2
    assert {row["true ratio"] for row in rows} == {"0.5", "0.25"}
    assert all(0 <= int(row["said at 0.4 %"]) <= int(row["said at 2.5 %"]) <= 2 for row in rows)
