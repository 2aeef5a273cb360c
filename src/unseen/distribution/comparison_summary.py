"""A comparison in a few lines of text, for the terminal."""

import textwrap
from collections.abc import Iterator

from unseen.core.wording import (
    count,
    listed,
    number,
    percent,
    printable,
    ratio_interval,
    times,
    value_interval,
)
from unseen.distribution.areas import class_name
from unseen.distribution.audit_wording import audit_lines
from unseen.distribution.comparison import ClassRow, Comparison, GeneratedSide, Side
from unseen.distribution.comparison_wording import (
    DEPENDS,
    collapse,
    corrected,
    counts_in_words,
    delta,
    largest_falls,
    p_equals,
    pair_name,
    presences,
    rarely_in_words,
    rates,
    sampling_in_words,
    size_in_words,
    taken_back,
    things_in_words,
)
from unseen.distribution.pairs_wording import is_drawn_less, kept_in_words, pairs_in_words

_MOST_ROWS = 12  # classes listed a side; the rest is on the page
_WIDTH = 100


def summary(comparison: Comparison) -> str:
    """Warnings, FSD with interval and floor, verdict counts, classes that are wrong, caveats."""
    return "\n".join(printable(line) for text in _lines(comparison) for line in text.split("\n"))


def _lines(comparison: Comparison) -> Iterator[str]:
    for text in comparison.warnings:
        yield textwrap.fill(text, _WIDTH, initial_indent="Warning: ", subsequent_indent=" " * 9)
        yield ""
    for column in comparison.asked:
        yield f"{class_name(column)} is in"
        told = rates(comparison, column)
        width = max(len(side.label) for side, _ in told)
        yield from (f"  {side.label:<{width}}  {said}" for side, said in told)
        yield ""
    for side in comparison.generated:
        yield (
            f"{side.label} ({side.images:,} images) against {comparison.real.label} "
            f"({comparison.real.images:,} images)"
        )
        yield ""
        yield from _sampled(comparison.real, side)
        yield from _side(comparison, side)
        yield from _pairs(side)
        yield ""
    for ordering in comparison.orderings:
        previous = comparison.generated[ordering.previous].label
        new = comparison.generated[ordering.new].label
        nearer = {"previous": previous, "new": new}.get(ordering.nearer)
        said = f"{nearer} is nearer by FSD" if nearer else "no order by FSD"
        if ordering.fsd_difference is not None:
            said += f" (difference {value_interval(ordering.fsd_difference_interval)})"
        worse, better = ordering.named("regressed"), ordering.named("improved")
        yield f"{new} minus {previous}: {said}; {len(worse)} regressed, {len(better)} improved"
        for row in [*worse, *better][:_MOST_ROWS]:
            name = class_name(row.column)
            yield (
                f"  {row.verdict:<10} {name:<16} {row.statistic} {percent(row.previous)} → "
                f"{percent(row.new)} (real {percent(row.real)})"
            )
        yield ""
    for text in comparison.caveats:
        yield textwrap.fill(text, _WIDTH, initial_indent="Note: ", subsequent_indent="      ")


def _sampled(*sides: Side) -> Iterator[str]:
    """How the images of the sides belong together."""
    for side in sides:
        said = sampling_in_words(side)
        if said:
            yield _wrapped("Groups", f"{side.label}: {said}")


def _pairs(side: GeneratedSide) -> Iterator[str]:
    """Of the photographs that hold a class, how many drawn images do; the most often lost first."""
    if side.pairs is None:
        return
    yield _wrapped("Pairs", pairs_in_words(side.pairs))
    rows = [row for row in side.pairs.classes if row.tested and row.held]
    width = max((len(class_name(row.column)) for row in rows[:_MOST_ROWS]), default=0)
    for row in rows[:_MOST_ROWS]:
        less = "; drawn less than photographed" if is_drawn_less(row) else ""
        yield (
            f"            {class_name(row.column):<{width}}  drawn for {kept_in_words(row)} that "
            f"hold it{less}"
        )
    if len(rows) > _MOST_ROWS:
        yield f"            … and {len(rows) - _MOST_ROWS} more on the page"


def _wrapped(name: str, text: str) -> str:
    """Text beside the name of what it is about."""
    return textwrap.fill(text, _WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)


def _side(comparison: Comparison, side: GeneratedSide) -> Iterator[str]:
    fsd = side.fsd
    known = f"{corrected(fsd)} corrected, 95 % interval {value_interval(fsd.interval)}"
    yield (
        f"  FSD       {known if fsd.reason is None else 'unknown'}; p {p_equals(fsd)} of equal "
        "distributions"
    )
    if fsd.reason is not None:
        yield textwrap.fill(fsd.reason, _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 12)
    yield (
        f"            {number(fsd.value)} plug-in as published: means {number(fsd.mean_term)} + "
        f"covariances {number(fsd.covariance_term)}"
    )
    yield f"            {number(fsd.floor)} plug-in of samples of this size though nothing differs"
    rows = comparison.told(side)
    yield f"  Classes   {counts_in_words(rows)}"
    wrong = [row for row in rows if row.verdict in ("omitted", "under", "over")]
    yield from _table(comparison, side, wrong[:_MOST_ROWS])
    if len(wrong) > _MOST_ROWS:
        yield f"            … and {len(wrong) - _MOST_ROWS} more on the page"
    audit = list(audit_lines(side))
    yield from (f"  {'' if k else 'Audit':<10}{line}" for k, line in enumerate(audit))
    missed = listed(f"{row.name} (else {row.own_verdict})" for row in rows if taken_back(row))
    if missed:
        text = f"undecided, since the segmenter may explain the difference: {missed}"
        yield _wrapped("Check", text)
    sizes = [row for row in rows if row not in wrong and size_in_words(row)]
    if sizes:
        text = "; ".join(f"{row.name} {size_in_words(row)}" for row in sizes[:_MOST_ROWS])
        yield _wrapped("Sizes", text)
    yield from _rarely_together(side)
    things = [f"{row.name} {things_in_words(row)}" for row in rows if things_in_words(row)]
    if things:
        yield _wrapped("Things", "in an image that holds any: " + "; ".join(things[:_MOST_ROWS]))
    if collapse(side.classes) and not comparison.asked:
        yield _wrapped("Spread", collapse(side.classes))
    falls = largest_falls(comparison, side)
    if falls:
        fell = ", ".join(f"{row.name} {delta(row)}" for row in falls)
        text = f"{fell} in mean area; not shown to be more than chance"
        yield _wrapped("Falls", text)
    half = next((power for power in side.power if power.drop == 0.5), None)
    if half is not None:
        seen = (
            "no class, however common"
            if half.presence is None
            else f"classes in at least {percent(half.presence)} of the real images"
        )
        yield f"  Power     half of a class gone would show (80 % power) for {seen}"


def _rarely_together(side: GeneratedSide) -> Iterator[str]:
    """Classes that photographs hold together and the side does not, a line a pair."""
    pairs = side.together.pairs
    if not pairs:
        return
    yield f"  Together  {count(len(pairs), 'pair')} of classes rarely together"
    for pair in pairs[:_MOST_ROWS]:
        yield _wrapped("", f"{pair_name(pair)}: {rarely_in_words(pair)}")
    if len(pairs) > _MOST_ROWS:
        yield f"            … and {len(pairs) - _MOST_ROWS} more on the page"


def _table(comparison: Comparison, side: GeneratedSide, rows: list[ClassRow]) -> Iterator[str]:
    """Verdict, name, ratio with interval, what the verdict is about; aligned."""
    if not rows:
        return
    cells = [
        (
            row.verdict,
            row.name,
            f"{times(row.ratio)} [{ratio_interval(row.interval)}]",
            (
                f"presence {presences(row, comparison.real.images, side.images)}"
                if row.statistic == "presence"
                else f"area {percent(row.real_area)} → {percent(row.generated_area)}"
            )
            + (f" ({DEPENDS})" if row.depends_on_threshold else ""),
        )
        for row in rows
    ]
    widths = [max(len(cell[i]) for cell in cells) for i in range(3)]
    for a, b, c, d in cells:
        yield f"            {a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d}"
