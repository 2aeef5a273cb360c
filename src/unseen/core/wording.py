"""Lists, plurals and numbers in words: the same on a page, in figures, messages and a terminal.

Plain text; whoever writes HTML escapes it.
"""

from collections.abc import Iterable

Interval = tuple[float | None, float | None]  # 95 %; None: not bounded, or not defined
_MARKS = (0.1, 0.8, 1.0, 1.25)  # of ratios: by which side of these an end lies a class is judged


def cut(text: str, most: int) -> str:
    """The beginning of a long text, with "…" where it was cut; at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def percent(fraction: float | None) -> str:
    """A fraction as percent, two or three digits, "–" where it is not defined."""
    if fraction is None:
        return "–"
    value = 100 * fraction
    if value == 0:
        return "0 %"
    if value < 0.01:
        return "< 0.01 %"
    return f"{value:.0f} %" if value >= 99.95 else f"{digits(value)} %"


def share(fraction: float | None) -> str:
    """A share in whole percent, as fine as the share of an instance's pixels deserves."""
    if fraction is None:
        return "–"
    return "< 1 %" if 0 < fraction < 0.005 else f"{100 * fraction:.0f} %"


def share_interval(interval: Interval) -> str:
    """An interval of a share; "–" where there is none, and ∞ where nothing bounds it above."""
    low, high = interval
    if low is None:
        return "–"
    return f"{100 * low:.0f} – {'∞' if high is None else f'{100 * high:.0f} %'}"


def times(ratio: float | None) -> str:
    """A ratio, "–" where it is not defined (nothing on the real side)."""
    return "–" if ratio is None else f"{digits(ratio)}×"


def ratio_interval(interval: Interval) -> str:
    """An interval of a ratio; a side that is not bounded is ∞."""
    low, high = interval
    if low is None and high is None:
        return "–"
    return f"{_beside_marks(low or 0.0)} – {'∞' if high is None else _beside_marks(high)}"


def _beside_marks(ratio: float) -> str:
    """A ratio with as many digits as show on which side of a mark it lies: 0.998, not 1.00."""
    said = digits(ratio)
    if not 0.05 < ratio < 2:
        return said
    for decimals in range(3, 7):
        if float(said) not in _MARKS or float(said) == ratio:
            break
        said = f"{ratio:.{decimals}f}"
    return said


def number(value: float | None) -> str:
    """An FSD or a part of one, three digits."""
    return "–" if value is None else digits(value)


def value_interval(interval: Interval) -> str:
    """An interval of an FSD; "–" where there is none."""
    if interval == (None, None):
        return "–"
    return f"{number(interval[0])} – {'∞' if interval[1] is None else number(interval[1])}"


def p_value(p: float | None) -> str:
    """A p-value; very small ones as a bound."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_values(raw: float | None, holm: float | None, bh: float | None) -> str:
    """A p-value and what corrections for many tests leave of it, in a sentence's part."""
    if raw is None or holm is None or bh is None:
        return p_value(raw)
    if holm < 0.001:
        return "< 0.001, also after correction for all classes"
    return (
        f"{p_value(raw)}; corrected for all classes {p_value(holm)} (Holm: no false alarm at all) "
        f"or {p_value(bh)} (Benjamini and Hochberg: few false alarms among those found)"
    )


def points(fraction: float | None) -> str:
    """A difference of two shares, in signed percentage points."""
    if fraction is None:
        return "–"
    return f"{100 * fraction:+.1f}".replace("-", "−")


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 class", "2 classes", "1,234 instances"."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """More than one of it: "classes", "copies", "photographs"."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def listed(parts: Iterable[str], most: int | None = None, *, last: str = "and") -> str:
    """A list in a sentence: "a", "a and b", "a, b and c"; "a, b and 4 more"."""
    parts = list(parts)
    if most is not None and len(parts) > most:
        parts = [*parts[:most], f"{len(parts) - most:,} more"]
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def printable(text: str) -> str:
    """The text with "?" for what steers a terminal: names of classes and files are anyone's."""
    return "".join(character if character.isprintable() else "?" for character in text)


def sentence(text: str) -> str:
    """With a full stop, and no second one."""
    return f"{text.rstrip('. ')}."


def capitalised(text: str) -> str:
    """With its first letter, and no other, made a capital."""
    return text[:1].upper() + text[1:]


def digits(value: float) -> str:
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
    if value >= 0.0995:
        return f"{sign}{value:.2f}"
    return f"{sign}{value:.2g}" if value >= 1e-3 else f"{sign}<0.001" if not sign else "0"


def duration(seconds: float) -> str:
    """A time in its two largest units.

    >>> [duration(seconds) for seconds in (0.4, 59.0, 90.0, 7_500.0, 100_000.0)]
    ['1 s', '59 s', '1 min 30 s', '2 h 5 min', '1 d 3 h']
    """
    left = max(1, round(seconds))
    said: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or said:
            said.append(f"{number} {unit}" if number else "")
    return " ".join(part for part in said[:2] if part)
