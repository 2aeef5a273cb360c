"""Whether the segmenter can be trusted on both sides of a comparison. Areas in, no images.

`differences` compares what `instrument` measured of the images; `warnings` says what is large.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from unseen.core.wording import digits, listed
from unseen.distribution.areas import MEASURED, Areas, Measured, nothing
from unseen.distribution.comparison import GeneratedSide, ImageMeasure
from unseen.distribution.comparison_wording import MEASURES_IN_WORDS
from unseen.statistics import Design

# Standard deviations between the sides. Sets of one kind lie below (photographs of faces and a
# StyleGAN's 0.16, two collections of faces 0.61), images that one sees to be blurred above (1.15);
# docs/segmenters.md has the table. By convention (Cohen, 1988) 0.8 is a large effect.
_LARGE = 0.8
_CONFIDENT = 1.96  # standard errors: the interval of a large difference leaves out zero


def differences(
    real: Areas, generated: Areas, designs: tuple[Design, Design]
) -> tuple[ImageMeasure, ...]:
    """The means of all that is measured of both sides, and how far they lie apart."""
    names: list[tuple[Literal["unlabelled"] | Measured, np.ndarray, np.ndarray]] = []
    unlabelled = nothing(real.columns)
    if unlabelled is not None:
        k = real.columns.index(unlabelled)
        names.append(("unlabelled", real.fraction[:, k], generated.fraction[:, k]))
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
