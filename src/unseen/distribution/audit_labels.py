"""Labels that people gave images: the CSV files, the majority, and who agreed with whom.

A line is one image that one person labelled: `class,side,name,label,labeller`.
"""

import collections
import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unseen.core.errors import SpecError
from unseen.core.wording import count, listed
from unseen.distribution.areas import columns_named
from unseen.statistics.labellers import krippendorff_alpha

COLUMNS = ("class", "side", "name", "label")  # each is needed; labeller may be left out
_LABELS: Mapping[str, float] = {
    **dict.fromkeys(("y", "yes", "present", "1"), 1.0),
    **dict.fromkeys(("n", "no", "absent", "0"), 0.0),
    **dict.fromkeys(("?", "unsure"), float("nan")),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one person says of one image."""

    class_name: str
    side: str  # as `designs.side_keys` calls it
    name: str
    label: float  # 1 present, 0 absent, NaN: the person could not say
    labeller: str


@dataclasses.dataclass(frozen=True, eq=False)
class ClassLabels:
    """What all people together say of one class."""

    majority: Mapping[str, Mapping[str, float]]  # side → name → label; NaN: no majority
    labellers: tuple[str, ...]
    compared: int  # images that several people labelled
    agreement: float | None

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "ClassLabels":
        """The majority, where "could not say" counts for neither, and a tie is no majority."""
        labellers = tuple(dict.fromkeys(answer.labeller for answer in answers))
        images = {key: i for i, key in enumerate(dict.fromkeys((a.side, a.name) for a in answers))}
        table = np.full((len(labellers), len(images)), np.nan)
        for answer in answers:
            row, place = labellers.index(answer.labeller), images[answer.side, answer.name]
            before = table[row, place]
            if np.isfinite(before) and before != answer.label:
                raise SpecError(
                    f"{answer.labeller} labels {answer.name} ({answer.side}) twice, and unlike; "
                    "leave one line"
                )
            table[row, place] = answer.label
        votes = np.nansum(table == 1.0, axis=0) - np.nansum(table == 0.0, axis=0)
        chosen = np.where(votes == 0, np.nan, votes > 0)
        majority: dict[str, dict[str, float]] = {}
        for (side, name), place in images.items():
            majority.setdefault(side, {})[name] = float(chosen[place])
        several = np.isfinite(table).sum(axis=0) > 1
        return cls(majority, labellers, int(several.sum()), krippendorff_alpha(table))


def read_answers(paths: Iterable[Path]) -> list[Answer]:
    """The lines of these files.

    Raises:
        SpecError: a file that cannot be read, lacks a column, or has a label that is not known.
    """
    answers = []
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restval="")
                header = set(reader.fieldnames or ())
                lines = [line for line in reader if any(line.values())]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SpecError(f"{path} cannot be read as CSV ({error})") from error
        if not set(COLUMNS) <= header or not lines:
            raise SpecError(
                f"{path} holds no labels, or lacks a column; {listed(COLUMNS)} are needed, as the "
                "page of `unseen audit` exports them"
            )
        for number, line in enumerate(lines, 2):
            label = (line["label"] or "").strip().casefold()
            if label not in _LABELS:
                raise SpecError(
                    f"line {number} of {path} has the label {line['label']!r}; y, n or ? is needed"
                )
            answers.append(
                Answer(
                    line["class"].strip(),
                    line["side"].strip(),
                    line["name"],
                    _LABELS[label],
                    (line.get("labeller") or "").strip() or path.stem,
                )
            )
    return answers


def labels_by_column(
    answers: Sequence[Answer], columns: Sequence[str], keys: Sequence[tuple[str, ...]]
) -> dict[str, ClassLabels]:
    """The labels of every class that somebody labelled, by column.

    Args:
        answers: as `read_answers` gives them.
        columns: of the areas.
        keys: what the sides are called, as `designs.side_keys` gives it.

    Raises:
        SpecError: a class that no column has, or a side that is not there.
    """
    words = collections.Counter(word for names in keys for word in names)
    # "generated" says which side is meant where there is a single generated side.
    known = {word: names[0] for names in keys for word in names if words[word] == 1}
    strange = [answer.side for answer in answers if answer.side not in known]
    if strange:
        raise SpecError(
            f"{count(len(strange), 'label')} of the side {strange[0]!r}; the sides are called "
            f"{listed(names[0] for names in keys)}"
        )
    by_column: dict[str, list[Answer]] = {}
    for answer in answers:
        (column, *_) = columns_named(columns, [answer.class_name])
        held = by_column.setdefault(column, [])
        held.append(dataclasses.replace(answer, side=known[answer.side]))
    return {column: ClassLabels.of(held) for column, held in by_column.items()}
