"""Photographs and controls chosen class by class, by one rule and never by hand.

Both sides are pools: a seeded subset of the photographs, and the generator's images of a seed.
Each is segmented once, and of every class the images that hold most of it are drawn from.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from unseen.core.errors import ImageError, SegmenterError
from unseen.distribution.areas import Areas, class_name, nothing
from unseen.distribution.segment import SegmentationOptions, segment
from unseen.images import ImageSource, subset
from unseen.inversion.inversions import Selection
from unseen.segmenters import Segmenter
from unseen.statistics.instances import LEAST_AREA, choose_photographs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """Images of a source, and how they were chosen."""

    indices: tuple[int, ...]  # in the source, in the order of the pool
    selection: Selection


def choose_images(
    source: ImageSource,
    segmenter: Segmenter,
    out: Path,
    *,
    a_class: int,
    classes: Sequence[str] | None = None,
    **pool: Unpack[SegmentationOptions],
) -> Chosen:
    """The images of a source that hold most of each class.

    Args:
        source: photographs, or what a generator draws.
        segmenter: whose areas decide.
        out: Parquet file of the pool's areas; read where it is there.
        a_class: images of each class.
        classes: the only ones images are chosen for; None: all.
        pool: how the pool is segmented; of its `count` images all where the source holds fewer.

    Raises:
        ImageError: no image holds any of the classes, or one is broken.
        SegmenterError: a class that the segmenter does not know.
        RecordError: `out` holds other areas.
    """
    asked = pool.get("count")
    if asked is not None and not source.endless:
        pool["count"] = min(asked, len(source.names))
    areas = segment(source, segmenter, out=out, **pool)
    seed = pool.get("seed", 0)
    selection = select_photographs(areas, a_class=a_class, seed=seed, classes=classes)
    wanted = {name for names in selection.chosen.values() for name in names}
    indices = subset(source, pool.get("count"), seed)
    chosen = tuple(index for index in indices if source.names[index] in wanted)
    if not chosen:
        these = "any class" if classes is None else ", ".join(classes)
        raise ImageError(
            f"of {len(areas)} images of {source.spec} none holds {these} on "
            f"{100 * LEAST_AREA:g} % of its area; look at more images (a larger pool), or at others"
        )
    return Chosen(indices=chosen, selection=selection)


def select_photographs(
    areas: Areas,
    *,
    a_class: int = 4,
    share: float = 0.2,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Selection:
    """For every class, the images that hold most of it, by a seeded rule and never by hand.

    Of the images in which a class covers 0.5 % at least, the fifth that holds most of it is drawn
    from. Choose controls by the same call on areas of the generator's own images: choosing what
    is largest biases retention, and must bias both sides alike.

    Args:
        areas: of the pool, a seeded subset of a source; see `unseen.segment`.
        a_class: images of each class.
        share: of the images that hold the class.
        seed: of the draw; a class's draw does not depend on the other classes.
        classes: the only ones that images are chosen for; None: all but "no class".

    Raises:
        SegmenterError: a class that the areas do not have.
    """
    names = [class_name(column) for column in areas.columns]
    if unknown := [name for name in classes or () if name not in names]:
        raise SegmenterError(
            f"the segmenter knows no class {unknown[0]!r}; its classes are: {', '.join(names)}"
        )
    ignored = nothing(areas.columns)
    chosen = choose_photographs(areas.fraction, a_class=a_class, share=share, seed=seed)
    return Selection(
        rule=f"of the {100 * share:.0f} % of the images with a class (at least "
        f"{100 * LEAST_AREA:g} % of the image) that hold most of it, {a_class} at random",
        seed=seed,
        pool=len(areas),
        chosen={
            column: tuple(areas.names[i] for i in rows)
            for column, rows in zip(areas.columns, chosen, strict=True)
            if rows and column != ignored and (classes is None or class_name(column) in classes)
        },
    )
