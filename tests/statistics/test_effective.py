"""What images in groups and with weights are worth: closed forms, and false calls by simulation."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import Design, compare_classes
from unseen.statistics.effective import (
    EffectiveCounts,
    Grouping,
    PresenceMoments,
    effective_counts,
    mean_area,
)
from unseen.statistics.ratios import ConditionalTest


def counts_of(present: np.ndarray, design: Design) -> EffectiveCounts:
    """The effective counts of a side compared with itself."""
    moments = PresenceMoments.of(present, Grouping(design, len(present)))
    return effective_counts([moments, moments])[0]


def drawn(
    rng: np.random.Generator, presence: np.ndarray, groups: int, size: int, correlation: float
) -> np.ndarray:
    """Fractions of images in groups: beta-binomial presences with this correlation in a group."""
    chance = np.broadcast_to(presence, (groups, len(presence)))
    if correlation > 0.0:
        many = (1.0 - correlation) / correlation
        chance = rng.beta(presence * many, (1.0 - presence) * many, chance.shape)
    held = rng.random((groups, size, len(presence))) < chance[:, None]
    return np.asarray(0.01 * held.reshape(groups * size, -1))


def test_copies_count_once() -> None:
    rng = np.random.default_rng(0)
    held = rng.random((60, 3)) < [0.5, 0.2, 0.1]
    effective = counts_of(np.repeat(held, 10, axis=0), Design(groups=np.repeat(np.arange(60), 10)))
    # 60 / 59 of it by the sample variance; copies are perfectly correlated
    np.testing.assert_allclose(effective.images, 60.0, rtol=0.02)
    np.testing.assert_allclose(effective.count, held.sum(axis=0), rtol=0.02)


def test_groups_of_one_image_are_no_groups() -> None:
    rng = np.random.default_rng(0)
    held = rng.random((80, 5)) < 0.3
    alone = counts_of(held, Design(groups=rng.permutation(80)))
    plain = counts_of(held, Design())
    np.testing.assert_array_equal(plain.images, 80.0)
    np.testing.assert_array_equal(plain.count, held.sum(axis=0))
    np.testing.assert_allclose(alone.images, plain.images)


def test_weights_that_have_nothing_to_do_with_a_class_give_the_number_of_kish() -> None:
    rng = np.random.default_rng(0)
    weights = np.where(np.arange(4000) % 2 == 0, 1.0, 5.0)
    effective = counts_of(rng.random((4000, 1)) < 0.3, Design(weights=weights))
    kish = weights.sum() ** 2 / (weights**2).sum()
    assert effective.images[0] == pytest.approx(kish, rel=0.05)  # sampling error of Σ w² (x − p)²
    assert effective.images[0] <= kish * (1.0 + 1e-9)


def test_weights_undo_a_sample_that_is_stratified() -> None:
    held = np.repeat([True, False], [900, 100])[:, None]  # drawn nine times too often
    weights = np.where(held[:, 0], 1.0, 9.0)
    fractions = 0.02 * held
    comparison = compare_classes(
        fractions,
        fractions,
        real_design=Design(weights=weights),
        generated_design=Design(weights=weights),
    )[0]
    assert comparison.real_presence == pytest.approx(0.5)
    assert comparison.real_area == pytest.approx(0.01)
    assert comparison.ratio == pytest.approx(1.0)
    assert comparison.real_effective < 400  # 1 / Σ w² is 360 here


def test_a_class_in_every_image_of_a_weighted_side_is_there_for_certain() -> None:
    weights = np.random.default_rng(0).uniform(0.1, 1.0, 77)
    effective = counts_of(np.ones((77, 1), bool), Design(weights=weights))
    assert effective.share[0] == 1.0
    assert effective.count[0] == effective.images[0]


def test_the_mean_area_of_equal_groups_is_that_of_their_means() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((200, 2))
    units = rng.permutation(np.repeat(np.arange(40), 5))
    found = mean_area(values, Grouping(Design(groups=units), 200))
    means = np.stack([values[units == unit].mean(axis=0) for unit in range(40)])
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.variance, means.var(axis=0, ddof=1) / 40)
    np.testing.assert_allclose(found.freedom, 39.0)


def test_a_mean_over_a_single_image_has_no_variance() -> None:
    values = np.full((5, 1), 0.3)
    found = mean_area(values, Grouping(Design(), 5), np.arange(5)[:, None] == 2)
    assert found.mean[0] == pytest.approx(0.3)
    assert np.isnan(found.variance[0])


def test_a_side_that_is_one_group_is_refused() -> None:
    fractions = np.zeros((6, 2))
    with pytest.raises(SampleError, match="6"):
        compare_classes(fractions, fractions, generated_design=Design(groups=np.zeros(6, int)))


def is_any_called(sides: list[np.ndarray], designs: list[Design]) -> bool:
    """Whether some class differs at 5 % divided by the classes tested."""
    real, generated = effective_counts(
        [
            PresenceMoments.of(side > 0.0, Grouping(design, len(side)))
            for side, design in zip(sides, designs, strict=True)
        ]
    )
    tested = real.count + generated.count >= 10
    test = ConditionalTest(real.count, generated.count, real.images, generated.images)
    return bool((test.p_value()[tested] < 0.05 / tested.sum()).any())


@pytest.mark.parametrize("correlation", [0.1, 0.9])
@pytest.mark.parametrize("real_groups", [True, False])
def test_correlated_images_of_one_distribution_are_seldom_called(
    correlation: float, real_groups: bool
) -> None:
    rng = np.random.default_rng(0)
    presence = np.clip(1.2 * np.arange(1, 61) ** -0.9, 0.0, 0.9)
    grouped = Design(groups=np.repeat(np.arange(60), 10))
    designs = [grouped if real_groups else Design(), grouped]
    called, if_ignored = 0, 0
    for _ in range(60):
        real = drawn(rng, presence, *((60, 10, correlation) if real_groups else (600, 1, 0.0)))
        sides = [real, drawn(rng, presence, 60, 10, correlation)]
        called += is_any_called(sides, designs)
        if_ignored += is_any_called(sides, [Design(), Design()])
    assert called <= 8  # 5 % of 60 draws are 3; more than 8 have a chance of 0.2 %
    assert if_ignored > 8
