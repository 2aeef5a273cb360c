"""Presence as labels correct it: a ratio with its interval, and how well the segmenter sees.

Of every image the segmenter's answer is known, of a few the label of a person. NumPy alone.
The point estimate is that of `prediction_powered`. The interval is a posterior one: a class has a
presence p; the segmenter sees it in a share of the images that hold it (sensitivity), and claims it
in a share of those that do not (false alarms). Nothing is taken for granted of either: all
sensitivities are equally likely beforehand, and so are all rates of false alarms. That decides rare
classes: where a class was never seen, so that nothing tells how much of it was missed, a hundred
empty pictures alone would leave 3 %, and ten thousand images without it count, too.
docs/audit.md has the simulation that chose it, and what lost.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float64

from unseen.core.errors import SampleError
from unseen.statistics.classes import verdict_of

_HALF = 0.5  # of a Dirichlet prior over the cells: two cells each make rates uniform a priori
_DRAWS = 1 << 12  # from the posterior: the tail beyond an end is 2.5 ± 0.3 %
_MOST_DRAWS = 1 << 17
_ENOUGH = 1 << 10  # draws that the weighted ones are worth
_NEVER = 0.25  # shape of the proposal where nothing was counted: it reaches very small rates
_HALVINGS = 20  # of log ratios within ± 20: to 4e-5
_REACH = 20.0
_SEED = 20_250_301  # of the draws: the same counts give the same interval


@dataclasses.dataclass(frozen=True, eq=False)
class AuditCounts:
    """What is known of one side; an entry a cell of answers of the segmenter.

    Numbers need not be whole, where images count as fewer independent ones.
    """

    called: Bool[np.ndarray, " k"]  # whether the segmenter says that the class is there
    images: Float64[np.ndarray, " k"]
    labelled: Float64[np.ndarray, " k"]  # images with a label
    present: Float64[np.ndarray, " k"]  # of these, those that hold the class

    def __post_init__(self) -> None:
        tables = (self.images, self.labelled, self.present)
        if any(len(table) != len(self.called) for table in tables):
            raise SampleError("images, labels and answers have other numbers of cells")
        if (self.present < 0).any() or (self.present > self.labelled + 1e-9).any():
            raise SampleError("more labels say that the class is there than there are labels")

    def times(self, factor: float) -> "AuditCounts":
        """The same with so many times the labels, at most one an image."""
        more = np.minimum(self.labelled * factor, np.maximum(self.images, self.labelled))
        rate = self.present / np.maximum(self.labelled, 1e-12)
        return dataclasses.replace(self, labelled=more, present=more * rate)


@dataclasses.dataclass(frozen=True, eq=False)
class AuditPosterior:
    """Weighted draws of what an audit says of one side, in ascending order of presence."""

    log_presence: Float64[np.ndarray, " b"]
    sensitivity: Float64[np.ndarray, " b"]
    false_alarms: Float64[np.ndarray, " b"]
    weights: Float64[np.ndarray, " b"]  # sum to 1
    found: bool  # whether a labelled image holds the class
    reached: Float64[np.ndarray, " b+1"]  # the weight of all draws before each, and of all

    @classmethod
    def of(cls, side: AuditCounts) -> "AuditPosterior":
        """The posterior, by importance sampling from one in which cells know nothing of another."""
        draws = _DRAWS
        while True:
            found = _weighted(side, draws)
            if 1.0 / np.sum(found.weights**2) >= _ENOUGH or draws >= _MOST_DRAWS:
                return found
            draws *= 2

    def ratio_below(self, generated: "AuditPosterior", log_ratio: float) -> float:
        """Probability of a smaller ratio of another side's presence to this side's."""
        places = np.searchsorted(generated.log_presence, self.log_presence + log_ratio)
        return float(np.clip(self.weights @ generated.reached[places], 0.0, 1.0))

    def presence_interval(self, level: float) -> tuple[float, float]:
        """Equal tails."""
        low, high = self._quantiles(self.log_presence, level)
        return math.exp(low), math.exp(high)

    def sensitivity_interval(self, level: float) -> tuple[float, float]:
        """Equal tails."""
        return self._quantiles(self.sensitivity, level)

    def false_alarms_interval(self, level: float) -> tuple[float, float]:
        """Equal tails."""
        return self._quantiles(self.false_alarms, level)

    def _quantiles(self, values: Float64[np.ndarray, " b"], level: float) -> tuple[float, float]:
        order = np.argsort(values)
        reached = np.cumsum(self.weights[order])
        ends = np.searchsorted(reached, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        low, high = values[order[np.minimum(ends, len(values) - 1)]]
        return float(low), float(high)


def audited_interval(
    real: AuditPosterior, generated: AuditPosterior, *, level: float
) -> tuple[float, float]:
    """The interval of the corrected ratio, generated over real presence; equal tails.

    It begins at 0 where no generated image was found to hold the class, and has no upper end where
    no real image was.

    >>> counts = AuditCounts(np.array([True, False]), *np.array([[30.0, 970], [30, 70], [28, 1]]))
    >>> side = AuditPosterior.of(counts)
    >>> low, high = audited_interval(side, side, level=0.95)
    >>> low < 1 < high
    True
    """

    def end(probability: float) -> float:
        low, high = -_REACH, _REACH
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            less = real.ratio_below(generated, middle) < probability
            low, high = (middle, high) if less else (low, middle)
        return math.exp(0.5 * (low + high))

    return (
        end((1.0 - level) / 2.0) if generated.found else 0.0,
        end((1.0 + level) / 2.0) if real.found else math.inf,
    )


def labels_to_decide(real: AuditCounts, generated: AuditCounts, *, level: float) -> float | None:
    """How many times the labels of both sides would decide an undecided class.

    Had further labels the shares of those that there are, and fell on the same cells.

    Returns:
        The least factor, to a tenth; None where labels of all images would not do.
    """

    def decided(factor: float) -> bool:
        sides = (AuditPosterior.of(side.times(factor)) for side in (real, generated))
        return verdict_of(audited_interval(*sides, level=level)) != "undecided"

    most = max(
        float((side.images / np.maximum(side.labelled, 1.0)).max()) for side in (real, generated)
    )
    if not decided(most):
        return None
    low, high = 1.0, most
    while high / low > 1.1:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def _weighted(side: AuditCounts, draws: int) -> AuditPosterior:
    """Draws of shares of cells and of presence within them, weighted to the prior of the module.

    π_k1 and π_k0 are shares of images that fall into cell k and hold the class, or do not.
    Proposed: the shares π_k1 + π_k0 of cells, Dirichlet(images + ½), and within a cell the share
    with the class, Beta(present + ½, absent + ½). Asked for: p Beta(½, ½), π_k1 / p and
    π_k0 / (1 − p) Dirichlet(½), under the same likelihood.
    """
    random = np.random.default_rng(_SEED)
    cells = len(side.images)
    absent = side.labelled - side.present
    shapes = [np.where(held > 0.0, held + _HALF, _NEVER) for held in (side.present, absent)]
    share, held, lacking = (
        random.standard_gamma(shape, size=(draws, cells))
        for shape in (side.images + _HALF, *shapes)
    )
    share /= share.sum(axis=1, keepdims=True)
    both = held + lacking
    held, lacking = share * held / both, share * lacking / both  # π_k1, π_k0
    p, q = held.sum(axis=1), lacking.sum(axis=1)
    # Asked for over proposed: the likelihoods cancel, and what is left are powers of p, 1 − p, the
    # shares of cells, and of the share within a cell where the proposal has another shape.
    log_share = np.log(share)
    weights = _HALF * log_share.sum(axis=1)
    weights += (_HALF - (1.0 - _HALF) * cells) * (np.log(p) + np.log(q))
    for part, count, shape in ((held, side.present, shapes[0]), (lacking, absent, shapes[1])):
        never = count <= 0.0
        weights += (np.log(part[:, never]) - log_share[:, never]) @ (_HALF - shape[never])
    weights = np.exp(weights - weights.max())
    order = np.argsort(p)
    weights = (weights / weights.sum())[order]
    return AuditPosterior(
        log_presence=np.log(p[order]),
        sensitivity=(held[:, side.called].sum(axis=1) / p)[order],
        false_alarms=(lacking[:, side.called].sum(axis=1) / q)[order],
        weights=weights,
        reached=np.concatenate([[0.0], np.cumsum(weights)]),
        found=bool(side.present.sum() > 0.0),
    )
