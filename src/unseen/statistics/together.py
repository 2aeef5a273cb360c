"""Classes that photographs hold together and generated images do not: pairs drawn rarely together.

Arrays in, the pairs out. What is tested is whether fewer images hold both classes than the
presences of the two explain, so that a class that is left out makes no pair of its own. Definitions
are in docs/statistics.md, and what else was tried. NumPy and SciPy alone.
Sources: the conditional test of `ratios`; a family without the pairs that could never be called:
Tarone, Biometrics 46, 1990.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from unseen.statistics.classes import PRESENCE_THRESHOLD, Table, check_sides
from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.effective import (
    EffectiveCounts,
    Grouping,
    PresenceMoments,
    effective_counts,
)
from unseen.statistics.ratios import conditional_tests
from unseen.statistics.samples import column_blocks

# A pair is rarely together where less than half of what is expected is left. What classes do to one
# another by their places moves ratios by a tenth or two, and large samples would call that.
RARELY_BELOW = 0.5
_BLOCK = 2**22  # areas of one side, or presences of pairs, worked on at once: some 32 MB

_Square = Float64[np.ndarray, "k k"]  # a class a row and a column
_Chosen = Int64[np.ndarray, "p 2"]  # the columns of every pair that is looked at


@dataclasses.dataclass(frozen=True, kw_only=True)
class RarePair:
    """Two classes that the generated images hold together more rarely than their presences explain.

    Attributes:
        columns: the two classes, ascending.
        real: share of the real images that hold both.
        generated: share of the generated images that hold both.
        expected: what the two presences alone explain of the generated images: `real`, times the
            part that is left of each class's presence.
        ratio: generated / expected.
        interval: of the ratio, simultaneous over all pairs that could be called.
        p_value: one-sided, of a ratio of at least 1; of this pair alone.
    """

    columns: tuple[int, int]
    real: float
    generated: float
    expected: float
    ratio: float
    interval: tuple[float, float]
    p_value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RarePairs:
    """The pairs that are called, and of how many.

    Attributes:
        tested: pairs that could have been called, had no generated image held both.
        pairs: those that are called, the smallest upper end of the interval first.
    """

    tested: int
    pairs: tuple[RarePair, ...]


def rarely_together(
    real: Table,
    generated: Table,
    *,
    presence_threshold: float | Float64[np.ndarray, " k"] = PRESENCE_THRESHOLD,
    level: float = 0.95,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
    whole: int = 1,
    left_out: Sequence[int] = (),
    family: Sequence[int] | None = None,
) -> RarePairs:
    """The pairs of classes that generated images hold together more rarely than photographs.

    With p and q the real and the generated presences, a pair (i, j) is expected in
    p_ij min(1, q_i / p_i) min(1, q_j / p_j) of the generated images: what is left where each class
    is lost for reasons of its own, and at least what is left where it is drawn more often.

    Args:
        real: one row an image, one column a class, share of the image (0 to 1).
        generated: the same classes in the same order and unit.
        presence_threshold: a class is present where it covers at least this share of the image.
        level: of the simultaneous intervals.
        real_design: groups and weights of the real images.
        generated_design: groups and weights of the generated images.
        whole: the image in the unit of the areas, where they are pixels and not shares.
        left_out: columns that make no pairs, such as the word for "no class".
        family: columns of which a pair must have one; None: all.

    Returns:
        The pairs whose ratio is below ½ and whose interval ends below 1.

    Raises:
        SampleError: as in `compare_classes`.

    >>> tables = np.zeros((2, 400, 2))
    >>> tables[0, :200], tables[1, :200, 0], tables[1, 200:, 1] = 0.1, 0.1, 0.1
    >>> (pair,) = rarely_together(*tables).pairs  # as often as ever, and never together
    >>> pair.real, pair.generated, pair.expected
    (0.5, 0.0, 0.5)
    """
    tables = check_sides(presence_threshold, level, real, generated, whole=whole)
    thresholds = np.broadcast_to(np.asarray(presence_threshold, np.float64), tables[0].shape[1:])
    sides = [
        _Side(table, Grouping(design, len(table)), thresholds, whole)
        for table, design in zip(tables, (real_design, generated_design), strict=True)
    ]
    (p, q), (p_both, q_both) = zip(*(side.shares() for side in sides), strict=True)
    left = np.minimum(1.0, np.divide(q, p, out=np.ones_like(q), where=p > 0.0))
    left = np.outer(left, left)
    asked = np.ones(len(p), bool) if family is None else np.isin(np.arange(len(p)), family)
    asked_of = np.triu(asked[:, None] | asked[None, :], 1)
    asked_of[list(left_out)] = asked_of[:, list(left_out)] = False
    n, m = (float(len(table)) for table in tables)
    tests, tested = could_be_called(n * p_both + m * q_both, n, m * left, asked_of, 1.0 - level)
    chosen = np.argwhere(tested & (q_both < RARELY_BELOW * p_both * left))
    pairs: list[RarePair] = []
    if len(chosen):
        counts = effective_counts([side.moments(chosen) for side in sides])
        of_pairs = [count.part(slice(-len(chosen), None)) for count in counts]
        pairs = _called(chosen, of_pairs, left[tuple(chosen.T)], (1.0 - level) / tests)
    return RarePairs(
        tested=int(tested.sum()),
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.interval[1], pair.ratio))),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """Which images of a side hold which classes, looked up a block at a time."""

    areas: Table
    grouping: Grouping
    thresholds: Float64[np.ndarray, " k"]
    whole: int

    def shares(self) -> tuple[Float64[np.ndarray, " k"], _Square]:
        """Weighted shares of the images that hold every class, and every two classes."""
        n, k = self.areas.shape
        both = np.zeros((k, k))
        rows = max(_BLOCK // k, 1)
        for start in range(0, n, rows):
            present = self._present(slice(start, start + rows), slice(None)).astype(np.float64)
            weights = self.grouping.shares[start : start + rows, None]
            both += present.T @ (present if self.grouping.equal else weights * present)
        both /= n if self.grouping.equal else 1.0
        return np.diag(both).copy(), both

    def moments(self, chosen: _Chosen) -> PresenceMoments:
        """The moments of all classes, which show how alike images of a group are, then of pairs."""
        pairs_at_once = max(_BLOCK // len(self.areas), 1)
        every = slice(None)
        parts = [
            PresenceMoments.of(shares >= self.thresholds[block], self.grouping)
            for block, (shares,) in column_blocks(self.areas, whole=self.whole)
        ]
        parts += [
            PresenceMoments.of(
                self._present(every, block[:, 0]) & self._present(every, block[:, 1]),
                self.grouping,
            )
            for block in np.array_split(chosen, -(-len(chosen) // pairs_at_once))
        ]
        return PresenceMoments.joined(parts)

    def _present(
        self, rows: slice, columns: slice | Int64[np.ndarray, " p"]
    ) -> Bool[np.ndarray, "_ _"]:
        return np.asarray(
            self.areas[rows][:, columns] / np.float64(self.whole) >= self.thresholds[columns]
        )


def could_be_called(
    total: _Square,
    n: float,
    m: _Square,
    wanted: Bool[np.ndarray, "k k"],
    alpha: float,
    limit: float = 1.0,
) -> tuple[int, Bool[np.ndarray, "k k"]]:
    """By how many tests the level is divided, and the pairs that could be called then.

    A pair whose p-value would be too large even if no generated image held it cannot be called
    falsely. Without such pairs fewer tests are left, with which more pairs could be called: the
    number is the smallest that as many pairs at most pass (Tarone).

    Args:
        total: images of both sides that hold both classes.
        n: real images.
        m: generated images, times what is left of the classes.
        wanted: the pairs that are asked about.
        alpha: chance of any false call.
        limit: of the ratio that is tested.

    Returns:
        The number of tests, and the pairs that could be called by so many.
    """
    # Were the ratio ρ at its limit and no generated image held both: (1 + ρ m / n)^−total, which is
    # twice its half (mid-p).
    least = np.exp(-total * np.log1p(limit * m / n))
    order = np.sort(least[wanted])
    numbers = np.arange(1, len(order) + 2)
    passing = np.searchsorted(order, alpha / numbers)
    tests = int(numbers[np.flatnonzero(passing <= numbers)[0]])
    return tests, wanted & (least < alpha / tests)


def _called(
    chosen: _Chosen,
    counts: Sequence[EffectiveCounts],
    left: Float64[np.ndarray, " p"],
    alpha: float,
) -> list[RarePair]:
    """Those of the pairs whose interval ends below 1."""
    a, b = (side.count for side in counts)
    n, m = counts[0].images, counts[1].images * left
    pairs = []
    for block, test in conditional_tests(a, b, n, m):
        tail = test.lower_tail(1.0)
        called = np.flatnonzero(tail < alpha / 2.0)
        if not len(called):
            continue
        lower, upper = test.interval(alpha)
        for i in called:
            k = block[i]
            real, generated = (float(side.share[k]) for side in counts)
            expected = real * float(left[k])
            pairs.append(
                RarePair(
                    columns=(int(chosen[k, 0]), int(chosen[k, 1])),
                    real=real,
                    generated=generated,
                    expected=expected,
                    ratio=generated / expected,
                    interval=(float(lower[i]), float(upper[i])),
                    p_value=float(tail[i]),
                )
            )
    return pairs
