"""How the images of one side were drawn: which belong together, and how much each counts.

NumPy alone. Every statistic that takes a `Design` exchanges, halves and resamples whole groups.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from unseen.core.errors import SampleError

_COLUMNS = 16  # classes looked at together


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


def effective_images(values: Shaped[np.ndarray, "n k"], design: Design) -> float:
    """How many independent images of equal weight would know the means as well as these do.

    n_eff = Σ_k s_k² / Σ_k var(x̄_k), where s² is the variance of an image and var(x̄) that of the
    weighted mean: with shares w and groups g, G / (G − 1) Σ_g (Σ_{i∈g} w_i (x_i − x̄))².

    Args:
        values: one row an image, one column a class, in any unit.
        design: of these images.

    Returns:
        At most the number of images: groups that differ less than chance gives are no gain.

    >>> copies = np.repeat(np.arange(50.0), 2)[:, None]
    >>> round(effective_images(copies, Design(groups=np.repeat(np.arange(50), 2))))
    49
    """
    images = len(values)
    units, shares = design.units(images), design.shares(images)
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    groups = len(starts)
    if groups < 2:
        return 1.0
    spread = of_mean = 0.0
    for first in range(0, values.shape[1], _COLUMNS):  # in chunks: a million images fit
        part = values[:, first : first + _COLUMNS].astype(np.float64)
        apart = part - shares @ part
        spread += float((shares @ apart**2).sum()) / (1.0 - float(shares @ shares))
        sums = np.add.reduceat((shares[:, None] * apart)[order], starts)
        of_mean += float((sums**2).sum()) * groups / (groups - 1)
    return images if of_mean == 0.0 else min(spread / of_mean, float(images))
