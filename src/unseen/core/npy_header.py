"""The header of a NumPy array in a file, whose claims are checked before anything follows them."""

import io
import math
from typing import Any

import numpy as np

_LARGEST = 10_000  # bytes; NumPy's own limit, which it checks after reading


class NpyHeader:
    """The header of one `.npy` file or member of an archive (NEP 1).

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        order: "C", or "F" where the first axis runs fastest.
        size: of the header itself, in bytes.

    Raises:
        ValueError: it is no header, or a far too long one.
    """

    def __init__(self, file: Any) -> None:
        start = file.read(8)
        width = 2 if start[6:7] == b"\1" else 4
        length = file.read(width)
        count = int.from_bytes(length, "little")
        if count > _LARGEST:
            raise ValueError(f"its header claims {count:,} bytes")
        header = io.BytesIO(start + length + file.read(count))
        first = np.lib.format.read_magic(header) == (1, 0)
        versions = np.lib.format
        read = versions.read_array_header_1_0 if first else versions.read_array_header_2_0
        self.shape, fortran, self.dtype = read(header)
        if any(side < 0 for side in self.shape):
            raise ValueError(f"its shape is {self.shape}")
        self.order: Any = "F" if fortran else "C"
        self.size = header.tell()

    @property
    def bytes(self) -> int:
        """Of the whole file, as the header says."""
        return self.size + math.prod(self.shape) * self.dtype.itemsize
