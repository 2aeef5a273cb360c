import re

import pytest

from unseen.core.wording import (
    count,
    listed,
    p_values,
    percent,
    ratio_interval,
    share,
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


def test_nouns_have_their_plural():
    assert count(1, "class") == "1 class"
    assert count(0, "class") == "0 classes"
    assert count(1234, "instance") == "1,234 instances"
    assert count(2, "copy") == "2 copies"
    assert count(2, "day") == "2 days"


def test_lists_are_sentences():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"], last="or") == "a or b"
    assert listed("abcde", most=2) == "a, b and 3 more"


def test_shares_are_whole_percent():
    assert share(0.254) == "25 %"
    assert share(0.001) == "< 1 %"
    assert share(0.0) == "0 %"


def test_an_end_of_a_ratio_shows_on_which_side_of_a_mark_it_lies():
    assert ratio_interval((0.77, 0.9979)) == "0.77 – 0.998"
    assert ratio_interval((1.0004, 1.0)) == "1.0004 – 1.00"
    assert ratio_interval((0.0999, 0.8001)) == "0.0999 – 0.8001"


def test_p_values_that_are_all_tiny_are_said_once():
    assert p_values(1e-9, 1e-8, 1e-8).count("0.001") == 1
    assert {"0.012", "0.24", "0.036"} <= set(re.findall(r"[\d.]*\d", p_values(0.012, 0.24, 0.036)))
    assert p_values(0.5, None, None) == "0.50"
