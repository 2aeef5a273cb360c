"""Several tests at once: p-values that keep the chance of any false alarm among them."""

import numpy as np
from jaxtyping import Float64


def holm(p_values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """P-values adjusted for the family-wise error of k tests (Holm, 1979)."""
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def benjamini_hochberg(p_values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """P-values adjusted for the share of false alarms among what is called (1995)."""
    order = np.argsort(p_values)[::-1]
    scaled = p_values[order] * len(order) / np.arange(len(order), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum.accumulate(scaled)
    return adjusted
