"""How the images of one side were drawn: which belong together, and how much each counts.

NumPy alone. Every statistic that takes a `Design` exchanges, halves and resamples whole groups.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Int64

from unseen.core.errors import SampleError


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """Groups and weights of one side's images; without either, images are independent and equal.

    Attributes:
        groups: one number an image; images with equal numbers are one group, such as a clip's
            frames or a prompt's drawings. None: every image is a group of its own.
        weights: one positive number an image, relative to the others. None: all equal.

    >>> Design(groups=np.array([7, 7, 9])).units(3)
    array([0, 0, 1])
    >>> Design(weights=np.array([1.0, 3.0])).shares(2)
    array([0.25, 0.75])
    """

    groups: Int64[np.ndarray, " n"] | None = None
    weights: Float64[np.ndarray, " n"] | None = None

    def units(self, images: int) -> Int64[np.ndarray, " n"]:
        """The group of every image, groups numbered 0, 1, … without gaps.

        Raises:
            SampleError: the groups are those of another number of images.
        """
        if self.groups is None:
            return np.arange(images)
        self._check("groups", self.groups, images)
        return np.unique(self.groups, return_inverse=True)[1].astype(np.int64)

    def shares(self, images: int) -> Float64[np.ndarray, " n"]:
        """What every image counts; the shares sum to 1.

        Raises:
            SampleError: the weights are those of another number of images, or one of them is not a
                positive number.
        """
        if self.weights is None:
            return np.full(images, 1.0 / images)
        self._check("weights", self.weights, images)
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            worst = int(np.flatnonzero(~(np.isfinite(self.weights) & (self.weights > 0)))[0])
            raise SampleError(
                f"weight {worst} is {self.weights[worst]}; weights are positive numbers"
            )
        return np.asarray(self.weights / self.weights.sum())

    @staticmethod
    def _check(name: str, values: np.ndarray, images: int) -> None:
        if values.shape != (images,):
            raise SampleError(f"there are {len(values)} {name} for {images} images; give one each")


INDEPENDENT = Design()
