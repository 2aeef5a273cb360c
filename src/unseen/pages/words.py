"""How numbers, verdicts and names are written: the same on the page, in figures and on a terminal.

Plain text; the template escapes it.
"""

from unseen.records.areas import nothing
from unseen.records.comparison import ClassRow, Comparison, Fsd, GeneratedSide, Interval, Verdict

# Okabe and Ito's palette, darkened for text on white where needed: told apart by colour-blind
# readers, and never the only sign, since the word stands beside it.
VERDICT_COLOURS: dict[Verdict, str] = {
    "omitted": "#a3123a",
    "under": "#d55e00",
    "over": "#0072b2",
    "undecided": "#8a8f98",
    "matched": "#00825f",
    "untested": "#c3c7cd",
}

# The same, light enough for a dark page.
DARK_VERDICT_COLOURS: dict[Verdict, str] = {
    "omitted": "#ff6f91",
    "under": "#ff9a4d",
    "over": "#56b4e9",
    "undecided": "#9aa3ae",
    "matched": "#4fc79a",
    "untested": "#565e69",
}

VERDICT_MEANINGS: dict[Verdict, str] = {
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


def percent(fraction: float | None) -> str:
    """A fraction as percent, two or three digits, "–" where it is not defined."""
    if fraction is None:
        return "–"
    value = 100 * fraction
    if value == 0:
        return "0 %"
    if value < 0.01:
        return "< 0.01 %"
    return f"{value:.0f} %" if value >= 99.95 else f"{_digits(value)} %"


def times(ratio: float | None) -> str:
    """A ratio, "–" where it is not defined (nothing on the real side)."""
    return "–" if ratio is None else f"{_digits(ratio)}×"


def ratio_interval(interval: Interval) -> str:
    """An interval of a ratio; a side that is not bounded is ∞."""
    low, high = interval
    if low is None and high is None:
        return "–"
    return f"{_digits(low or 0.0)} – {'∞' if high is None else _digits(high)}"


def number(value: float | None) -> str:
    """An FSD or a part of one, three digits."""
    return "–" if value is None else _digits(value)


def value_interval(interval: Interval) -> str:
    """An interval of an FSD."""
    return f"{number(interval[0])} – {'∞' if interval[1] is None else number(interval[1])}"


def p_value(p: float | None) -> str:
    """A p-value; very small ones as a bound."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def delta(row: ClassRow) -> str:
    """The relative change of mean area, as a signed percentage."""
    change = row.relative_delta
    if change is None:
        return "new" if row.generated_area > 0 else "–"
    if change > 9.995:
        return f"×{_digits(change + 1)}"
    rounded = f"{abs(100 * change):.0f}"
    sign = "" if rounded == "0" else "−" if change < 0 else "+"
    return f"{sign}{rounded} %"


def points(fraction: float | None) -> str:
    """A difference of two shares, in signed percentage points."""
    if fraction is None:
        return "–"
    return f"{100 * fraction:+.1f}".replace("-", "−")


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


def _digits(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0:
        return "0"
    sign, value = ("−" if value < 0 else ""), abs(value)
    if value >= 9999.5:
        return f"{sign}{value:,.0f}".replace(",", "\u202f")
    if value >= 99.95:
        return f"{sign}{value:.0f}"
    if value >= 9.995:
        return f"{sign}{value:.1f}"
    if value >= 0.1:
        return f"{sign}{value:.2f}"
    return f"{sign}{value:.2g}" if value >= 1e-3 else f"{sign}<0.001" if not sign else "0"
