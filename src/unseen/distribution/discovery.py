"""What `unseen discover` found: groups of regions that generated images have much more rarely.

Frozen dataclasses, their JSON and their summary: no images, no networks.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from unseen.core.files import package_version
from unseen.core.records import Amount, Count, FilePath, RecordFile, Share
from unseen.core.wording import Interval, count, percent, printable, ratio_interval, times
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage
from unseen.statistics import ClassComparison

FILE = "discovery.json"
SCHEMA_VERSION = 1
FALSE_DISCOVERIES = 0.05  # expected share of false ones among the groups that are called
MUCH_RARER = 0.5  # ratio of presences


@dataclasses.dataclass(frozen=True, kw_only=True)
class RareGroup:
    """A group of regions that the generated images have less than half as often."""

    column: str  # of the comparison, e.g. "object/group 12"
    suggested: tuple[str, ...] = ()  # words nearest to its pictures, the nearest first
    real_presence: Share
    generated_presence: Share
    ratio: Amount
    interval: Interval  # of the ratio, simultaneous over all tested groups
    p_value: Share  # of ratio 1, two-sided
    q_value: Share  # the same, adjusted over all tested groups (Benjamini and Hochberg)
    real_images: tuple[ExampleImage, ...]  # those that hold most of it, most first
    generated_images: tuple[ExampleImage, ...]

    @property
    def name(self) -> str:
        """The group without its channel."""
        return class_name(self.column)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discovery:
    """The groups that are called, the smallest upper end of the interval first.

    Attributes are also the fields of `discovery.json`; the comparison of all groups lies beside it.
    """

    schema_version: int = SCHEMA_VERSION
    package_version: str
    real: str  # labels of the sides
    generated: str
    learnt_of: tuple[Count, Count]  # real and generated images that the groups were learnt of
    tested_on: tuple[Count, Count]  # and those that they were counted in
    embedding: Mapping[str, Any]  # what decides the features
    groups: FilePath  # the groups: a segmenter, `groups:FILE`
    tested: Count
    rare: tuple[RareGroup, ...]

    def summary(self) -> str:
        """A line a group."""
        return "\n".join(printable(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield (
            f"{self.generated} against {self.real}: groups of regions learnt of "
            f"{self.learnt_of[0]:,} and {self.learnt_of[1]:,} images, counted in "
            f"{self.tested_on[0]:,} and {self.tested_on[1]:,} others"
        )
        if not self.rare:
            yield f"  No group is much rarer in the generated images, of {self.tested} tested."
            return
        yield (
            f"  {count(len(self.rare), 'group')} of {self.tested} much rarer in the generated "
            "images (at most 5 % of them falsely called, on average):"
        )
        width = max(len(group.name) for group in self.rare)
        for group in self.rare:
            words = f"; looks like {', '.join(group.suggested)}" if group.suggested else ""
            yield (
                f"    {group.name:<{width}}  {percent(group.real_presence)} → "
                f"{percent(group.generated_presence)}: {times(group.ratio)} "
                f"[{ratio_interval(group.interval)}]{words}"
            )


RECORD_FILE = RecordFile(Discovery, "discovery", FILE, "unseen discover", SCHEMA_VERSION)


def is_much_rarer(row: ClassRow | ClassComparison) -> bool:
    """Whether a group is called: a ratio below ½, with false discoveries under control."""
    return bool(
        row.tested
        and row.p_bh is not None
        and row.p_bh <= FALSE_DISCOVERIES
        and row.ratio is not None
        and row.ratio < MUCH_RARER
    )


def much_rarer(rows: Mapping[str, ClassRow]) -> list[ClassRow]:
    """The groups that are called."""
    found = filter(is_much_rarer, rows.values())
    return sorted(found, key=lambda row: (row.interval[1] or 0.0, row.ratio or 0.0))


def discovery_of(
    comparison: Comparison,
    *,
    learnt_of: tuple[int, int],
    embedding: Mapping[str, Any],
    groups: str,
) -> Discovery:
    """The record of a comparison of groups.

    Args:
        comparison: of one generated side, in images of which no group was learnt.
        learnt_of: real and generated images that the groups were learnt of.
        embedding: what decides the features.
        groups: the file of the groups, beside the record.
    """
    (side,) = comparison.generated
    rows = {row.column: row for row in comparison.told(side)}
    return Discovery(
        package_version=package_version(),
        real=comparison.real.label,
        generated=side.label,
        learnt_of=learnt_of,
        tested_on=(comparison.real.images, side.images),
        embedding=embedding,
        groups=groups,
        tested=sum(row.tested for row in rows.values()),
        rare=tuple(
            RareGroup(
                column=row.column,
                real_presence=row.real_presence,
                generated_presence=row.generated_presence,
                ratio=row.ratio or 0.0,
                interval=row.interval,
                p_value=row.p_value or 0.0,
                q_value=row.p_bh or 0.0,
                real_images=comparison.real.example_images.get(row.column, ()),
                generated_images=side.example_images.get(row.column, ()),
            )
            for row in much_rarer(rows)
        ),
    )
