"""Pairs of photographs and drawn images in words, the same wherever they are shown."""

from unseen.core.wording import count, points, share, share_interval
from unseen.distribution.comparison import PairClass, Pairs


def pairs_in_words(pairs: Pairs) -> str:
    """How many pairs there are, and by what they were made."""
    by = "its caption" if pairs.paired_by == "condition" else "its name"
    groups = "" if pairs.groups is None else f", in {count(pairs.groups, 'group')}"
    if pairs.groups is not None and pairs.grouped_by is not None:
        groups += f" by {pairs.grouped_by}"
    return f"{count(pairs.pairs, 'photograph')}, each beside the image drawn for {by}{groups}"


def kept_in_words(row: PairClass) -> str:
    """Of the photographs that hold the class, how many drawn images do: "12 of 40 (30 % […])"."""
    return _of(row.kept, row.held, row.kept_interval)


def added_in_words(row: PairClass) -> str:
    """Of the photographs that lack the class, how many drawn images hold it."""
    return _of(row.added, row.lacking, row.added_interval)


def _of(part: int, whole: int, interval: tuple[float | None, float | None]) -> str:
    if not whole:
        return "no photograph"
    return f"{part:,} of {whole:,} ({share(part / whole)} [{share_interval(interval)}])"


def is_drawn_less(row: PairClass) -> bool:
    """Whether the simultaneous interval of the difference lies below zero."""
    high = row.difference_interval[1]
    return high is not None and high < 0.0


def difference_in_words(row: PairClass) -> str:
    """Generated minus real presence in the pairs, in points, with its interval."""
    low, high = row.difference_interval
    if low is None or high is None:
        return f"{points(row.difference)}, untested"
    return f"{points(row.difference)} [{points(low)} – {points(high)}]"
