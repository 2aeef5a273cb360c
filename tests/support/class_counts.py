"""Areas of images that hold classes a given number of times."""

import numpy as np


def with_counts(n: int, *counts: int, area: float = 0.02) -> np.ndarray:
    """Fractions of n images: class k + 1 covers `area` of the first counts[k]; class 0 the rest."""
    table = np.zeros((n, len(counts) + 1))
    for k, count in enumerate(counts):
        table[:count, k + 1] = area
    table[:, 0] = 1.0 - table.sum(axis=1)
    return table
