import random

import numpy as np
import pytest

from unseen.core.errors import ImageError
from unseen.images import subset


class _Set:
    spec = "folder:photos"

    def __init__(self, count, endless=False):
        self.names = [str(index) for index in range(count)]
        self.endless = endless

    def read(self, index):
        return np.zeros((3, 1, 1), np.uint8)

    def fingerprint(self):
        return ""


def test_it_is_the_first_of_the_authors_shuffle():
    order = list(range(100))
    random.Random(1).shuffle(order)
    assert subset(_Set(100), 10, 1) == order[:10]
    # Stored from Python 3.11's generator, whose shuffle has not changed since 3.2.
    assert subset(_Set(10), 3, 1) == [6, 8, 9]


def test_a_smaller_subset_is_the_beginning_of_a_larger_one():
    assert subset(_Set(50), 40, 7)[:15] == subset(_Set(50), 15, 7)


def test_all_images_come_in_index_order():
    assert subset(_Set(5), None, 3) == [0, 1, 2, 3, 4]


def test_fewer_images_than_asked_for_is_an_error_that_says_how_many_there_are():
    with pytest.raises(ImageError, match=r"photos has 12 images; 1,000 were asked for"):
        subset(_Set(12), 1000, 0)
    with pytest.raises(ImageError, match=r"has 1 image; 2 were asked for"):
        subset(_Set(1), 2, 0)
    with pytest.raises(ImageError, match="0 images were asked for"):
        subset(_Set(12), 0, 0)


def test_an_endless_source_gives_its_first_images_and_wants_a_number():
    assert subset(_Set(0, endless=True), 3, 5) == [0, 1, 2]
    with pytest.raises(ImageError, match="never ends; say how many"):
        subset(_Set(0, endless=True), None, 0)
