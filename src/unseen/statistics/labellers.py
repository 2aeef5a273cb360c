"""Do several people label alike? Krippendorff's alpha of nominal labels, NumPy alone.

It takes any number of people, of whom each may have labelled other images.
Source: Hayes and Krippendorff, Communication Methods and Measures 1, 2007.
"""

import numpy as np
from jaxtyping import Float64

from unseen.core.errors import SampleError


def krippendorff_alpha(labels: Float64[np.ndarray, "..."]) -> float | None:
    """1 where labellers always agree, 0 where they agree as often as by chance.

    α = 1 − (observed disagreement) / (disagreement of labels paired at random), both over images
    that two or more people have labelled.

    Args:
        labels: a row a person, a column an image; NaN where the person said nothing.

    Returns:
        None where no image has two labels, or all labels are the same: then nothing could disagree.

    Raises:
        SampleError: no table.

    >>> krippendorff_alpha(np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, np.nan]]))
    0.444...
    """
    if labels.ndim != 2:
        raise SampleError(f"labels have shape {labels.shape}; a row a person is needed")
    values = np.unique(labels[np.isfinite(labels)])
    table = (labels[None] == values[:, None, None]).sum(axis=1)  # (values, n)
    said = table.sum(axis=0)
    table, said = table[:, said > 1], said[said > 1]
    total = int(said.sum())
    alike = float((table * (table - 1) / np.maximum(said - 1, 1)).sum())
    of_value = table.sum(axis=1)
    by_chance = float((of_value * (of_value - 1)).sum())
    if total == 0 or by_chance == total * (total - 1):
        return None
    return 1.0 - (1.0 - alike / total) / (1.0 - by_chance / (total * (total - 1)))
