"""The comparison: what one set of real images and any number of generated sets differ in.

Frozen dataclasses and their JSON, nothing else: no statistics, no images. The JSON is described
by `json_schema()` and in docs/comparison.md; its fields are the attributes here, under the same
names. A number that is not defined, or not bounded, is null.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from unseen.core.figure_style import Width
from unseen.core.records import Amount, Count, FilePath, RecordFile, Share, complaint_about_columns
from unseen.core.results import LocatedResult
from unseen.core.verdicts import CLASS_VERDICTS, Change, ClassVerdict, CountVerdict, SizeVerdict
from unseen.core.wording import Interval
from unseen.distribution.areas import Measured, class_name, nothing
from unseen.images.record_pictures import save_record

Nearer = Literal["previous", "new", "undecided"]  # of two generated sides to the real one
UndecidedBy = Literal["sample", "segmenter", "second segmenter", "audit"]

SCHEMA_VERSION = 1
FILE = "comparison.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptImage:
    """An image of a side that is kept beside the record, as it was segmented.

    Paths are relative to the folder of the record, with forward slashes; None where the side was
    given as areas alone, without its pictures.
    """

    name: str  # of the image, in its source
    condition: str | None = None  # what it was asked for, or its caption; None: nobody says
    image: FilePath | None = None  # PNG or JPEG
    label_map: FilePath | None = (
        None  # 16-bit PNG: the values are indices into `Comparison.columns`
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleImage(KeptImage):
    """One of the images that hold most of a class."""

    fraction: Share  # of the image that the class covers, 0 to 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a side was sampled, where its images are not independent or do not count alike."""

    grouped_by: str | None  # condition, folder, an expression, a file; None: not grouped
    declared: bool  # whether the user told the groups; else they are conditions that repeat
    groups: Count | None  # whole groups are exchanged and resampled; None: every image by itself
    weighted_by: str | None  # a file, condition, folder; None: all images count alike
    effective_images: (
        Amount  # independent images of equal weight that would know mean areas as well
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One set of images."""

    label: str  # how the page calls it
    images: Count  # counted, at least 2
    provenance: Mapping[str, Any]  # as in the areas: source, fingerprint, segmenter, seed
    example_images: Mapping[
        str, tuple[ExampleImage, ...]
    ]  # column → images that hold most of it, most first
    samples: tuple[KeptImage, ...] = ()  # some images by chance: the same rows of every side
    sampling: Sampling | None = None  # None: independent images that count alike
    # the areas: a file in the record's folder, or as the side was named; None: not kept as a file
    areas: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fsd:
    """Fréchet Segmentation Distance between one generated side and the real one, in percent²."""

    value: float  # plug-in, as published: mean_term + covariance_term
    mean_term: float
    covariance_term: float
    floor: Amount  # what the plug-in would be on average, had both sides one distribution
    p_value: Share  # of "both sides have one distribution", by permutation; not of "FSD = 0"
    permutations: Count  # behind floor and p_value, which is at least 1 / (1 + permutations)
    corrected: float | None  # without the plug-in's sampling bias; None: too few images to say
    interval: Interval  # 95 % of the corrected value
    estimator: str  # the name of the correction
    reason: str | None = None  # why there is no corrected value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageMeasure:
    """Something measured of the images as the segmenter saw them, on both sides."""

    # unlabelled: the share without a class; confidence: the segmenter's own
    name: Literal["unlabelled"] | Measured
    real: Amount  # mean over the images; sharpness may be above 1
    generated: Amount
    difference: (
        float | None
    )  # generated − real, in standard deviations of an image; None: no spread
    large: bool  # so that the segmenter may fail on one of the sides


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstanceCounts:
    """How many things of a class an image holds, over the images that hold any."""

    real_mean: Amount
    generated_mean: Amount
    ratio: Amount  # generated over real mean
    interval: Interval  # simultaneous over the classes that at least 10 images of both sides hold
    verdict: CountVerdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditedStratum:
    """Images of which the segmenter says the same of a class, and what people say of them."""

    says: Literal["yes", "unsure", "no"]  # unsure: from half to twice the presence threshold
    images: Count
    labelled: Count
    present: Count  # of the labelled images, those that hold the class


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditedSide:
    """What people say of the images of one side. Intervals are 95 %, of this class and side."""

    strata: tuple[AuditedStratum, ...]
    unsure: Count  # images of which people could not say whether they hold the class
    presence: Share  # corrected: share of images that hold the class
    presence_interval: Interval
    # of the images that hold the class, the share in which the segmenter sees it; None: no
    # labelled image does
    sensitivity: Share | None
    sensitivity_interval: Interval
    # of the images that lack the class, the share in which the segmenter sees it
    false_alarms: Share | None
    false_alarms_interval: Interval
    missed: tuple[KeptImage, ...]  # that hold the class, and the segmenter does not see it
    invented: tuple[KeptImage, ...]  # that lack the class, and the segmenter sees it


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterSaid:
    """The fields of a `ClassRow` that an audit replaces, as they were before it."""

    verdict: ClassVerdict
    verdict_at_half: ClassVerdict
    verdict_at_twice: ClassVerdict
    depends_on_threshold: bool
    undecided_by: UndecidedBy | None
    tested: bool
    statistic: Literal["presence", "area"]
    real_presence: Share
    generated_presence: Share
    real_presence_interval: Interval
    generated_presence_interval: Interval
    ratio: Amount | None
    interval: Interval
    p_value: Share | None
    p_omitted: Share | None
    p_holm: Share | None
    p_bh: Share | None
    smallest_detectable_drop: Share | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassAudit:
    """What a check by hand says of a class, and what the segmenter said before it."""

    labellers: tuple[str, ...]
    compared: Count  # images that several people labelled
    agreement: float | None  # Krippendorff's alpha over these; 1: always, 0: as by chance
    real: AuditedSide
    generated: AuditedSide
    # labels a side in all that would decide an undecided class, had further labels the same
    # shares; None: it is decided, or labels of all images would not do
    labels_needed: Count | None
    segmenter: SegmenterSaid  # what the row would say without the audit


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class on one generated side against the real one. Presences and areas are 0 to 1.

    Where people have labelled images, verdict, ratio, interval and presences are corrected by the
    labels, which say what is in an image, whatever its size.
    """

    column: str  # channel/class, e.g. "object/person"
    verdict: ClassVerdict  # of the comparison: both segmenters', where there are two
    own_verdict: ClassVerdict  # of the first segmenter alone
    second_verdict: ClassVerdict | None  # None: no second segmenter, or it does not know the class
    # by the first segmenter, with half and with twice the presence threshold
    verdict_at_half: ClassVerdict
    verdict_at_twice: ClassVerdict
    depends_on_threshold: bool  # whether these two and own_verdict say different things
    # why the verdict is undecided: the sample cannot tell, or the segmenter may have missed it, or
    # there are too few labels
    undecided_by: UndecidedBy | None = None
    # whether the class is in the same images when these are mirrored or moved: the mean of Dice's
    # coefficients of presence; None: not checked, or never seen
    real_agreement: Share | None = None
    generated_agreement: Share | None = None
    worn_verdict: ClassVerdict | None = None  # between sides made equally blurred and pale
    tested: bool
    # what verdict, ratio, interval and p-values are about; area where both presences exceed 95 %
    statistic: Literal["presence", "area"]
    presence_threshold: Share  # of the image, from which on the class counts as present
    real_presence: Share  # share of images that hold the class
    generated_presence: Share
    real_presence_interval: Interval  # exact, of this class and side alone
    generated_presence_interval: Interval
    # independent images that would know the presence as well; all of them without groups, weights
    real_effective: Amount
    generated_effective: Amount
    real_area: Share  # mean share of pixels, over all images
    generated_area: Share
    real_area_given_presence: Share | None  # mean over the images that hold it
    generated_area_given_presence: Share | None
    ratio: Amount | None  # generated over real
    # of the ratio; simultaneous over the tested classes, after an audit over the audited ones
    interval: Interval
    p_value: Share | None  # of ratio 1, two-sided; after an audit a posterior probability, as next
    p_omitted: Share | None  # of a ratio of at least 0.1, one-sided
    p_holm: Share | None
    p_bh: Share | None
    smallest_detectable_drop: Share | None  # relative, 0 to 1, at 80 % power; None: none at all
    area_ratio: Amount | None  # generated over real mean area, as in the paper's histogram (+ 1)
    size: SizeVerdict | None  # where it is present; None: untested, or the verdict is of area
    size_ratio: Amount | None  # generated over real geometric mean area, over images that hold it
    size_interval: Interval  # of size_ratio; simultaneous over the classes that have one
    real_spread: Amount  # standard deviation of the area over all images, σ_t
    generated_spread: Amount  # σ_g
    spread_ratio: Amount | None  # σ_g / σ_t
    spread_interval: Interval  # of spread_ratio, of this class alone
    fsd_share: float  # the part of the plug-in FSD that is this class's, in percent²
    instances: InstanceCounts | None = None  # None: things are not counted, or in too few images
    audit: ClassAudit | None = None  # None: nobody has labelled images

    @property
    def name(self) -> str:
        """The class without its channel."""
        return class_name(self.column)

    @property
    def relative_delta(self) -> float | None:
        """(generated − real) / real mean area, the paper's lower panel; None where real is 0."""
        if self.real_area == 0:
            return None
        return (self.generated_area - self.real_area) / self.real_area

    @property
    def relative_change(self) -> float | None:
        """(generated − real) / real of what the verdict is about; None where real is 0."""
        if self.statistic == "area":
            return self.relative_delta
        if self.real_presence == 0:
            return None
        return (self.generated_presence - self.real_presence) / self.real_presence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Power:
    """How often a class must be seen for a given loss of it to be noticed by this sample."""

    drop: Share  # relative loss of presence, 0 to 1
    presence: Share | None  # every tested class at least this present would show it; None: no class


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondSegmenter:
    """The same images seen by another segmenter."""

    real_provenance: Mapping[str, Any]
    provenance: Mapping[str, Any]  # of the generated side
    fsd: Fsd
    classes: tuple[ClassRow, ...]  # in its own label set


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairClass:
    """One class in pairs of a photograph and the image drawn for its caption."""

    column: str
    tested: bool
    held: Count  # pairs whose photograph holds the class
    kept: Count  # those of them whose drawn image holds it, too
    kept_interval: Interval  # of kept / held; exact, 95 %, of this class alone
    lacking: Count  # pairs whose photograph lacks the class
    added: Count  # those of them whose drawn image holds it
    added_interval: Interval  # of added / lacking, likewise
    difference: float  # generated − real presence in the pairs
    difference_interval: Interval  # simultaneous over the tested classes
    p_value: Share | None  # of no difference, by the pairs that differ (McNemar, mid-p)
    p_holm: Share | None

    @property
    def share(self) -> float | None:
        """Of the photographs that hold the class, how many drawn images do; None: no photograph."""
        return self.kept / self.held if self.held else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairImages:
    """A photograph that holds a class, and what was drawn for its caption."""

    real: ExampleImage
    generated: ExampleImage
    kept: bool  # whether the drawn image holds the class


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """What pairs of photographs and drawn images show beside the comparison of the sides."""

    paired_by: Literal["condition", "name"]
    pairs: Count
    groups: Count | None  # pairs of one caption are one group; None: every pair by itself
    grouped_by: str | None
    classes: tuple[PairClass, ...]  # tested first, of these the most often lost
    images: Mapping[str, tuple[PairImages, ...]]  # column → pairs, those that lost it first


@dataclasses.dataclass(frozen=True, kw_only=True)
class RarePair:
    """Two classes that a generated side holds together more rarely than their presences explain."""

    columns: tuple[str, str]
    real: Share  # share of the images that hold both
    generated: Share
    expected: Share  # share of the generated images that the two presences alone explain
    ratio: Amount  # generated / expected
    interval: Interval  # of the ratio; simultaneous over all pairs that could be called
    p_value: Share  # of a ratio of at least 1, one-sided, of this pair alone
    # images that hold both, those that hold most of the smaller class first
    real_images: tuple[KeptImage, ...] = ()
    generated_images: tuple[KeptImage, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Together:
    """Which classes a generated side holds rarely together, of how many pairs."""

    tested: Count = 0  # pairs that this sample could have called
    pairs: tuple[RarePair, ...] = ()  # those with the smallest upper end of the interval first


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedSide(Side):
    """One generated set, measured against the real one."""

    fsd: Fsd
    classes: tuple[ClassRow, ...]  # gravest verdict first, then the largest real area
    power: tuple[Power, ...]
    measures: tuple[ImageMeasure, ...] = ()  # none of tallies and areas of earlier versions
    # what was done to the real and the generated images to make them alike; None: nothing
    worn: tuple[Mapping[str, float] | None, Mapping[str, float] | None] | None = None
    checked: bool = False  # whether the segmenter was checked
    # where both sides have the same image names: the images named as the real examples of a class
    counterparts: Mapping[str, tuple[ExampleImage, ...]] = dataclasses.field(default_factory=dict)
    pairs: Pairs | None = None  # None: the sides were not compared in pairs
    together: Together = Together()
    second_segmenter: SecondSegmenter | None = None
    # verdict → how many classes got it, of those that a summary tells of (`told_columns`)
    counts: Mapping[ClassVerdict, Count] = dataclasses.field(default_factory=dict)

    @property
    def audited(self) -> list[tuple[AuditedSide, AuditedSide]]:
        """What people say of the real and of this side, a pair an audited class."""
        return [(row.audit.real, row.audit.generated) for row in self.classes if row.audit]

    def named(self, *verdicts: ClassVerdict) -> list[ClassRow]:
        """The rows with one of these verdicts, in the order of the record."""
        return [row for row in self.classes if row.verdict in verdicts]


def told_columns(columns: Sequence[str], sides: Sequence[GeneratedSide]) -> frozenset[str]:
    """The classes that are counted, shown in tables and judged.

    Those that some side holds or that people looked for, without the label set's word for "no
    class".
    """
    held = (
        row
        for side in sides
        for row in side.classes
        if row.real_area or row.generated_area or row.audit
    )
    return frozenset(row.column for row in held) - {nothing(columns)}


def verdict_counts(rows: Iterable[ClassRow]) -> dict[ClassVerdict, int]:
    """How many classes got each verdict, gravest first."""
    counted = collections.Counter(row.verdict for row in rows)
    return {verdict: counted[verdict] for verdict in CLASS_VERDICTS}


def gravest_first(row: ClassRow) -> tuple[int, float, float]:
    """Sorts the gravest verdict first, then the largest area."""
    return CLASS_VERDICTS.index(row.verdict), -row.real_area, -row.generated_area


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassChange:
    """One class on a new generated side against a previous one, the real side being shared."""

    column: str
    verdict: Change  # regressed: significantly further from the real side; improved: nearer
    statistic: Literal["presence", "area"]
    real: Share  # presence or mean area, 0 to 1
    previous: Share
    new: Share
    difference: float  # new − previous
    interval: Interval  # of the difference; simultaneous over the tested classes
    p_value: Share | None  # the larger of both tests behind the verdict, not adjusted
    smallest_detectable_regression: Share | None  # relative fall from previous, at 80 % power


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordering:
    """Two generated sides against each other: which of them is nearer to the real one."""

    previous: Count  # index into Comparison.generated
    new: Count
    paired: bool  # image k of both sides came of the same latents or prompt
    nearer: Nearer  # where the interval of the difference of FSD excludes zero
    fsd_difference: float | None  # new − previous, without sampling bias; None: too few images
    fsd_difference_interval: Interval  # 95 %
    classes: tuple[ClassChange, ...]

    def named(self, *verdicts: Change) -> list[ClassChange]:
        """The classes that changed in one of these ways, in the order of the record."""
        return [row for row in self.classes if row.verdict in verdicts]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateFinding:
    """One reason why the gate does not pass."""

    kind: Literal["failed", "not shown"]  # a condition holds; or this sample could not tell
    side: str  # label of the generated side
    condition: str  # omitted, under, regressed or fsd>NUMBER
    column: str | None  # the class, channel/class; None: it is about the side
    sentence: str
    power: Share | None = None  # of the condition, had the class lost the share asked for
    images: Count | None = None  # generated images that would do; None: not known, or none would
    real_images: Count | None = None  # that they need; None: those that there are


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """What `--fail-on` and `--require-power` say of the comparison."""

    status: Literal[0, 3, 4]  # 0: nothing asked for was found; 3: it was; 4: it could not have been
    sides: tuple[str, ...]  # labels of the generated sides that were judged
    fail_on: tuple[str, ...]  # the conditions
    presence: Share | None  # of the classes whose loss must show; None: no power was asked for
    drop: Share | None  # the loss, relative
    level: Share  # of false alarms, for all that was judged together
    run: Count | None = None  # number in the history; None: there is none
    findings: tuple[GateFinding, ...] = ()  # what failed comes first

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for every reason."""
        return tuple(finding.sentence for finding in self.findings)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(LocatedResult):
    """Everything that the page shows, and what a machine needs to judge it.

    In a notebook a comparison shows its verdicts, its figure, and the pictures of what is left out
    where they were kept.

    >>> comparison
    fakes (200 images) against photos (200): FSD 15.5 [... – ...], 1 omitted (person), ...
    """

    schema_version: int = SCHEMA_VERSION
    package_version: str
    seed: int  # of subsets, permutations and resampling
    # fraction of the image from which on a class counts as present; None: each class has its own
    presence_threshold: Share | None
    columns: tuple[str, ...]  # channel/class in label order
    # The columns that were asked about: these alone were tested, and every image that holds them is
    # an example image. Empty: no class was named, and all were tested.
    asked: tuple[str, ...] = ()
    label_map_pixels: int
    real: Side
    generated: tuple[GeneratedSide, ...]
    orderings: tuple[Ordering, ...]  # every pair of generated sides, none with a single one
    # sentences that come before the numbers: signs that the segmenter fails on a side
    warnings: tuple[str, ...] = ()
    caveats: tuple[str, ...]  # sentences that a reader of the numbers must know
    gate: GateResult | None = None  # None: no condition was asked for

    def told(self, side: GeneratedSide) -> list[ClassRow]:
        """The rows of a side that a summary tells of, in the order of the record."""
        columns = told_columns(self.columns, self.generated)
        return [row for row in side.classes if row.column in columns]

    def summary(self) -> str:
        """FSD with interval and floor, verdict counts, the classes that are wrong, the caveats.

        >>> print(comparison.summary())
        fakes (200 images) against photos (200 images)
        ...
        """
        from unseen.distribution.comparison_summary import summary

        return summary(self)

    def plot(
        self,
        kind: Literal["histogram", "intervals"] = "histogram",
        *paths: Path,
        width: Width | None = None,
        classes: Sequence[str] = (),
    ) -> Any:
        """The paper's histogram, or the ratios with their intervals, as a figure of matplotlib.

        The arguments are those of `unseen.figure`.

        >>> comparison.plot(width="column", classes=["person"]).savefig(folder / "person.pdf")
        """
        from unseen.distribution.comparison_figures import draw_histogram, draw_intervals

        draw = draw_histogram if kind == "histogram" else draw_intervals
        return draw(self, *paths, width=width, classes=classes)

    def save(self, folder: str | Path) -> Path:
        """Write `comparison.json` and its pictures as `save_record` does; gives the path.

        >>> read_comparison(comparison.save(folder / "kept")) == comparison
        True
        """
        sides = [self.real, *self.generated]
        held: list[tuple[KeptImage, ...]] = [side.samples for side in sides]
        held += [images for side in sides for images in side.example_images.values()]
        held += [images for side in self.generated for images in side.counterparts.values()]
        held += [
            images
            for side in self.generated
            for real, generated in side.audited
            for images in (real.missed, real.invented, generated.missed, generated.invented)
        ]
        held += [
            (pair.real, pair.generated)
            for side in self.generated
            if side.pairs is not None
            for pairs in side.pairs.images.values()
            for pair in pairs
        ]
        held += [
            (*pair.real_images, *pair.generated_images)
            for side in self.generated
            for pair in side.together.pairs
        ]
        files = [
            file for images in held for kept in images for file in (kept.image, kept.label_map)
        ]
        return save_record(RECORD_FILE, self, files, self.folder, folder)

    def _views(self) -> ModuleType:
        from unseen.distribution import comparison_views

        return comparison_views


def _complaint(comparison: Comparison) -> str:
    """What is wrong though every field has its type, or nothing."""
    if complaint := complaint_about_columns(comparison.columns):
        return complaint
    if not comparison.generated:
        return "it has no generated side"
    columns = set(comparison.columns)
    if not set(comparison.asked) <= columns:
        return "it was asked about columns that it does not have"
    judged = {row.column for row in comparison.generated[0].classes}
    for i, side in enumerate(comparison.generated):
        of_side = [row.column for row in side.classes]
        if len(set(of_side)) < len(of_side) or set(of_side) != judged or not judged <= columns:
            return f"generated[{i}] does not judge the same columns as the other sides, each once"
        if side.counts != verdict_counts(comparison.told(side)):
            return f"generated[{i}].counts do not count the verdicts of its classes"
        if side.pairs is not None:
            of_pairs = [row.column for row in side.pairs.classes]
            if len(set(of_pairs)) < len(of_pairs) or not {*of_pairs, *side.pairs.images} <= columns:
                return f"generated[{i}] has pairs of other columns, or of one twice"
        if not {column for pair in side.together.pairs for column in pair.columns} <= columns:
            return f"generated[{i}].together has pairs of other columns"
    for i, ordering in enumerate(comparison.orderings):
        if max(ordering.previous, ordering.new) >= len(comparison.generated):
            return f"orderings[{i}] names a generated side that is not there"
    return ""


RECORD_FILE = RecordFile(
    Comparison,
    "comparison",
    FILE,
    "unseen compare",
    SCHEMA_VERSION,
    check=_complaint,
)
write_comparison = RECORD_FILE.write
json_schema = RECORD_FILE.schema


def read_comparison(path: str | Path) -> Comparison:
    """Read a comparison: `comparison.json`, or the folder that holds it.

    Raises:
        RecordError: there is none, it is no whole comparison, or of another schema version.

    >>> [row.name for row in read_comparison(folder / "comparison").generated[0].named("omitted")]
    ['person']
    """
    return RECORD_FILE.read(path)
