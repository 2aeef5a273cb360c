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
from unseen.instance_evidence.evidence_wording import (
    as_much,
    beside,
    bound,
    earliest_cut,
    shares,
    typicality_in_words,
    within,
)
from unseen.instance_evidence.record import (
    Case,
    ClassEvidence,
    ClassRatio,
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
class RatioRow:
    """One class beside what it is compared with, in words."""

    beside: str
    method: str  # nothing for that of the verdicts
    as_much: str
    within: str


@dataclasses.dataclass(frozen=True)
class ClassView:
    """One class of the photographs."""

    key: str  # of HTML ids, and of the gallery in the data
    name: str
    colour: str
    row: ClassEvidence
    primary: ClassRetention
    beside: ClassRatio | None  # the primary method's ratio to the controls
    ratios: Sequence[RatioRow]
    figure: markupsafe.Markup
    methods: Sequence[MethodRow]  # lower bounds first, then by depth
    curve: markupsafe.Markup | None
    shown: int  # cases in the gallery


@dataclasses.dataclass(frozen=True)
class EvidenceView:
    """The whole side."""

    classes: Sequence[ClassView]
    data: Mapping[str, Any]  # what the script draws galleries from
    vanished: int  # instances of photographs
    instances: int  # of photographs
    control_instances: int
    atypical: int | None  # photographs; None: no controls
    failed: int  # photographs without a reconstruction by the primary method
    curves: int  # classes with a curve
    earliest_cut: str | None  # whose controls pass, in words; None: one cut alone
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
        self._methods = {method.key: i for i, method in enumerate(evidence.methods)}
        self._wanted: dict[str, set[int]] = {}  # picture → labels whose overlays are shown

    def whole(self) -> EvidenceView:
        evidence = self._evidence
        galleries = {
            row.column: cases(evidence, row.column)[:MOST_CASES] for row in evidence.classes
        }
        shown: dict[str, Instance] = {}
        for gallery in galleries.values():
            for case in gallery:
                for instance in (case.instance, *(control for control, _ in case.controls)):
                    shown[instance.id] = instance
                    labels = self._wanted.setdefault(instance.image, set())
                    labels.add(self._label[instance.column])
        photographs = [picture for picture in evidence.pictures if picture.role == "photograph"]
        listed = photographs[:MOST_PHOTOGRAPHS]
        for picture in listed:
            self._wanted.setdefault(picture.id, set())
        lost_classes = self._lost_classes()
        mine = [instance for instance in evidence.instances if instance.role == "photograph"]
        primary = self._methods[evidence.primary]
        return EvidenceView(
            classes=[self._class(row, len(galleries[row.column])) for row in evidence.classes],
            data={
                "methods": [
                    {"label": method.label, "bound": bound(method)} for method in evidence.methods
                ],
                "primary": primary,
                "controlled": evidence.controls is not None,
                "order": [self._methods[method.key] for method in self._ordered()],
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
                    key_of(evidence, column): [_case(case) for case in gallery]
                    for column, gallery in galleries.items()
                },
                "instances": {key: self._instance(instance) for key, instance in shown.items()},
                "pictures": {
                    picture.id: self._picture(i, picture)
                    for i, picture in enumerate(evidence.pictures)
                    if picture.id in self._wanted
                },
                "photographs": [self._photograph(picture, lost_classes) for picture in listed],
            },
            vanished=sum(picture.vanished for picture in photographs),
            instances=len(mine),
            control_instances=len(evidence.instances) - len(mine),
            atypical=sum(
                bool(picture.typicality and picture.typicality.atypical) for picture in photographs
            )
            if evidence.controls
            else None,
            failed=sum(
                rebuilt.failed is not None
                for picture in photographs
                for rebuilt in picture.rebuilt
                if rebuilt.method == evidence.primary
            ),
            curves=sum(curve(evidence, row.column) is not None for row in evidence.classes),
            earliest_cut=earliest_cut(evidence),
            photographs=len(photographs),
        )

    def _ordered(self) -> list[Method]:
        """Lower bounds first, as they lie below, then by the last perturbed layer."""
        return sorted(
            self._evidence.methods, key=lambda method: (not method.in_range, method.depth or 0)
        )

    def _class(self, row: ClassEvidence, shown: int) -> ClassView:
        evidence = self._evidence
        primary = row.by(evidence.primary)
        class_curve = curve(evidence, row.column)
        return ClassView(
            key=key_of(evidence, row.column),
            name=row.name,
            colour=class_colour(row.name),
            row=row,
            primary=primary,
            beside=row.ratio("controls", evidence.primary),
            ratios=[self._ratio(ratio) for ratio in row.ratios],
            figure=means_figure(primary, row.verdict),
            methods=[
                MethodRow(
                    method=method,
                    bound=bound(method),
                    retention=row.by(method.key),
                    figure=means_figure(row.by(method.key), row.verdict),
                    primary=method.key == evidence.primary,
                )
                for method in self._ordered()
            ],
            curve=curve_figure(class_curve, row.verdict) if class_curve else None,
            shown=shown,
        )

    def _ratio(self, ratio: ClassRatio) -> RatioRow:
        primary = ratio.method == self._evidence.primary
        method = next(m for m in self._evidence.methods if m.key == ratio.method)
        return RatioRow(
            beside=beside(ratio),
            method="" if primary else method.label,
            as_much=as_much(ratio, at_least=not primary),
            within=within(ratio, at_least=not primary),
        )

    def _instance(self, instance: Instance) -> dict[str, Any]:
        height, width = self._evidence.label_map_size
        top, left, bottom, right = instance.box
        fates: list[dict[str, Any] | None] = [None] * len(self._methods)
        for fate in instance.fates:
            fates[self._methods[fate.method]] = {
                "retention": share(fate.retention),
                "vanished": fate.retention < self._evidence.rules.vanished_below,
                "iou": f"{fate.iou:.2f}",
                "became": shares(fate.became),
            }
        return {
            "picture": instance.image,
            "class": str(self._label[instance.column]),
            "box": [
                round(100 * part, 2)
                for part in (
                    top / height,
                    left / width,
                    (bottom - top) / height,
                    (right - left) / width,
                )
            ],
            "area": percent(instance.area),
            "shape": f"{instance.perimeter_ratio:.2f}",
            "contrast": f"{instance.contrast:.2f}",
            "fates": fates,
        }

    def _picture(self, number: int, picture: Picture) -> dict[str, Any]:
        width, height = self._images.size(picture.image)
        stem = f"evidence-{number:05d}"
        rebuilt: list[dict[str, Any] | None] = [None] * len(self._methods)
        for reconstruction in picture.rebuilt:
            i = self._methods[reconstruction.method]
            rebuilt[i] = self._rebuilt(reconstruction, f"{stem}-m{i}", picture.id)
        return {
            "name": picture.name,
            "control": picture.role == "control",
            "image": picture.image,
            "width": width,
            "height": height,
            "small": is_small(width, height),
            "true": picture.true_label_map is not None,
            **self._images.overlays(
                picture.true_label_map or picture.label_map, self._wanted[picture.id], stem
            ),
            "rebuilt": rebuilt,
            "typicality": typicality_in_words(picture.typicality) if picture.typicality else "",
        }

    def _rebuilt(self, rebuilt: Rebuilt, stem: str, picture: str) -> dict[str, Any]:
        if rebuilt.image is None or rebuilt.label_map is None:
            return {"failed": rebuilt.failed or "there is none"}
        self._images.size(rebuilt.image)  # it is there
        return {
            "image": rebuilt.image,
            **self._images.overlays(rebuilt.label_map, self._wanted[picture], stem),
            "error": number(rebuilt.pixel_error),
            "loss": number(rebuilt.loss) if rebuilt.loss is not None else "",
        }

    def _photograph(self, picture: Picture, lost: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return {
            "picture": picture.id,
            "lost": percent(picture.lost),
            "vanished": count(picture.vanished, "instance") if picture.vanished else "",
            "vanished_area": percent(picture.vanished_area),
            "classes": [
                [key_of(self._evidence, column), class_name(column)]
                for column in lost.get(picture.id, ())
            ],
        }

    def _lost_classes(self) -> dict[str, list[str]]:
        """Photograph → the columns of which instances vanished, that lost most first."""
        lost: dict[str, dict[str, float]] = {}
        for instance in self._evidence.instances:
            fate = next((f for f in instance.fates if f.method == self._evidence.primary), None)
            if fate is None or fate.retention >= self._evidence.rules.vanished_below:
                continue
            parts = lost.setdefault(instance.image, {})
            parts[instance.column] = parts.get(instance.column, 0) + instance.area * (
                1 - fate.retention
            )
        return {
            image: sorted(parts, key=lambda column: -parts[column]) for image, parts in lost.items()
        }


def _case(case: Case) -> list[Any]:
    return [case.instance.id, [control.id for control, _ in case.controls]]
