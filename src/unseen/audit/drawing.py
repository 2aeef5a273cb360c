"""Which pictures a person is to label: a stratified sample of every side, mixed.

Nothing that a reader sees tells the side of a picture, or what the segmenter says of it.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np

from unseen.audit.picture import AuditPicture
from unseen.audit.sides import open_sides
from unseen.core.errors import SpecError
from unseen.core.options import SEED_MOST, Option, check_options
from unseen.core.wording import listed
from unseen.distribution.areas import class_name, columns_named
from unseen.distribution.comparison import read_comparison
from unseen.statistics.audit_sample import draw_to_label


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auditing:
    """Which pictures are to be labelled."""

    count: Annotated[int, Option("Pictures of each side.", short="-n", min=10)] = 100
    seed: Annotated[int, Option("Seed of the sample and of its order.", max=SEED_MOST)] = 0

    def __post_init__(self) -> None:
        check_options(self)


def draw_audit(
    folder: Path,
    named: str,
    task: Auditing | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, list[AuditPicture]]:
    """The pictures of one class that a person is to label, in the order of the page.

    Args:
        folder: of a comparison.
        named: the class.
        task: how many, and the seed.
        progress: called with (done, of how many).

    Returns:
        The class without its channel, and the pictures.

    Raises:
        SpecError: no such class, or several channels have it.
        RecordError: the areas or the images are not there any more.

    >>> task = Auditing(count=100)
    >>> name, pictures = draw_audit(Path("comparison"), "person", task)  # doctest: +SKIP
    """
    task = task or Auditing()
    comparison = read_comparison(folder)
    columns = columns_named(comparison.columns, [named])
    if len(columns) > 1:
        raise SpecError(f"{named} is {listed(columns, last='or')}; name one")
    rows = {row.column: row for row in comparison.generated[0].classes}
    if columns[0] not in rows:
        raise SpecError(
            f"the comparison did not test {named}; compare again without --class, or with it"
        )
    sides = open_sides(folder, comparison)
    chosen = []
    for number, side in enumerate(sides):
        fraction = side.areas.pixels[:, side.areas.columns.index(columns[0])] / np.float64(
            side.areas.label_map_pixels
        )
        threshold = rows[columns[0]].presence_threshold
        seed = int(np.random.SeedSequence([task.seed, number]).generate_state(1)[0])
        chosen.append(draw_to_label(fraction, threshold, task.count, seed))
    total = sum(map(len, chosen))
    pictures = []
    for side, rows_of_side in zip(sides, chosen, strict=True):
        for name, image in side.pictures([side.areas.names[row] for row in rows_of_side]):
            pictures.append(AuditPicture(side.key, name, image))
            if progress is not None:
                progress(len(pictures), total)
    order = np.random.default_rng([task.seed, len(sides)]).permutation(total)
    return class_name(columns[0]), [pictures[k] for k in order]
