"""Every pair of generated sides: which is nearer to the real one, and what changed by class."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from unseen.core.verdicts import CHANGES
from unseen.distribution.areas import Areas
from unseen.distribution.comparison import ClassChange, Nearer, Ordering
from unseen.distribution.designs import SideDesign
from unseen.statistics import FrechetDifference, compare_generators, frechet_difference

_SPLITS = 20  # halvings a pair of sides: the interval's t has 40 degrees of freedom


def orderings(
    real: Areas,
    generated: Sequence[Areas],
    designs: Sequence[SideDesign],
    presence_threshold: float | Float64[np.ndarray, " k"],
    seed: int,
    family: Sequence[int] | None = None,
) -> Iterator[Ordering]:
    """Every pair of generated sides, the one that was named first being the previous one.

    Args:
        real: areas of the real images.
        generated: of the generated ones.
        designs: how the sides were sampled, the real one first.
        presence_threshold: fraction of the image from which on a class counts as present; one, or
            one a class.
        seed: of halvings and permutations.
        family: the columns that are tested, by number; None: all.
    """
    columns = real.columns if family is None else [real.columns[k] for k in family]
    for i, j in itertools.combinations(range(len(generated)), 2):
        previous, new = generated[i], generated[j]
        order = _pairs(previous, new)
        first, second = designs[i + 1].design, designs[j + 1].design
        if order is not None:
            second = designs[j + 1].take(order).design
            grouped = [design.units(len(new)) for design in (first, second)]
            if not np.array_equal(
                grouped[0], grouped[1]
            ):  # pairs of which one side alone is grouped are none
                order, second = None, designs[j + 1].design
        sampled: dict[str, Any] = {
            "real_design": designs[0].design,
            "previous_design": first,
            "new_design": second,
        }
        rows = slice(None) if order is None or order == list(range(len(new))) else order
        tables = real.pixels, previous.pixels, new.pixels[rows]
        changes = compare_generators(
            *tables,
            paired=order is not None,
            presence_threshold=presence_threshold,
            whole=real.label_map_pixels,
            family=family,
            **sampled,
        )
        distance = frechet_difference(
            *tables,
            percent=100.0 / real.label_map_pixels,
            paired=order is not None,
            seed=seed,
            splits=_SPLITS,
            **sampled,
        )
        classes = [
            ClassChange(
                column=column,
                verdict=change.verdict,
                statistic=change.statistic,
                real=change.real,
                previous=change.previous,
                new=change.new,
                difference=change.change,
                interval=(None, None) if change.interval is None else change.interval,
                p_value=change.p_value,
                smallest_detectable_regression=change.smallest_detectable_regression,
            )
            for column, change in zip(columns, changes, strict=True)
        ]
        # What got worse first, then the largest change.
        classes.sort(key=lambda row: (CHANGES.index(row.verdict), -abs(row.difference)))
        yield Ordering(
            previous=i,
            new=j,
            paired=order is not None,
            nearer=_nearer(distance),
            fsd_difference=distance.difference,
            fsd_difference_interval=distance.interval or (None, None),
            classes=tuple(classes),
        )


def _nearer(distance: FrechetDifference) -> Nearer:
    """Which side is nearer to the real one: where the interval of the difference excludes zero."""
    if distance.interval is None:
        return "undecided"
    low, high = distance.interval
    return "previous" if low > 0.0 else "new" if high < 0.0 else "undecided"


def _pairs(previous: Areas, new: Areas) -> list[int] | None:
    """For every previous image, the new one from the same latents or prompt; None: there is none.

    Generators number their images, so that image k of both comes from row k of a stream of latents
    or from prompt k. Pairs of independent images are no mistake: the tests hold for them, too.
    """
    place = {name: i for i, name in enumerate(new.names)}
    if len(new) == len(previous) and all(name in place for name in previous.names):
        return [place[name] for name in previous.names]
    asked = previous.conditions, new.conditions
    if asked[0] is not None and asked[1] is not None and list(asked[0]) == list(asked[1]):
        return list(range(len(new)))
    return None
