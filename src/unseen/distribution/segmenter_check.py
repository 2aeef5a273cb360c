"""Whether the segmenter can be trusted on both sides of a comparison. Areas in, no images.

`differences` compares what `instrument` measured of the images; `warnings` says what is large.
`judged` takes back the verdicts that the segmenter may explain.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from unseen.core.errors import RecordError
from unseen.core.verdicts import ClassVerdict
from unseen.core.wording import digits, listed
from unseen.distribution.areas import MEASURED, Areas, Measured, nothing
from unseen.distribution.comparison import ClassRow, GeneratedSide, ImageMeasure
from unseen.distribution.comparison_wording import MEASURES_IN_WORDS
from unseen.statistics import INDEPENDENT, Design
from unseen.statistics.classes import MATCHED_WITHIN

# Standard deviations between the sides. Sets of one kind lie below (photographs of faces and a
# StyleGAN's 0.16, two collections of faces 0.61), images that one sees to be blurred above (1.16);
# docs/segmenters.md has the table. By convention (Cohen, 1988) 0.8 is a large effect.
_LARGE = 0.8
_CONFIDENT = 1.96  # standard errors: the interval of a large difference leaves out zero


def differences(
    real: Areas,
    generated: Areas,
    designs: tuple[Design, Design] = (INDEPENDENT, INDEPENDENT),
) -> tuple[ImageMeasure, ...]:
    """The means of all that is measured of both sides, and how far they lie apart."""
    names: list[tuple[Literal["unlabelled"] | Measured, np.ndarray, np.ndarray]] = []
    unlabelled = nothing(real.columns)
    if unlabelled is not None:
        k = real.columns.index(unlabelled)
        names.append(("unlabelled", real.shares(k), generated.shares(k)))
    names += [
        (name, real.measured[name], generated.measured[name])
        for name in MEASURED
        if name in real.measured and name in generated.measured
    ]
    # Of a standardised difference, where there is none.
    error = math.sqrt(1 / len(real) + 1 / len(generated))
    measures = []
    for name, real_values, generated_values in names:
        if np.isnan(real_values).any() or np.isnan(generated_values).any():
            continue  # the segmenter does not say how sure it is
        (mean, variance), (generated_mean, generated_variance) = (
            _moments(values, design)
            for values, design in zip((real_values, generated_values), designs, strict=True)
        )
        spread = math.sqrt((variance + generated_variance) / 2)
        difference = (generated_mean - mean) / spread if spread > 0 else None
        measures.append(
            ImageMeasure(
                name=name,
                real=mean,
                generated=generated_mean,
                difference=difference,
                large=abs(difference or 0.0) >= max(_LARGE, _CONFIDENT * error),
            )
        )
    return tuple(measures)


def _moments(values: np.ndarray, design: Design) -> tuple[float, float]:
    """Mean and variance over the images as they count."""
    shares = design.shares(len(values))
    mean = float(shares @ values.astype(np.float64))
    return mean, float(shares @ (values - mean) ** 2)


def warnings(sides: Sequence[GeneratedSide]) -> list[str]:
    """A sentence for every generated side that differs much in what the segmenter was given."""
    return [
        f"The segmenter may fail on {side.label}, whose images differ from the real ones in "
        f"{listed(_in_words(measure) for measure in side.measures if measure.large)}. What it "
        "misses there reads as an omission, what it invents as too much."
        for side in sides
        if any(measure.large for measure in side.measures)
    ]


def _in_words(measure: ImageMeasure) -> str:
    return (
        f"{MEASURES_IN_WORDS[measure.name]} ({digits(measure.generated)} against "
        f"{digits(measure.real)}: {digits(abs(measure.difference or 0))} standard deviations)"
    )


# A look that takes more than half of a difference away (of log ratio) leaves no verdict. The least
# that a verdict of the shipped generators kept was 0.64; docs/segmenters.md has the table.
_KEPT = 0.5
_DIRECTIONS: dict[ClassVerdict, tuple[ClassVerdict, ...]] = {
    "omitted": ("omitted", "under"),
    "under": ("omitted", "under"),
    "over": ("over",),
    "matched": ("matched", "undecided", "untested"),
}
"""Verdict → those of other images that support it."""

Pair = tuple[Areas, Areas]  # real, generated


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """A check of the segmenter on one generated side and the real one.

    Attributes:
        worn: the areas of images made equally blurred and pale; None where the sides did not differ
            much in that, or there were no images.
    """

    worn: Pair | None = None

    @property
    def wear(self) -> tuple[Mapping[str, float] | None, Mapping[str, float] | None] | None:
        """What was done to the real and the generated images; None: nothing."""
        if self.worn is None:
            return None
        real, generated = (
            (side.provenance.get("images") or [{}])[0].get("worn") for side in self.worn
        )
        return real, generated


def judged(
    rows: Sequence[ClassRow],
    sides: Pair,
    check: Check,
    presence_threshold: float | np.ndarray,
    verdicts: Callable[[Pair], Sequence[ClassVerdict]],
) -> list[ClassRow]:
    """The rows; undecided where the segmenter may explain the verdict.

    A verdict stands where it stands in both other looks at the same images, mirrored and moved, and
    between images that were made equally blurred and pale.

    Args:
        rows: of the comparison.
        sides: the areas that were compared, with the views of `instrument.VIEWS`.
        check: the areas of images made alike, if there are any.
        presence_threshold: share of the image from which on a class is present.
        verdicts: those of other areas of the same images, compared as the rows were.

    Raises:
        RecordError: a side has no views.
    """
    for side in sides:
        if not side.views:
            source = (side.provenance.get("images") or [{}])[0].get("spec", "a side")
            raise RecordError(
                f"the areas of {source} were made without a check of the segmenter; make them "
                "again with: unseen segment --check-segmenter"
            )
    agreements = [_agreement(side, presence_threshold) for side in sides]
    worn_verdicts: Sequence[ClassVerdict | None] = (
        [None] * len(rows) if check.worn is None else verdicts(check.worn)
    )
    answer = []
    for row, seen in zip(rows, worn_verdicts, strict=True):
        k = sides[0].columns.index(row.column)
        supported = _DIRECTIONS.get(row.verdict)
        stands = supported is None or (
            _stands_in_views(row, k, sides, row.presence_threshold)
            and (seen is None or seen in supported)
        )
        real, generated = (None if np.isnan(side[k]) else float(side[k]) for side in agreements)
        answer.append(
            dataclasses.replace(
                row,
                verdict=row.verdict if stands else "undecided",
                undecided_by=row.undecided_by if stands else "segmenter",
                real_agreement=real,
                generated_agreement=generated,
                worn_verdict=seen,
            )
        )
    return answer


def _agreement(side: Areas, threshold: float | np.ndarray) -> np.ndarray:
    """Mean of Dice's coefficients of a class's presence with that in each view; NaN: never seen."""
    present = side.fraction >= threshold
    coefficients = []
    for pixels in side.views.values():
        again = pixels / np.float64(side.label_map_pixels) >= threshold
        either = present.sum(0) + again.sum(0)
        both = 2.0 * (present & again).sum(0)
        coefficients.append(
            np.divide(both, either, out=np.full(len(either), np.nan), where=either > 0)
        )
    known = np.isfinite(coefficients)
    mean = np.where(known, coefficients, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known.any(0), mean, np.nan)


def _stands_in_views(row: ClassRow, k: int, sides: Pair, threshold: float) -> bool:
    """Whether every look keeps enough of the difference, or of the match."""

    def log_ratio(pixels: Sequence[np.ndarray]) -> float:
        real, generated = (
            column[:, k] / np.float64(side.label_map_pixels)
            for column, side in zip(pixels, sides, strict=True)
        )
        if row.statistic == "area":
            return math.log(max(generated.mean(), 1e-12) / max(real.mean(), 1e-12))
        # Half an image more on each side: a ratio also where one side holds none.
        counts = [((part >= threshold).sum() + 0.5) / (len(part) + 1) for part in (real, generated)]
        return math.log(counts[1] / counts[0])

    plain = log_ratio([side.pixels for side in sides])
    looks = [log_ratio([side.views[view] for side in sides]) for view in sides[0].views]
    if row.verdict == "matched":
        low, high = (math.log(limit) for limit in MATCHED_WITHIN)
        return all(low <= look <= high for look in looks)
    return all(look * plain >= _KEPT * plain * plain for look in looks)
