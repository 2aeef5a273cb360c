"""Agreement of several people, against the published example."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.labellers import krippendorff_alpha

X = np.nan


def test_the_published_examples():
    # Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, C: nominal data, four
    # observers, missing data: 0.743
    four = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
            [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
        ]
    )
    assert krippendorff_alpha(four) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(four[[3, 1, 0, 2]]) == krippendorff_alpha(four)


def test_people_who_cannot_disagree_have_no_agreement():
    assert krippendorff_alpha(np.array([[1.0, 1.0], [1.0, 1.0]])) is None
    assert krippendorff_alpha(np.array([[1.0, X], [X, 0.0]])) is None  # nothing in common
    assert krippendorff_alpha(np.array([[1.0, 0.0], [1.0, 0.0]])) == 1.0


def test_a_list_is_refused():
    with pytest.raises(SampleError, match="3"):
        krippendorff_alpha(np.zeros(3))
