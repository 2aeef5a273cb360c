"""Precise RoI pooling over a whole feature map, as two small constant matrices.

The original integrates the bilinear surface through the features, zero beyond the map, over each
of k × k equal cells of [0, W] × [0, H] and divides by the cell's area. Over the whole map that
is linear and separable: A_h X A_wᵀ.
Source: Jiang, Luo, Mao, Xiao, Jiang, ECCV 2018 (arXiv:1807.11590), equation 3.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64


def pooling_matrix(cells: int, length: int) -> Float64[np.ndarray, "cells length"]:
    """Weights of `length` samples at 0, 1, …, length − 1 in the mean over each of `cells` cells.

    Row i integrates the hat function of every sample over [i, i+1] · length / cells and divides
    by the cell's length. The last row sums to less than one: the surface falls to zero between
    the last sample and the edge.
    """
    edges = np.arange(cells + 1) * (length / cells)
    below = _hat_integral(edges[:, None] - np.arange(length))  # (cells+1, length)
    return np.asarray(np.diff(below, axis=0) * (cells / length))


def _hat_integral(t: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """∫ max(0, 1 − |u|) du from −∞ to t."""
    rising = 0.5 * np.clip(t + 1, 0, 1) ** 2
    falling = 0.5 - 0.5 * (1 - np.clip(t, 0, 1)) ** 2
    return np.asarray(rising + falling)


def precise_pool(
    features: Float[torch.Tensor, "n c h w"], cells: int
) -> Float[torch.Tensor, "n c cells cells"]:
    """Means of the bilinear surface over cells × cells equal parts of the map."""
    rows, columns = (
        torch.from_numpy(pooling_matrix(cells, side)).to(features) for side in features.shape[-2:]
    )
    return torch.einsum("ih,nchw,jw->ncij", rows, features, columns)
