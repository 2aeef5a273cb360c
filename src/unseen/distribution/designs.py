"""How the sides were sampled: from what a user says of groups and weights to a `Design` a side.

Groups are told by a word, an expression on image names, a file, a mapping or an array; weights by a
file, a word, a mapping or an array. Either may be told of all sides or of single ones. What is told
of all sides holds where it can: a side of which it says nothing stays as it is, and a remark says
so. What fits some images of a side and not others is refused.
"""

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.core.errors import SampleError, SpecError
from unseen.core.files import as_path
from unseen.core.wording import count, listed, percent
from unseen.distribution.areas import Areas
from unseen.distribution.comparison import Sampling
from unseen.statistics import INDEPENDENT, Design, effective_images

Said = str | Path | Mapping[str, Any] | Sequence[Any] | np.ndarray | None
"""What is told of groups or weights: of all sides, or by side, as the module's docstring says."""

GROUPS_HELP = (
    "Which images belong together and are not independent: condition (of a generator), folder, "
    "a regular expression on image names whose match is the group, FILE.csv with the columns name "
    "and group, or none."
)

_EXAMPLES = 3  # names that a message shows
_COLUMNS = ({"name", "group"}, {"name", "weight"}, {"condition", "weight"})  # of a file: one of


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What is known of one side's images without looking at them."""

    label: str
    names: Sequence[str]
    conditions: Sequence[str] | None = None  # what every image was asked for


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """The groups of one side."""

    labels: Sequence[Hashable] | None = None  # an image each; None: every image by itself
    by: str | None = None  # by what they were told
    remark: str = ""  # a sentence for the reader, where what was told says nothing of this side


@dataclasses.dataclass(frozen=True, eq=False)
class SideDesign:
    """Groups and weights of one side, and by what they were told."""

    design: Design = INDEPENDENT
    grouped_by: str | None = None
    declared: bool = False  # whether something was told of its groups
    weighted_by: str | None = None
    remarks: tuple[str, ...] = ()

    def take(self, rows: Any) -> "SideDesign":
        """The same of some of the images."""
        groups, weights = self.design.groups, self.design.weights
        return dataclasses.replace(
            self,
            design=Design(
                groups=None if groups is None else groups[rows],
                weights=None if weights is None else weights[rows],
            ),
        )


def sampling(side: Areas, told: SideDesign) -> Sampling | None:
    """The record of a side's groups and weights; None where it has neither."""
    if told.design.groups is None and told.design.weights is None:
        return None
    groups = told.design.groups
    return Sampling(
        grouped_by=told.grouped_by,
        declared=told.declared,
        groups=None if groups is None else len(np.unique(groups)),
        weighted_by=told.weighted_by,
        effective_images=effective_images(side.pixels, told.design),
    )


def side_keys(sides: int) -> list[tuple[str, ...]]:
    """What the sides of a comparison are called, the real one first."""
    return [("real",), *((f"generated-{i + 1}", "generated") for i in range(sides - 1))]


def side_designs(sides: Sequence[Known], groups: Said, weights: Said) -> list[SideDesign]:
    """The design of every side of a comparison.

    Args:
        sides: the real one first.
        groups: what is told of groups; None: the conditions of a side, where they repeat.
        weights: what is told of weights; None: those of the files of the groups, or else equal.

    Raises:
        SpecError: what was told fits no side, or some images of a side and not others; a file that
            cannot be read, or that names an image twice.
        SampleError: a side has fewer than two groups, or a weight that is no positive number.

    >>> sides = [Known("photos", ["a/1.png", "a/2.png", "b/1.png"]), Known("fakes", ["1.png"])]
    >>> [side.design.groups for side in side_designs(sides, "real=folder", None)]
    [array([0, 0, 1]), None]
    """
    keys = side_keys(len(sides))
    ready = by_side(groups, keys)
    if weights is None:
        by_file = {
            names[0]: told
            for names, (told, alone) in zip(keys, ready, strict=True)
            if alone and _weighs(told)
        }
        apart = any(alone for _, alone in ready)  # such as real=photographs.csv, which is no file
        weights = groups if not apart and _weighs(groups) else by_file or None
    grouped = group_labels(groups, sides, keys)
    weighted = _Weighing(sides, keys).weights(weights)
    designs = []
    for side, (told, _), group, weighing in zip(sides, ready, grouped, weighted, strict=True):
        if isinstance(told, SideDesign):  # of halves, which were told before
            designs.append(told)
            continue
        numbers = None if group.labels is None else _numbered(group.labels)
        if numbers is not None and numbers.max() == 0:
            raise SampleError(
                f"all {len(numbers):,} images of {side.label} are one group by {group.by}; groups "
                "are compared as wholes, and at least 2 are needed"
            )
        designs.append(
            SideDesign(
                design=Design(groups=numbers, weights=weighing.values),
                grouped_by=group.by,
                declared=told is not None and not group.remark,
                weighted_by=weighing.by,
                remarks=tuple(text for text in (group.remark, weighing.remark) if text),
            )
        )
    return designs


def group_labels(
    said: Said, sides: Sequence[Known], keys: Sequence[tuple[str, ...]]
) -> list[Grouped]:
    """The group of every image of every side.

    Args:
        said: what is told of groups; None: the conditions of a side, where they repeat.
        sides: their images.
        keys: what each side is called in `said`, such as ("real",).

    Raises:
        SpecError: as in `side_designs`.
    """
    grouped = [
        _grouped(told, side, alone)
        for (told, alone), side in zip(by_side(said, keys), sides, strict=True)
    ]
    fit = any(group.by for group in grouped if not group.remark)
    if not fit and any(group.remark for group in grouped):
        raise SpecError(f"no side has groups: {' '.join(group.remark for group in grouped)}")
    return grouped


def by_side(said: Said, keys: Sequence[tuple[str, ...]]) -> list[tuple[Any, bool]]:
    """What is told of every side, and whether it is told of that side alone.

    Raises:
        SpecError: a side is named that is not there.
    """
    told: Mapping[str, Any] | None = None
    known = sorted({name for names in keys for name in names}, key=lambda name: (len(name), name))
    if isinstance(said, str):
        name = r"(?:real|generated(?:-\d+)?|photographs|controls)"
        if re.match(f"{name}=", said):
            parts = (part.partition("=") for part in re.split(f",(?={name}=)", said))
            told = {side: text for side, _, text in parts}
    elif isinstance(said, Mapping) and said and set(map(str, said)) <= set(known):
        told = {str(side): value for side, value in said.items()}
    if told is None:
        return [(said, False)] * len(keys)
    strange = sorted(set(told) - set(known))
    if strange:
        raise SpecError(f"there is no side {listed(strange)}; the sides are {listed(known)}")
    return [
        next(((told[name], True) for name in names if name in told), (None, False))
        for names in keys
    ]


def check_pairs_can_be_grouped(groups: Said, weights: Said, sides: int) -> None:
    """Refuse what pairs cannot take: weights, and groups that are told by the places of images.

    Raises:
        SpecError: pairing chooses images and puts them into another order.
    """
    if weights is not None:
        raise SpecError("pairs count alike; leave out the weights, or the pairs (--paired)")
    for told, _ in by_side(groups, side_keys(sides)):
        if not isinstance(told, str | Path | Mapping | SideDesign | None):
            raise SpecError(
                "groups were given as an array, an entry an image, and pairing chooses and orders "
                "the images anew; give a mapping from names to groups"
            )


def _numbered(labels: Sequence[Hashable]) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)


def _grouped(told: Any, side: Known, alone: bool) -> Grouped:
    """The groups of one side.

    Args:
        told: a word, an expression, a file, a mapping, an entry an image, or None.
        side: its images.
        alone: whether it was told of this side alone: then it must fit.
    """
    if isinstance(told, SideDesign) or (isinstance(told, str) and told == "none"):
        return Grouped()
    if told is None:
        conditions = side.conditions
        repeat = conditions is not None and len(set(conditions)) < len(conditions)
        return Grouped(conditions, "condition") if repeat else Grouped()
    if isinstance(told, str | Path | Mapping):
        lookup, by, lacking = _lookup(told, side)
        labels = [lookup(row) for row in range(len(side.names))]
        without = [name for name, label in zip(side.names, labels, strict=True) if label is None]
        if not without:
            return Grouped(labels, by)
        if len(without) == len(labels) and not alone:
            default = _grouped(None, side, alone)
            instead = (
                "their groups are the conditions that repeat"
                if default.by
                else "every one counts as independent"
            )
            return dataclasses.replace(
                default, remark=f"The images of {side.label} {lacking}: {instead}."
            )
        raise SpecError(_partly(side, without, lacking, told))
    entries = list(told)
    if len(entries) != len(side.names):
        raise SpecError(
            f"{len(entries):,} groups were given for the {len(side.names):,} images of "
            f"{side.label}; give one each"
        )
    return Grouped([_plain(entry) for entry in entries], "an array")


def _plain(entry: Any) -> Hashable:
    value: Hashable = entry.item() if isinstance(entry, np.generic) else entry
    if value is None or value != value:
        raise SpecError("a group is missing in the array of groups; give one for every image")
    return value


def _partly(side: Known, without: Sequence[str], lacking: str, told: Any) -> str:
    """The message on images of which nothing is told."""
    every = "all" if len(without) == len(side.names) else f"{len(without):,} of"
    text = (
        f"{every} {len(side.names):,} images of {side.label} {lacking}, such as "
        f"{listed(without[:_EXAMPLES])}"
    )
    if isinstance(told, str) and told.endswith(".csv"):
        return f"{text}; add them to the file"
    if isinstance(told, str) and told != "condition":
        expression = "(.*)/" if told == "folder" else told
        return f"{text}; an expression that leaves them by themselves is '(?:{expression})|.*'"
    return f"{text}; name another rule, or none for this side"


_Lookup = Callable[[int], Hashable | None]


def _lookup(told: str | Path | Mapping[str, Any], side: Known) -> tuple[_Lookup, str, str]:
    """Row → group or None; by what it is told; what an image lacks of which nothing is told."""
    if isinstance(told, Mapping):
        table = told
        return (lambda row: table.get(side.names[row])), "a mapping", "are not in the mapping"
    if _is_file(told):
        path = as_path(told)
        groups = _read(path).column("name", "group")
        return (lambda row: groups.get(side.names[row])), path.name, f"are not in {path.name}"
    text = str(told)
    if text == "condition":
        conditions = side.conditions
        return (
            (lambda row: None if conditions is None else conditions[row]),
            "condition",
            "have no conditions",
        )
    if text == "folder":
        return (
            (lambda row: side.names[row].rpartition("/")[0] or None),
            "folder",
            "lie in no subfolder",
        )
    try:
        expression = re.compile(text)
    except re.error as error:
        raise SpecError(
            f"{text!r} is no way to tell groups: neither condition, folder nor none, no .csv, and "
            f"as a regular expression it has a fault ({error})"
        ) from error
    return (
        (lambda row: _matched(expression, side.names[row])),
        f"the expression {text}",
        f"do not match {text}",
    )


def _matched(expression: re.Pattern[str], name: str) -> Hashable | None:
    """The groups of the match that took part, or else the whole of it."""
    match = expression.search(name)
    if match is None:
        return None
    return tuple(part for part in match.groups() if part is not None) or match[0]


def _is_file(told: Any) -> bool:
    return isinstance(told, Path) or (isinstance(told, str) and told.lower().endswith(".csv"))


@dataclasses.dataclass(frozen=True)
class _Table:
    """A file of groups or weights."""

    path: Path
    rows: list[dict[str, str]]

    @property
    def columns(self) -> set[str]:
        return set(self.rows[0])

    def column(self, key: str, value: str) -> dict[str, str]:
        """Entries of the column `key` → those of the column `value`."""
        for name in (key, value):
            if name not in self.columns:
                raise SpecError(
                    f"{self.path} has no column {name!r}; its first line names the columns, here "
                    f"{listed(sorted(self.columns))}"
                )
        repeated = [
            entry for entry, times in Counter(row[key] for row in self.rows).items() if times > 1
        ]
        if repeated:
            raise SpecError(
                f"{self.path} holds {count(len(repeated), key)} more than once, such as "
                f"{listed(repeated[:_EXAMPLES])}; leave one line each"
            )
        return {row[key]: row[value] for row in self.rows}


def _read(path: Path) -> _Table:
    """A CSV file whose first line names the columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[entry.strip() for entry in line] for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path} cannot be read as CSV ({error})") from error
    header = lines[0] if lines else []
    if not any(needed <= set(header) for needed in _COLUMNS):
        raise SpecError(
            f"the first line of {path} names the columns {listed(header) or 'not at all'}; name "
            "and group, name and weight, or condition and weight are needed"
        )
    broken = [line for line in lines if len(line) != len(header) or "" in line]
    if broken or len(lines) == 1:
        raise SpecError(
            f"{path} has {len(broken)} lines without an entry for each of its columns"
            + (f", such as {','.join(broken[0])!r}" if broken else ", and no others")
            + "; complete them"
        )
    return _Table(path, [dict(zip(header, line, strict=True)) for line in lines[1:]])


def _weighs(told: Any) -> bool:
    """Whether a file of groups has weights, too."""
    return _is_file(told) and {"name", "weight"} <= _read(as_path(told)).columns


@dataclasses.dataclass(frozen=True)
class _Weighted:
    """The weights of one side."""

    values: np.ndarray | None = None
    by: str | None = None
    remark: str = ""


class _Weighing:
    """What the images of every side weigh."""

    def __init__(self, sides: Sequence[Known], keys: Sequence[tuple[str, ...]]) -> None:
        self.sides, self.keys = sides, keys

    def weights(self, said: Said) -> list[_Weighted]:
        """The weights of every side (SpecError, SampleError: as in `side_designs`)."""
        weighted = [
            self._side(told, side, alone)
            for (told, alone), side in zip(by_side(said, self.keys), self.sides, strict=True)
        ]
        if not any(side.by for side in weighted) and any(side.remark for side in weighted):
            raise SpecError(f"no side is weighted: {' '.join(side.remark for side in weighted)}")
        return weighted

    def _side(self, told: Any, side: Known, alone: bool) -> _Weighted:
        if told is None or (isinstance(told, str) and told == "none"):
            return _Weighted()
        if isinstance(told, str) and told in ("condition", "folder"):
            return self._as_real(told, side, alone)
        if isinstance(told, Mapping):
            return _by_name(told, side, alone, told, "a mapping", "are not in the mapping")
        if _is_file(told):
            path = as_path(told)
            table = _read(path)
            if "condition" in table.columns:
                shares = _numbers(table.column("condition", "weight"), path)
                return _by_condition(shares, side.conditions, side, alone, path.name)
            weights = _numbers(table.column("name", "weight"), path)
            return _by_name(weights, side, alone, told, path.name, f"are not in {path.name}")
        if isinstance(told, str):
            raise SpecError(
                f"weights {told!r} are not known; give FILE.csv, condition, folder or none"
            )
        entries = np.asarray(told, np.float64)
        if entries.shape != (len(side.names),):
            raise SpecError(
                f"{len(entries):,} weights were given for the {len(side.names):,} images of "
                f"{side.label}; give one each"
            )
        return _Weighted(_checked(entries, side), "an array")

    def _as_real(self, told: str, side: Known, alone: bool) -> _Weighted:
        """Weights by which every condition is as frequent as on the real side."""
        real = self.sides[0]
        if side is real:
            return _Weighted()
        labels = [_conditions(told, one) for one in (real, side)]
        if labels[0] is None:
            raise SpecError(
                f"the images of {real.label} have no {told}, whose frequencies the others are to "
                "have; give FILE.csv with the columns condition and weight"
            )
        counted = Counter(labels[0])
        shares = {condition: float(images) for condition, images in counted.items()}
        return _by_condition(shares, labels[1], side, alone, f"{told}, as on the real side")


def _conditions(told: str, side: Known) -> Sequence[str] | None:
    """The conditions of a side, or instead of unknown ones the folders of its images."""
    if told == "condition" or side.conditions is not None:
        return side.conditions
    folders = [name.rpartition("/")[0].rpartition("/")[2] for name in side.names]
    return folders if all(folders) else None


def _by_name(
    weights: Mapping[str, Any], side: Known, alone: bool, told: Any, by: str, lacking: str
) -> _Weighted:
    without = [name for name in side.names if name not in weights]
    if len(without) == len(side.names) and not alone:
        return _Weighted(remark=f"The images of {side.label} {lacking}: all weigh the same.")
    if without:
        raise SpecError(_partly(side, without, lacking, told))
    values = np.array([float(weights[name]) for name in side.names], np.float64)
    return _Weighted(_checked(values, side), by)


def _by_condition(
    shares: Mapping[str, float],
    conditions: Sequence[str] | None,
    side: Known,
    alone: bool,
    by: str,
) -> _Weighted:
    """What a condition weighs, divided among its images."""
    if conditions is None:
        remark = f"The images of {side.label} have no conditions: all weigh the same."
        if alone:
            raise SpecError(f"{remark[:-1]}; weights by condition need them")
        return _Weighted(remark=remark)
    images = Counter(conditions)
    strange = sorted(set(images) - set(shares))
    if strange:
        raise SpecError(
            f"{sum(images[name] for name in strange):,} images of {side.label} have "
            f"{count(len(strange), 'condition')} without a weight, such as "
            f"{listed(strange[:_EXAMPLES])}; leave these images out, or give the conditions weights"
        )
    values = np.array([shares[name] / images[name] for name in conditions], np.float64)
    absent = sorted(set(shares) - set(images))
    remark = ""
    if absent:
        lost = sum(shares[name] for name in absent) / sum(shares.values())
        remark = (
            f"{side.label} has no image of {count(len(absent), 'condition')} with "
            f"{percent(lost)} of the weight, such as {listed(absent[:_EXAMPLES])}: weights "
            "cannot make up for these."
        )
    return _Weighted(_checked(values, side), by, remark)


def _numbers(entries: Mapping[str, str], path: Path) -> dict[str, float]:
    numbers = {}
    for name, text in entries.items():
        try:
            numbers[name] = float(text)
        except ValueError as error:
            raise SpecError(
                f"{path} gives {name} the weight {text!r}, which is no number"
            ) from error
    return numbers


def _checked(values: np.ndarray, side: Known) -> np.ndarray:
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if wrong.size:
        raise SampleError(
            f"{wrong.size:,} images of {side.label} have weights that are not above zero and "
            f"finite, first {side.names[wrong[0]]} with {values[wrong[0]]:g}"
        )
    return values
