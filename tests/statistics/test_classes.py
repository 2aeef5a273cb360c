"""Class verdicts: directions, zero counts, multiplicity, power."""

import numpy as np
import pytest
import scipy.stats
from tests.support.class_counts import with_counts

from unseen.core.errors import SampleError
from unseen.statistics import (
    compare_classes,
    ratios,
    smallest_detectable_drop,
)


def test_every_verdict_appears_where_it_should() -> None:
    #                        omitted under over matched undecided untested
    real = with_counts(2000, 400, 400, 200, 1500, 40, 4)
    generated = with_counts(2000, 10, 200, 400, 1500, 30, 4)
    verdicts = [comparison.verdict for comparison in compare_classes(real, generated)[1:]]
    assert verdicts == [
        "omitted",
        "under",
        "over",
        "matched",
        "undecided",
        "untested",
    ]


def test_a_class_in_fewer_than_ten_pooled_images_is_not_tested() -> None:
    nine, ten = compare_classes(with_counts(50, 5, 5), with_counts(50, 4, 5))[1:]
    assert (nine.tested, ten.tested) == (False, True)
    assert nine.interval is None
    assert nine.p_value is None
    assert nine.verdict == "untested"


def test_specks_below_the_threshold_are_not_presence() -> None:
    real = with_counts(100, 50, area=0.0049)
    assert compare_classes(real, real)[1].real_presence == 0.0
    assert compare_classes(real, real, presence_threshold=0.004)[1].real_presence == 0.5
    assert compare_classes(real, real)[1].real_area == pytest.approx(0.00245)


def test_a_class_always_present_is_compared_by_area() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.uniform(0.2, 0.4, (500, 1)), rng.uniform(0.1, 0.2, (500, 1))
    real, generated = np.hstack([real, 1 - real]), np.hstack([generated, 1 - generated])
    comparison = compare_classes(real, generated)[0]
    assert comparison.statistic == "area"
    assert comparison.verdict == "under"
    assert comparison.ratio == pytest.approx(0.5, abs=0.02)
    assert comparison.interval is not None
    assert comparison.interval[0] < 0.5 < comparison.interval[1]


def test_zero_counts_have_one_open_end() -> None:
    _, absent, new = compare_classes(with_counts(400, 40, 0), with_counts(400, 0, 40))
    assert absent.ratio == 0.0
    assert absent.interval is not None
    assert absent.interval[0] == 0.0
    assert absent.verdict in ("omitted", "under")
    assert absent.generated_area_given_presence is None
    assert new.ratio == np.inf
    assert new.interval is not None
    assert new.interval[1] == np.inf
    assert new.verdict == "over"
    assert new.smallest_detectable_drop is None  # nothing real to lose


def test_the_interval_ends_where_the_test_does() -> None:
    a, b = np.array([30, 5, 90]), np.array([12, 0, 99])
    test = ratios.ConditionalTest(a, b, 100, 120)
    lower, upper = test.interval(alpha=0.02)
    np.testing.assert_allclose(test.lower_tail(upper), 0.01, atol=1e-6)
    assert lower[1] == 0.0
    np.testing.assert_allclose(test.lower_tail(np.maximum(lower, 1e-3))[[0, 2]], 0.99, atol=1e-6)


def test_at_ratio_one_the_test_is_that_of_fisher_with_mid_p() -> None:
    for a, b, n, m in ((30, 12, 100, 120), (10, 0, 50, 20), (400, 80, 5000, 1000)):
        hypergeometric = scipy.stats.hypergeom(n + m, a + b, m)
        expected = hypergeometric.cdf(b) - 0.5 * hypergeometric.pmf(b)
        test = ratios.ConditionalTest(np.array([a]), np.array([b]), n, m)
        assert test.lower_tail(1.0)[0] == pytest.approx(expected, rel=1e-8)
        assert test.p_value()[0] == pytest.approx(2 * min(expected, 1 - expected), rel=1e-8)


def test_rare_classes_are_not_called_too_often_where_the_sides_are_unequal() -> None:
    # Exact, by summing over all counts: the score test stands at six times its level here.
    n, m, p, alpha = 5000, 1000, 0.002, 0.05 / 200
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(25), indexing="ij"))
    probability = scipy.stats.binom.pmf(a, n, p) * scipy.stats.binom.pmf(b, m, p)
    some = a + b > 0
    test = ratios.ConditionalTest(a[some], b[some], n, m)
    assert probability[some][test.p_value() < alpha].sum() < alpha


def test_a_class_in_every_image_of_one_side_has_a_bounded_ratio() -> None:
    a, b = np.array([20, 26]), np.array([26, 20])
    lower, upper = ratios.ConditionalTest(a, b, 26, 26).interval(alpha=0.05)
    assert 0.9 < lower[0] < 26 / 20 < upper[0] < 2.0
    np.testing.assert_allclose(lower[1], scipy.stats.binomtest(20, 26).proportion_ci(0.95).low)
    assert lower[1] < 20 / 26 < upper[1] < 1.1


def test_a_drop_of_the_printed_size_is_detected_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    n, m, p, alpha = 1000, 1500, 0.05, 0.003
    drop = ratios.CountPower(np.array([p]), n, m, alpha=alpha).smallest_drop(0.8)[0]
    real, generated = rng.binomial(n, p, 20_000), rng.binomial(m, p * (1 - drop), 20_000)
    test = ratios.ConditionalTest(real, generated, n, m)
    detected = (test.lower_tail(1.0) < alpha / 2).mean()
    assert detected == pytest.approx(0.8, abs=0.01)  # three standard errors of 20,000 draws


def test_more_images_show_smaller_drops_and_too_few_show_none() -> None:
    drops = [smallest_detectable_drop(0.02, n, n, tests=100) for n in (500, 2000, 8000)]
    assert drops[0] is None or drops[0] > (drops[1] or 0.0)
    assert drops[1] is not None
    assert drops[2] is not None
    assert drops[1] > drops[2]
    assert smallest_detectable_drop(0.02, 50, 50) is None


def test_the_order_of_images_and_classes_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    real, generated = with_counts(300, 100, 20, 9), with_counts(200, 40, 20, 8)
    columns = rng.permutation(4)
    expected = compare_classes(real, generated)
    shuffled = compare_classes(
        rng.permutation(real)[:, columns], rng.permutation(generated)[:, columns]
    )
    np.testing.assert_allclose(
        [c.interval or (0, 0) for c in shuffled], [expected[k].interval or (0, 0) for k in columns]
    )
    assert [c.verdict for c in shuffled] == [expected[k].verdict for k in columns]


def test_percent_is_refused_where_fractions_are_meant() -> None:
    with pytest.raises(SampleError, match="from 0 to 100"):
        compare_classes(100.0 * with_counts(20, 10), with_counts(20, 10))
