import pytest

from unseen.core.wording import count, listed, percent, ratio_interval, share, times


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
