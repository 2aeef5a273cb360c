"""Names of classes that other people chose, made fit to name columns."""

from collections.abc import Iterable


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """The same names; " (2)", " (3)", … follow a repeated one, and "unnamed" stands for none."""
    answer: list[str] = []
    for name in names:
        wanted = name.strip() or "unnamed"
        candidate, count = wanted, 1
        while candidate in answer:
            count += 1
            candidate = f"{wanted} ({count})"
        answer.append(candidate)
    return tuple(answer)
