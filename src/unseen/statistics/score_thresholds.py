"""A threshold of scores from images that lack what is scored.

Source: split conformal prediction (Vovk, Gammerman and Shafer, 2005). Of n exchangeable images
without the class, and one more, the score of the last is above the ⌈(n + 1)(1 − most)⌉-th smallest
with a probability of at most `most`.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from unseen.core.errors import SampleError

MOST_CALLED = 0.02  # share of the images without a class in which it may be called


def threshold_of_absent(
    sides: Sequence[Float32[np.ndarray, " n"]], *, most: float = MOST_CALLED
) -> float:
    """The least threshold with which at most this share of images without the class is called.

    Of each side alone; the largest of their thresholds holds for both.

    Args:
        sides: scores of images without the class, 0 to 1, an array a side.
        most: share of such images that may be called, on average over samples of labels.

    Returns:
        A threshold: a score that is at least as large is called.

    Raises:
        SampleError: a side has too few images to say so.

    >>> scores = np.linspace(0, 0.5, 101, dtype=np.float32)
    >>> round(threshold_of_absent([scores, scores / 2]), 3)
    0.495
    """
    thresholds = []
    for scores in sides:
        place = math.ceil((len(scores) + 1) * (1.0 - most) - 1e-9)
        if place > len(scores):
            needed = math.ceil(1.0 / most - 1e-9) - 1
            raise SampleError(
                f"{len(scores)} images without the class are labelled on a side; that at most "
                f"{100 * most:g} % are called takes {needed}"
            )
        largest = np.sort(scores)[place - 1]
        thresholds.append(float(np.nextafter(largest, np.float32(2))))  # what is equal, is not
    return max(thresholds)
