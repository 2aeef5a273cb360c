import dataclasses

import pytest

from unseen.distribution.comparison import ClassRow, Fsd
from unseen.distribution.comparison_wording import (
    corrected,
    delta,
    fsd_p_value,
    significant_but_undecided,
)


def row(real, generated):
    return ClassRow(
        column="object/a",
        verdict="undecided",
        own_verdict="undecided",
        second_verdict=None,
        tested=True,
        statistic="presence",
        real_presence=0.0,
        generated_presence=0.0,
        real_effective=10.0,
        generated_effective=10.0,
        real_area=real,
        generated_area=generated,
        real_area_given_presence=None,
        generated_area_given_presence=None,
        ratio=None,
        interval=(None, None),
        p_value=None,
        p_omitted=None,
        p_holm=None,
        p_bh=None,
        smallest_detectable_drop=None,
        area_ratio=None,
        fsd_share=0.0,
    )


@pytest.mark.parametrize(
    ("real", "generated", "text"),
    [
        (0.1, 0.0, "−100 %"),
        (0.1, 0.0999, "0 %"),
        (0.1, 0.12, "+20 %"),
        (0.01, 0.3, "×30.0"),
        (0.0, 0.1, "new"),
        (0.0, 0.0, "–"),
    ],
)
def test_changes_of_area_have_a_sign(real, generated, text):
    assert delta(row(real, generated)) == text


def test_the_least_p_value_that_permutations_can_give_is_a_bound():
    def fsd(p):
        return Fsd(
            value=1.0,
            mean_term=1.0,
            covariance_term=0.0,
            floor=2.0,
            p_value=p,
            permutations=199,
            corrected=-1.0,
            interval=(0.0, 1.0),
            estimator="x",
        )

    assert fsd_p_value(fsd(1 / 200)) == "≤ 0.005"
    assert fsd_p_value(fsd(2 / 200)) == "0.010"
    assert corrected(fsd(1.0)) == "0"


def test_a_small_p_value_of_an_undecided_class_is_explained_where_there_is_one():
    small = dataclasses.replace(row(0.1, 0.05), p_holm=0.04)
    assert "interval" in significant_but_undecided(small)
    parted = dataclasses.replace(small, own_verdict="under", second_verdict="matched")
    assert "both segmenters" in significant_but_undecided(parted)
    assert significant_but_undecided(dataclasses.replace(small, verdict="under")) == ""
    assert significant_but_undecided(dataclasses.replace(small, p_holm=0.2)) == ""
    assert significant_but_undecided(row(0.1, 0.05)) == ""
