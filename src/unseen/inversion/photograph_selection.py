"""Photographs and controls chosen class by class, by one rule and never by hand.

Both sides are pools: a seeded subset of the photographs, and the generator's images of a seed.
Each is segmented once, and of every class the images that hold most of it are drawn from.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unseen.core.errors import ImageError, SegmenterError
from unseen.distribution.areas import Areas, class_name, nothing
from unseen.distribution.segment import segment
from unseen.images import ImageSource, subset
from unseen.inversion.inversions import Selection
from unseen.segmenters import Segmenter
from unseen.statistics.instances import LEAST_AREA, choose_photographs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """Images of a source, and how they were chosen."""

    indices: tuple[int, ...]  # in the source, in the order of the pool
    selection: Selection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """How images are chosen from a source."""

    a_class: int  # images
    pool: int  # of the source that are looked at; all of it where it holds fewer
    classes: Sequence[str] | None = None  # the only ones images are chosen for; None: all
    channel: str = "object"
    seed: int = 0  # of the pool and of the draw
    batch_size: int = 16  # images a call of the segmenter
    workers: int | None = None  # decoding processes; None for one a core, 0 for none
    skip_broken: bool = False
    overwrite: bool = False


def choose_images(source: ImageSource, segmenter: Segmenter, choice: Choice, out: Path) -> Chosen:
    """The images of a source that hold most of each class.

    Args:
        source: photographs, or what a generator draws.
        segmenter: whose areas decide.
        choice: how many, from how many.
        out: Parquet file of the pool's areas; read where it is there.

    Raises:
        ImageError: no image holds any of the classes, or one is broken.
        SegmenterError: a class that the segmenter does not know.
        RecordError: `out` holds other areas.
    """
    pool = choice.pool if source.endless else min(choice.pool, len(source.names))
    areas = segment(
        source,
        segmenter,
        out=out,
        count=pool,
        seed=choice.seed,
        channel=choice.channel,
        batch_size=choice.batch_size,
        workers=choice.workers,
        skip_broken=choice.skip_broken,
        overwrite=choice.overwrite,
    )
    selection = select_photographs(
        areas, a_class=choice.a_class, seed=choice.seed, classes=choice.classes
    )
    wanted = {name for names in selection.chosen.values() for name in names}
    indices = subset(source, pool, choice.seed)
    chosen = tuple(index for index in indices if source.names[index] in wanted)
    if not chosen:
        these = "any class" if choice.classes is None else ", ".join(choice.classes)
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
