import dataclasses

import pytest

from unseen.distribution.comparison import ClassRow, Fsd
from unseen.evidence.record import Mean
from unseen.pages.number_format import (
    corrected,
    delta,
    fsd_p_value,
    mean_share,
    percent,
    ratio_interval,
    share,
    shares,
    significant_but_undecided,
    times,
)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.00001, "< 0.01 %"),
        (0.00035, "0.035 %"),
        (0.0123, "1.23 %"),
        (0.4533, "45.3 %"),
        (0.9999, "100 %"),
        (1.0, "100 %"),
    ],
)
def test_fractions_are_written_as_percent(fraction, text):
    assert percent(fraction) == text


def test_ratios_and_their_intervals_have_open_ends():
    assert times(None) == "–"
    assert times(0.0) == "0×"
    assert ratio_interval((0.1, None)) == "0.10 – ∞"
    assert ratio_interval((None, None)) == "–"
    assert ratio_interval((0.0, 12345.0)) == "0 – 12\u202f345"


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
        real_area=real,
        generated_area=generated,
        real_area_given_presence=None,
        generated_area_given_presence=None,
        ratio=None,
        interval=(None, None),
        p_value=None,
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
    assert "rests on the interval" in significant_but_undecided(small)
    parted = dataclasses.replace(small, own_verdict="under", second_verdict="matched")
    assert "a verdict needs both" in significant_but_undecided(parted)
    assert significant_but_undecided(dataclasses.replace(small, verdict="under")) == ""
    assert significant_but_undecided(dataclasses.replace(small, p_holm=0.2)) == ""
    assert significant_but_undecided(row(0.1, 0.05)) == ""


def test_retention_is_written_in_whole_percent_with_its_interval():
    assert share(0.254) == "25 %"
    assert share(0.001) == "< 1 %"
    assert share(0.0) == "0 %"
    assert mean_share(Mean(mean=0.5, interval=(0.4, 0.61), instances=4, images=4)) == (
        "50 % [40 – 61 %]"
    )
    assert mean_share(Mean(mean=0.5, interval=(None, None), instances=1, images=1)) == "50 %"
    assert mean_share(Mean(mean=None, interval=(None, None), instances=0, images=0)) == "–"
    assert (
        shares({"object/sky": 0.2, "object/tree": 0.7, "object/none": 0.0}) == "tree 70 %, sky 20 %"
    )
