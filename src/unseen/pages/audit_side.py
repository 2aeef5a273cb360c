"""What the page shows of an audit: a class with its numbers, and the pictures that were wrong."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unseen.distribution.audit_wording import audited_rows
from unseen.distribution.comparison import AuditedSide, ClassAudit, ClassRow, Comparison, KeptImage
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, Picture

_MOST = 24  # pictures of a kind; the record names all


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """Pictures that the segmenter got wrong in one way."""

    what: str
    images: int
    pictures: Sequence[Picture]  # of these, those that are shown


@dataclasses.dataclass(frozen=True)
class SideView:
    """One side."""

    label: str
    audited: AuditedSide
    segmenter: float  # presence by the segmenter alone
    mistakes: Sequence[Mistakes]


@dataclasses.dataclass(frozen=True)
class AuditView:
    """One class of one generated side."""

    row: ClassRow
    audit: ClassAudit
    colour: str
    sides: Sequence[SideView]


def view(folder: Path, comparison: Comparison) -> list[AuditView]:
    """The audited classes.

    Raises:
        RecordError: a picture that the record names is missing or broken.
    """
    images = PageImages(folder, comparison.columns)

    def mistakes(what: str, kept: Sequence[KeptImage]) -> Mistakes:
        shown = [images.picture(image) for image in kept[:_MOST] if image.image is not None]
        return Mistakes(what, len(kept), shown)

    def side(label: str, audited: AuditedSide, segmenter: float) -> SideView:
        kinds = (("missed", audited.missed), ("invented", audited.invented))
        return SideView(
            label, audited, segmenter, [mistakes(what, kept) for what, kept in kinds if kept]
        )

    return [
        AuditView(
            row,
            audit,
            class_colour(row.name),
            [
                side(comparison.real.label, audit.real, audit.segmenter.real_presence),
                side(drawn.label, audit.generated, audit.segmenter.generated_presence),
            ],
        )
        for drawn in comparison.generated
        for row, audit in audited_rows(drawn)
    ]
