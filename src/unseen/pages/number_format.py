"""How numbers, verdicts and names are written: the same on the page, in figures and on a terminal.

Plain text; the template escapes it.
"""

from collections.abc import Mapping, Sequence

from unseen.distribution.areas import class_name, nothing
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    Fsd,
    GeneratedSide,
    Interval,
    Verdict,
)
from unseen.evidence.record import ClassEvidence, Mean, Method, Rules, Typicality
from unseen.evidence.record import Verdict as EvidenceVerdict

# Okabe and Ito's palette, darkened for text on white where needed: told apart by colour-blind
# readers, and never the only sign, since the word stands beside it.
VERDICT_COLOURS: dict[str, str] = {
    "omitted": "#a3123a",
    "cannot draw": "#a3123a",
    "under": "#d55e00",
    "over": "#0072b2",
    "undecided": "#8a8f98",
    "matched": "#00825f",
    "can draw": "#00825f",
    "untested": "#c3c7cd",
}

# The same, light enough for a dark page.
DARK_VERDICT_COLOURS: dict[str, str] = {
    "omitted": "#ff6f91",
    "cannot draw": "#ff6f91",
    "under": "#ff9a4d",
    "over": "#56b4e9",
    "undecided": "#9aa3ae",
    "matched": "#4fc79a",
    "can draw": "#4fc79a",
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


def evidence_meanings(rules: Rules, *, mosaic: bool = False) -> dict[EvidenceVerdict, str]:
    """What the verdicts of instance evidence mean under these rules, the gravest first.

    Args:
        rules: the record's.
        mosaic: verdicts are about a mosaic of samples.
    """
    beside = "of things of other classes like it in the photographs"
    if mosaic:
        beside = f"less than {share(rules.fifth)} of what as many other photographs retain of it"
    return {
        "cannot draw": "the reconstructions retain significantly less of it than of matched "
        "regions of the generator's own images, and on average less than "
        f"{share(rules.half)} of what they retain of these, and {beside}",
        "undecided": "these photographs and controls cannot tell",
        "can draw": "a reconstruction that is an image of the generator retains it",
        "untested": f"in fewer than {rules.least_images} photographs",
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


def share(fraction: float | None) -> str:
    """A share in whole percent, as fine as the share of an instance's pixels deserves."""
    if fraction is None:
        return "–"
    return "< 1 %" if 0 < fraction < 0.005 else f"{100 * fraction:.0f} %"


def share_interval(interval: Interval) -> str:
    """An interval of a share; "–" where there is none."""
    low, high = interval
    if low is None or high is None:
        return "–"
    return f"{100 * low:.0f} – {100 * high:.0f} %"


def mean_share(mean: Mean) -> str:
    """A mean retention with its interval."""
    if mean.mean is None:
        return "–"
    if mean.interval[0] is None:
        return share(mean.mean)
    return f"{share(mean.mean)} [{share_interval(mean.interval)}]"


def shares(parts: Mapping[str, float], most: int = 3) -> str:
    """The largest parts of a whole: "sky 75 %, tree 20 %"."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:most]
    return ", ".join(f"{class_name(name)} {share(part)}" for name, part in largest if part > 0)


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 photograph", "1,234 instances"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """With commas and an "and": "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def bound(method: Method) -> str:
    """Which way a method errs about what the generator can draw, or nothing."""
    if method.in_range:
        return "lower bound"
    return {"f": "upper bound", "nearest": "what it draws"}.get(method.method, "")


def sentence(text: str) -> str:
    """With a full stop, and no second one."""
    return f"{text.rstrip('. ')}."


def slug(verdict: str | None) -> str:
    """The verdict as a class of the style sheet."""
    return "unjudged" if verdict is None else verdict.replace(" ", "-")


def capitalised(text: str) -> str:
    """With its first letter, and no other, made a capital."""
    return text[:1].upper() + text[1:]


def class_in_photographs(row: ClassEvidence) -> str:
    """What instance evidence says of a class, in one or two sentences."""
    held = f"{count(row.instances, 'instance')} in {count(row.images, 'photograph')}"
    said = f"{held}, of which {row.vanished:,} vanished."
    return f"{said} {capitalised(row.verdict or 'no verdict')}: {sentence(row.reason)}"


def atypical(found: Typicality) -> str:
    """A photograph's place among the generator's own images; never that a class cannot be drawn."""
    what = "loss" if found.statistic == "loss" else "error"
    said = f"{what} of rank {found.rank} of {found.of}, counted with the controls"
    return f"{said}: atypical (p {p_value(found.p_value)})" if found.atypical else said


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
