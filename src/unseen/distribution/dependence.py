"""Signs that images of one side are not independent, where nobody has said so.

Two kinds of signs: names that count twice (`clip_001/frame_0003`, `photo_12_crop0`), and images of
nearly the same areas, more of them than the other side lets expect. A counter over all images, as
generators and data sets have it, is no sign; neither are folders of classes, nor shards.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int64

from unseen.distribution.areas import Areas
from unseen.distribution.designs import Known, SideDesign
from unseen.statistics import PRESENCE_THRESHOLD

_BETWEEN = r"[ _\-.]*"
# What a name ends with beside its group: a frame of a video, a part or a changed copy of an image,
# one of several images of a numbered thing, such as a prompt.
_FRAME = re.compile(
    rf"(?P<group>.*?)(?P<tail>{_BETWEEN}(?<![a-z])(?:frame|frm){_BETWEEN}\d+)", re.I
)
_PART = re.compile(
    rf"(?P<group>(?:.*/)?[^/]+?)(?P<tail>{_BETWEEN}(?<![a-z])(?:crop|aug|augmented|patch|tile|flip|flipped|"
    rf"mirror|rot|rotated|copy|dup|duplicate)(?:{_BETWEEN}\d+)*)",
    re.I,
)
_MEMBER = re.compile(
    r"(?P<group>.*\d)(?P<tail>[ _\-.]+(?:(?:seed|sample|image|img|variant|view)[ _\-.]*)?"
    r"(?P<last>\d+))",
    re.I,
)
_COUNTED_FOLDER = re.compile(rf"(?P<text>.*[a-z].*?){_BETWEEN}\d+", re.I)
# What counts and yet says only where, when or of which class an image is.
_ELSEWHERE = re.compile(
    r"(?:^|[^a-z])(?:shard|part|batch|chunk|split|fold|rank|gpu|node|worker|seed|run|step|epoch|"
    r"subset|tar|class|label|category)[^a-z]*$|(?:^|/)n\d{8}$",
    re.I,
)
_MOST_IMAGES = 20_000  # looked at a side; of more, runs of neighbouring images
_RUN = 1_000
_MOST_FORMS = 4  # of tails: more make an expression that nobody reads
_FEW_GROUPS = 30  # fewer, and the spread between groups is hardly known
_FEWEST = 10  # images in groups of two or more: fewer are no pattern
_SHARE = 0.05  # of all images: what is rarer hardly changes an interval

_TWINS_WITHIN = 0.01  # of the image: near-duplicates' areas differ by less, all classes together
_NEAR = 3.0  # times that distance: copies have hardly any neighbours between the two distances
_CLASSES = 4  # in an image that is looked at: images of fewer classes are soon alike by chance
_NEIGHBOURS = 8  # along a projection: near-duplicates are neighbours on nearly every projection
_PROJECTIONS = 16  # that near-duplicates share: nearly all other pairs are told from them by these
_SORTED = 3  # of these projections: neighbours along them are compared
_MORE_THAN_CHANCE = 5.0  # times as many near-duplicates as images of the other side let expect


def sampling_caveats(
    sides: Sequence[Areas], known: Sequence[Known], designs: Sequence[SideDesign]
) -> Iterator[str]:
    """What a reader must know of groups, declared or not; the real side comes first."""
    for i, (areas, side, told) in enumerate(zip(sides, known, designs, strict=True)):
        yield from told.remarks
        if told.grouped_by is not None:
            yield from _of_groups(side.label, told)
        elif not told.declared:
            signs = looks_dependent(side.names), near_duplicates(areas, sides[0 if i else 1])
            yield from (f"{side.label}: {sign}" for sign in signs if sign)


def _of_groups(label: str, told: SideDesign) -> Iterator[str]:
    assert told.design.groups is not None
    groups = len(np.unique(told.design.groups))
    if groups < _FEW_GROUPS:
        yield (
            f"{label} has {groups} groups by {told.grouped_by}: of so few, whatever the number of "
            "images in them, tests and intervals can show little. Add groups rather than images."
        )
    if not told.declared:
        yield (
            f"The conditions of {label} repeat, so that its images count as {groups:,} groups. "
            "Where these are all the conditions that there are, such as the labels of a data set, "
            "and no sample of prompts, declare it: --groups generated=none."
        )


@dataclasses.dataclass(frozen=True)
class _Pattern:
    """One way in which names may tell groups."""

    what: str  # what they say
    rule: str  # the option that declares these groups
    groups: Sequence[str | None]  # of every image; None: the name says nothing


def looks_dependent(names: Sequence[str]) -> str:
    """What the names say of images that belong together, in a sentence; or nothing.

    >>> looks_dependent([f"clip_{k // 9:03d}/frame_{k % 9:04d}.png" for k in range(45)])
    '45 of 45 images are named as frames of 5 videos (such as clip_000/frame_0000.png). ...'
    >>> looks_dependent([f"{k:06d}.png" for k in range(45)])
    ''
    """
    looked_at = _looked_at(len(names))
    names = [names[row] for row in looked_at]
    stems = [_stem(name) for name in names]
    for pattern in _patterns(stems):
        images = Counter(group for group in pattern.groups if group is not None)
        several = {group for group, members in images.items() if members > 1}
        together = sum(images[group] for group in several)
        if len(several) < 2 or together < max(_FEWEST, _SHARE * len(names)):
            continue
        first = names[next(row for row, group in enumerate(pattern.groups) if group in several)]
        return (
            f"{together:,} of {len(names):,} images are named as "
            f"{pattern.what.format(f'{len(several):,}')} (such as {first}). If these are not "
            f"independent, the intervals are too narrow: declare it with --groups {pattern.rule}."
        )
    return ""


def _looked_at(images: int) -> Int64[np.ndarray, " n"]:
    """Rows of all images; of very many, of runs of neighbours spread over them."""
    if images <= _MOST_IMAGES:
        return np.arange(images)
    starts = np.linspace(0, images - _RUN, _MOST_IMAGES // _RUN).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(_RUN))


def _stem(name: str) -> str:
    """The name without its ending."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.rpartition(".")
    return f"{folder}{slash}{stem if stem and not ending.isdigit() else file}"


def _patterns(stems: Sequence[str]) -> Iterator[_Pattern]:
    folders = [stem.rpartition("/")[0] for stem in stems]
    frames = [_FRAME.fullmatch(stem) for stem in stems]
    if any(frames):
        groups = [None if match is None else match["group"].rstrip("/") for match in frames]
        rule = "folder" if groups == folders else _rule(frames, stems)
        yield _Pattern("frames of {} videos", rule, groups)
    files = [stem.rpartition("/")[2] for stem in stems]
    if _restarts(files, folders) and _are_counted(folders):
        yield _Pattern("numbered images of {} numbered folders", "folder", folders)
    parts = [_PART.fullmatch(stem) for stem in stems]
    if any(parts):
        # The whole image, whose name has no tail, belongs to its parts.
        groups = [
            stem if match is None else match["group"]
            for stem, match in zip(stems, parts, strict=True)
        ]
        yield _Pattern("parts or changed copies of {} images", _rule(parts, stems), groups)
    members = [_MEMBER.fullmatch(stem) for stem in stems]
    groups = [
        None if match is None or _is_elsewhere(match["group"]) else match["group"]
        for match in members
    ]
    if _restarts([match["last"] if match else "" for match in members], groups):
        yield _Pattern("numbered images of {} numbered things", _rule(members, stems), groups)


def _restarts(counters: Sequence[str], groups: Sequence[str | None]) -> bool:
    """Whether a count begins anew in every group, and does not go on over all of them."""
    counted = [
        counter
        for counter, group in zip(counters, groups, strict=True)
        if group is not None and counter[-1:].isdigit()
    ]
    return bool(counted) and len(set(counted)) <= len(counted) / 2


def _are_counted(folders: Sequence[str]) -> bool:
    """Whether nearly all folders are one text with a number: clip_001, clip_002."""
    names = {folder for folder in folders if folder}
    matches = [_COUNTED_FOLDER.fullmatch(name) for name in names if not _is_elsewhere(name)]
    texts = Counter(match["text"] for match in matches if match is not None)
    return bool(texts) and max(texts.values()) >= max(2, 0.9 * len(names))


def _is_elsewhere(group: str) -> bool:
    return _ELSEWHERE.search(group) is not None


def _rule(matches: Sequence[re.Match[str] | None], stems: Sequence[str]) -> str:
    """An expression whose group is that of every name."""
    found = [match["tail"] for match in matches if match is not None]
    forms = {re.sub(r"\d+", "\0", tail) for tail in found}
    if len(forms) > _MOST_FORMS:
        return "FILE.csv"
    tails = "|".join(sorted(re.escape(form).replace("\0", r"\d+") for form in forms))
    return rf"'^(.+?)(?:{tails}){'' if len(found) == len(stems) else '?'}(?:\.[A-Za-z]\w*)?$'"


def near_duplicates(side: Areas, beside: Areas) -> str:
    """What the areas say of images that are nearly the same, in a sentence; or nothing.

    Two images are near-duplicates where their areas differ by less than 1 % of the image, all
    classes together. The other side says how many of these chance gives: images of different sides
    are never copies of each other. Copies of an image are near it, and few others are in between.

    Args:
        side: the images looked at.
        beside: the other side, of the same classes.
    """
    rows = [_told_apart(side), _told_apart(beside)]
    n, m = (len(part) for part in rows)
    if n < _FEWEST or m < 2:
        return ""
    inside, across = _close_pairs(np.concatenate(rows), n)
    pairs_of_chance = n * (n - 1) / 2 / (n * m)
    excess = []
    for limit in (_TWINS_WITHIN, _NEAR * _TWINS_WITHIN):
        found, chance = (int((pairs.distance <= limit).sum()) for pairs in (inside, across))
        if found < _MORE_THAN_CHANCE * max(chance * pairs_of_chance, 1.0):
            return ""
        excess.append(found - chance * pairs_of_chance)
    twins = np.unique(inside.rows[inside.distance <= _TWINS_WITHIN])
    looked_at = len(_looked_at(len(side)))
    if excess[0] < excess[1] / 2 or len(twins) < max(_FEWEST, _SHARE * looked_at):
        return ""
    return (
        f"{len(twins):,} of {looked_at:,} images have nearly the same areas as another of the same "
        "side, far more than chance gives. If these are copies, frames of a video or one image "
        "drawn again and again, the intervals are too narrow: declare which belong together with "
        "--groups FILE.csv (name,group), or leave the copies out."
    )


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Pairs of images that are near each other."""

    rows: Int64[np.ndarray, "p 2"]
    distance: Float32[np.ndarray, " p"]  # share of the image, all classes together


def _told_apart(side: Areas) -> Float32[np.ndarray, "n k"]:
    """The areas of the images that can be told from others."""
    pixels = side.pixels[_looked_at(len(side))]
    fraction = pixels.astype(np.float32) / np.float32(side.label_map_pixels)
    classes = (fraction >= PRESENCE_THRESHOLD).sum(axis=1)
    kept: Float32[np.ndarray, "n k"] = fraction[classes >= _CLASSES]
    return kept


def _close_pairs(rows: Float32[np.ndarray, "a k"], n: int) -> tuple[_Pairs, _Pairs]:
    """Pairs within the first n rows, and pairs of one of these with one of the others.

    Near-duplicates have nearly the same projection on any direction, so that only neighbours along
    a few random ones are compared.
    """
    limit = _NEAR * _TWINS_WITHIN
    directions = np.random.default_rng(0).standard_normal((rows.shape[1], _PROJECTIONS))
    projected = rows @ directions.astype(np.float32)
    # |Σ d_k x_k| ≤ max |d_k| Σ |x_k|, and Σ |x_k| is twice the distance
    reach = 2 * limit * np.abs(directions).max(axis=0)
    near: dict[tuple[int, int], float] = {}
    for order in np.argsort(projected[:, :_SORTED], axis=0, kind="stable").T:
        for lag in range(1, _NEIGHBOURS + 1):
            pairs = np.sort(np.stack([order[:-lag], order[lag:]], axis=1), axis=1)
            apart = np.abs(projected[pairs[:, 0]] - projected[pairs[:, 1]])
            pairs = pairs[(apart <= reach).all(axis=1)]
            distance = np.abs(rows[pairs[:, 0]] - rows[pairs[:, 1]]).sum(axis=1) / 2
            close = distance <= limit
            near.update(
                zip(map(tuple, pairs[close].tolist()), distance[close].tolist(), strict=True)
            )
    pairs = np.array(list(near), np.int64).reshape(-1, 2)
    distances = np.array(list(near.values()), np.float32)
    inside = pairs[:, 1] < n
    across = ~inside & (pairs[:, 0] < n)
    return _Pairs(pairs[inside], distances[inside]), _Pairs(pairs[across], distances[across])
