"""Compare areas: statistics in, record out. No images; `comparison_run` has those.

What the numbers mean is defined in docs/statistics.md; here they are put together, judged by both
segmenters where there are two, and given the caveats that a reader must know.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from unseen.core.errors import SampleError
from unseen.core.files import package_version
from unseen.core.options import check_labels
from unseen.core.verdicts import ClassVerdict
from unseen.core.wording import Interval, listed, percent
from unseen.distribution.areas import Areas, class_name, columns_named
from unseen.distribution.areas_file import check_comparable
from unseen.distribution.audit_labels import Answer
from unseen.distribution.auditing import with_audit
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    ExampleImage,
    Fsd,
    GeneratedSide,
    InstanceCounts,
    KeptImage,
    Power,
    SecondSegmenter,
    Side,
    gravest_first,
    told_columns,
    verdict_counts,
)
from unseen.distribution.dependence import sampling_caveats
from unseen.distribution.designs import (
    Known,
    Said,
    SideDesign,
    check_pairs_can_be_grouped,
    sampling,
    side_designs,
)
from unseen.distribution.example_images import (
    EXAMPLE_IMAGES,
    example_image,
    named_images,
    sample_rows,
)
from unseen.distribution.orderings import orderings
from unseen.distribution.pairing import (
    OF_PAIRS,
    Pairing,
    compare_in_pairs,
    pair_sides,
    without_partner,
)
from unseen.distribution.rare_pairs import rare_pairs
from unseen.distribution.segmenter_check import Check, Pair, differences, judged, warnings
from unseen.statistics import (
    PRESENCE_THRESHOLD,
    ClassComparison,
    Design,
    compare_classes,
    compare_instances,
    frechet_inference,
    own_thresholds,
)
from unseen.statistics.classes import FEWEST_IMAGES, OF_TYPICAL

Threshold = float | Literal["auto", "region"]  # of presence, a share of the image

_POWER_DROPS = (0.2, 0.5, 0.8)  # relative losses for which the record says who would show them
OF_REGIONS = 0.3  # of the typical area of a group of regions: a patch or two may stray into it
_SMALL_SAMPLE = 1000  # images; the paper compares 10,000, and below 1,000 the floor dominates
_CROPS_APART = 0.05  # difference of the shares that were cut off from which on it is said
_SIZES_APART = 1.2  # factor between the sizes of the sides from which on it is said
_IMAGES_A_CLASS = 5  # fewer, and a covariance matrix is hardly determined


def compare(
    real: Areas,
    generated: Sequence[Areas],
    *,
    seed: int = 0,
    presence_threshold: Threshold = PRESENCE_THRESHOLD,
    labels: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    second: tuple[Areas, Sequence[Areas]] | None = None,
    groups: Said = None,
    weights: Said = None,
    paired: bool = False,
    checks: Sequence[Check] | None = None,
    second_checks: Sequence[Check] | None = None,
    audit: Sequence[Answer] = (),
) -> Comparison:
    """What the generated sides lack, and have too much of, with the error bars.

    Args:
        real: areas of the real images.
        generated: areas of one or more generated sets, of the same segmenter and resolution.
        seed: of permutations and resampling.
        presence_threshold: fraction of the image from which on a class counts as present; "auto"
            takes a class's own from the real areas, as `own_thresholds` does, and "region" three
            times as much, for groups of regions.
        labels: what to call the sides, the real one first; taken from their sources otherwise.
        classes: the only ones that are tested, by name, with every image that holds them; none:
            all, with the images that hold most.
        second: the same sides, seen by a second segmenter: where the two disagree about a class
            that both know, its verdict is "undecided".
        groups: which images are not independent, as `designs.side_designs` takes it: a word, an
            expression on names, a file, a mapping or an array; or one of these by side, as in
            `{"real": "folder", "generated": array}`. None: the conditions of a side that repeat.
        weights: how much images count, told likewise. None: all the same.
        paired: compare each real image with what was drawn for its caption, too; images without
            a partner are left out. They are paired as `pairing.pair_sides` says.
        checks: of the segmenter, one a generated side, which take back verdicts that the segmenter
            may explain: the areas of every side then need views, as
            `segment(…, check_segmenter=True)` makes them. None: no check.
        second_checks: of the second segmenter.
        audit: labels that people gave images, as `read_answers` reads them: the rows of their
            classes are corrected.

    Returns:
        The record. Its example images are names alone, since areas have no pictures.

    Raises:
        SampleError: a side has fewer than two images, or there is no generated side.
        RecordError: the sides have different classes or resolutions.
        SpecError: groups or weights that do not fit the images; a class that is not known.
    """
    if not generated:
        raise SampleError("there is a real side and no generated one; name at least one")
    labels = check_labels(labels or _labels([real, *generated]), 1 + len(generated))
    pairing = None
    if paired:
        check_pairs_can_be_grouped(groups, weights, 1 + len(generated))
        pairing = pair_sides(_known(labels, [real, *generated]))
        real, *generated = _in_pairs(pairing, [real, *generated])
        if second is not None:
            second_real, *others = _in_pairs(pairing, [second[0], *second[1]])
            second = second_real, others
    for label, side in zip(labels, [real, *generated], strict=True):
        if len(side) < 2:
            raise SampleError(f"{label} has {len(side)} image; a covariance needs at least 2")
    asked = columns_named(real.columns, classes)
    seen = _Seen.of(real, generated, presence_threshold, checks, asked or None)
    seen_again = None
    if second is not None:
        names = {class_name(column).casefold() for column in asked}
        theirs = [c for c in second[0].columns if class_name(c).casefold() in names]
        seen_again = _Seen.of(*second, presence_threshold, second_checks, theirs if asked else None)
    known = _known(labels, [real, *generated])
    real_design, *designs = side_designs(known, groups, weights)
    sides = [
        _generated_side(label, i, seen, seen_again, seed, (real_design, designs[i]), pairing)
        for i, label in enumerate(labels[1:])
    ]
    told = told_columns(real.columns, sides)
    sides = [
        dataclasses.replace(
            side, counts=verdict_counts(row for row in side.classes if row.column in told)
        )
        for side in sides
    ]
    comparison = Comparison(
        package_version=package_version(),
        seed=seed,
        presence_threshold=None if isinstance(presence_threshold, str) else presence_threshold,
        columns=real.columns,
        asked=tuple(asked),
        label_map_pixels=real.label_map_pixels,
        real=Side(
            label=labels[0],
            images=len(real),
            provenance=real.provenance,
            example_images=_example_images(real, seen.asked, seen.thresholds),
            samples=_samples(real, seed),
            sampling=sampling(real, real_design),
        ),
        generated=tuple(sides),
        orderings=tuple(
            orderings(
                real,
                generated,
                [real_design, *designs],
                seen.thresholds,
                seed,
                seen.family,
            )
        ),
        warnings=tuple(warnings(sides)),
        caveats=(
            *([] if pairing is None else [OF_PAIRS, *without_partner(labels, pairing.alone)]),
            *_caveats(real, generated, sides),
            *sampling_caveats([real, *generated], known, [real_design, *designs]),
        ),
    )
    if not audit:
        return comparison
    told_designs = [told.design for told in (real_design, *designs)]
    return with_audit(comparison, [real, *generated], audit, told_designs)


def _known(labels: Sequence[str], sides: Sequence[Areas]) -> list[Known]:
    return [
        Known(label, side.names, side.conditions) for label, side in zip(labels, sides, strict=True)
    ]


def _in_pairs(pairing: Pairing, sides: Sequence[Areas]) -> list[Areas]:
    """The images of every side that have partners, in the order of the pairs."""
    return [side.part(rows) for side, rows in zip(sides, pairing.rows, strict=True)]


def _labels(sides: Sequence[Areas]) -> list[str]:
    """The sources' specs, told apart by a number where they are equal or unknown."""
    labels: list[str] = []
    for i, side in enumerate(sides):
        specs = [str(source["spec"]) for source in side.provenance.get("images", [])]
        label = " + ".join(specs) or ("real" if i == 0 else f"generated {i}")
        labels.append(f"{label} ({i + 1})" if label in labels else label)
    return labels


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """The sides as one segmenter sees them."""

    real: Areas
    generated: Sequence[Areas]
    thresholds: float | Float64[np.ndarray, " k"]  # of presence
    checks: Sequence[Check] | None  # one a generated side
    asked: Sequence[str] | None  # the columns that are tested; None: all

    @classmethod
    def of(
        cls,
        real: Areas,
        generated: Sequence[Areas],
        threshold: Threshold,
        checks: Sequence[Check] | None,
        asked: Sequence[str] | None,
    ) -> "_Seen":
        """With the threshold of every class, as the statistics take it."""
        for side in generated:
            check_comparable(real, side)
        if isinstance(threshold, str):
            part = OF_TYPICAL if threshold == "auto" else OF_REGIONS
            own = own_thresholds(real.pixels, whole=real.label_map_pixels, part=part)
            return cls(real, generated, own, checks, asked)
        return cls(real, generated, threshold, checks, asked)

    @property
    def family(self) -> list[int] | None:
        """The columns that are tested, by number; None: all."""
        return None if self.asked is None else [self.real.columns.index(c) for c in self.asked]

    def check(self, i: int) -> Check | None:
        """The check of the segmenter on a generated side."""
        return None if self.checks is None else self.checks[i]

    def measure(
        self, i: int, seed: int, designs: tuple[Design, Design]
    ) -> tuple[Fsd, list[ClassRow]]:
        """FSD and one row a class, in label order; what a check leaves of the verdicts."""
        real, generated, check = self.real, self.generated[i], self.check(i)
        options: dict[str, Any] = {"real_design": designs[0], "generated_design": designs[1]}
        inference = frechet_inference(
            real.pixels,
            generated.pixels,
            percent=100.0 / real.label_map_pixels,
            seed=seed,
            **options,
        )
        options |= {"whole": real.label_map_pixels, "presence_threshold": self.thresholds}
        options["family"] = self.family
        classes = compare_classes(real.pixels, generated.pixels, **options)
        fsd = Fsd(
            value=inference.plug_in.value,
            mean_term=inference.plug_in.mean_term,
            covariance_term=inference.plug_in.covariance_term,
            floor=inference.floor,
            p_value=inference.p_value,
            permutations=inference.permutations,
            corrected=inference.corrected,
            interval=_interval(inference.interval),
            estimator=inference.estimator,
            reason=inference.reason,
        )
        shares = dict(zip(real.columns, map(float, inference.shares), strict=True))
        columns = real.columns if self.asked is None else self.asked
        rows = [
            _row(column, measured, shares[column])
            for column, measured in zip(columns, classes, strict=True)
        ]
        if real.instances is not None and generated.instances is not None:
            rows = _with_counts(rows, real, generated, designs)
        if check is None:
            return fsd, rows

        def verdicts(worn: Pair) -> list[ClassVerdict]:
            compared = compare_classes(*(side.pixels for side in worn), **options)
            return [measured.verdict for measured in compared]

        return fsd, judged(rows, (real, generated), check, self.thresholds, verdicts)


def _generated_side(
    label: str,
    i: int,
    seen: _Seen,
    seen_again: _Seen | None,
    seed: int,
    told: tuple[SideDesign, SideDesign],
    pairing: Pairing | None,
) -> GeneratedSide:
    """A generated side against the real one, judged by the second segmenter where there is one."""
    real, side, check = seen.real, seen.generated[i], seen.check(i)
    designs = (told[0].design, told[1].design)
    fsd, rows = seen.measure(i, seed, designs)
    opinion = None
    if seen_again is not None:
        second_fsd, second_rows = seen_again.measure(i, seed, designs)
        opinion = SecondSegmenter(
            real_provenance=seen_again.real.provenance,
            provenance=seen_again.generated[i].provenance,
            fsd=second_fsd,
            classes=tuple(sorted(second_rows, key=gravest_first)),
        )
        rows = _judge_by_both(rows, opinion.classes)
    return GeneratedSide(
        label=label,
        images=len(side),
        provenance=side.provenance,
        example_images=_example_images(side, seen.asked, seen.thresholds),
        samples=_samples(side, seed),
        sampling=sampling(side, told[1]),
        fsd=fsd,
        classes=tuple(sorted(rows, key=gravest_first)),
        power=_power(rows),
        measures=differences(real, side, designs),
        checked=check is not None,
        worn=None if check is None else check.wear,
        counterparts=_counterparts(real, side, seen.asked, seen.thresholds),
        pairs=None
        if pairing is None
        else compare_in_pairs(real, side, seen.thresholds, told, pairing.by, seen.family),
        together=rare_pairs(real, side, rows, seen.thresholds, designs, seen.family),
        second_segmenter=opinion,
    )


def _row(column: str, measured: ClassComparison, share: float) -> ClassRow:
    values: dict[str, Any] = {
        name: _finite(value) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(measured).items()
    }
    for name in values:
        if name.endswith("interval"):
            values[name] = _interval(getattr(measured, name))
    return ClassRow(
        column=column,
        depends_on_threshold=measured.depends_on_threshold,
        own_verdict=measured.verdict,
        second_verdict=None,
        undecided_by="sample" if measured.verdict == "undecided" else None,
        fsd_share=share,
        **values,
    )


def _with_counts(
    rows: Sequence[ClassRow], real: Areas, generated: Areas, designs: tuple[Design, Design]
) -> list[ClassRow]:
    """The rows with how many things images of either side hold."""
    assert real.instances is not None
    assert generated.instances is not None
    compared = compare_instances(
        real.instances,
        generated.instances,
        real_design=designs[0],
        generated_design=designs[1],
    )
    counts = {
        real.columns[found.class_index]: InstanceCounts(
            real_mean=found.real_mean,
            generated_mean=found.generated_mean,
            ratio=found.ratio,
            interval=_interval(found.interval),
            verdict=found.verdict,
        )
        for found in compared
    }
    return [dataclasses.replace(row, instances=counts.get(row.column)) for row in rows]


def _interval(interval: tuple[float, float] | None) -> Interval:
    return (None, None) if interval is None else (_finite(interval[0]), _finite(interval[1]))


def _finite(value: float | None) -> float | None:
    """The record's form of a number: None where it is not defined or not bounded."""
    return float(value) if value is not None and math.isfinite(value) else None


def _judge_by_both(rows: Sequence[ClassRow], second: Sequence[ClassRow]) -> list[ClassRow]:
    """Rows whose verdicts are those that both segmenters support."""
    others = {row.name.casefold(): row.verdict for row in second}
    judged_by_both = []
    for row in rows:
        second_verdict = others.get(row.name.casefold())
        verdict = row.verdict if second_verdict is None else _agreed(row.verdict, second_verdict)
        disagree = verdict == "undecided" and row.verdict != "undecided"
        judged_by_both.append(
            dataclasses.replace(
                row,
                second_verdict=second_verdict,
                verdict=verdict,
                undecided_by="second segmenter" if disagree else row.undecided_by,
            )
        )
    return judged_by_both


def _agreed(first: ClassVerdict, second: ClassVerdict) -> ClassVerdict:
    """The verdict that both support: omitted and under are both under; else undecided."""
    if first == second:
        return first
    if {first, second} == {"omitted", "under"}:
        return "under"
    return "undecided"


def _power(rows: Sequence[ClassRow]) -> tuple[Power, ...]:
    """For each drop, the presence from which on every real class would show it."""
    powers = []
    for drop in _POWER_DROPS:
        shown, missed = [], 0.0
        for row in rows:
            if row.real_presence == 0:
                continue
            if shows_drop(row, drop):
                shown.append(row.real_presence)
            else:
                missed = max(missed, row.real_presence)
        enough = [presence for presence in shown if presence > missed]
        powers.append(Power(drop=drop, presence=min(enough, default=None)))
    return tuple(powers)


def shows_drop(row: ClassRow, drop: float) -> bool:
    """Whether this sample would have called the class under (80 % power), had it so lost."""
    least = row.smallest_detectable_drop
    return row.tested and least is not None and least <= drop


def _example_images(
    side: Areas,
    asked: Sequence[str] | None = None,
    thresholds: float | Float64[np.ndarray, " k"] = 1.0,
) -> dict[str, tuple[ExampleImage, ...]]:
    """For every class that occurs, the images that hold most of it; of one asked for, all."""
    example_images = {}
    least = np.broadcast_to(thresholds, len(side.columns)) * side.label_map_pixels
    for k, column in enumerate(side.columns):
        if asked is not None and column not in asked:
            continue
        areas = side.pixels[:, k]
        holding = 0 if asked is None else int((areas >= least[k]).sum())
        # Stable, so that equal areas keep the index order.
        most = np.argsort(-areas.astype(np.int64), kind="stable")[: max(EXAMPLE_IMAGES, holding)]
        held = tuple(example_image(side, int(i), k) for i in most if areas[i] > 0)
        if held:
            example_images[column] = held
    return example_images


def _samples(side: Areas, seed: int) -> tuple[KeptImage, ...]:
    """The names of a few images, by chance."""
    return named_images(side, sample_rows(len(side), seed))


def _counterparts(
    real: Areas,
    side: Areas,
    asked: Sequence[str] | None,
    thresholds: float | Float64[np.ndarray, " k"],
) -> dict[str, tuple[ExampleImage, ...]]:
    """The images of this side named as the real example images; none unless the sides are pairs."""
    if not _are_pairs(real, side):
        return {}
    row = {name: i for i, name in enumerate(side.names)}
    return {
        column: tuple(
            example_image(side, row[held_image.name], side.columns.index(column))
            for held_image in held
        )
        for column, held in _example_images(real, asked, thresholds).items()
    }


def _are_pairs(real: Areas, side: Areas) -> bool:
    """Whether two different sets have the same image names, and not by counting alone."""
    return (
        set(real.names) == set(side.names)
        and not _fingerprints(real) & _fingerprints(side)
        # Bare numbers are the names that a renderer, a generator or a tally gives.
        and not all(name.rpartition("/")[2].partition(".")[0].isdigit() for name in real.names)
    )


def _caveats(
    real: Areas,
    generated: Sequence[Areas],
    sides: Sequence[GeneratedSide],
) -> Iterator[str]:
    """What a reader must know; what is true of some sides only names them."""
    told: dict[str, list[str]] = {}
    for areas, side in zip(generated, sides, strict=True):
        for caveat in _side_caveats(real, areas, side):
            told.setdefault(caveat, []).append(side.label)
    for caveat, labels in told.items():
        yield caveat if len(labels) == len(sides) else f"{', '.join(labels)}: {caveat}"


@dataclasses.dataclass(frozen=True)
class _Frames:
    """How the images of a side were made squares, as its areas recorded it."""

    fits: frozenset[str]
    cropped: float  # share of all pixels that a crop cut off
    shorter: tuple[int, int]  # shorter sides of the smallest and the largest image, pixels
    matched: int | None  # resolution to which they were reduced first

    @classmethod
    def of(cls, areas: Areas) -> "_Frames | None":
        """None where the areas do not say."""
        sources = areas.provenance.get("images") or [{}]
        sizes = [source.get("sizes") for source in sources]
        if not all(size and size.get("smallest") for size in sizes):
            return None
        pixels = sum(size["pixels"] for size in sizes)
        cropped = sum(
            size["cropped_pixels"]
            for size, source in zip(sizes, sources, strict=True)
            if source.get("fit", "crop") == "crop"
        )
        return cls(
            fits=frozenset(source.get("fit", "crop") for source in sources),
            cropped=cropped / max(pixels, 1),
            shorter=(
                min(min(size["smallest"]) for size in sizes),
                max(min(size["largest"]) for size in sizes),
            ),
            matched=sources[0].get("match_resolution"),
        )


def _frame_caveats(real: Areas, areas: Areas) -> Iterator[str]:
    """Where the images of the sides were fitted, cropped or resized in different ways."""
    ours, theirs = _Frames.of(real), _Frames.of(areas)
    if ours is None or theirs is None:
        return
    if ours.fits != theirs.fits:
        fits = [listed(sorted(frames.fits)) for frames in (ours, theirs)]
        yield (
            f"The real images were made squares by --fit {fits[0]}, the generated ones by "
            f"{fits[1]}: the sides do not show the same parts of a scene."
        )
    elif abs(ours.cropped - theirs.cropped) > _CROPS_APART:
        yield (
            f"The centre crop cut off {percent(ours.cropped)} of the real pixels and "
            f"{percent(theirs.cropped)} of the generated ones: what stands at the edges is seen on "
            "one side alone. --fit squash, tiles or pad keep whole frames."
        )
    apart = [our / max(their, 1) for our, their in zip(ours.shorter, theirs.shorter, strict=True)]
    if min(apart) > _SIZES_APART or max(apart) < 1 / _SIZES_APART:
        least = min(*ours.shorter, *theirs.shorter)
        if ours.matched is None or ours.matched > least:
            sizes = [
                f"{low:,}" if low == high else f"{low:,} to {high:,}"
                for low, high in (ours.shorter, theirs.shorter)
            ]
            yield (
                f"The shorter sides of the real images have {sizes[0]} pixels, those of the "
                f"generated ones {sizes[1]}: they are resized by different factors, and blur may "
                f"read as an omission. --match-resolution {least} makes both alike."
            )


def _side_caveats(real: Areas, areas: Areas, side: GeneratedSide) -> Iterator[str]:
    yield from _frame_caveats(real, areas)
    least = min(len(real), len(areas))
    pooled = (real.pixels.sum(axis=0, dtype=np.int64) > 0) | (
        areas.pixels.sum(axis=0, dtype=np.int64) > 0
    )
    occurring = int(pooled.sum())
    if least < _IMAGES_A_CLASS * occurring:
        rank = f" (its rank is {least - 1} at most)" if least <= occurring else ""
        yield (
            f"{least} images on a side are too few for a covariance of the {occurring} classes "
            f"that occur{rank}: much of the plug-in FSD is sampling bias, as its floor of "
            f"{side.fsd.floor:.3g} shows. Read the FSD only against that floor, and the class "
            "table first."
        )
    elif least < _SMALL_SAMPLE:
        yield (
            f"{least} images on a side is a small sample: published FSDs use 10,000, and the "
            "plug-in value is biased upwards by about its floor."
        )
    common = len(set(real.names) & set(areas.names))
    if common and _fingerprints(real) & _fingerprints(areas):
        yield (
            f"{common} images are on both sides, which makes the differences look smaller "
            "than they are."
        )
    elif _are_pairs(real, areas):
        yield (
            f"All {common} image names occur on both sides. If these are pairs, such as "
            "photographs and their reconstructions, they are not the independent samples "
            "that the intervals assume; for pairs the intervals are usually too "
            "wide."
        )
    untested = [row.name for row in side.named("untested") if row.real_presence > 0]
    if untested:
        names = ", ".join(untested[:6]) + (", …" if len(untested) > 6 else "")
        many = len(untested) > 1
        alike = all(
            (row.real_effective, row.generated_effective) == (len(real), len(areas))
            for row in side.named("untested")
        )
        yield (
            f"{len(untested)} real {'classes occur' if many else 'class occurs'} in fewer than "
            f"{FEWEST_IMAGES} {'images' if alike else 'independent images'} of both sides "
            "together, too few to test "
            f"({names}). Without a verdict {'they are' if many else 'it is'} not "
            f"cleared: see {'their' if many else 'its'} numbers and images."
        )


def _fingerprints(areas: Areas) -> set[Any]:
    """What is known of where the images come from."""
    return {source["fingerprint"] for source in areas.provenance.get("images", [])} - {None}
