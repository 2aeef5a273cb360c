"""Classes rarely together: the pairs of a generated side, with images that hold both.

The statistics are those of `unseen.statistics.together`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from unseen.distribution.areas import Areas, nothing
from unseen.distribution.comparison import ClassRow, KeptImage, RarePair, Together
from unseen.distribution.example_images import EXAMPLE_IMAGES, named_images
from unseen.statistics import Design
from unseen.statistics.together import rarely_together

_PICTURED = 6  # pairs of which images are shown


def rare_pairs(
    real: Areas,
    generated: Areas,
    rows: Sequence[ClassRow],
    thresholds: float | Float64[np.ndarray, " k"],
    designs: tuple[Design, Design],
    family: Sequence[int] | None,
) -> Together:
    """Which classes the generated side holds rarely together.

    Args:
        real: areas of the real images.
        generated: areas of the generated images.
        rows: the classes, judged. A pair says nothing where the segmenter is in doubt of a class.
        thresholds: of presence, one or one a class.
        designs: of both sides.
        family: the columns that were asked about, one of which every pair has; None: all.
    """
    columns = real.columns
    doubtful = {
        row.column for row in rows if row.undecided_by in ("segmenter", "second segmenter")
    } | {nothing(columns)}
    found = rarely_together(
        real.pixels,
        generated.pixels,
        presence_threshold=thresholds,
        real_design=designs[0],
        generated_design=designs[1],
        whole=real.label_map_pixels,
        left_out=[k for k, column in enumerate(columns) if column in doubtful],
        family=family,
    )
    pairs = []
    for i, pair in enumerate(found.pairs):
        shown = i < _PICTURED
        pairs.append(
            RarePair(
                columns=(columns[pair.columns[0]], columns[pair.columns[1]]),
                real=pair.real,
                generated=pair.generated,
                expected=pair.expected,
                ratio=pair.ratio,
                interval=pair.interval,
                p_value=pair.p_value,
                real_images=_holding(real, pair.columns, thresholds) if shown else (),
                generated_images=_holding(generated, pair.columns, thresholds) if shown else (),
            )
        )
    return Together(tested=found.tested, pairs=tuple(pairs))


def _holding(
    side: Areas, pair: tuple[int, int], thresholds: float | Float64[np.ndarray, " k"]
) -> tuple[KeptImage, ...]:
    """Images that hold both classes, those that hold most of the smaller one first."""
    least = np.broadcast_to(thresholds, len(side.columns))[list(pair)]
    shares = side.shares(list(pair))
    smaller = np.where((shares >= least).all(axis=1), shares.min(axis=1), 0.0)
    most = np.argsort(-smaller, kind="stable")[:EXAMPLE_IMAGES]
    return named_images(side, most[smaller[most] > 0.0].tolist())
