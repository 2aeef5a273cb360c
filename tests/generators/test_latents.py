"""The stream of latents: the paper's, whichever rows are asked for and in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.core.errors import SampleError
from unseen.generators.latents import LatentStream

SIZE = 3
WHOLE = np.random.RandomState(7).standard_normal(5000 * SIZE).reshape(5000, SIZE)
# 5000 rows cross the boundary of the 4096 that are drawn at a time

requests = st.lists(st.lists(st.integers(0, 4999), max_size=8), min_size=1, max_size=4)


@given(requests)
def test_rows_are_those_of_the_whole_stream_for_every_sequence_of_requests(
    several: list[list[int]],
) -> None:
    stream = LatentStream(SIZE)
    for indices in several:
        expected = WHOLE[indices].astype(np.float32).reshape(-1, SIZE)
        np.testing.assert_array_equal(stream.rows(indices, seed=7), expected)


def test_another_seed_is_another_stream() -> None:
    stream = LatentStream(SIZE)
    first = stream.rows([0], seed=7)
    assert not np.allclose(stream.rows([0], seed=8), first)
    np.testing.assert_array_equal(stream.rows([0], seed=7), first)


@pytest.mark.parametrize(("index", "seed"), [(-1, 1), (0, -1), (0, 2**32)])
def test_indices_and_seeds_out_of_range_are_refused(index: int, seed: int) -> None:
    with pytest.raises(SampleError, match=r"negative|out of range"):
        LatentStream(SIZE).rows([index], seed)
