"""What the page shows of instance evidence: a row a class with its gallery, and the photographs.

The galleries are data that the page's script draws from, a few cases at a time: a record may hold
thousands of instances. Their numbers are put into words here, so that the script formats none.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import markupsafe

from unseen.core.wording import count, number, percent, share
from unseen.distribution.areas import class_name
from unseen.instance_evidence.evidence_wording import bound, shares, typicality_in_words
from unseen.instance_evidence.record import (
    Case,
    ClassEvidence,
    ClassRetention,
    Evidence,
    Instance,
    Method,
    Picture,
    Rebuilt,
    cases,
    curve,
)
from unseen.pages.overlays import class_colour
from unseen.pages.page_images import PageImages, is_small
from unseen.pages.small_figures import curve_figure, means_figure

MOST_CASES = 48  # of a class in its gallery, those that lost most; more would only repeat them
MOST_PHOTOGRAPHS = 96  # in the list of photographs, those that lost most


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """One class by one method."""

    method: Method
    bound: str
    retention: ClassRetention
    figure: markupsafe.Markup  # photographs against their controls
    primary: bool


@dataclasses.dataclass(frozen=True)
class ClassView:
    """One class of the photographs."""

    key: str  # of HTML ids, and of the gallery in the data
    name: str
    colour: str
    row: ClassEvidence
    primary: ClassRetention
    figure: markupsafe.Markup
    methods: Sequence[MethodRow]  # lower bounds first, then by depth
    curve: markupsafe.Markup | None
    shown: int  # cases in the gallery


@dataclasses.dataclass(frozen=True)
class EvidenceView:
    """The whole side."""

    classes: Sequence[ClassView]
    generator: str  # its spec; empty: not known
    data: Mapping[str, Any]  # what the script draws galleries from
    vanished: int  # instances of photographs
    instances: int  # of photographs
    control_instances: int
    atypical: int | None  # photographs; None: no controls
    failed: int  # photographs without a reconstruction by the primary method
    curves: int  # classes with a curve
    photographs: int  # in the list


def key_of(evidence: Evidence, column: str) -> str:
    """The HTML id of a class of the evidence."""
    return f"evidence-{evidence.columns.index(column)}"


def view(folder: Path, evidence: Evidence) -> EvidenceView:
    """Draw the overlays of the galleries and put the record into words.

    Args:
        folder: of the record; paths of its pictures are relative to it.
        evidence: the record.

    Raises:
        RecordError: a picture that the record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.
    """
    return _View(folder, evidence).whole()


class _View:
    def __init__(self, folder: Path, evidence: Evidence) -> None:
        self._evidence = evidence
        self._images = PageImages(folder, evidence.columns)
        self._label = {column: i for i, column in enumerate(evidence.columns)}
        self._methods = {one.key: i for i, one in enumerate(evidence.methods)}
        self._wanted: dict[str, set[int]] = {}  # picture → labels whose overlays are shown

    def whole(self) -> EvidenceView:
        evidence = self._evidence
        galleries = {
            row.column: cases(evidence, row.column)[:MOST_CASES] for row in evidence.classes
        }
        shown: dict[str, Instance] = {}
        for gallery in galleries.values():
            for case in gallery:
                for instance in (case.instance, *(one for one, _ in case.controls)):
                    shown[instance.id] = instance
                    labels = self._wanted.setdefault(instance.image, set())
                    labels.add(self._label[instance.column])
        photographs = [one for one in evidence.pictures if one.role == "photograph"]
        listed = photographs[:MOST_PHOTOGRAPHS]
        for one in listed:
            self._wanted.setdefault(one.id, set())
        lost_classes = self._lost_classes()
        mine = [one for one in evidence.instances if one.role == "photograph"]
        primary = self._methods[evidence.primary]
        return EvidenceView(
            classes=[self._class(row, len(galleries[row.column])) for row in evidence.classes],
            generator=_generator(evidence.provenance),
            data={
                "methods": [{"label": one.label, "bound": bound(one)} for one in evidence.methods],
                "primary": primary,
                "controlled": evidence.controls is not None,
                "order": [self._methods[one.key] for one in self._ordered()],
                "classes": {
                    str(self._label[column]): {
                        "name": class_name(column),
                        "colour": class_colour(class_name(column)),
                    }
                    for column in evidence.columns
                    if any(self._label[column] in labels for labels in self._wanted.values())
                },
                # one a class, drawn when it is opened
                "galleries": {
                    key_of(evidence, column): [_case(one) for one in gallery]
                    for column, gallery in galleries.items()
                },
                "instances": {key: self._instance(one) for key, one in shown.items()},
                "pictures": {
                    one.id: self._picture(i, one)
                    for i, one in enumerate(evidence.pictures)
                    if one.id in self._wanted
                },
                "photographs": [self._photograph(one, lost_classes) for one in listed],
            },
            vanished=sum(one.vanished for one in photographs),
            instances=len(mine),
            control_instances=len(evidence.instances) - len(mine),
            atypical=sum(bool(one.typicality and one.typicality.atypical) for one in photographs)
            if evidence.controls
            else None,
            failed=sum(
                rebuilt.failed is not None
                for one in photographs
                for rebuilt in one.rebuilt
                if rebuilt.method == evidence.primary
            ),
            curves=sum(curve(evidence, row.column) is not None for row in evidence.classes),
            photographs=len(photographs),
        )

    def _ordered(self) -> list[Method]:
        """Lower bounds first, as they lie below, then by the last perturbed layer."""
        return sorted(self._evidence.methods, key=lambda one: (not one.in_range, one.depth or 0))

    def _class(self, row: ClassEvidence, shown: int) -> ClassView:
        evidence = self._evidence
        primary = row.by(evidence.primary)
        found = curve(evidence, row.column)
        return ClassView(
            key=key_of(evidence, row.column),
            name=row.name,
            colour=class_colour(row.name),
            row=row,
            primary=primary,
            figure=means_figure(primary, row.verdict),
            methods=[
                MethodRow(
                    method=one,
                    bound=bound(one),
                    retention=row.by(one.key),
                    figure=means_figure(row.by(one.key), row.verdict),
                    primary=one.key == evidence.primary,
                )
                for one in self._ordered()
            ],
            curve=curve_figure(found, row.verdict) if found else None,
            shown=shown,
        )

    def _instance(self, one: Instance) -> dict[str, Any]:
        height, width = self._evidence.label_map_size
        top, left, bottom, right = one.box
        fates: list[dict[str, Any] | None] = [None] * len(self._methods)
        for fate in one.fates:
            fates[self._methods[fate.method]] = {
                "retention": share(fate.retention),
                "vanished": fate.retention < self._evidence.rules.vanished_below,
                "iou": f"{fate.iou:.2f}",
                "became": shares(fate.became),
            }
        return {
            "picture": one.image,
            "class": str(self._label[one.column]),
            "box": [
                round(100 * part, 2)
                for part in (
                    top / height,
                    left / width,
                    (bottom - top) / height,
                    (right - left) / width,
                )
            ],
            "area": percent(one.area),
            "shape": f"{one.perimeter_ratio:.2f}",
            "contrast": f"{one.contrast:.2f}",
            "fates": fates,
        }

    def _picture(self, number: int, one: Picture) -> dict[str, Any]:
        width, height = self._images.size(one.image)
        stem = f"evidence-{number:05d}"
        rebuilt: list[dict[str, Any] | None] = [None] * len(self._methods)
        for found in one.rebuilt:
            i = self._methods[found.method]
            rebuilt[i] = self._rebuilt(found, f"{stem}-m{i}", one.id)
        return {
            "name": one.name,
            "control": one.role == "control",
            "image": one.image,
            "width": width,
            "height": height,
            "small": is_small(width, height),
            "true": one.true_label_map is not None,
            **self._overlays(one.true_label_map or one.label_map, stem, one.id),
            "rebuilt": rebuilt,
            "typicality": typicality_in_words(one.typicality) if one.typicality else "",
        }

    def _rebuilt(self, found: Rebuilt, stem: str, picture: str) -> dict[str, Any]:
        if found.image is None or found.label_map is None:
            return {"failed": found.failed or "there is none"}
        self._images.size(found.image)  # it is there
        return {
            "image": found.image,
            **self._overlays(found.label_map, stem, picture),
            "error": number(found.pixel_error),
            "loss": number(found.loss) if found.loss is not None else "",
        }

    def _overlays(self, label_map: str, stem: str, picture: str) -> dict[str, Any]:
        found = self._images.label_map(label_map)
        labels = sorted(self._wanted[picture])
        return {
            "tiles": self._images.draw_tiles(found, labels, stem),
            "tile": {str(label): i + 1 for i, label in enumerate(labels)},  # 0: all labels
            "legend": self._images.legend(found),
        }

    def _photograph(self, one: Picture, lost: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return {
            "picture": one.id,
            "lost": percent(one.lost),
            "vanished": count(one.vanished, "instance") if one.vanished else "",
            "vanished_area": percent(one.vanished_area),
            "classes": [
                [key_of(self._evidence, column), class_name(column)]
                for column in lost.get(one.id, ())
            ],
        }

    def _lost_classes(self) -> dict[str, list[str]]:
        """Photograph → the columns of which instances vanished, that lost most first."""
        found: dict[str, dict[str, float]] = {}
        for one in self._evidence.instances:
            fate = next((f for f in one.fates if f.method == self._evidence.primary), None)
            if fate is None or fate.retention >= self._evidence.rules.vanished_below:
                continue
            parts = found.setdefault(one.image, {})
            parts[one.column] = parts.get(one.column, 0) + one.area * (1 - fate.retention)
        return {
            image: sorted(parts, key=lambda column: -parts[column])
            for image, parts in found.items()
        }


def _case(one: Case) -> list[Any]:
    return [one.instance.id, [control.id for control, _ in one.controls]]


def _generator(provenance: Mapping[str, Any]) -> str:
    """The spec of the generator, as the run or the first of several recorded it."""
    runs = provenance.get("runs")
    held = runs[0] if isinstance(runs, Sequence) and runs else provenance
    generator = held.get("generator") if isinstance(held, Mapping) else None
    spec = generator.get("spec") if isinstance(generator, Mapping) else None
    return spec if isinstance(spec, str) else ""
