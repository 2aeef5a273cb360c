"""Instance evidence: what reconstructions of photographs no longer have, object by object.

Frozen dataclasses and their JSON, nothing else: no statistics, no images. The JSON is described
by `json_schema()` and in docs/evidence.md; its fields are the attributes here, under the same
names. A number that is not defined, or not bounded, is null. Paths are
relative to the folder of the record, with forward slashes.
"""

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from unseen.core.figure_style import Width
from unseen.core.records import (
    Amount,
    Count,
    FilePath,
    Rank,
    RecordFile,
    Share,
    complaint_about_columns,
)
from unseen.core.results import LocatedResult
from unseen.core.verdicts import Against, InstanceVerdict
from unseen.core.wording import Interval
from unseen.distribution.areas import class_name
from unseen.images.record_pictures import save_record
from unseen.inversion.inversions import Role, Selection

SCHEMA_VERSION = 1
FILE = "evidence.json"
CONTROL_PASSES = 0.8  # mean retention of all controls, below which the search itself is in doubt

REFERENCE = "reference"  # the key of the mosaic of photographs: what one of samples could keep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """One way in which every image was reconstructed."""

    key: str  # names it in this record, e.g. "f", or "f-layer2" where several cuts were run
    method: str  # "a" to "f" of the paper; "nearest", "reference"; "given": by an unknown tool
    label: str  # how the page calls it
    cut: str | None  # layer whose features were searched for; None: not known, or none
    last_perturbed: str | None  # last layer whose output was perturbed; None: none, or not known
    # of that layer in the generator, the first is 1; 0: z alone; the curve's axis
    depth: Count | None
    # whether its reconstructions are images that the generator draws: methods a to e, unless
    # atypical_noise says otherwise
    in_range: bool
    # of a diffusion pipeline: the share of photographs whose z is unlike noise that it draws from
    atypical_noise: Share | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """The photographs, or the generator's own images (the controls)."""

    label: str
    images: Count
    provenance: Mapping[str, Any]  # sources, fingerprints, segmenter, seeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The numbers behind instances, matching, test and verdicts; docs/evidence.md defines them."""

    least_area: Share  # fraction of the image from which on a component counts as an instance
    area_factor: float  # a control's area is at most so many times larger or smaller
    perimeter_factor: float  # the same of its perimeter ratio
    contrast_within: Share  # its contrast differs by so much at most
    controls_per_instance: int  # matched at most
    least_images: int  # photographs, and generated images, that a test of a class needs
    half: Share  # ratio to controls, peers and itself, between "cannot draw" and "can draw"
    third: Share  # ratio to the reference, below which alone a mosaic's class is "cannot draw"
    significance: Share  # that any interval of a ratio errs, over all classes tested
    resamples: Count  # of the intervals of means
    vanished_below: Share  # an instance that retains less has vanished
    atypical_below: Share  # a photograph whose loss has a smaller p-value is atypical


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """One image as one method reconstructed it."""

    method: str  # a `Method.key`
    image: FilePath | None  # PNG or JPEG; None where the method failed
    label_map: FilePath | None  # 16-bit PNG: the values are indices into `Evidence.columns`
    pixel_error: Share | None  # mean absolute difference from the image, 0 to 1
    loss: float | None  # what the optimiser reached; None where it is not known
    loss_terms: Mapping[str, float]
    steps: Count | None
    failed: str | None  # why there is no reconstruction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Typicality:
    """A photograph's loss among those of the generator's own images.

    It can say that a photograph is *atypical*, never that a class cannot be drawn: a photograph
    is not exchangeable with samples.
    """

    statistic: Literal["loss", "pixel_error"]
    rank: Rank  # 1: larger than that of every control
    of: Rank  # the controls and the photograph itself
    p_value: Share  # rank / of
    atypical: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One photograph or control with its reconstructions."""

    id: str  # e.g. "photograph-00003"
    role: Role
    name: str  # in its source
    group: str | None = None  # images of one are not independent; None: by itself
    image: FilePath  # PNG or JPEG: the image as it was segmented
    label_map: FilePath  # 16-bit PNG, as in `Rebuilt`
    true_label_map: FilePath | None  # where instances were taken from exact label maps
    rebuilt: tuple[Rebuilt, ...]  # in the order of `Evidence.methods`
    lost: Amount | None  # area of its instances that the primary method lost, fraction of the image
    vanished: Count  # instances
    vanished_area: Amount | None  # of the instances that vanished, fraction of the image
    weighted_loss: Amount | None  # lost, every class weighted by its lost_share
    rank: Rank | None  # of the photographs by weighted_loss, 1 most; None: a control, or it failed
    typicality: Typicality | None  # by the primary method; None: no controls, or a control itself


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fate:
    """What one method made of one instance."""

    method: str  # a `Method.key`
    retention: Share  # share of its pixels that the class still covers, 0 to 1
    iou: Share  # with the components of the class that overlap it, 0 to 1
    became: Mapping[str, float]  # column → share of its pixels; the largest others


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """One 8-connected component of one class, large enough to count."""

    id: str  # e.g. "photograph-00003-02"
    image: str  # a `Picture.id`
    role: Role
    column: str  # channel/class
    box: tuple[int, int, int, int]  # top, left, bottom, right in pixels of the label map; ends out
    area_pixels: Count  # of the label map
    area: Share  # fraction of the image
    perimeter_ratio: float  # perimeter over that of a square of the same area
    contrast: Share  # against the ring around it, 0 to 1
    fates: tuple[Fate, ...]  # a method each, those that did not fail
    controls: tuple[str, ...]  # ids of the matched controls, nearest first
    rank: Rank | None  # of the photographs' instances by their part of weighted_loss, 1 most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean retention."""

    mean: Share | None  # None: there are no such instances
    interval: Interval  # 95 %, by a bootstrap of images
    instances: Count
    images: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRetention:
    """How much of a class one method retains."""

    method: str  # a `Method.key`
    photographs: Mean  # all instances of the class
    matched: Mean  # those that have matched controls
    controls: Mean  # their matched controls, of any class; the mean counts every instance once


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRatio:
    """What a method retains of a class, over what is retained of that which it is compared with."""

    against: Against  # of the same photographs: peers, reference; of the generator's: controls, own
    method: str  # a `Method.key`: by which the class was rebuilt
    ratio: Amount | None  # None: nothing is retained of what it is compared with
    interval: Interval  # the intervals of all classes tested hold together in 95 % of cases
    margin: Share  # "cannot draw": the upper end lies below; "can draw": the lower end above
    p_value: Share  # one-sided, of the margin and beyond; not adjusted
    instances: Count  # of the class
    groups: Count  # of photographs that hold them; every photograph, unless groups were declared
    against_groups: Count  # of images with what they are compared with


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassEvidence:
    """One class of the photographs."""

    column: str  # channel/class
    verdict: InstanceVerdict | None  # None: without controls no verdict is possible
    reason: str  # one sentence: what the verdict rests on, or what is missing for one
    instances: Count  # in the photographs
    images: Count  # photographs that hold them
    vanished: Count  # of the instances
    area: Amount  # of the instances, mean fraction of all photographs
    lost: Amount | None  # the part of it that the primary method lost
    lost_share: float | None  # lost / area: of all pixels of its instances, those that were lost
    rank: Rank  # 1: largest lost_share among the classes in enough photographs; then the others
    retention: tuple[ClassRetention, ...]  # a method each
    peers: Mean  # instances of the photographs' other classes, matched as controls are; primary
    own: Mean  # instances of the class in the generator's own images; primary method
    ratios: tuple[ClassRatio, ...]  # of the primary method, then of those in range(G)
    p_value: Share | None  # of "at least a margin", the largest, times the classes tested
    range_method: str | None  # the `Method.key` in range(G) that retained it; only "can draw"

    @property
    def name(self) -> str:
        """The class without its channel."""
        return class_name(self.column)

    def by(self, method: str) -> ClassRetention:
        """The retention by the method with this key."""
        return next(row for row in self.retention if row.method == method)

    def ratio(self, against: Against, method: str) -> ClassRatio | None:
        """The ratio of what this method retains; None where it was not compared."""
        return next(
            (row for row in self.ratios if (row.against, row.method) == (against, method)), None
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Evidence(LocatedResult):
    """Everything that the page shows of photographs and their reconstructions.

    In a notebook evidence shows its verdicts, its figure, and the photographs that lost most beside
    what was rebuilt of them.

    >>> evidence
    2 photographs (photos) and 3 controls, rebuilt by method f-layer2: 1 cannot draw (person)
    """

    schema_version: int = SCHEMA_VERSION
    package_version: str
    seed: int  # of resampling
    columns: tuple[str, ...]  # channel/class in label order
    label_map_size: tuple[int, int]  # height, width
    rules: Rules
    methods: tuple[Method, ...]
    primary: str  # the `Method.key` that verdicts and ranks are about
    reference: str | None  # the `Method.key` of the mosaic of photographs; only beside "nearest"
    cut_rule: str | None  # a sentence: how the cut of the primary method was chosen
    photographs: Side
    controls: Side | None
    generator: str = ""  # its spec, or what the user calls it; empty: not known
    selection: Selection | None  # None: the photographs were given, not chosen here
    classes: tuple[ClassEvidence, ...]  # that have instances in photographs; gravest first
    pictures: tuple[Picture, ...]  # photographs by rank, then controls in order
    instances: tuple[Instance, ...]  # photographs' by rank, then the controls' in order
    caveats: tuple[str, ...]  # sentences that a reader of the numbers must know
    provenance: Mapping[str, Any]  # generator, inverter, settings; what the run says of itself

    def named(self, *verdicts: InstanceVerdict | None) -> list[ClassEvidence]:
        """The classes with one of these verdicts, in the order of the record."""
        return [row for row in self.classes if row.verdict in verdicts]

    @property
    def primary_method(self) -> Method:
        """The method that verdicts and ranks are about."""
        return next(method for method in self.methods if method.key == self.primary)

    def summary(self) -> str:
        """Verdict counts, the worst classes, the worst photographs, the cut's rule, the caveats.

        >>> print(evidence.summary())
        2 photographs (photos), rebuilt by method f-layer2; 3 controls (the generator's own images)
        ...
        """
        from unseen.instance_evidence.evidence_summary import evidence_summary

        return evidence_summary(self)

    def plot(
        self,
        kind: Literal["retention", "curves"] = "retention",
        *paths: Path,
        width: Width | None = None,
        classes: Sequence[str] = (),
    ) -> Any:
        """What is retained of every class, or the curves, as a figure of matplotlib.

        The arguments are those of `unseen.figure`. The curves are None where only one layer was
        perturbed.

        >>> evidence.plot(width="page").savefig(folder / "retention.pdf")
        """
        from unseen.instance_evidence.retention_figures import draw_curves, draw_retention

        draw = draw_retention if kind == "retention" else draw_curves
        return draw(self, *paths, width=width, classes=classes)

    def save(self, folder: str | Path) -> Path:
        """Write `evidence.json` and its pictures as `save_record` does; gives the path.

        >>> read_evidence(evidence.save(folder / "kept")) == evidence
        True
        """
        files: list[str | None] = []
        for picture in self.pictures:
            files += [picture.image, picture.label_map, picture.true_label_map]
            for rebuilt in picture.rebuilt:
                files += [rebuilt.image, rebuilt.label_map]
        return save_record(RECORD_FILE, self, files, self.folder, folder)

    def _views(self) -> ModuleType:
        from unseen.instance_evidence import evidence_views

        return evidence_views


@dataclasses.dataclass(frozen=True)
class Case:
    """One instance of a photograph with all that is shown beside it."""

    instance: Instance
    picture: Picture
    controls: tuple[tuple[Instance, Picture], ...]  # nearest first


@dataclasses.dataclass(frozen=True)
class Curve:
    """Retention of one class against the last perturbed layer, the searched set growing."""

    methods: tuple[Method, ...]  # of the same kind, by depth
    photographs: tuple[Mean, ...]
    controls: tuple[Mean, ...]


def cases(evidence: Evidence, column: str) -> list[Case]:
    """The instances of a class in photographs, that lost most first: its gallery."""
    pictures = {picture.id: picture for picture in evidence.pictures}
    instances = {instance.id: instance for instance in evidence.instances}
    return [
        Case(
            instance,
            pictures[instance.image],
            tuple((instances[i], pictures[instances[i].image]) for i in instance.controls),
        )
        for instance in evidence.instances
        if instance.role == "photograph" and instance.column == column
    ]


def curve(evidence: Evidence, column: str) -> Curve | None:
    """Retention of a class against the last perturbed layer; None where only one was run."""
    methods = [
        method
        for method in runs_by_depth(evidence)
        if method.depth is not None and not method.in_range
    ]
    if len(methods) < 2:
        return None
    row = next(row for row in evidence.classes if row.column == column)
    retained = [row.by(method.key) for method in methods]
    return Curve(
        tuple(methods),
        tuple(retention.photographs for retention in retained),
        tuple(retention.controls for retention in retained),
    )


def control_retention(evidence: Evidence, method: str) -> float | None:
    """Mean retention of all instances in the generator's own images; None where there are none."""
    kept = [
        fate.retention
        for instance in evidence.instances
        if instance.role == "control"
        for fate in instance.fates
        if fate.method == method
    ]
    return sum(kept) / len(kept) if kept else None


def earliest_passing(evidence: Evidence) -> Method | None:
    """Of the runs that differ in the last perturbed layer, the earliest whose control passes.

    A control passes that retains 0.8 on average: a search that rebuilds even the generator's own
    images worse says nothing of photographs. Choose on seeds that no verdict is reported on.
    """
    for method in runs_by_depth(evidence):
        kept = control_retention(evidence, method.key)
        if kept is not None and kept >= CONTROL_PASSES:
            return method
    return None


def runs_by_depth(evidence: Evidence) -> list[Method]:
    """The runs of the primary method, by the depth of the last perturbed layer."""
    kind = evidence.primary_method.method
    alike = (method for method in evidence.methods if method.method == kind)
    return sorted(alike, key=lambda method: method.depth or 0)


def _complaint(evidence: Evidence) -> str:
    """What the record names and does not hold, or holds twice, or nothing."""
    if complaint := complaint_about_columns(evidence.columns):
        return complaint
    columns = set(evidence.columns)
    kinds = {
        "method": [method.key for method in evidence.methods],
        "image": [picture.id for picture in evidence.pictures],
        "instance": [instance.id for instance in evidence.instances],
        "class": [row.column for row in evidence.classes],
    }
    held = {kind: set(keys) for kind, keys in kinds.items()}
    for kind, keys in kinds.items():
        if len(held[kind]) < len(keys):
            return f"it holds one {kind} twice"
    named = [("method", evidence.primary, held["method"])]
    if evidence.reference is not None:
        named.append(("method", evidence.reference, held["method"]))
    for row in evidence.classes:
        named.append(("class", row.column, columns))
        if row.range_method is not None:
            named.append(("method", row.range_method, held["method"]))
        named += [("method", ratio.method, held["method"]) for ratio in row.ratios]
        missing = held["method"] - {retention.method for retention in row.retention}
        named += [(f"retention of {row.column} by", method, set()) for method in sorted(missing)]
    for picture in evidence.pictures:
        named += [("method", rebuilt.method, held["method"]) for rebuilt in picture.rebuilt]
    for instance in evidence.instances:
        named += [("image", instance.image, held["image"]), ("class", instance.column, columns)]
        named += [("control", control, held["instance"]) for control in instance.controls]
        named += [("method", fate.method, held["method"]) for fate in instance.fates]
    for kind, key, known in named:
        if key not in known:
            return f"it names the {kind} {reprlib.repr(key)}, which it does not hold"
    return ""


RECORD_FILE = RecordFile(
    Evidence, "evidence", FILE, "unseen evidence", SCHEMA_VERSION, check=_complaint
)
write_evidence = RECORD_FILE.write
json_schema = RECORD_FILE.schema


def read_evidence(path: str | Path) -> Evidence:
    """Read evidence: `evidence.json`, or the folder that holds it.

    Raises:
        RecordError: there is none, it is no whole evidence, or of another schema version.

    >>> read_evidence(folder / "evidence").classes[0].verdict
    'cannot draw'
    """
    return RECORD_FILE.read(path)
