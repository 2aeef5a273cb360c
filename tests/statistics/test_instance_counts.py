import numpy as np
import pytest

from unseen.statistics import Design, compare_instances


def counts(rng, mean, images=150, presence=0.6):
    """Things in images: at least one where the class is present, `mean` in these on average."""
    held = rng.random(images) < presence
    return (held * (1 + rng.poisson(mean - 1, images))).astype(np.uint32)[:, None]


def test_one_person_where_photographs_hold_four_is_fewer():
    rng = np.random.default_rng(0)
    (person,) = compare_instances(counts(rng, 4), counts(rng, 1))
    assert person.generated_mean == 1
    assert person.real_mean == pytest.approx(4, abs=0.5)  # three standard errors
    assert person.ratio == pytest.approx(person.generated_mean / person.real_mean)
    assert person.verdict == "fewer"
    (turned,) = compare_instances(counts(rng, 1), counts(rng, 4))
    assert turned.verdict == "more"


def test_presence_does_not_change_how_many_there_are_where_any_is():
    rng = np.random.default_rng(1)
    (row,) = compare_instances(
        counts(rng, 3, images=2000, presence=0.9), counts(rng, 3, images=2000, presence=0.2)
    )
    assert row.verdict == "alike"


def test_a_class_in_fewer_than_ten_images_of_a_side_is_left_out():
    real = np.zeros((50, 2), np.uint32)
    real[:30] = [1, 2]
    generated = real.copy()
    generated[9:, 1] = 0
    assert [row.class_index for row in compare_instances(real, generated)] == [0]


def test_the_interval_holds_the_true_ratio_in_95_percent_of_samples():
    rng = np.random.default_rng(2)
    draws = 300
    held = 0
    for _ in range(draws):
        (row,) = compare_instances(counts(rng, 3), counts(rng, 2))
        held += row.interval[0] <= 2 / 3 <= row.interval[1]
    # 95 % of 300 draws, give or take three binomial standard deviations
    assert abs(held / draws - 0.95) < 3 * np.sqrt(0.95 * 0.05 / draws)


def test_images_of_one_group_say_less():
    rng = np.random.default_rng(3)
    real, generated = (np.repeat(counts(rng, 3, images=40), 5, axis=0) for _ in range(2))
    grouped = Design(groups=np.repeat(np.arange(40), 5))
    (alone,) = compare_instances(real, generated)
    (together,) = compare_instances(real, generated, real_design=grouped, generated_design=grouped)
    assert together.interval[1] / together.interval[0] > alone.interval[1] / alone.interval[0]
