"""A comparison in words: what verdicts mean, changes, distances; the same wherever it is shown."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from unseen.core.errors import RecordError
from unseen.core.records import build
from unseen.core.verdicts import ClassVerdict
from unseen.core.wording import (
    Interval,
    count,
    digits,
    listed,
    number,
    p_value,
    percent,
    ratio_interval,
    times,
    value_interval,
)
from unseen.distribution.areas import class_name, nothing
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    Fsd,
    GateResult,
    GeneratedSide,
    Ordering,
    RarePair,
    Side,
)
from unseen.images.inventory import QUIET, left_out_in_words

VERDICT_MEANINGS: dict[ClassVerdict, str] = {
    "omitted": "with 95 % confidence, drawn less than a tenth as often as in the real images",
    "under": "with 95 % confidence, drawn less than in the real images",
    "over": "with 95 % confidence, drawn more than in the real images",
    "undecided": "this sample shows neither a difference nor, of presence and area, a match",
    "matched": (
        "with 95 % confidence, drawn 0.8 to 1.25 times as often as in the real images, and 0.8 to "
        "1.25 times as large where it is drawn"
    ),
    "untested": "seen in fewer than 10 images of both sides together",
}

MEASURES_IN_WORDS = {
    "unlabelled": "share without a class",
    "confidence": "confidence of the segmenter",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "saturation",
    "sharpness": "sharpness",
}


_AREA_MEANINGS: dict[ClassVerdict, str] = {  # of a class that nearly every image holds
    "omitted": "with 95 % confidence, it covers less than a tenth of its area in the real images",
    "under": "with 95 % confidence, it covers less than in the real images",
    "over": "with 95 % confidence, it covers more than in the real images",
    "undecided": "this sample shows neither a difference of area nor a match",
    "matched": "with 95 % confidence, it covers 0.8 to 1.25 times its area in the real images",
}
DEPENDS = "depends on the threshold"

_CONDITIONS = {  # of a gate
    "omitted": "a class is omitted",
    "under": "a class is omitted or under",
    "regressed": "a class has regressed against the side before",
}


def meaning(row: ClassRow) -> str:
    """What the verdict of a class means: of its presence, or of its area, as the row says."""
    meanings = _AREA_MEANINGS if row.statistic == "area" else {}
    return meanings.get(row.verdict, VERDICT_MEANINGS[row.verdict])


def threshold_in_words(row: ClassRow) -> str:
    """What half and twice the presence threshold would say, where it is something else."""
    if not row.depends_on_threshold:
        return ""
    return (
        f"The verdict {DEPENDS} of presence, {percent(row.presence_threshold)}: half of it gives "
        f"{row.verdict_at_half}, twice of it {row.verdict_at_twice}."
    )


def size_in_words(row: ClassRow) -> str:
    """How much smaller or larger a class is where it is drawn, or nothing."""
    if row.size not in ("smaller", "larger"):
        return ""
    return f"{row.size} where drawn, {times(row.size_ratio)} [{ratio_interval(row.size_interval)}]"


def things_in_words(row: ClassRow) -> str:
    """How many fewer or more things of a class are drawn where any is drawn, or nothing."""
    counts = row.instances
    if counts is None or counts.verdict not in ("fewer", "more"):
        return ""
    return (
        f"{digits(counts.generated_mean)} where drawn, {digits(counts.real_mean)} where "
        f"photographed, {times(counts.ratio)} [{ratio_interval(counts.interval)}]"
    )


def never(presence: float, images: int, interval: Interval) -> str:
    """What no image at all says of the presence: "0 of 300: at most 1.2 % (95 %)"; or nothing."""
    if presence > 0.0 or interval[1] is None:
        return ""
    return f"0 of {images:,}: at most {percent(interval[1])} (95 %)"


def presences(row: ClassRow, real_images: int, generated_images: int) -> str:
    """Presence on both sides; of none, what it is at most."""
    real = never(row.real_presence, real_images, row.real_presence_interval)
    generated = never(row.generated_presence, generated_images, row.generated_presence_interval)
    return f"{real or percent(row.real_presence)} → {generated or percent(row.generated_presence)}"


def rate(side: Side, presence: float, interval: Interval, effective: float | None) -> str:
    """How many images of a side hold a class, and how often that is at least and at most.

    "0 of 300: at most 1.2 % (95 %)", "83 of 1,100: 7.55 % [6.05 – 9.27 %] (95 %)"; the share alone
    where images are grouped or weighted.
    """
    if said := never(presence, side.images, interval):
        return said
    low, high = (percent(end) for end in interval)
    held = f"{round(presence * side.images):,} of {side.images:,}: "
    return (
        f"{held if effective == side.images else ''}{percent(presence)} "
        f"[{low.removesuffix(' %')} – {high}] (95 %)"
    )


def rates(comparison: Comparison, column: str) -> list[tuple[Side, str]]:
    """Every side with how often it holds a class that was asked about."""
    told: list[tuple[Side, str]] = []
    for side in comparison.generated:
        row = next(row for row in side.classes if row.column == column)
        if not told:
            real = (row.real_presence, row.real_presence_interval, row.real_effective)
            told.append((comparison.real, rate(comparison.real, *real)))
        drawn = (row.generated_presence, row.generated_presence_interval, row.generated_effective)
        told.append((side, rate(side, *drawn)))
    return told


def how_often(row: ClassRow, images: int, *, generated: bool) -> str:
    """How much of a side holds a class; of a generated side, beside the real one."""
    if row.statistic == "area":
        said = f"Covers {percent(row.generated_area if generated else row.real_area)} of the images"
    else:
        presence = row.generated_presence if generated else row.real_presence
        interval = row.generated_presence_interval if generated else row.real_presence_interval
        said = f"In {percent(presence)} of {images:,} images"
        if never(presence, images, interval):
            said = f"In none of {images:,} images, so in at most {percent(interval[1])}"
    if not generated or row.ratio is None or not row.tested:
        return f"{said}."
    often = "as often" if row.statistic == "presence" else "as much"
    low, high = row.interval
    within = f"at least {digits(low or 0.0)}" if high is None else ratio_interval(row.interval)
    return f"{said}: {digits(row.ratio)} times {often} (95 %: {within})."


def collapse(classes: Sequence[ClassRow]) -> str:
    """That the areas of most classes vary less than half as much as in the real images; or nothing.

    Classes count by their real variance, and only where they are not simply drawn less or smaller.
    """
    rows = [
        row
        for row in classes
        if row.spread_interval[1] is not None
        and row.verdict not in ("omitted", "under")
        and row.size != "smaller"
    ]
    narrow = [row for row in rows if (row.spread_interval[1] or 0.0) < 0.5]
    total = sum(row.real_spread**2 for row in classes)
    if not narrow or sum(row.real_spread**2 for row in narrow) < 0.5 * total:
        return ""
    narrow.sort(key=lambda row: -row.real_spread)
    told = listed(
        (
            f"{row.name} {number(100 * row.generated_spread)} against "
            f"{number(100 * row.real_spread)}"
            for row in narrow
        ),
        most=4,
    )
    return (
        "The side is collapsed: its images vary less than half as much as the real ones (standard "
        f"deviation of the area in % of the image: {told})."
    )


def is_nothing(comparison: Comparison, row: ClassRow) -> bool:
    """Whether the row is the label set's word for "no class"."""
    return row.column == nothing(comparison.columns)


@dataclasses.dataclass(frozen=True)
class _LeftOut:
    """What a set of images says of the files that were not counted."""

    broken: tuple[str, ...] = ()
    left_out: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def left_out_of(provenance: Mapping[str, Any]) -> str:
    """Which files of a side were not counted, and why, or nothing."""
    said = []
    sources = provenance.get("images")
    for source in sources if isinstance(sources, list | tuple) else ():
        try:
            files = build(_LeftOut, source, "no set of images")
            reasons = left_out_in_words(
                {reason: group for reason, group in files.left_out.items() if reason not in QUIET}
            )
        except (RecordError, TypeError, KeyError, ValueError):
            continue  # a tally, or what another program wrote
        if reasons:
            said.append(f"left out: {reasons}")
        if files.broken:
            said.append(f"broken: {listed(files.broken, most=3)}")
    return "; ".join(said)


def sampling_in_words(side: Side) -> str:
    """How the images of a side belong together and count, or nothing where they are independent."""
    sampling = side.sampling
    if sampling is None:
        return ""
    said = f"{side.images:,} images"
    if sampling.groups is not None:
        said += f" in {count(sampling.groups, 'group')} by {sampling.grouped_by}"
    if sampling.weighted_by is not None:
        said += f", weighted by {sampling.weighted_by}"
    return (
        f"{said}: they tell mean areas as well as {sampling.effective_images:,.0f} independent "
        "images that count alike"
    )


def delta(row: ClassRow) -> str:
    """The relative change of mean area, as a signed percentage."""
    change = row.relative_delta
    if change is None:
        return "new" if row.generated_area > 0 else "–"
    if change > 9.995:
        return f"×{digits(change + 1)}"
    rounded = f"{abs(100 * change):.0f}"
    sign = "" if rounded == "0" else "−" if change < 0 else "+"
    return f"{sign}{rounded} %"


def corrected(fsd: Fsd) -> str:
    """The corrected FSD; an estimate below zero, which chance gives, is shown as zero.

    "–" where too few images leave it unknown.
    """
    return number(None if fsd.corrected is None else max(0.0, fsd.corrected))


def corrected_with_interval(fsd: Fsd) -> str:
    """The corrected FSD and its interval, or that it is unknown."""
    if fsd.corrected is None:
        return "unknown"
    return f"{corrected(fsd)} [{value_interval(fsd.interval)}]"


def below_zero(fsd: Fsd) -> str:
    """What `corrected` hides, or nothing."""
    below = fsd.corrected is not None and fsd.corrected < 0
    return f"unbiased estimate {number(fsd.corrected)}" if below else ""


def fsd_sentence(fsd: Fsd) -> str:
    """The headline in words, no stronger than the interval allows."""
    low = fsd.interval[0]
    unknown = "" if fsd.reason is None else f" How large the FSD is, is unknown: {fsd.reason}."
    if fsd.p_value > 0.05:
        return (
            "This sample shows no difference between the sides: two samples of this size from one "
            f"distribution would give such an FSD, too.{unknown}"
        )
    if unknown:
        return f"The sides differ (p {p_equals(fsd)}).{unknown}"
    if low is not None and low <= 0:
        return (
            f"The sides differ (p {p_equals(fsd)}), but the sample is too small to say by how "
            "much: the interval reaches zero."
        )
    return f"The sides differ (p {p_equals(fsd)})."


def fsd_p_value(fsd: Fsd) -> str:
    """The p-value of the distance; the smallest that so many permutations can give is a bound."""
    least = fsd.p_value <= 1.001 / (1 + fsd.permutations)
    return f"≤ {p_value(fsd.p_value)}" if least else p_value(fsd.p_value)


def p_equals(fsd: Fsd) -> str:
    """The p-value with its relation: "= 0.01", "≤ 0.005"."""
    text = fsd_p_value(fsd)
    return f"= {text}" if text[0].isdigit() else text


def verdict_in_words(row: ClassRow) -> str:
    """The verdict; of an undecided one that the sample could tell, with who cannot."""
    by_sample = row.undecided_by in (None, "sample")
    return row.verdict if by_sample else f"{row.verdict}: {row.undecided_by}"


def gate_in_words(gate: GateResult) -> str:
    """What the gate says, in a word or two."""
    return {0: "passed", 3: "failed", 4: "not shown: the sample was too small"}[gate.status]


def gate_question(gate: GateResult) -> str:
    """What the gate was asked, as a sentence."""
    asked = listed((_CONDITIONS.get(text, text.upper()) for text in gate.fail_on), last="or")
    parts = [f"it fails where {asked}"] if asked else []
    if gate.presence is not None:
        parts.append(
            "it passes only if four of five such samples would have found a loss of "
            f"{percent(gate.drop)} of any class in at least {percent(gate.presence)} of the real "
            "images"
        )
    said = f"{'; '.join(parts)}. Judged: {listed(gate.sides)}"
    if gate.run is not None:
        said += f", in run {gate.run:,} of the history"
    return f"{said}, with {percent(gate.level)} of false alarms at most."


def ordering_sentence(comparison: Comparison, ordering: Ordering) -> str:
    """Which of two generated sides is nearer to the real one, and by how much."""
    labels = {
        "previous": comparison.generated[ordering.previous].label,
        "new": comparison.generated[ordering.new].label,
    }
    if ordering.fsd_difference is None:
        return "Too few images: which side is nearer to the real one by FSD is unknown."
    low, high = ordering.fsd_difference_interval
    known = (
        f"{labels['new']} minus {labels['previous']} is {number(ordering.fsd_difference)} "
        f"({number(low)} to {number(high)} with 95 % confidence)."
    )
    if ordering.nearer == "undecided":
        return f"This sample cannot say which side is nearer to the real one by FSD: {known}"
    return f"{labels[ordering.nearer]} is nearer to the real side by FSD: {known}"


def changes_in_words(ordering: Ordering) -> str:
    """What this sample says of the classes that are not called regressed or improved."""
    undecided, untested = (len(ordering.named(verdict)) for verdict in ("undecided", "untested"))
    said = f"{count(undecided, 'class')} undecided"
    said += f", {untested} in too few images to test" if untested else ""
    falls = [
        row.smallest_detectable_regression
        for row in ordering.named("undecided")
        if row.smallest_detectable_regression is not None
    ]
    if falls:
        said += (
            f". The smallest fall that 80 of 100 such samples would have called regressed is "
            f"{percent(min(falls))} of a class's presence"
        )
    pairs = "Image k of both sides was drawn from the same latents or prompt and compared as a pair"
    return f"{said}. {pairs}." if ordering.paired else f"{said}."


def counts_in_words(rows: Sequence[ClassRow]) -> str:
    """How many classes got each verdict, in the order of the rows."""
    said = []
    for verdict in dict.fromkeys(row.verdict for row in rows):
        of_verdict = [row for row in rows if row.verdict == verdict]
        missed = sum(row.undecided_by == "segmenter" for row in of_verdict)
        said.append(f"{len(of_verdict)} {verdict}{f' ({missed}: segmenter)' if missed else ''}")
    return ", ".join(said)


def taken_back(row: ClassRow) -> str:
    """Why a check of the segmenter leaves no verdict of this class, or nothing."""
    if row.undecided_by != "segmenter":
        return ""
    was = f"It would be {row.own_verdict}, but the segmenter may explain that"
    if row.worn_verdict in (None, row.own_verdict):
        return f"{was}: the same images, mirrored or moved by a few pixels, say something else."
    return f"{was}: between images made equally blurred and pale it is {row.worn_verdict}."


def significant_but_undecided(row: ClassRow) -> str:
    """Why a class with a small p-value after Holm is undecided all the same, or nothing."""
    if row.undecided_by == "segmenter":
        return taken_back(row)
    if row.verdict != "undecided" or row.p_holm is None or row.p_holm >= 0.05:
        return ""
    if row.own_verdict != "undecided":
        return (
            f"Its p-value after Holm's correction, {p_value(row.p_holm)}, comes from the first "
            "segmenter. A verdict needs both segmenters."
        )
    return (
        f"Its p-value after Holm's correction is {p_value(row.p_holm)}. The verdict rests on the "
        "interval, which is stricter, because it holds for all classes at once, and reaches 1."
    )


def largest_falls(comparison: Comparison, side: GeneratedSide, count: int = 5) -> list[ClassRow]:
    """Classes of at least 0.5 % mean area that lost most of it and are not called under for it."""
    fell = [
        row
        for row in side.classes
        if row.real_area >= 0.005
        and (row.relative_delta or 0.0) <= -0.25
        and row.verdict not in ("omitted", "under")
        and row.undecided_by != "segmenter"
        and row.size != "smaller"  # which is shown to be more than chance
        and not is_nothing(comparison, row)
    ]
    return sorted(fell, key=lambda row: row.relative_delta or 0.0)[:count]


def pair_name(pair: RarePair) -> str:
    """Both classes: "car and fence"."""
    return " and ".join(class_name(column) for column in pair.columns)


def rarely_in_words(pair: RarePair) -> str:
    """How rarely: "in 0.1 % of the generated images, where … explain 9.8 %: 0.01× [0 – 0.1]"."""
    return (
        f"in {percent(pair.generated)} of the generated images, where the presences of the two "
        f"explain {percent(pair.expected)} (real {percent(pair.real)}): {times(pair.ratio)} "
        f"[{ratio_interval(pair.interval)}]"
    )
