"""Which images of one side a person is to label, and what the labels say of it.

Images fall into strata by the area that the segmenter gives the class: *yes*, from twice the
presence threshold on; *no*, below half of it; *unsure* between them. Within a stratum the images
are drawn at random; between strata labels go where they tell most. NumPy alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64

from unseen.core.errors import SampleError
from unseen.core.wording import count
from unseen.statistics.audited import AuditCounts
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.prediction_powered import powered_mean

Stratum = Literal["yes", "unsure", "no"]  # what the segmenter says
STRATA: tuple[Stratum, ...] = get_args(Stratum)

_FACTORS = (2.0, 0.5)  # of the presence threshold: where yes begins, and where unsure does
# Of labels among images that the segmenter says yes, nearly, and no of: standard deviations of
# shares of 93, 50 and 4 %, about what segmenters do.
_LIKELY_SPREAD = np.array([0.25, 0.5, 0.2])
_LEAST_SHARE = np.array([0.2, 0.1, 0.2])  # of the labels of a side


def strata_of(fraction: Float64[np.ndarray, " n"], threshold: float) -> Int64[np.ndarray, " n"]:
    """The stratum of every image, by its number in `STRATA`.

    >>> strata_of(np.array([0.5, 0.006, 0.0]), 0.005)
    array([0, 1, 2])
    """
    least, lowest = (factor * threshold for factor in _FACTORS)
    return np.asarray(np.where(fraction >= least, 0, np.where(fraction >= lowest, 1, 2)), np.int64)


def draw_to_label(
    fraction: Float64[np.ndarray, " n"], threshold: float, count: int, seed: int
) -> Int64[np.ndarray, " m"]:
    """The rows of one side that are to be labelled, ascending.

    A larger count takes the same images and more of them, where the seed is the same and its share
    of each stratum grows.

    Args:
        fraction: of each image that the class covers.
        threshold: of presence.
        count: how many; all images where there are fewer.
        seed: of the draw.
    """
    strata = strata_of(fraction, threshold)
    wanted = allocate(np.bincount(strata, minlength=len(STRATA)).tolist(), count)
    order = np.random.default_rng(seed).permutation(len(fraction))
    rows = [order[strata[order] == k][:number] for k, number in enumerate(wanted)]
    return np.sort(np.concatenate(rows))


@dataclasses.dataclass(frozen=True, eq=False)
class AuditSample:
    """One side with its labels.

    Attributes:
        fraction: of each image that the class covers, by the segmenter.
        threshold: of presence.
        labels: 1 present, 0 absent, NaN where nobody said.
        design: groups and weights of the images.
        effective: independent images of equal weight that would know the presence as well.
    """

    fraction: Float64[np.ndarray, " n"]
    threshold: float
    labels: Float64[np.ndarray, " n"]
    design: Design = INDEPENDENT
    effective: float | None = None  # None: all

    @property
    def called(self) -> Bool[np.ndarray, " n"]:
        """Whether the segmenter says that the class is there."""
        return np.asarray(self.fraction >= self.threshold)

    @property
    def labelled(self) -> Bool[np.ndarray, " n"]:
        """Which images have a label."""
        return np.asarray(np.isfinite(self.labels))

    @property
    def _weights(self) -> Float64[np.ndarray, " n"]:
        """How many images of its stratum a labelled image stands for, as these count; else 0."""
        strata, known = strata_of(self.fraction, self.threshold), self.labelled
        shares = self.design.shares(len(self.fraction))
        everyone = np.bincount(strata, shares, len(STRATA))
        there = np.bincount(strata[known], shares[known], len(STRATA))
        factor = np.divide(everyone, there, out=np.zeros(len(STRATA)), where=there > 0)
        return np.asarray(np.where(known, shares * factor[strata], 0.0))

    def presence(self) -> float:
        """The share of images that hold the class, by the labels and the segmenter's answers.

        The segmenter is believed of unsure images where none of them has a label.

        Raises:
            SampleError: no image of which the segmenter says yes has a label, or none of no.
        """
        known, called = self.labelled, self.called.astype(np.float64)
        strata, shares = strata_of(self.fraction, self.threshold), self.design.shares(len(called))
        missing = [k for k in range(len(STRATA)) if (strata == k).any()]
        missing = [k for k in missing if not (known & (strata == k)).any()]
        for k in missing:
            if STRATA[k] != "unsure":
                raise SampleError(
                    f"{count(int((strata == k).sum()), 'image')} of which the segmenter says "
                    f"{STRATA[k]} have no label; label some of them"
                )
        told = ~np.isin(strata, missing)
        mean = powered_mean(
            self.labels[known],
            called[known],
            called[told],
            weights=self._weights[known],
            prediction_weights=shares[told],
        )
        believed = float(shares[~told] @ called[~told])
        return float(np.clip(believed + shares[told].sum() * mean.value, 0.0, 1.0))

    def rate_of_calls(self, *, present: bool) -> float | None:
        """Of the images that hold the class, or do not, the share in which the segmenter sees it.

        None where no labelled image is such.
        """
        weights = np.where(self.labels == float(present), self._weights, 0.0)
        if weights.sum() <= 0.0:
            return None
        return min(float(weights @ self.called / weights.sum()), 1.0)  # sums are not exact

    def counts(self) -> AuditCounts:
        """The counts of each cell: a stratum, the unsure one parted by the segmenter's answer."""
        strata, called = strata_of(self.fraction, self.threshold), self.called
        shares, units = (
            self.design.shares(len(called)),
            self.design.units(len(called)),
        )
        images = float(len(called)) if self.effective is None else self.effective
        cells = [(strata == k) & (called == answer) for k, answer in _CELLS]
        table = []
        for cell in cells:
            known = cell & self.labelled
            worth = _worth(shares[known], units[known])
            held = shares[known] @ self.labels[known] / max(float(shares[known].sum()), 1e-300)
            table.append((images * shares[cell].sum(), worth, worth * float(held)))
        return AuditCounts(
            np.array([answer for _, answer in _CELLS]), *np.array(table).round(_DIGITS).T
        )


_DIGITS = 9  # of counts: sums of shares are not exact
_CELLS = ((0, True), (1, True), (1, False), (2, False))  # stratum, and whether it is called


def _worth(shares: Float64[np.ndarray, " m"], units: Int64[np.ndarray, " m"]) -> float:
    """How many independent images of equal weight labels are worth: at most one a group."""
    if not len(shares):
        return 0.0
    sums = np.bincount(np.unique(units, return_inverse=True)[1], shares)
    return float(sums.sum() ** 2 / (sums**2).sum())


def allocate(images: Sequence[int], count: int) -> list[int]:
    """How many images to label of each stratum of one side: yes, unsure and no.

    Each in proportion to its images times how much labels are likely to vary in it (Neyman), but at
    least a share of the labels, since a class that is rarely called may be called wrongly; all,
    where a stratum has fewer.

    >>> allocate([45, 5, 1950], 400)
    [45, 5, 350]
    """
    there = np.asarray(images, np.float64)
    count = int(min(count, there.sum()))
    spread = there * _LIKELY_SPREAD
    wanted = np.maximum(spread / max(spread.sum(), 1e-12), np.where(there > 0, _LEAST_SHARE, 0.0))
    given = np.zeros(len(there))
    free = there > 0
    while free.any() and given.sum() < count - 1e-9:
        left = count - given[~free].sum()
        given[free] = left * wanted[free] / wanted[free].sum()
        full = free & (given >= there)
        if not full.any():
            break
        given[full] = there[full]
        free &= ~full
    whole = np.floor(given + 1e-9).astype(int)
    for k in np.argsort(whole - given, kind="stable"):
        if whole.sum() < count and whole[k] < there[k]:
            whole[k] += 1
    return [int(number) for number in whole]
