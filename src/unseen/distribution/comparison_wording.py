"""A comparison in words: what verdicts mean, changes, distances; the same wherever it is shown."""

from unseen.core.verdicts import ClassVerdict
from unseen.core.wording import digits, number, p_value
from unseen.distribution.areas import nothing
from unseen.distribution.comparison import ClassRow, Comparison, Fsd, GeneratedSide

VERDICT_MEANINGS: dict[ClassVerdict, str] = {
    "omitted": "with 95 % confidence, drawn less than a tenth as often as in the real images",
    "under": "with 95 % confidence, drawn less than in the real images",
    "over": "with 95 % confidence, drawn more than in the real images",
    "undecided": "this sample cannot tell",
    "matched": "with 95 % confidence, drawn 0.8 to 1.25 times as often as in the real images",
    "untested": "seen in fewer than 10 images of both sides together",
}


def is_nothing(comparison: Comparison, row: ClassRow) -> bool:
    """Whether the row is the label set's word for "no class"."""
    return row.column == nothing(comparison.columns)


def occurs(row: ClassRow) -> bool:
    """Whether the class was seen at all, on either side."""
    return row.real_area > 0 or row.generated_area > 0


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
    """The corrected FSD; an estimate below zero, which chance gives, is shown as zero."""
    return number(max(0.0, fsd.corrected))


def below_zero(fsd: Fsd) -> str:
    """What `corrected` hides, or nothing."""
    return f"unbiased estimate {number(fsd.corrected)}" if fsd.corrected < 0 else ""


def fsd_sentence(fsd: Fsd) -> str:
    """The headline in words, no stronger than the interval allows."""
    low = fsd.interval[0]
    if fsd.p_value > 0.05:
        return (
            "No difference between the sides is shown: the plug-in FSD is what two samples of one "
            "distribution of this size would give."
        )
    if low is not None and low <= 0:
        return (
            f"The sides differ (p {p_equals(fsd)}), but this sample cannot say by how "
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


def significant_but_undecided(row: ClassRow) -> str:
    """Why a class with a small p-value after Holm is undecided all the same, or nothing."""
    if row.verdict != "undecided" or row.p_holm is None or row.p_holm >= 0.05:
        return ""
    if row.own_verdict != "undecided":
        return (
            f"Its p-value after Holm, {p_value(row.p_holm)}, is the first segmenter's: a verdict "
            "needs both."
        )
    return (
        f"Its p-value after Holm is {p_value(row.p_holm)}, but a verdict rests on the interval, "
        "which holds for all classes at once, is stricter, and still reaches 1."
    )


def largest_falls(comparison: Comparison, side: GeneratedSide, count: int = 5) -> list[ClassRow]:
    """Classes of at least 0.5 % mean area that lost most of it and are not called under for it."""
    fell = [
        row
        for row in side.classes
        if row.real_area >= 0.005
        and (row.relative_delta or 0.0) <= -0.25
        and row.verdict not in ("omitted", "under")
        and not is_nothing(comparison, row)
    ]
    return sorted(fell, key=lambda row: row.relative_delta or 0.0)[:count]
