import dataclasses

import pytest

from unseen.distribution.comparison import ClassRow, Fsd
from unseen.distribution.comparison_wording import (
    collapse,
    corrected,
    delta,
    fsd_p_value,
    meaning,
    presences,
    significant_but_undecided,
    threshold_in_words,
)


def row(real, generated):
    return ClassRow(
        column="object/a",
        verdict="undecided",
        own_verdict="undecided",
        second_verdict=None,
        verdict_at_half="undecided",
        verdict_at_twice="undecided",
        depends_on_threshold=False,
        tested=True,
        statistic="presence",
        presence_threshold=0.005,
        real_presence=0.0,
        generated_presence=0.0,
        real_presence_interval=(0.0, 0.0122),
        generated_presence_interval=(0.0, 0.0122),
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
        size=None,
        size_ratio=None,
        size_interval=(None, None),
        real_spread=0.1,
        generated_spread=0.1,
        spread_ratio=None,
        spread_interval=(None, None),
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


def test_none_of_so_many_says_what_it_is_at_most():
    words = presences(row(0.0, 0.0), 300, 300)
    assert words.count("0 of 300: at most 1.2") == 2
    some = dataclasses.replace(row(0.1, 0.1), real_presence=0.5, generated_presence=0.25)
    assert presences(some, 300, 300) == "50.0 % → 25.0 %"


def test_a_verdict_about_area_is_explained_by_area():
    matched = dataclasses.replace(row(0.1, 0.1), verdict="matched")
    assert meaning(matched) != meaning(dataclasses.replace(matched, statistic="area"))


def test_the_threshold_is_spoken_of_only_where_it_matters():
    assert threshold_in_words(row(0.1, 0.1)) == ""
    depends = dataclasses.replace(
        row(0.1, 0.1), depends_on_threshold=True, verdict_at_half="over", verdict_at_twice="under"
    )
    assert {"over", "under"} <= set(threshold_in_words(depends).replace(",", "").strip(".").split())


def test_a_side_is_collapsed_where_most_of_the_real_variance_is_gone():
    narrow = dataclasses.replace(
        row(0.3, 0.3), real_spread=0.12, generated_spread=0.028, spread_interval=(0.2, 0.3)
    )
    wide = dataclasses.replace(row(0.3, 0.3), real_spread=0.07, spread_interval=(0.8, 1.1))
    assert "2.80 against 12.0" in collapse((narrow, wide))
    assert collapse((wide,)) == ""
    larger = dataclasses.replace(wide, real_spread=0.2)
    assert collapse((narrow, larger)) == ""  # a smaller part of the variance
    gone = dataclasses.replace(narrow, verdict="omitted")
    assert collapse((gone, wide)) == ""  # drawn less, which the verdict says
