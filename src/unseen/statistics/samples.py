"""Which rows to compare when one set is compared with itself."""

import numpy as np
from jaxtyping import Int64

from unseen.core.errors import SampleError


def self_halves(n: int, seed: int = 0) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"]]:
    """Two disjoint random halves of n images, for comparing a set with itself.

    Overlapping halves, as in the 2019 code, understate the distance of a set to itself.

    Args:
        n: images in the set.
        seed: of the split.

    Returns:
        Row indices of either half, each ascending; of an odd n the last drawn is left out, so
        that both have n // 2.

    Raises:
        SampleError: fewer than four images.
    """
    if n < 4:
        raise SampleError(
            f"the set has {n} image{'' if n == 1 else 's'}; halves of at least 2 need 4: add images"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 : 2 * (n // 2)])
