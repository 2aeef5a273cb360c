"""Class verdicts: directions, zero counts, multiplicity, power."""

import numpy as np
import pytest
import scipy.stats
from tests.support.class_counts import with_counts

from unseen.core.errors import SampleError
from unseen.statistics import (
    Design,
    compare_classes,
    own_thresholds,
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


def of_sizes(rng: np.random.Generator, n: int, presence: float, typical: float) -> np.ndarray:
    """Fractions of n images: class 0 is log-normal where present; class 1 is the rest."""
    areas = typical * np.exp(0.4 * rng.standard_normal(n)) * (rng.random(n) < presence)
    return np.stack([areas, 1.0 - areas], axis=1)


def test_a_class_that_shrank_is_smaller_and_not_matched() -> None:
    rng = np.random.default_rng(1)
    real, same = of_sizes(rng, 3000, 0.5, 0.05), of_sizes(rng, 3000, 0.5, 0.05)
    shrunk = of_sizes(rng, 3000, 0.5, 0.02)
    assert compare_classes(real, same)[0].verdict == "matched"
    assert compare_classes(real, same)[0].size == "alike"
    comparison = compare_classes(real, shrunk)[0]
    assert (comparison.verdict, comparison.size) == ("undecided", "smaller")
    assert comparison.size_interval is not None
    assert comparison.size_interval[0] < 0.4 < comparison.size_interval[1]
    assert compare_classes(shrunk, real)[0].size == "larger"


def test_a_verdict_about_area_has_no_size_beside_it() -> None:
    rng = np.random.default_rng(0)
    comparison = compare_classes(of_sizes(rng, 200, 1.0, 0.1), of_sizes(rng, 200, 1.0, 0.1))[0]
    assert (comparison.statistic, comparison.size) == ("area", None)


def test_a_verdict_that_half_the_threshold_would_change_says_so() -> None:
    # Half of the generated images hold the class at 0.4 %: below the threshold, above half of it.
    real, generated = with_counts(1000, 500), with_counts(1000, 500)
    generated[:250, 1] = 0.004
    changed = compare_classes(real, generated)[1]
    assert (changed.verdict, changed.verdict_at_half) == ("under", "matched")
    assert changed.depends_on_threshold
    assert not compare_classes(real, real)[1].depends_on_threshold


def test_presence_of_none_is_bounded_by_the_rule_of_clopper_and_pearson() -> None:
    none = compare_classes(with_counts(300, 30), with_counts(300, 0))[1]
    expected = scipy.stats.binomtest(0, 300).proportion_ci(0.95).high
    assert none.generated_presence_interval == pytest.approx((0.0, expected))
    some = scipy.stats.binomtest(30, 300).proportion_ci(0.95)
    assert none.real_presence_interval == pytest.approx((some.low, some.high))


def test_the_spread_of_a_side_that_always_draws_the_same_is_small() -> None:
    rng = np.random.default_rng(0)
    real = rng.uniform(0.2, 0.6, (500, 1))
    generated = 0.4 + 0.25 * (rng.uniform(0.2, 0.6, (500, 1)) - 0.4)
    row = compare_classes(np.hstack([real, 1 - real]), np.hstack([generated, 1 - generated]))[0]
    assert row.real_spread == pytest.approx(0.4 / np.sqrt(12), rel=0.05)  # of a uniform
    assert row.spread_ratio == pytest.approx(0.25, rel=0.1)
    assert row.spread_interval is not None
    assert row.spread_interval[0] < 0.25 < row.spread_interval[1] < 0.5


def test_a_drop_that_leaves_too_few_images_to_test_is_not_promised() -> None:
    # 2 of 200 images: with the class gone from the other side, fewer than ten hold it.
    assert smallest_detectable_drop(0.01, 200, 10_000) is None
    power = ratios.CountPower(np.array([0.05]), 200, 10_000, alpha=5e-4, fewest=10)
    rng = np.random.default_rng(0)
    real, generated = rng.binomial(200, 0.05, 20_000), rng.binomial(10_000, 0.05 * 0.3, 20_000)
    test = ratios.ConditionalTest(real, generated, 200, 10_000)
    called = (test.lower_tail(1.0) < 2.5e-4) & (real + generated >= 10)
    # three standard errors of 20,000 draws, and the saddlepoint
    assert power.of(0.7)[0] == pytest.approx(called.mean(), abs=0.02)


def test_the_power_of_omitted_is_that_of_the_interval_below_a_tenth() -> None:
    rng = np.random.default_rng(0)
    n, m, p, alpha = 800, 1200, 0.2, 1e-3
    power = ratios.CountPower(np.array([p]), n, m, alpha=alpha, limit=0.1)
    real, generated = rng.binomial(n, p, 4000), rng.binomial(m, p * 0.04, 4000)
    called = ratios.ConditionalTest(real, generated, n, m).lower_tail(0.1) < alpha / 2
    assert power.of(0.96)[0] == pytest.approx(called.mean(), abs=0.04)  # the saddlepoint's error


def test_pixels_give_what_their_shares_give() -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.multinomial(400, [0.7, 0.2, 0.1], n).astype(np.uint32) for n in (60, 80)]
    shares = [side / 400.0 for side in pixels]
    assert compare_classes(*pixels, whole=400) == compare_classes(*shares)
    with pytest.raises(SampleError, match="100"):
        compare_classes(*pixels, whole=100)


def test_a_small_class_has_a_threshold_of_its_own() -> None:
    specks = np.where(np.arange(100) < 50, 2e-5, 0.0)
    real = np.stack([np.full(100, 0.003) + specks, np.full(100, 0.5), specks], axis=1)
    own = own_thresholds(real)
    assert own[0] == pytest.approx(3e-4, rel=0.01)
    assert own[1] == 0.005
    assert own[2] == 1e-4
    assert [row.real_presence for row in compare_classes(real, real, presence_threshold=own)] == [
        1.0,
        1.0,
        0.0,
    ]


def test_percent_is_refused_where_fractions_are_meant() -> None:
    with pytest.raises(SampleError, match="from 0 to 100"):
        compare_classes(100.0 * with_counts(20, 10), with_counts(20, 10))


def test_a_family_is_tested_as_if_it_stood_alone() -> None:
    rng = np.random.default_rng(0)
    real, generated = (
        rng.uniform(0, 0.02, (300, 12)) * (rng.random((300, 12)) < 0.3) for _ in "ab"
    )
    whole = compare_classes(real, generated)
    family = compare_classes(real, generated, family=[7, 2])
    alone = compare_classes(real[:, [7, 2]], generated[:, [7, 2]])
    for mine, theirs in zip(family, alone, strict=True):
        assert (mine.verdict, mine.p_value, mine.p_holm) == (
            theirs.verdict,
            theirs.p_value,
            theirs.p_holm,
        )
        assert mine.interval == theirs.interval
        assert mine.size_interval == pytest.approx(theirs.size_interval)  # sums in another order
    assert family[0].interval is not None
    assert whole[7].interval is not None
    # Bonferroni over 2 classes and not over 12
    assert family[0].interval[0] > whole[7].interval[0]
    assert family[0].interval[1] < whole[7].interval[1]
    assert family[0].p_value == whole[7].p_value
    assert (family[0].p_holm or 1) <= (whole[7].p_holm or 1)


def test_counts_of_one_class_may_be_plain_numbers() -> None:
    plain = ratios.compare_counts(26, 5, 200, 200, alpha=0.05)
    listed = ratios.compare_counts(np.array([26]), np.array([5]), 200, 200, alpha=0.05)
    np.testing.assert_array_equal(plain, listed)


def test_a_family_learns_how_alike_grouped_images_are_from_all_classes() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 10)
    design = Design(groups=groups)
    held = rng.random((300, 6)) < 0.3
    held[:, 1:] = (rng.random((30, 5)) < 0.3)[groups]  # frames of a clip: the other classes repeat
    real = 0.1 * held
    options = {"real_design": design, "generated_design": design}
    (family,) = compare_classes(real, real, family=[0], **options)
    (alone,) = compare_classes(real[:, :1], real[:, :1], **options)
    assert family.real_effective == compare_classes(real, real, **options)[0].real_effective
    assert family.real_effective < alone.real_effective
