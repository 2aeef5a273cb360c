"""Prompts that name a class: how often it is drawn, and how often it appears unasked.

Prompts are searched for the words of every class. A word counts as a whole word, in the singular or
the plural; behind "no", "without" and the like the class is asked to be absent. Left out: grammar
beyond that, so that words with several meanings need a list of one's own.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from unseen.core.errors import SampleError, SpecError, first_line
from unseen.core.files import package_version
from unseen.core.records import Count, RecordFile, Share
from unseen.core.wording import Interval, share, share_interval
from unseen.distribution.areas import Areas, class_name, nothing
from unseen.statistics import PRESENCE_THRESHOLD, Design
from unseen.statistics.effective import Grouping
from unseen.statistics.paired_presence import SharesOfPairs

FILE = "asked.json"
_LEVEL = 0.05  # of the intervals, each of one class alone
_BEFORE = 3  # words before a class's word, among which a negation counts
_NEGATIONS = "no|not|without|never|none|neither|nor|isn't|aren't|don't|lacking|except"
_SYNONYMS: Mapping[str, Sequence[str]] = {
    "airplane": ("aeroplane", "plane", "aircraft"),
    "bicycle": ("bike",),
    "building": ("house", "skyscraper", "tower block"),
    "bus": ("coach",),
    "car": ("automobile", "taxi", "cab"),
    "chair": ("armchair", "seat"),
    "dog": ("puppy", "puppies"),
    "cat": ("kitten",),
    "fence": ("railing",),
    "grass": ("lawn", "meadow"),
    "motorbike": ("motorcycle", "moped"),
    "person": ("people", "man", "men", "woman", "women", "child", "children", "boy", "girl"),
    "plant": ("bush", "shrub", "flower"),
    "road": ("street", "highway"),
    "sea": ("ocean",),
    "sofa": ("couch",),
    "television": ("tv",),
    "truck": ("lorry", "lorries"),
}

Words = Mapping[str, Sequence[str]]
"""Class, without its channel → the words that ask for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedClass:
    """One class: images whose prompt names it, denies it, or says nothing of it."""

    column: str
    words: tuple[str, ...]
    asked: Count  # images whose prompt names it
    drawn: Count  # those of them that hold it
    drawn_interval: Interval  # of drawn / asked; exact, 95 %, of this class alone
    unasked: Count  # images whose prompt has none of its words
    appears: Count  # those of them that hold it
    appears_interval: Interval
    denied: Count  # images whose prompt asks for its absence
    drawn_though_denied: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedFor:
    """What `unseen asked` found."""

    schema_version: int = 1
    package_version: str
    images: Count
    prompts: Count  # different ones; images of one prompt are one group
    presence_threshold: Share
    provenance: Mapping[str, object]  # of the areas
    classes: tuple[AskedClass, ...]  # those that some prompt names, the least often drawn first

    def summary(self) -> str:
        """A line a class."""
        lines = [
            f"{self.images:,} images of {self.prompts:,} prompts; of the images whose prompt names "
            "a class, how many hold it, and how many hold it unasked (95 % intervals):"
        ]
        width = max((len(class_name(row.column)) for row in self.classes), default=0)
        for row in self.classes:
            denied = ""
            if row.denied:
                denied = f"; though denied {row.drawn_though_denied:,} of {row.denied:,}"
            lines.append(
                f"  {class_name(row.column):<{width}}  asked: "
                f"{_of(row.drawn, row.asked, row.drawn_interval)}; unasked: "
                f"{_of(row.appears, row.unasked, row.appears_interval)}{denied}"
            )
        if not self.classes:
            lines.append("  no prompt names a class; see the words, and give your own by --words")
        return "\n".join(lines)


RECORD_FILE = RecordFile(AskedFor, "count of what was asked for", FILE, "unseen asked", 1)


def _of(part: int, whole: int, interval: Interval) -> str:
    if not whole:
        return "no image"
    return f"{part:,} of {whole:,} ({share(part / whole)} [{share_interval(interval)}])"


def default_words(classes: Sequence[str]) -> dict[str, list[str]]:
    """The words of every class: its own name and known synonyms.

    >>> default_words(["bus", "sky"])
    {'bus': ['bus', 'coach'], 'sky': ['sky']}
    """
    return {name: [name, *_SYNONYMS.get(name.casefold(), ())] for name in classes}


def read_words(path: Path, classes: Sequence[str]) -> dict[str, list[str]]:
    """A list of words that a user has edited: JSON, class → list of words.

    Raises:
        SpecError: it cannot be read, or names a class that the label set lacks.
    """
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} is no list of words ({first_line(error)})") from error
    if not isinstance(words, dict) or not all(
        isinstance(of, list) and all(isinstance(word, str) and word.strip() for word in of)
        for of in words.values()
    ):
        raise SpecError(f'{path} is no list of words; write {{"car": ["car", "taxi"]}}')
    strange = sorted(set(words) - set(classes))
    if strange:
        raise SpecError(f"{path} has words of {strange[0]!r}, which is no class of the label set")
    return {name: list(words.get(name, [])) for name in classes}


def named(prompts: Sequence[str], words: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Which prompts name one of the words, and which name it only to deny it.

    >>> named(["two buses", "a busy road", "a road without any bus"], ["bus"])
    ([True, False, False], [False, False, True])
    """
    if not words:
        return [False] * len(prompts), [False] * len(prompts)
    forms = "|".join(_forms(word) for word in sorted(words, key=len, reverse=True))
    denied = rf"\b(?:{_NEGATIONS})(?:\s+[\w'-]+){{0,{_BEFORE - 1}}}\s+(?:{forms})\b"
    anywhere = re.compile(rf"\b(?:{forms})\b", re.IGNORECASE)
    negated = re.compile(denied, re.IGNORECASE)
    asks, denies = [], []
    for prompt in prompts:
        rest = negated.sub(" ", prompt)
        asks.append(anywhere.search(rest) is not None)
        denies.append(not asks[-1] and rest != prompt)
    return asks, denies


def _forms(word: str) -> str:
    """Singular and plural of a word, as an expression."""
    plain = re.escape(word.strip())
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return rf"{plain}|{re.escape(word.strip()[:-1])}ies"
    return rf"{plain}(?:e?s)?"


def count_asked(
    areas: Areas, words: Words | None = None, *, presence_threshold: float = PRESENCE_THRESHOLD
) -> AskedFor:
    """Count how often classes are drawn that prompts name, and how often unasked.

    Args:
        areas: with conditions, as of a generator that draws prompts.
        words: class → words; None: `default_words`.
        presence_threshold: share of the image from which on a class counts as present.

    Raises:
        SampleError: the areas have no conditions.
    """
    prompts = areas.conditions
    if prompts is None:
        raise SampleError(
            "nobody says what these images were asked for; give a generator with prompts, or "
            "images with a metadata.jsonl"
        )
    words = words or default_words([class_name(column) for column in areas.columns])
    different = {prompt: k for k, prompt in enumerate(dict.fromkeys(prompts))}
    groups = np.array([different[prompt] for prompt in prompts])
    design = Design(groups=groups) if 1 < len(different) < len(prompts) else Design()
    columns = [column for column in areas.columns if column != nothing(areas.columns)]
    told = {column: named(list(different), words[class_name(column)]) for column in columns}
    columns = [column for column in columns if any(told[column][0])]
    asks, denies = (
        np.array([told[column][i] for column in columns], bool).reshape(-1, len(different)).T
        for i in (0, 1)
    )
    asks, denies = asks[groups], denies[groups]  # an image each
    places = [areas.columns.index(column) for column in columns]
    holds = areas.shares(places) >= presence_threshold
    grouping = Grouping(design, len(areas))
    drawn = _shares(holds, asks, grouping)
    appears = _shares(holds, ~asks & ~denies, grouping)
    rows = [
        AskedClass(
            column=column,
            words=tuple(words[class_name(column)]),
            asked=drawn[0][k],
            drawn=drawn[1][k],
            drawn_interval=drawn[2][k],
            unasked=appears[0][k],
            appears=appears[1][k],
            appears_interval=appears[2][k],
            denied=int(denies[:, k].sum()),
            drawn_though_denied=int((holds & denies)[:, k].sum()),
        )
        for k, column in enumerate(columns)
    ]
    return AskedFor(
        package_version=package_version(),
        images=len(areas),
        prompts=len(different),
        presence_threshold=presence_threshold,
        provenance=areas.provenance,
        classes=tuple(sorted(rows, key=lambda row: row.drawn / row.asked)),
    )


def _shares(
    holds: Bool[np.ndarray, "n k"], counted: Bool[np.ndarray, "n k"], grouping: Grouping
) -> tuple[list[int], list[int], list[Interval]]:
    """Of the images that are counted: their number, those that hold the class, the interval."""
    shares = SharesOfPairs.of(holds, counted, grouping)
    low, high = shares.interval(_LEVEL)
    limits: list[Interval] = list(zip(low.tolist(), high.tolist(), strict=True))
    return [int(n) for n in shares.pairs], [int(n) for n in shares.count], limits
