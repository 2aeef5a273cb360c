"""Groups and weights of a side: what they must be, and what they become."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.design import INDEPENDENT, Design


def test_without_groups_every_image_is_a_group_and_without_weights_all_count_alike() -> None:
    assert INDEPENDENT.units(3).tolist() == [0, 1, 2]
    assert INDEPENDENT.shares(4).tolist() == [0.25] * 4


def test_groups_are_numbered_without_gaps_and_weights_sum_to_one() -> None:
    design = Design(groups=np.array([9, -2, 9]), weights=np.array([1.0, 2.0, 5.0]))
    assert design.units(3).tolist() == [1, 0, 1]
    assert design.shares(3).tolist() == [0.125, 0.25, 0.625]


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_a_weight_that_is_no_positive_number_is_named(weight: float) -> None:
    with pytest.raises(SampleError, match="weight 1 "):
        Design(weights=np.array([1.0, weight])).shares(2)


@pytest.mark.parametrize("design", [Design(groups=np.arange(3)), Design(weights=np.ones(3))])
def test_another_number_of_images_is_refused(design: Design) -> None:
    with pytest.raises(SampleError, match=r"3 .* for 4 images"):
        design.units(4) if design.weights is None else design.shares(4)
