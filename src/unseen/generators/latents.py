"""The stream of latents of which image k takes row k.

Source: the sampling script of the 2019 code, which draws all latents at once from
`numpy.random.RandomState(seed)`; a prefix of that stream does not depend on its length.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from unseen.core.errors import SampleError

_BLOCK_ROWS = 4096  # rows drawn at a time, so that a far index costs time and not memory


@dataclasses.dataclass
class LatentStream:
    """Rows of `RandomState(seed).standard_normal((count, size))`, the same for every count.

    The position is remembered, so reading in order draws every number once.
    """

    size: int  # numbers in a row
    _seed: int | None = dataclasses.field(default=None, init=False, repr=False)
    _next_row: int = dataclasses.field(default=0, init=False, repr=False)
    _state: np.random.RandomState = dataclasses.field(
        default_factory=np.random.RandomState, init=False, repr=False
    )

    def rows(self, indices: Iterable[int], seed: int) -> Float32[np.ndarray, "n z"]:
        """The rows with these indices, in the order asked for.

        Raises:
            SampleError: an index is negative, or the seed is not one of RandomState's.
        """
        wanted = np.fromiter(indices, dtype=np.int64)
        if wanted.size == 0:
            return np.empty((0, self.size), dtype=np.float32)
        if wanted.min() < 0:
            raise SampleError(f"image index {wanted.min()} is negative; indices begin at 0")
        if not 0 <= seed < 2**32:
            raise SampleError(f"seed {seed} is out of range; RandomState takes 0 to 2**32 - 1")
        if seed != self._seed or wanted.min() < self._next_row:
            self._state = np.random.RandomState(seed)
            self._seed, self._next_row = seed, 0
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        rows = np.empty((len(wanted), self.size), dtype=np.float32)
        while self._next_row <= ascending[-1]:
            count = int(min(_BLOCK_ROWS, ascending[-1] + 1 - self._next_row))
            block = self._state.standard_normal((count, self.size))
            first, last = np.searchsorted(ascending, [self._next_row, self._next_row + count])
            rows[order[first:last]] = block[ascending[first:last] - self._next_row]
            self._next_row += count
        return rows
