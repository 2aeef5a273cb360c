"""What an image source is. Anything with these members is one."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@runtime_checkable
class ImageSource(Protocol):
    """An ordered set of named images, picklable so that worker processes can read it.

    A source is made by an entry point of the group `unseen.images`: a function that takes the
    `Spec` and returns the source.
    """

    @property
    def spec(self) -> str:
        """How the user can ask for it again."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Unique names in the authors' index order: sorted directories, then sorted names."""
        ...

    @property
    def endless(self) -> bool:
        """True where any index is an image (a renderer); then subsets are the first n."""
        ...

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` as 8-bit RGB in its own resolution.

        Raises:
            ImageError: it cannot be decoded; the message names it.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 that changes when any name or content changes."""
        ...
