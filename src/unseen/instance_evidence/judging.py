"""From measured instances to the record of evidence: verdicts, ranks, typicality.

No images and no files. What a reader of the numbers must know is in `caveats`.
"""

import dataclasses
import functools
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from unseen.core.errors import ImageError
from unseen.core.files import package_version
from unseen.core.verdicts import INSTANCE_VERDICTS
from unseen.core.wording import listed
from unseen.distribution.areas import class_name, nothing
from unseen.images import Preparation
from unseen.instance_evidence.caveats import caveats
from unseen.instance_evidence.grouping import group_numbers
from unseen.instance_evidence.pairs import Collection
from unseen.instance_evidence.record import (
    REFERENCE,
    ClassEvidence,
    ClassRatio,
    ClassRetention,
    Evidence,
    Fate,
    Instance,
    Mean,
    Method,
    Picture,
    Rebuilt,
    Rules,
    Typicality,
)
from unseen.inversion.inversions import Role, Selection
from unseen.statistics import retention as statistics
from unseen.statistics.instances import loss_shares
from unseen.statistics.retention import (
    ClassJudgement,
    Instances,
    Judging,
    MeanRetention,
    judge_classes,
)

VANISHED_BELOW = 0.2  # an instance that retains less of its pixels has vanished
ATYPICAL_BELOW = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredInstance:
    """One instance, and what every method made of it."""

    id: str
    picture: str  # the id of its image
    number: int  # of its image
    group: int  # of the images that belong together; its image's number where it is alone
    role: Role
    column: str
    box: tuple[int, int, int, int]
    area_pixels: int
    area: float  # fraction of the image
    perimeter_ratio: float
    contrast: float
    fates: tuple[Fate, ...]

    def retention(self, method: str) -> float:
        """NaN where the method failed on the image."""
        return next((fate.retention for fate in self.fates if fate.method == method), float("nan"))

    def lost(self, method: str) -> float:
        """Fraction of the image; NaN where the method failed."""
        return self.area * (1 - self.retention(method))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredImage:
    """One image with its instances. Paths are relative to the folder of the record."""

    id: str
    role: Role
    name: str  # in its source
    group: str | None  # of images that belong together
    image: str
    label_map: str
    true_label_map: str | None
    rebuilt: tuple[Rebuilt, ...]
    instances: tuple[MeasuredInstance, ...]

    def by(self, method: str) -> Rebuilt:
        """What this method made of it."""
        return next(rebuilt for rebuilt in self.rebuilt if rebuilt.method == method)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instrument:
    """What all images were measured with."""

    columns: tuple[str, ...]
    label_map_size: tuple[int, int]
    least_area: float
    classes: tuple[str, ...] | None  # columns that are judged; None: all
    true_label_maps: bool
    sizes: Mapping[str, set[tuple[int, int]]]  # role, or method → native height and width
    preparation: Preparation  # how images became the squares that were segmented
    segmenter: Mapping[str, Any]
    selection: Selection | None
    cut_rule: str | None
    judged_by: str  # the key of the method that verdicts are about
    notes: tuple[str, ...]  # on groups: sentences that a reader must know


def compose(
    collection: Collection,
    images: Sequence[MeasuredImage],
    instrument: Instrument,
    judging: Judging,
) -> Evidence:
    """The record.

    Args:
        collection: what was looked at.
        images: its images, in its order.
        instrument: what they were measured with.
        judging: the numbers that decide.

    Raises:
        ImageError: no photograph holds an instance.
    """
    judge = _Judge(collection, images, instrument, judging)
    primary = judge.primary
    classes = judge.classes()
    controls = [instance.retention(primary.key) for instance in judge.controls]
    return Evidence(
        package_version=package_version(),
        seed=judging.seed,
        columns=instrument.columns,
        label_map_size=instrument.label_map_size,
        rules=Rules(
            least_area=instrument.least_area,
            vanished_below=VANISHED_BELOW,
            atypical_below=ATYPICAL_BELOW,
            **{key: value for key, value in dataclasses.asdict(judging).items() if key != "seed"},
        ),
        methods=collection.methods,
        primary=primary.key,
        reference=REFERENCE if judge.reference in judge.keys else None,
        cut_rule=instrument.cut_rule,
        photographs=collection.photographs,
        controls=collection.controls,
        generator=collection.generator,
        selection=instrument.selection,
        classes=classes,
        pictures=judge.pictures,
        instances=judge.instances(),
        caveats=(
            *caveats(
                collection,
                primary,
                classes,
                judge.pictures,
                sizes=instrument.sizes,
                preparation=instrument.preparation,
                selected=instrument.selection is not None,
                true_label_maps=instrument.true_label_maps,
                controls_retain=[share for share in controls if not math.isnan(share)],
                failed=[image.name for image in images if image.by(primary.key).failed is not None],
            ),
            *instrument.notes,
        ),
        provenance={
            **collection.provenance,
            "segmenter": dict(instrument.segmenter),
            "fit": instrument.preparation.fit,
        },
    )


class _Judge:
    """The instances of all images, and what follows from them.

    Attributes:
        primary: the method that verdicts are about.
        keys: of all methods.
        reference: the key of the mosaic of photographs, where verdicts are about mosaics.
        photographs: instances of the photographs, of the classes that are asked for.
        controls: of the controls, all.
    """

    def __init__(
        self,
        collection: Collection,
        images: Sequence[MeasuredImage],
        instrument: Instrument,
        judging: Judging,
    ) -> None:
        self.images, self.judging = images, judging
        self.keys = [method.key for method in collection.methods]
        self.primary = next(
            method for method in collection.methods if method.key == instrument.judged_by
        )
        self.reference = REFERENCE if self.primary.method == "nearest" else None
        ignored = nothing(instrument.columns)
        known = [
            instance
            for image in images
            for instance in image.instances
            if instance.column != ignored
        ]
        asked = set(instrument.classes or instrument.columns)
        self.controls = [instance for instance in known if instance.role == "control"]
        in_photographs = [instance for instance in known if instance.role == "photograph"]
        self.photographs = [instance for instance in in_photographs if instance.column in asked]
        if not self.photographs:
            raise _no_instance(instrument)
        self.judged = _judgements(
            in_photographs,
            None if collection.controls is None else self.controls,
            methods=collection.methods,
            primary=self.primary.key,
            reference=self.reference,
            asked=asked,
            judging=judging,
        )
        self.shares = _loss_shares(self.photographs, self.primary.key)

    def _part(self, instance: MeasuredInstance) -> float:
        """The part of its image's weighted loss that is this instance's."""
        return self.shares[instance.column] * instance.lost(self.primary.key)

    @functools.cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Photographs by rank, then controls in order."""
        held: dict[str, list[MeasuredInstance]] = {image.id: [] for image in self.images}
        for instance in (*self.photographs, *self.controls):
            held[instance.picture].append(instance)
        typicality = _typicality(self.images, self.primary.key)
        weighted = {
            image.id: math.fsum(self._part(instance) for instance in held[image.id])
            for image in self.images
            if image.role == "photograph" and image.by(self.primary.key).failed is None
        }
        ranks = _ranks(weighted)
        pictures = [
            self._picture(
                image, held[image.id], weighted.get(image.id), ranks, typicality.get(image.id)
            )
            for image in self.images
        ]
        return tuple(sorted(pictures, key=_photographs_by_rank))

    def _picture(
        self,
        image: MeasuredImage,
        held: Sequence[MeasuredInstance],
        weighted_loss: float | None,
        ranks: Mapping[str, int],
        typicality: Typicality | None,
    ) -> Picture:
        primary = self.primary.key
        whole = image.by(primary).failed is None
        gone = [instance for instance in held if instance.retention(primary) < VANISHED_BELOW]
        return Picture(
            id=image.id,
            role=image.role,
            name=image.name,
            group=image.group,
            image=image.image,
            label_map=image.label_map,
            true_label_map=image.true_label_map,
            rebuilt=image.rebuilt,
            lost=math.fsum(instance.lost(primary) for instance in held) if whole else None,
            vanished=len(gone),
            vanished_area=math.fsum(instance.area for instance in gone) if whole else None,
            weighted_loss=weighted_loss,
            rank=ranks.get(image.id),
            typicality=typicality,
        )

    def instances(self) -> tuple[Instance, ...]:
        """The photographs' by rank, then the controls' in order."""
        ranks = _ranks(
            {
                instance.id: self._part(instance)
                for instance in self.photographs
                if not math.isnan(instance.retention(self.primary.key))
            }
        )
        matched = {
            instance.id: tuple(self.controls[row].id for row in rows)
            for column, instances in _by_class(self.photographs).items()
            for instance, rows in zip(instances, self.judged[column].controls, strict=True)
        }
        rows = [
            Instance(
                id=instance.id,
                image=instance.picture,
                role=instance.role,
                column=instance.column,
                box=instance.box,
                area_pixels=instance.area_pixels,
                area=instance.area,
                perimeter_ratio=instance.perimeter_ratio,
                contrast=instance.contrast,
                fates=instance.fates,
                controls=matched.get(instance.id, ()),
                rank=ranks.get(instance.id),
            )
            for instance in (*self.photographs, *self.controls)
        ]
        return tuple(sorted(rows, key=_photographs_by_rank))

    def classes(self) -> tuple[ClassEvidence, ...]:
        """The classes, gravest verdict first, then by rank."""
        by_class = _by_class(self.photographs)
        enough = {
            column: self.judged[column].by_method[self.primary.key].photographs.images
            >= self.judging.least_images
            for column in by_class
        }
        order = sorted(
            by_class,
            key=lambda column: (not enough[column], -self.shares.get(column, -1.0), column),
        )
        rows = [self._class(column, by_class[column], order.index(column) + 1) for column in order]
        return tuple(
            sorted(
                rows,
                key=lambda row: (
                    0 if row.verdict is None else INSTANCE_VERDICTS.index(row.verdict),
                    row.rank,
                ),
            )
        )

    def _class(
        self, column: str, instances: Sequence[MeasuredInstance], rank: int
    ) -> ClassEvidence:
        primary, judgement = self.primary.key, self.judged[column]
        whole = max(1, sum(picture.weighted_loss is not None for picture in self.pictures))
        rebuilt = [
            instance for instance in instances if not math.isnan(instance.retention(primary))
        ]
        return ClassEvidence(
            column=column,
            verdict=judgement.verdict,
            reason=judgement.reason,
            instances=len(instances),
            images=len({instance.number for instance in instances}),
            vanished=sum(instance.retention(primary) < VANISHED_BELOW for instance in rebuilt),
            area=math.fsum(instance.area for instance in rebuilt) / whole,
            lost=math.fsum(instance.lost(primary) for instance in rebuilt) / whole
            if rebuilt
            else None,
            lost_share=self.shares.get(column),
            rank=rank,
            retention=tuple(
                ClassRetention(
                    method=method,
                    photographs=_mean(retained.photographs),
                    matched=_mean(retained.matched),
                    controls=_mean(retained.controls),
                )
                for method, retained in judgement.by_method.items()
            ),
            peers=_mean(judgement.peers),
            own=_mean(judgement.own),
            ratios=tuple(map(_ratio, judgement.ratios)),
            p_value=judgement.p_value,
            range_method=judgement.range_method,
        )


def judged_again(evidence: Evidence, judging: Judging) -> Mapping[str, ClassJudgement]:
    """The judgements of a record's classes under these rules; nothing is measured again.

    A record of some classes alone (`classes`) does not hold the others, which were peers.
    """
    images = [picture.id for picture in evidence.pictures]
    number = {image: i for i, image in enumerate(images)}
    groups = group_numbers(
        [picture.role for picture in evidence.pictures],
        [picture.group for picture in evidence.pictures],
    )
    instances = [
        MeasuredInstance(
            id=instance.id,
            picture=instance.image,
            number=number[instance.image],
            group=groups[number[instance.image]],
            role=instance.role,
            column=instance.column,
            box=instance.box,
            area_pixels=instance.area_pixels,
            area=instance.area,
            perimeter_ratio=instance.perimeter_ratio,
            contrast=instance.contrast,
            fates=instance.fates,
        )
        for instance in evidence.instances
    ]
    controls = [instance for instance in instances if instance.role == "control"]
    return _judgements(
        [instance for instance in instances if instance.role == "photograph"],
        None if evidence.controls is None else controls,
        methods=evidence.methods,
        primary=evidence.primary,
        reference=REFERENCE if evidence.primary_method.method == "nearest" else None,
        asked=set(evidence.columns),
        judging=judging,
    )


def _judgements(
    photographs: Sequence[MeasuredInstance],
    controls: Sequence[MeasuredInstance] | None,
    *,
    methods: Sequence[Method],
    primary: str,
    reference: str | None,
    asked: Container[str],
    judging: Judging,
) -> Mapping[str, ClassJudgement]:
    """The classes' judgements by column."""
    keys = [method.key for method in methods]
    return judge_classes(
        {column: _arrays(held, keys) for column, held in _by_class(photographs).items()},
        None if controls is None else _arrays(controls, keys),
        primary=primary,
        range_methods=[method.key for method in methods if method.in_range],
        reference=reference,
        asked=asked,
        own={column: _arrays(held, keys) for column, held in _by_class(controls or ()).items()},
        judging=judging,
    )


def _no_instance(instrument: Instrument) -> ImageError:
    these = ""
    if instrument.classes is not None:
        these = f" of {listed(map(class_name, instrument.classes), last='or')}"
    return ImageError(
        f"no photograph holds an instance: no class{these} has a connected part of at least "
        f"{100 * instrument.least_area:g} % of an image; name other photographs, or a smaller "
        "least_area"
    )


def _by_class(instances: Iterable[MeasuredInstance]) -> dict[str, list[MeasuredInstance]]:
    by_class: dict[str, list[MeasuredInstance]] = {}
    for instance in instances:
        by_class.setdefault(instance.column, []).append(instance)
    return by_class


def _arrays(instances: Sequence[MeasuredInstance], methods: Sequence[str]) -> Instances:
    return Instances(
        np.array([instance.number for instance in instances], np.int64),
        np.array([instance.area for instance in instances], np.float64),
        np.array([instance.perimeter_ratio for instance in instances], np.float64),
        np.array([instance.contrast for instance in instances], np.float64),
        {
            method: np.array([instance.retention(method) for instance in instances], np.float64)
            for method in methods
        },
        np.array([instance.group for instance in instances], np.int64),
    )


def _loss_shares(photographs: Sequence[MeasuredInstance], primary: str) -> dict[str, float]:
    """For every class, the share of its instances' pixels that the primary method lost."""
    rebuilt = [instance for instance in photographs if not math.isnan(instance.retention(primary))]
    columns = sorted({instance.column for instance in rebuilt})
    shares = loss_shares(
        [columns.index(instance.column) for instance in rebuilt],
        np.array([instance.area for instance in rebuilt], np.float64),
        np.array([instance.retention(primary) for instance in rebuilt], np.float64),
    )
    return {columns[k]: share for k, share in shares.items()}


def _ranks(weights: Mapping[str, float]) -> dict[str, int]:
    """Ranks by id, the largest weight first."""
    order = sorted(weights, key=lambda name: (-weights[name], name))
    return {name: rank for rank, name in enumerate(order, start=1)}


def _photographs_by_rank(row: Picture | Instance) -> tuple[bool, float]:
    return row.role == "control", math.inf if row.rank is None else float(row.rank)


def _typicality(images: Sequence[MeasuredImage], primary: str) -> dict[str, Typicality]:
    """Every photograph's loss among the controls', by the id of its image."""
    whole = [image for image in images if image.by(primary).failed is None]
    statistic: Literal["loss", "pixel_error"] = "loss"
    if any(image.by(primary).loss is None for image in whole):
        statistic = "pixel_error"
    values = {image.id: float(getattr(image.by(primary), statistic)) for image in whole}
    controls = [values[image.id] for image in whole if image.role == "control"]
    typicality = {}
    for image in whole if controls else ():
        if image.role == "photograph":
            rank = 1 + sum(value >= values[image.id] for value in controls)
            p_value = rank / (len(controls) + 1)
            typicality[image.id] = Typicality(
                statistic=statistic,
                rank=rank,
                of=len(controls) + 1,
                p_value=p_value,
                atypical=p_value < ATYPICAL_BELOW,
            )
    return typicality


def _mean(retained: MeanRetention) -> Mean:
    return Mean(
        mean=retained.mean,
        interval=(None, None) if retained.interval is None else retained.interval,
        instances=retained.instances,
        images=retained.images,
    )


def _ratio(compared: statistics.ClassRatio) -> ClassRatio:
    low, high = compared.interval
    ratio = compared.ratio
    return ClassRatio(
        against=compared.against,
        method=compared.method,
        ratio=None if ratio is None or math.isinf(ratio) else ratio,
        interval=(low, None if math.isinf(high) else high),
        margin=compared.margin,
        p_value=compared.p_value,
        instances=compared.instances,
        groups=compared.groups,
        against_groups=compared.against_groups,
    )
