"""Which images of a collection belong together: crops of one photograph, frames of one video.

Arrays and names alone. How groups are told is said in `distribution.designs`.
"""

import dataclasses
from collections.abc import Hashable, Sequence

from unseen.core.wording import count
from unseen.distribution.dependence import looks_dependent
from unseen.distribution.designs import Known, Said, group_labels
from unseen.instance_evidence.pairs import Collection

_KEYS = [("photographs",), ("controls",)]


@dataclasses.dataclass(frozen=True)
class ImageGroups:
    """The groups of the images of a collection, in its order.

    Attributes:
        labels: what each group is called; None: the image is by itself.
        numbers: equal for images of one group; photographs and controls share none.
        notes: sentences that a reader must know.
    """

    labels: Sequence[str | None]
    numbers: Sequence[int]
    notes: tuple[str, ...]


def group_images(collection: Collection, said: Said) -> ImageGroups:
    """The groups that a user told, for photographs and controls.

    Args:
        collection: the images.
        said: as `designs.group_labels` takes it; its sides are "photographs" and "controls".

    Raises:
        SpecError: what was told fits no image, or some of one side and not others.
    """
    photographs, controls = collection.of("photograph"), collection.of("control")
    sides = [Known("the photographs", [entry.name for entry in photographs])]
    if controls:
        sides.append(Known("the controls", [entry.name for entry in controls]))
    labels: list[str | None] = []
    notes = []
    for side, grouped in zip(sides, group_labels(said, sides, _KEYS[: len(sides)]), strict=True):
        if grouped.labels is None:
            labels += [None] * len(side.names)
        else:
            labels += [_called(label) for label in grouped.labels]
            notes.append(
                f"{count(len(side.names), 'image')} of {side.label} are "
                f"{count(len(set(grouped.labels)), 'group')} by {grouped.by}: whole groups are "
                "counted, exchanged and resampled."
            )
        if grouped.remark:
            notes.append(grouped.remark)
        if said is None and (sign := looks_dependent(side.names)):
            notes.append(f"Of {side.label}, {sign}")
    roles = [entry.role for entry in collection.entries]
    return ImageGroups(labels, group_numbers(roles, labels), tuple(notes))


def group_numbers(roles: Sequence[str], labels: Sequence[str | None]) -> list[int]:
    """A number an image, equal for images of one role whose groups are called alike.

    >>> group_numbers(["photograph"] * 3 + ["control"], ["a", None, "a", "a"])
    [0, 1, 0, 2]
    """
    numbers: dict[Hashable, int] = {}
    return [
        numbers.setdefault(i if label is None else (role, label), len(numbers))
        for i, (role, label) in enumerate(zip(roles, labels, strict=True))
    ]


def _called(label: Hashable) -> str:
    return "/".join(map(str, label)) if isinstance(label, tuple) else str(label)
