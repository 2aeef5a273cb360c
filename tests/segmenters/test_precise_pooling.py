"""The two constant matrices against numerical integration of the bilinear surface."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.segmenters.precise_pooling import pooling_matrix, precise_pool


def _surface(samples, at):
    """The bilinear surface through samples at 0, 1, …, zero from one sample beyond the map on."""
    padded = np.pad(samples, ((0, 1), (0, 1)))
    y, x = at
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    down, across = y - y0, x - x0
    return (
        padded[y0, x0] * (1 - down) * (1 - across)
        + padded[y0, x0 + 1] * (1 - down) * across
        + padded[y0 + 1, x0] * down * (1 - across)
        + padded[y0 + 1, x0 + 1] * down * across
    )


@pytest.mark.parametrize("cells", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(8, 8), (5, 7)])
def test_cells_are_the_means_of_the_bilinear_surface(cells, shape):
    samples = np.random.default_rng(0).standard_normal(shape)
    pooled = precise_pool(torch.from_numpy(samples)[None, None], cells)[0, 0].numpy()
    steps = 420  # midpoints a cell and axis; the error falls with its square
    middles = (np.arange(steps) + 0.5) / steps
    for i in range(cells):
        for j in range(cells):
            y = (i + middles) * shape[0] / cells
            x = (j + middles) * shape[1] / cells
            mean = _surface(samples, np.meshgrid(y, x, indexing="ij")).mean()
            assert pooled[i, j] == pytest.approx(mean, abs=2e-5)  # midpoint rule at 420 steps


@settings(deadline=None)
@given(cells=st.integers(1, 7), length=st.integers(1, 12))
def test_every_sample_is_counted_once_but_for_half_of_the_first(cells, length):
    # the hat at 0 has its left half outside of the map, the last has all of its own inside
    matrix = pooling_matrix(cells, length)
    expected = np.ones(length)
    expected[0] = 0.5
    np.testing.assert_allclose(matrix.sum(0) * length / cells, expected, atol=1e-12)
    assert (matrix >= -1e-15).all()
