"""Pairs of classes rarely together: what calls one, what does not, and by how many tests."""

import math

import numpy as np
import pytest
from jaxtyping import Float64

from unseen.statistics import Design
from unseen.statistics.ratios import compare_counts
from unseen.statistics.together import RarePair, could_be_called, rarely_together

PRESENCES = np.array([0.5, 0.4, 0.3, 0.3, 0.2, 0.1])


def draw(seed: int, n: int = 2000, *, shared: float = 0.5) -> Float64[np.ndarray, "n 6"]:
    """Areas of six classes that occur together more often than by chance."""
    rng = np.random.default_rng(seed)
    mood = rng.random((n, 1)) < 0.5
    chance = PRESENCES * np.where(mood, 1.0 + shared, 1.0 - shared)
    return np.where(rng.random((n, 6)) < np.minimum(chance, 0.95), 0.05, 0.0)


def called(real: np.ndarray, generated: np.ndarray, **options: object) -> list[tuple[int, int]]:
    return [pair.columns for pair in rarely_together(real, generated, **options).pairs]  # type: ignore[arg-type]


def without_both(areas: np.ndarray, i: int, j: int) -> np.ndarray:
    """Class j is lost where class i is."""
    kept = areas.copy()
    kept[kept[:, i] > 0.0, j] = 0.0
    return kept


def test_a_planted_pair_is_the_only_one_called() -> None:
    assert called(draw(1), without_both(draw(2), 1, 3)) == [(1, 3)]


@pytest.mark.parametrize("seed", range(5))
def test_classes_lost_for_reasons_of_their_own_make_no_pairs(seed: int) -> None:
    """Class 0 keeps a tenth, class 1 half, class 2 nothing; class 3 is drawn nearly always."""
    rng = np.random.default_rng(seed)
    generated = draw(100 + seed)
    generated *= rng.random(generated.shape) < [0.1, 0.5, 0.0, 1.0, 1.0, 1.0]
    generated[rng.random(len(generated)) < 0.9, 3] = 0.05
    found = rarely_together(draw(seed), generated)
    assert not found.pairs
    assert found.tested > 5  # and not for lack of images


def test_a_pair_of_kept_presences_has_the_interval_of_a_class_of_its_own() -> None:
    """Both classes as often as before: the pair is then tested as a column of its own would be."""
    n = 1000
    real, generated = np.zeros((2, n, 2))
    real[:300] = 0.1  # 300 hold both, no image one alone
    generated[:20] = 0.1
    generated[20:300, 0] = generated[300:580, 1] = 0.1
    (pair,) = rarely_together(real, generated).pairs
    _, low, high = compare_counts(np.array([300]), np.array([20]), n, n, alpha=0.05)
    assert pair.interval == pytest.approx((low[0], high[0]))
    assert (pair.real, pair.generated, pair.expected) == (0.3, 0.02, 0.3)
    assert pair.ratio == pytest.approx(20 / 300)


def test_the_presences_explain_what_is_left_of_both_classes() -> None:
    """p_ij q_i / p_i q_j / p_j with one class halved and the other drawn more often."""
    real, generated = np.zeros((2, 1000, 2))
    real[:400] = 0.1
    generated[:200, 0] = generated[200:800, 1] = 0.1
    (pair,) = rarely_together(real, generated).pairs
    assert pair.expected == pytest.approx(0.4 * 0.5 * 1.0)


def test_the_number_of_tests_is_the_smallest_that_no_more_pairs_pass() -> None:
    """Brute force over Tarone's condition, with a p-value of no image at all."""
    rng = np.random.default_rng(0)
    total, left = rng.integers(0, 40, (12, 12)).astype(float), rng.random((12, 12))
    wanted = np.triu(np.ones((12, 12), bool), 1)
    tests, tested = could_be_called(total, 500.0, 400.0 * left, wanted, 0.05)
    least = [
        0.5 * (500.0 / (500.0 + 400.0 * left[i, j])) ** total[i, j]
        for i in range(12)
        for j in range(i + 1, 12)
    ]
    passing = {k: sum(p < 0.5 * 0.05 / k for p in least) for k in range(1, len(least) + 2)}
    assert tests == min(k for k, number in passing.items() if number <= k)
    assert tested.sum() == passing[tests] < len(least)


def test_copies_in_groups_are_worth_one_image_each() -> None:
    """Ten copies of each of 200 images, declared as groups, against the 200 alone."""
    real, generated = draw(5, 200), without_both(draw(6, 200), 0, 1)
    copies = np.repeat(generated, 10, axis=0)
    groups = Design(groups=np.repeat(np.arange(200), 10))
    alone = rarely_together(real, generated)
    grouped = rarely_together(real, copies, generated_design=groups)
    ignored = rarely_together(real, copies)
    # No image holds both, so neither does a copy. What the pair could be called by counts plain
    # images, so it is among more tests with copies, and its interval is no narrower for them.
    assert grouped.tested == ignored.tested >= alone.tested
    (one,), (with_groups,), (without,) = alone.pairs, grouped.pairs, ignored.pairs
    assert with_groups.interval[1] >= one.interval[1]
    assert with_groups.interval[1] == pytest.approx(one.interval[1], rel=0.2)
    assert without.interval[1] < 0.8 * one.interval[1]


def test_weights_are_shares_of_images() -> None:
    """An image of weight 3 counts in the shares as three of weight 1 do."""
    real, generated = draw(7, 400), without_both(draw(8, 400), 0, 1)
    weights = np.where(np.arange(400) % 2, 3.0, 1.0)
    repeated = np.repeat(generated, weights.astype(int), axis=0)

    def shares(pair: RarePair) -> tuple[float, ...]:
        return pair.columns[0], pair.real, pair.generated, pair.expected

    weighted = rarely_together(real, generated, generated_design=Design(weights=weights)).pairs
    plain = rarely_together(real, repeated).pairs
    assert [shares(pair) for pair in weighted] == [pytest.approx(shares(pair)) for pair in plain]


def test_pixels_are_shares_of_the_whole_and_columns_can_be_chosen() -> None:
    real, generated = draw(1), without_both(without_both(draw(2), 1, 3), 0, 2)
    pairs = rarely_together(real, generated)
    assert {pair.columns for pair in pairs.pairs} == {(1, 3), (0, 2)}
    in_pixels = [(side * 1000).astype(np.uint32) for side in (real, generated)]
    assert rarely_together(*in_pixels, whole=1000) == pairs
    assert called(real, generated, family=[3]) == [(1, 3)]
    assert called(real, generated, left_out=[3]) == [(0, 2)]


@pytest.mark.parametrize(("kept", "calls"), [(0.3, True), (0.7, False)])
def test_more_than_half_of_what_is_expected_is_not_rare(kept: float, calls: bool) -> None:
    """Of 400 images with both, 120 or 280 are left: either is far from chance, one is rare."""
    real, generated = np.zeros((2, 2000, 2))
    real[:400] = 0.1
    both = round(400 * kept)
    generated[:both] = 0.1
    generated[both:400, 0] = generated[400 : 800 - both, 1] = 0.1
    assert bool(called(real, generated)) is calls


def test_two_images_test_nothing() -> None:
    assert rarely_together(draw(1, 2), draw(2, 2)).tested == 0


def test_a_p_value_is_that_of_the_expected_images() -> None:
    """Closed form where no image holds both: mid-p of none, as if drawn with replacement."""
    real, generated = np.zeros((2, 100_000, 2))
    real[:100] = 0.1
    generated[:100, 0] = generated[100:200, 1] = 0.1
    (pair,) = rarely_together(real, generated).pairs
    assert pair.p_value == pytest.approx(0.5 * 0.5**100, rel=0.1)  # 1e5 images: nearly so
    assert math.isclose(pair.interval[0], 0.0)
