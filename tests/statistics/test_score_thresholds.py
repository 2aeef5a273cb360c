import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.score_thresholds import threshold_of_absent


def test_at_most_two_percent_of_new_images_without_the_class_are_called_on_average():
    rng = np.random.default_rng(0)
    draws, images = 2000, 120
    called = []
    for _ in range(draws):
        threshold = threshold_of_absent([rng.random(images, np.float32)])
        called.append(1 - threshold)  # of scores that are uniform
    # The ⌈121 · 0.98⌉ = 119th smallest of 120 is 119 / 121 on average: 1.65 % are called.
    assert np.mean(called) == pytest.approx(2 / 121, abs=4 * np.std(called) / np.sqrt(draws))
    assert np.mean(called) <= 0.02


def test_the_side_that_is_called_more_decides():
    low, high = (np.linspace(0, top, 100, dtype=np.float32) for top in (0.3, 0.6))
    both = threshold_of_absent([low, high])
    assert both == threshold_of_absent([high]) == threshold_of_absent([high, low])
    assert (low >= both).mean() == 0
    assert (high >= both).mean() <= 0.02


def test_too_few_images_say_how_many_are_needed():
    with pytest.raises(SampleError, match="49"):
        threshold_of_absent([np.zeros(48, np.float32)])
    assert threshold_of_absent([np.zeros(49, np.float32)]) > 0
    with pytest.raises(SampleError, match="9"):
        threshold_of_absent([np.zeros(8, np.float32)], most=0.1)
