"""From measured instances to the record of evidence: verdicts, ranks, typicality, caveats.

No images and no files.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from unseen.core.errors import ImageError
from unseen.core.files import package_version
from unseen.distribution.areas import class_name, nothing
from unseen.instance_evidence.pairs import Collection, Entry
from unseen.instance_evidence.record import (
    CONTROL_PASSES,
    VERDICTS,
    ClassEvidence,
    ClassRetention,
    Evidence,
    Fate,
    Instance,
    Mean,
    Method,
    Picture,
    Rebuilt,
    Rules,
    Typicality,
)
from unseen.inversion.inversions import Selection
from unseen.statistics.instances import Region, loss_shares
from unseen.statistics.retention import (
    ClassJudgement,
    Instances,
    Judging,
    MeanRetention,
    judge_classes,
)

VANISHED_BELOW = 0.2  # an instance that retains less of its pixels has vanished
ATYPICAL_BELOW = 0.05
_FEW = 20  # photographs
_REFERENCE = "reference"  # the key of the mosaic of photographs, the reference of one of samples
_SHOWN = 4  # names in a caveat


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One image with its instances. Paths are relative to the folder of the record."""

    entry: Entry
    image: str
    label_map: str
    true_label_map: str | None
    rebuilt: tuple[Rebuilt, ...]
    regions: tuple[Region, ...]
    perimeter_ratios: tuple[float, ...]  # of each region
    contrasts: tuple[float, ...]
    fates: tuple[tuple[Fate, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What all images were measured with."""

    columns: tuple[str, ...]
    label_map_size: tuple[int, int]
    least_area: float
    classes: tuple[str, ...] | None  # columns that are judged; None: all
    true_label_maps: bool
    sizes: Mapping[str, set[tuple[int, int]]]  # role, or method → native height and width
    side: int  # of the segmenter's images
    segmenter: Mapping[str, Any]
    selection: Selection | None
    cut_rule: str | None
    judged_by: str  # the key of the method that verdicts are about


@dataclasses.dataclass(frozen=True)
class _Found:
    """One instance, with the number of its image."""

    id: str
    image: int  # index into the list of seen images
    column: str
    region: Region
    area: float
    perimeter_ratio: float
    contrast: float
    fates: tuple[Fate, ...]

    def retention(self, method: str) -> float:
        """NaN where the method failed on the image."""
        return next((one.retention for one in self.fates if one.method == method), float("nan"))


def compose(
    collection: Collection, seen: Sequence[Seen], measured: Measured, judging: Judging
) -> Evidence:
    """The record.

    Args:
        collection: what was looked at.
        seen: its images, in its order.
        measured: what they were measured with.
        judging: the numbers that decide.

    Raises:
        ImageError: no photograph holds an instance.
    """
    methods = collection.methods
    primary = measured.judged_by
    mosaic = _judge(methods, primary).method == "nearest"
    everything = list(_find(seen, measured.columns, measured.label_map_size))
    controls = [one for one in everything if seen[one.image].entry.role == "control"]
    in_photographs = [one for one in everything if seen[one.image].entry.role == "photograph"]
    asked = set(measured.columns if measured.classes is None else measured.classes)
    photographs = [one for one in in_photographs if one.column in asked]
    found = [*photographs, *controls]
    if not photographs:
        raise ImageError(
            f"no photograph holds an instance: no class{_of_these(measured)} has a connected part "
            f"of at least {100 * measured.least_area:g} % of an image; name other photographs, or "
            "a smaller least_area"
        )
    keys = [one.key for one in methods]
    judged = judge_classes(
        {column: _arrays(these, keys) for column, these in _by_class(in_photographs).items()},
        _arrays(controls, keys) if collection.controls is not None else None,
        primary=primary,
        range_methods=[one.key for one in methods if one.in_range],
        reference=_REFERENCE if mosaic else None,
        asked=asked,
        judging=judging,
    )
    by_class = _by_class(photographs)
    shares = _loss_shares(photographs, primary)
    matched = {
        one.id: tuple(controls[j].id for j in rows)
        for column, these in by_class.items()
        for one, rows in zip(these, judged[column].controls, strict=True)
    }
    pictures = _pictures(seen, found, shares, primary)
    classes = _classes(by_class, judged, shares, primary, pictures, judging)
    return Evidence(
        package_version=package_version(),
        seed=judging.seed,
        columns=measured.columns,
        label_map_size=measured.label_map_size,
        rules=Rules(
            least_area=measured.least_area,
            vanished_below=VANISHED_BELOW,
            atypical_below=ATYPICAL_BELOW,
            **{key: value for key, value in dataclasses.asdict(judging).items() if key != "seed"},
        ),
        methods=methods,
        primary=primary,
        reference=_REFERENCE if mosaic and _REFERENCE in keys else None,
        cut_rule=measured.cut_rule,
        photographs=collection.photographs,
        controls=collection.controls,
        selection=measured.selection,
        classes=tuple(classes),
        pictures=tuple(pictures),
        instances=tuple(_instances(seen, found, shares, primary, matched)),
        caveats=tuple(_caveats(collection, seen, found, classes, pictures, measured, primary)),
        provenance={**collection.provenance, "segmenter": dict(measured.segmenter)},
    )


def _judge(methods: Sequence[Method], primary: str) -> Method:
    """The method that verdicts are about."""
    return next(one for one in methods if one.key == primary)


def _of_these(measured: Measured) -> str:
    if measured.classes is None:
        return ""
    return f" of {', '.join(class_name(column) for column in measured.classes)}"


def _picture_id(seen: Sequence[Seen], number: int) -> str:
    role = seen[number].entry.role
    first = next(i for i, one in enumerate(seen) if one.entry.role == role)
    return f"{role}-{number - first:05d}"


def _by_class(found: Sequence[_Found]) -> dict[str, list[_Found]]:
    by_class: dict[str, list[_Found]] = {}
    for one in found:
        by_class.setdefault(one.column, []).append(one)
    return by_class


def _find(
    seen: Sequence[Seen], columns: Sequence[str], label_map_size: tuple[int, int]
) -> Iterator[_Found]:
    """All instances but those of "no class"."""
    ignored = nothing(columns)
    pixels = label_map_size[0] * label_map_size[1]
    for number, one in enumerate(seen):
        picture = _picture_id(seen, number)
        rows = zip(one.regions, one.perimeter_ratios, one.contrasts, one.fates, strict=True)
        for i, (region, ratio, contrast, fates) in enumerate(rows):
            column = columns[region.label]
            if column == ignored:
                continue
            yield _Found(
                id=f"{picture}-{i:02d}",
                image=number,
                column=column,
                region=region,
                area=region.pixels / pixels,
                perimeter_ratio=ratio,
                contrast=contrast,
                fates=fates,
            )


def _arrays(found: Sequence[_Found], methods: Sequence[str]) -> Instances:
    return Instances(
        np.array([one.image for one in found], np.int64),
        np.array([one.area for one in found], np.float64),
        np.array([one.perimeter_ratio for one in found], np.float64),
        np.array([one.contrast for one in found], np.float64),
        {
            method: np.array([one.retention(method) for one in found], np.float64)
            for method in methods
        },
    )


def _loss_shares(photographs: Sequence[_Found], primary: str) -> dict[str, float]:
    """For every class, the share of its instances' pixels that the primary method lost."""
    rebuilt = [one for one in photographs if not np.isnan(one.retention(primary))]
    columns = sorted({one.column for one in rebuilt})
    shares = loss_shares(
        [columns.index(one.column) for one in rebuilt],
        np.array([one.area for one in rebuilt], np.float64),
        np.array([one.retention(primary) for one in rebuilt], np.float64),
    )
    return {columns[k]: share for k, share in shares.items()}


def _lost(one: _Found, primary: str) -> float:
    """Fraction of the image; NaN where the method failed."""
    return one.area * (1 - one.retention(primary))


def _pictures(
    seen: Sequence[Seen], found: Sequence[_Found], shares: Mapping[str, float], primary: str
) -> list[Picture]:
    """Photographs by rank, then controls in order."""
    typicality = _typicality(seen, primary)
    pictures = []
    for number, one in enumerate(seen):
        held = [each for each in found if each.image == number]
        photograph = one.entry.role == "photograph"
        whole = _by(one, primary).failed is None
        gone = [each for each in held if each.retention(primary) < VANISHED_BELOW]
        pictures.append(
            Picture(
                id=_picture_id(seen, number),
                role=one.entry.role,
                name=one.entry.name,
                image=one.image,
                label_map=one.label_map,
                true_label_map=one.true_label_map,
                rebuilt=one.rebuilt,
                lost=math.fsum(_lost(each, primary) for each in held) if whole else None,
                weighted_loss=math.fsum(shares[each.column] * _lost(each, primary) for each in held)
                if whole and photograph
                else None,
                vanished=len(gone),
                vanished_area=math.fsum(each.area for each in gone) if whole else None,
                rank=None,
                typicality=typicality.get(number),
            )
        )
    ranked = sorted(
        (one for one in pictures if one.weighted_loss is not None),
        key=lambda one: -(one.weighted_loss or 0.0),
    )
    rank = {one.id: i for i, one in enumerate(ranked, start=1)}
    pictures = [dataclasses.replace(one, rank=rank.get(one.id)) for one in pictures]
    return sorted(pictures, key=_photographs_by_rank)


def _photographs_by_rank(one: Picture | Instance) -> tuple[bool, float]:
    return one.role == "control", math.inf if one.rank is None else float(one.rank)


def _by(one: Seen, method: str) -> Rebuilt:
    return next(rebuilt for rebuilt in one.rebuilt if rebuilt.method == method)


def _typicality(seen: Sequence[Seen], primary: str) -> dict[int, Typicality]:
    """Every photograph's loss among the controls', by the number of its image."""
    whole = [i for i, one in enumerate(seen) if _by(one, primary).failed is None]
    controls = [i for i in whole if seen[i].entry.role == "control"]
    if not controls:
        return {}
    statistic: Literal["loss", "pixel_error"] = "loss"
    if any(_by(seen[i], primary).loss is None for i in whole):
        statistic = "pixel_error"
    values = {i: float(getattr(_by(seen[i], primary), statistic)) for i in whole}
    found = {}
    for i in whole:
        if seen[i].entry.role == "photograph":
            rank = 1 + sum(values[j] >= values[i] for j in controls)
            p_value = rank / (len(controls) + 1)
            found[i] = Typicality(
                statistic=statistic,
                rank=rank,
                of=len(controls) + 1,
                p_value=p_value,
                atypical=p_value < ATYPICAL_BELOW,
            )
    return found


def _classes(
    by_class: Mapping[str, Sequence[_Found]],
    judged: Mapping[str, ClassJudgement],
    shares: Mapping[str, float],
    primary: str,
    pictures: Sequence[Picture],
    judging: Judging,
) -> list[ClassEvidence]:
    """The classes, gravest verdict first, then by rank."""
    whole = max(1, sum(one.weighted_loss is not None for one in pictures))

    def seen_enough(column: str) -> bool:
        return judged[column].by_method[primary].photographs.images >= judging.least_images

    order = sorted(
        by_class,
        key=lambda column: (not seen_enough(column), -shares.get(column, -1.0), column),
    )
    rows = []
    for rank, column in enumerate(order, start=1):
        these, judgement = by_class[column], judged[column]
        rebuilt = [one for one in these if not np.isnan(one.retention(primary))]
        lost = math.fsum(_lost(one, primary) for one in rebuilt) / whole
        rows.append(
            ClassEvidence(
                column=column,
                verdict=judgement.verdict,
                reason=judgement.reason,
                instances=len(these),
                images=len({one.image for one in these}),
                vanished=sum(one.retention(primary) < VANISHED_BELOW for one in rebuilt),
                area=math.fsum(one.area for one in rebuilt) / whole,
                lost=lost if rebuilt else None,
                lost_share=shares.get(column),
                rank=rank,
                retention=tuple(
                    ClassRetention(
                        method=method,
                        photographs=_mean(one.photographs),
                        matched=_mean(one.matched),
                        controls=_mean(one.controls),
                    )
                    for method, one in judgement.by_method.items()
                ),
                peers=_mean(judgement.peers),
                p_value=judgement.p_value,
                p_holm=judgement.p_holm,
                range_method=judgement.range_method,
            )
        )
    return sorted(
        rows,
        key=lambda row: (0 if row.verdict is None else VERDICTS.index(row.verdict), row.rank),
    )


def _mean(found: MeanRetention) -> Mean:
    return Mean(
        mean=found.mean,
        interval=(None, None) if found.interval is None else found.interval,
        instances=found.instances,
        images=found.images,
    )


def _instances(
    seen: Sequence[Seen],
    found: Sequence[_Found],
    shares: Mapping[str, float],
    primary: str,
    matched: Mapping[str, tuple[str, ...]],
) -> list[Instance]:
    """The photographs' by rank, then the controls' in order."""

    def part(one: _Found) -> float:
        return shares[one.column] * _lost(one, primary)

    ranked = sorted(
        (
            one
            for one in found
            if seen[one.image].entry.role == "photograph" and not np.isnan(one.retention(primary))
        ),
        key=lambda one: (-part(one), one.id),
    )
    rank = {one.id: i for i, one in enumerate(ranked, start=1)}
    rows = [
        Instance(
            id=one.id,
            image=_picture_id(seen, one.image),
            role=seen[one.image].entry.role,
            column=one.column,
            box=one.region.box,
            area_pixels=one.region.pixels,
            area=one.area,
            perimeter_ratio=one.perimeter_ratio,
            contrast=one.contrast,
            fates=one.fates,
            controls=matched.get(one.id, ()),
            rank=rank.get(one.id),
        )
        for one in found
    ]
    return sorted(rows, key=_photographs_by_rank)


def _caveats(
    collection: Collection,
    seen: Sequence[Seen],
    found: Sequence[_Found],
    classes: Sequence[ClassEvidence],
    pictures: Sequence[Picture],
    measured: Measured,
    primary: str,
) -> Iterator[str]:
    if collection.controls is None:
        yield (
            "There are no controls: what vanished may be what this tool cannot rebuild, and not "
            "what the generator cannot draw. Scenes and classes are ranked by what was lost, and "
            "no class has a verdict. Give the generator's own images and their reconstructions "
            "by the same tool."
        )
    else:
        kept = [
            one.retention(primary)
            for one in found
            if seen[one.image].entry.role == "control" and not np.isnan(one.retention(primary))
        ]
        if kept and np.mean(kept) < CONTROL_PASSES:
            yield (
                f"Even of the generator's own images only {100 * np.mean(kept):.0f} % of the "
                "pixels of an instance are retained on average: the search, not the generator, "
                "may be what loses things. Verdicts compare with matched controls, which share "
                "that fault."
            )
        judge = _judge(collection.methods, primary)
        if judge.method == "nearest":
            yield (
                f"Verdicts are about what the generator draws (the {judge.label}): a class that it "
                'draws more rarely than once in so many images is called "cannot draw", too.'
            )
            if all(one.key != _REFERENCE for one in collection.methods):
                yield (
                    "There are not as many other photographs as samples, and without them nobody "
                    'can say what a perfect generator would keep: no class is called "cannot '
                    'draw". Ask for fewer samples.'
                )
        if not any(one.in_range for one in collection.methods):
            yield (
                "No method whose reconstructions are images of the generator (d, e) was run, so "
                'no class can be called "can draw".'
            )
        if measured.selection is None and collection.methods[0].method == "given":
            yield (
                "Photographs and controls were given, not chosen here: the test assumes that both "
                "were chosen by one rule. Photographs picked by hand for what they lost prove "
                "nothing."
            )
        if measured.selection is not None and not collection.controls.provenance.get("selection"):
            yield (
                "The photographs are those that hold most of a class, and the controls were not "
                "chosen so: what is chosen for its size is retained better or worse than what is "
                "not, and only matching makes up for it."
            )
        odd = [one for one in pictures if one.typicality is not None and one.typicality.atypical]
        if odd:
            yield (
                f"{len(odd)} of {collection.photographs.images} photographs are atypical: their "
                "loss is larger than that of nearly all of the generator's own images. That does "
                "not say what the generator cannot draw."
            )
    if collection.photographs.images < _FEW:
        yield (
            f"{collection.photographs.images} photograph"
            f"{' is' if collection.photographs.images == 1 else 's are'} few: a mean retention "
            "is known no better than its interval says."
        )
    yield from _about_sizes(collection, measured)
    failed = [one.entry.name for one in seen if _by(one, primary).failed is not None]
    if failed:
        yield (
            f"{len(failed)} image{' was' if len(failed) == 1 else 's were'} not reconstructed "
            f"({_listed(failed)}) and left out of every number."
        )
    untested = [one.name for one in classes if one.verdict == "untested"]
    if untested:
        yield (
            f"{len(untested)} class{' is' if len(untested) == 1 else 'es are'} in too few "
            f"photographs to test ({_listed(untested)}). Without a verdict "
            f"{'it is' if len(untested) == 1 else 'they are'} not cleared."
        )
    if measured.true_label_maps:
        yield (
            "Instances of photographs are those of exact label maps, as far as the segmenter sees "
            "them; reconstructions and controls are segmented."
        )


def _about_sizes(collection: Collection, measured: Measured) -> Iterator[str]:
    """What was resized, where images and reconstructions come in different sizes."""
    sizes = measured.sizes
    methods = set().union(*(sizes.get(one.key, set()) for one in collection.methods))
    ours = sizes.get("photograph", set()) | sizes.get("control", set())
    if ours == methods and len(ours) == 1:
        return
    yield (
        f"Images are {_sizes(ours)} and reconstructions {_sizes(methods)} pixels: of every pair "
        "the shorter sides were made equal (the smaller one's, at most the segmenter's "
        f"{measured.side}), and the centre squares compared. Pairs that were cropped otherwise "
        "do not lie on each other, and lose what is not lost."
    )


def _sizes(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) > 3:
        return f"of {len(sizes)} sizes"
    return ", ".join(f"{height}×{width}" for height, width in sorted(sizes))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
