"""An audit in words: what people saw, how well the segmenter sees, what would decide a class."""

from collections.abc import Iterator

from unseen.core.wording import Interval, count, digits, percent, ratio_interval, times
from unseen.distribution.comparison import AuditedSide, ClassAudit, ClassRow, GeneratedSide


def audited_rows(side: GeneratedSide) -> list[tuple[ClassRow, ClassAudit]]:
    """The rows of a side that people corrected, with what they said."""
    return [(row, row.audit) for row in side.classes if row.audit is not None]


def rate_in_words(rate: float | None, interval: Interval) -> str:
    """A share with its interval; that there is none."""
    if rate is None:
        return "no image to tell"
    low, high = (percent(end) for end in interval)
    return f"{percent(rate)} [{low.removesuffix(' %')} – {high}]"


def sensitivity_in_words(side: AuditedSide) -> str:
    """Of the images that hold the class, how many the segmenter sees it in."""
    return rate_in_words(side.sensitivity, side.sensitivity_interval)


def false_alarms_in_words(side: AuditedSide) -> str:
    """Of the images that lack the class, how many the segmenter sees it in."""
    return rate_in_words(side.false_alarms, side.false_alarms_interval)


def labels_in_words(side: AuditedSide) -> str:
    """How many images of a side were labelled, and how many hold the class."""
    labelled = sum(stratum.labelled for stratum in side.strata)
    present = sum(stratum.present for stratum in side.strata)
    unsure = f", {side.unsure:,} without a majority" if side.unsure else ""
    return f"{present:,} of {count(labelled, 'labelled image')} hold it{unsure}"


def corrected_in_words(row: ClassRow, audit: ClassAudit) -> str:
    """The ratio by the labels beside that of the segmenter."""
    said = audit.segmenter
    return (
        f"{times(row.ratio)} [{ratio_interval(row.interval)}]; the segmenter alone says "
        f"{times(said.ratio)} [{ratio_interval(said.interval)}], {said.verdict}"
    )


def needed_in_words(row: ClassRow, audit: ClassAudit) -> str:
    """What would decide an undecided class; nothing of a decided one."""
    if row.verdict != "undecided":
        return ""
    if audit.labels_needed is None:
        return "Labels of all images would not decide it; compare more images."
    return f"About {audit.labels_needed:,} labels a side in all would decide it."


def agreement_in_words(audit: ClassAudit) -> str:
    """How much several people agree; nothing of one person."""
    if len(audit.labellers) < 2:
        return ""
    said = f"{len(audit.labellers)} people; {count(audit.compared, 'image')} labelled by several"
    if audit.agreement is None:
        return f"{said}."
    return f"{said}, agreement {digits(audit.agreement)} (Krippendorff's alpha; 1 is always)."


def audit_lines(side: GeneratedSide) -> Iterator[str]:
    """A line a fact, for a terminal."""
    for row, audit in audited_rows(side):
        yield f"{row.name}: {row.verdict}, {corrected_in_words(row, audit)}"
        for what, of in (("real", audit.real), ("generated", audit.generated)):
            yield (
                f"  {what:<9} {labels_in_words(of)}; the segmenter sees "
                f"{sensitivity_in_words(of)} of those, and {false_alarms_in_words(of)} of the rest"
            )
        yield from (
            f"  {text}" for text in (needed_in_words(row, audit), agreement_in_words(audit)) if text
        )
