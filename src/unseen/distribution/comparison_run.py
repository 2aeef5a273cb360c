"""Compare sets of images, generators, areas or tallies, and keep what the page shows.

Each side becomes areas (drawn where it is a generator, segmented where it is images); the images
that hold most of a class are kept with their label maps; the record is written last, when all that
it names is there.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict, Unpack, cast

from unseen.core.errors import RecordError, SpecError
from unseen.core.files import as_path, check_writable, remove_asides
from unseen.core.lock import LOCK, PATIENCE, locked
from unseen.core.options import (
    SEED_MOST,
    Argument,
    Device,
    Labels,
    Option,
    Overwrite,
    SkipBroken,
    Workers,
    check_labels,
    check_options,
)
from unseen.core.progress import Watch, watch_in_notebook
from unseen.core.results import in_temporary_folder
from unseen.distribution.areas import Areas, areas_identity, columns_named
from unseen.distribution.areas_file import read_areas
from unseen.distribution.areas_run import AreasRun, label_batch, make_areas
from unseen.distribution.areas_work import Opening, make_apart
from unseen.distribution.audit_labels import read_answers
from unseen.distribution.compare import Threshold
from unseen.distribution.compare import compare as compare_areas
from unseen.distribution.comparison import FILE, Comparison, GateResult, write_comparison
from unseen.distribution.comparison_exports import export_images
from unseen.distribution.designs import (
    GROUPS_HELP,
    Known,
    Said,
    check_pairs_can_be_grouped,
    side_designs,
    side_keys,
)
from unseen.distribution.example_images import Candidates, Shown, clear_side, keep_side, sample_rows
from unseen.distribution.instrument import WEARABLE, measure_images, worn_to
from unseen.distribution.pairing import candidates, pair_sides, without_partner
from unseen.distribution.segment import (
    BatchSize,
    Channel,
    CheckSegmenter,
    MatchResolution,
    Segmentation,
    default_segmenter,
)
from unseen.distribution.segmenter_check import Check, differences
from unseen.distribution.tally import read_tally
from unseen.engines.engine import Engine
from unseen.generators import Generator, Precision
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sources import Drawing, keep_drawn
from unseen.images import Images, ImageSource, Preparation, batches
from unseen.images.pixels import Rounding
from unseen.images.preparation import Fit, FitName
from unseen.images.protocol import conditions_of
from unseen.segmenters import Segmenter, class_names, load_segmenter
from unseen.segmenters.open_classes import with_classes
from unseen.segmenters.protocol import OpenClasses, SegmenterName, SegmenterPrecision
from unseen.statistics import PRESENCE_THRESHOLD, self_halves

_SUFFIXES = ("", "-second")  # of areas by the two segmenters
_WEAR_SAMPLE = 64  # images by which blur and fading are set

ComparisonSide = str | Path | Areas | ImageSource | Generator | Images
Judge = Callable[[Comparison], GateResult]  # what a gate says of the finished comparison


def _threshold(text: str) -> Threshold:
    """A presence threshold as the command line has it."""
    if text in ("auto", "region"):
        return cast("Threshold", text)
    try:
        return float(text)
    except ValueError:
        raise SpecError(
            f"--presence-threshold {text!r} is no fraction of the image; give one, auto or region"
        ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonRun(Drawing):
    """What to compare, and how it is segmented where it is images.

    A side is a set of images (a spec or a path), a generator (a spec), an areas file (`.parquet`)
    or a tally of the 2019 code (`tally:FILE.npy`).

    >>> ComparisonRun(real="photos/", generated=("fakes/",), count=1_000).device
    'auto'
    """

    real: Annotated[
        str,
        Argument(
            "The real side: a folder or archive of images, the spec of images or of a generator, "
            "an areas file (.parquet), or tally:FILE.npy."
        ),
    ]
    generated: Annotated[
        Sequence[str],  # none: the real side is split into disjoint halves
        Argument(
            "The generated sides, of the same kinds as the real side. The newest comes last.",
        ),
    ] = ()
    out: Annotated[
        Path, Option("Folder for the record, the figures and the page, or its URL.", short="-o")
    ] = Path("comparison")
    labels: Labels = None
    classes: Annotated[
        Sequence[str],
        Option(
            "Test this class alone, and show every image that holds it. It may be repeated; then "
            "the intervals hold for these classes together.",
            name="--class",
            repeated=True,
        ),
    ] = ()
    segmenter: SegmenterName = None
    open_classes: OpenClasses = None
    second_segmenter: Annotated[
        str | None,
        Option("Spec of a second segmenter. A class on which the two disagree becomes undecided."),
    ] = None
    check_segmenter: CheckSegmenter = False
    channel: Channel = "object"
    count: Annotated[
        int | None,
        Option(
            "Images on each side: a seeded subset of a set, the first of a generator. A generator "
            "needs it. Default: all.",
            short="-n",
            min=2,
        ),
    ] = None
    seed: Annotated[
        int, Option("Seed of subsets, halves, permutations and resampling.", max=SEED_MOST)
    ] = 0
    presence_threshold: Annotated[
        Threshold,
        Option(
            "Fraction of the image from which on a class counts as present, or auto: a tenth of "
            "the area that the class typically has in the real images; or region: three tenths of "
            "it, for groups of regions.",
            min=1e-6,
            max=0.99,
            metavar="FRACTION",
            parse=_threshold,
        ),
    ] = PRESENCE_THRESHOLD
    groups: Annotated[
        Said,
        Option(
            f"{GROUPS_HELP} By side: real=folder,generated=condition. Default: a generator's "
            "conditions where they repeat.",
            metavar="GROUPS",
            parse=str,
        ),
    ] = None
    weights: Annotated[
        Said,
        Option(
            "How much images count: FILE.csv with the columns name and weight, or condition and "
            "weight; condition or folder for the frequencies of the real side; or none. By side as "
            "in --groups.",
            metavar="WEIGHTS",
            parse=str,
        ),
    ] = None
    paired: Annotated[
        bool,
        Option(
            "Compare each photograph with the image drawn for its caption, too: of the "
            "photographs that hold a class, how many drawn images do. Images without a partner "
            "are left out."
        ),
    ] = False
    audit: Annotated[
        Sequence[Path],
        Option(
            "Labels that people gave images (CSV, from the page of `unseen audit`): presence, "
            "ratio and verdict of their classes are corrected. Several files are several people.",
            metavar="FILE",
            repeated=True,
        ),
    ] = ()
    match_resolution: MatchResolution = None
    fit: Fit = "crop"
    device: Device = "auto"
    precision: SegmenterPrecision = "fp32"
    batch_size: BatchSize = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    pictures: Annotated[
        bool, Option("Keep the images that hold most of each class, for the page.")
    ] = True
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)
        if self.paired and not self.generated:
            raise SpecError("pairs need a generated side; name it, or leave --paired out")
        if self.paired:
            check_pairs_can_be_grouped(self.groups, self.weights, 1 + len(self.generated))
        if self.labels is not None:
            check_labels(self.labels, 1 + len(self.generated))


class ComparisonOptions(TypedDict, total=False):
    """The fields of `ComparisonRun` without sides, segmenter and folder, as keywords."""

    labels: Sequence[str] | None
    classes: Sequence[str]
    open_classes: str | None
    second_segmenter: str | None
    check_segmenter: bool
    channel: str
    count: int | None
    seed: int
    presence_threshold: Threshold
    groups: Said
    weights: Said
    paired: bool
    audit: Sequence[Path]
    match_resolution: int | None
    fit: FitName
    device: str
    precision: Precision
    batch_size: int
    workers: int | None
    skip_broken: bool
    pictures: bool
    overwrite: bool
    sample_seed: int
    rounding: Rounding
    generator_precision: Precision
    generator_batch_size: int
    keep_images: Path | None


def compare(
    real: ComparisonSide,
    generated: ComparisonSide | Sequence[ComparisonSide] = (),
    segmenter: Segmenter | str | Path | None = None,
    *,
    out: str | Path | None = None,
    watch: Watch | None = None,
    **options: Unpack[ComparisonOptions],
) -> Comparison:
    """Compare one set of real images with one generated set, or with several.

    A side is areas, a set of images (a path, a spec, an image source, images in memory as
    `open_images` takes them), or a generator (itself or its spec). A list of such sides is several
    generated sides; a list of pictures is one.

    Args:
        real: the real side.
        generated: the generated side or sides; without one, the real side is split into halves.
        segmenter: itself or its spec; needed for no side that is areas already.
        out: folder for areas, pictures and `comparison.json`; None: a temporary folder, which goes
            with the comparison.
        watch: gives the progress of each side that is segmented; None: a bar in a notebook.
        options: the other fields of `ComparisonRun`: count, seed, labels, device, …

    Returns:
        The record. `folder` says where its pictures lie; `save` keeps them elsewhere.

    Raises:
        UnseenError: as in `run_comparison`.

    >>> unseen.compare(real, fakes).generated[0].named("omitted")[0].name
    'person'
    >>> unseen.compare("churchyard", "churchyard?seed=9", count=8).columns[:3]
    ('object/sky', 'object/cloud', 'object/mountain')
    """
    sides: list[ComparisonSide] = [real]
    if isinstance(generated, list | tuple) and all(_is_side(side) for side in generated):
        sides += generated
    else:
        sides.append(generated)
    areas = [side for side in sides if isinstance(side, Areas)]
    if out is None and len(areas) == len(sides) > 1:
        of_areas: Any = dict(options)  # those that decide nothing of areas are refused there
        if of_areas.pop("check_segmenter", False):
            of_areas["checks"] = [Check()] * (len(areas) - 1)
        of_areas["audit"] = read_answers(map(as_path, of_areas.get("audit", ())))
        return compare_areas(areas[0], areas[1:], **of_areas)
    texts = [str(side) if isinstance(side, str | Path) else "" for side in sides]
    named = str(segmenter) if isinstance(segmenter, str | Path) else None
    loaded = None if isinstance(segmenter, str | Path) else segmenter

    def make(folder: Path) -> Comparison:
        task = ComparisonRun(
            real=texts[0], generated=texts[1:], out=folder, segmenter=named, **options
        )
        return run_comparison(task, watch=watch, sides=sides, segmenter=loaded)

    return in_temporary_folder(make) if out is None else make(as_path(out))


def _is_side(side: object) -> bool:
    return isinstance(side, str | Path | Areas | ImageSource | Generator)


def run_comparison(
    task: ComparisonRun,
    *,
    watch: Watch | None = None,
    sides: Sequence[ComparisonSide] | None = None,
    segmenter: Segmenter | None = None,
    judge: Judge | None = None,
    engine: Engine | None = None,
) -> Comparison:
    """Compare the sides and write `comparison.json` with its pictures and areas.

    Args:
        task: what to compare.
        watch: gives the progress of each side that is segmented; None: a bar in a notebook.
        sides: instead of the texts of the task, the real one first.
        segmenter: instead of that which the task names.
        judge: gives what the record says of the gate, such as `Gate(("omitted",)).judge`.
        engine: where the sides are segmented; None: here.

    Returns:
        The record, as written. `unseen.report(task.out, …)` draws its page.

    Raises:
        UnseenError: a side that cannot be read, sides that do not match, too few images; see
            `segment` and `compare`.
    """
    run = _Run(task, watch or watch_in_notebook, sides, segmenter, engine or Engine())
    record = task.out / FILE
    check_writable(record)
    with locked(task.out / LOCK, patience=PATIENCE):
        remove_asides(task.out)
        comparison = run.compare()
        if task.pictures:
            comparison = run.keep_pictures(comparison)
        if judge is not None:
            comparison = dataclasses.replace(comparison, gate=judge(comparison))
        export_images(comparison, task.out)
        write_comparison(record, comparison)
    return comparison.at(task.out)


@dataclasses.dataclass(frozen=True)
class _Input:
    """One side as the user named it."""

    text: str
    key: str  # of its files: "real", "generated-1", …
    source: ImageSource | None  # of images or of a generator; None where it is areas
    areas: Areas | None  # None where it is images, until it is segmented
    named: bool = False  # whether the text opens the source, in another process, too
    paired: Sequence[int] | None = None  # the source's images that have partners; None: a subset
    candidates: Candidates = dataclasses.field(default_factory=Candidates)  # for its pictures


class _Run:
    """One run of a task."""

    def __init__(
        self,
        task: ComparisonRun,
        watch: Watch,
        sides: Sequence[ComparisonSide] | None,
        segmenter: Segmenter | None,
        engine: Engine,
    ) -> None:
        self.task, self.watch, self.engine = task, watch, engine
        self.answers = read_answers(map(as_path, task.audit))  # before any work
        if sides is None:
            sides = [task.real, *task.generated]
        keys = [names[0] for names in side_keys(len(sides))]
        self.inputs = [self._open(side, key) for side, key in zip(sides, keys, strict=True)]
        if task.keep_images is not None:
            self._keep_images(as_path(task.keep_images))
        self.labels = list(task.labels or _told_apart([side.text for side in self.inputs]))
        sources = [side.source for side in self.inputs if side.source is not None]
        self.alone: Sequence[int] = [0] * len(self.inputs)  # images without a partner
        if task.paired:
            self.inputs = self._paired()
        # too few images, no count, groups that do not fit: said before hours of work
        side_designs(
            [
                self._known(side, label)
                for side, label in zip(self.inputs, self.labels, strict=True)
            ],
            task.groups,
            task.weights,
        )
        if task.second_segmenter is not None and len(sources) < len(self.inputs):
            areas = next(side.text for side in self.inputs if side.source is None)
            raise RecordError(
                f"{areas} is areas already, which a second segmenter cannot see; name the images "
                "of every side"
            )
        chosen: list[Segmenter | str | None] = [segmenter, task.second_segmenter]
        if sources and segmenter is None:
            named = with_classes(task.segmenter, task.open_classes)
            chosen[0] = named or default_segmenter(*sources)
        self.chosen = [name for name in chosen if name is not None]  # or their names
        self.segmenters = [
            load_segmenter(name, device=task.device, precision=task.precision)
            if isinstance(name, str)
            else name
            for name in self.chosen
        ]
        if task.classes:
            self._ask_for(task.classes)

    def _ask_for(self, classes: Sequence[str]) -> None:
        """Refuse a class that is not known before any work; keep the pictures of the others."""
        areas = [side.areas for side in self.inputs if side.areas is not None]
        names = [] if areas else class_names(self.segmenters[0], self.task.channel)
        columns = areas[0].columns if areas else [f"{self.task.channel}/{name}" for name in names]
        asked = [columns.index(column) for column in columns_named(columns, classes)]
        least = self.task.presence_threshold
        for side in self.inputs:
            side.candidates.keep_all(asked, 0.0 if isinstance(least, str) else least)

    def _known(self, side: _Input, label: str) -> Known:
        """What is known of the images of a side before they are segmented."""
        if side.areas is not None:
            return Known(label, side.areas.names, side.areas.conditions)
        assert side.source is not None
        return self._described(side.source, self._indices(side), label)

    @staticmethod
    def _described(source: ImageSource, indices: Sequence[int], label: str) -> Known:
        conditions = conditions_of(source, indices)
        return Known(label, [source.names[index] for index in indices], conditions)

    def _indices(self, side: _Input) -> Sequence[int]:
        """The images of a side that are compared, in its source's index."""
        assert side.source is not None
        if side.paired is not None:
            return side.paired
        return Segmentation(count=self.task.count, seed=self.task.seed).indices(side.source)

    def _paired(self) -> list[_Input]:
        """The sides, of which those images are kept that have partners on every other side."""
        there = [len(side.areas) for side in self.inputs if side.areas is not None]
        there += [
            len(side.source.names)
            for side in self.inputs
            if side.source is not None and not side.source.endless
        ]
        if not there:
            raise SpecError(
                "pairs need photographs, whose number and captions are known; every side here is "
                "without end"
            )
        known = []
        for side, label in zip(self.inputs, self.labels, strict=True):
            if side.source is None:
                known.append(self._known(side, label))
            else:
                images = candidates(max(there)) if side.source.endless else len(side.source.names)
                known.append(self._described(side.source, range(images), label))
        pairing = pair_sides(known)
        self.alone = [
            0 if side.source is not None and side.source.endless else images
            for side, images in zip(self.inputs, pairing.alone, strict=True)
        ]
        return [
            dataclasses.replace(side, areas=side.areas.part(rows))
            if side.areas is not None
            else dataclasses.replace(side, paired=rows)
            for side, rows in zip(
                self.inputs, pairing.chosen(self.task.count, self.task.seed).rows, strict=True
            )
        ]

    def _source(self, side: Any) -> ImageSource:
        return self.task.open(side, self.task.device, skip_broken=self.task.skip_broken)

    def _open(self, side: ComparisonSide, key: str) -> _Input:
        if isinstance(side, Areas):
            sources = [str(source["spec"]) for source in side.provenance.get("images", [])]
            return _Input(" + ".join(sources) or key, key, None, side)
        if not isinstance(side, str | Path):
            source = self._source(side)
            return _Input(source.spec, key, source, None)
        text = str(side)
        if text.startswith("tally:"):
            return _Input(text, key, None, read_tally(text))
        if text.endswith(".parquet") and not text.startswith("parquet:"):  # which are images
            return _Input(text, key, None, read_areas(as_path(text)))
        if not text.strip():
            raise SpecError("a side is named by an empty text; name a folder, a file or a spec")
        return _Input(text, key, self._source(text), None, named=True)

    def _keep_images(self, folder: Path) -> None:
        """Let the generators keep what they draw: one in the folder, several in one each."""
        generators = sum(isinstance(side.source, DrawnImages) for side in self.inputs)
        if not generators:
            raise SpecError(
                "no side is a generator, so there are no drawn images to keep; leave the folder "
                "for images out"
            )
        self.inputs = [
            dataclasses.replace(
                side,
                source=keep_drawn(
                    side.source,
                    folder / side.key if generators > 1 else folder,
                    overwrite=self.task.overwrite,
                ),
            )
            if isinstance(side.source, DrawnImages)
            else side
            for side in self.inputs
        ]

    def compare(self) -> Comparison:
        """The record, without pictures."""
        task = self.task
        seen = [self._areas(side) for side in self.inputs]
        areas = [by_segmenter[0] for by_segmenter in seen]
        self.identities = [areas_identity(side.provenance) for side in areas]
        labels, groups, weights = self.labels, task.groups, task.weights
        halves = None
        if len(self.inputs) == 1:
            known = Known(labels[0], areas[0].names, areas[0].conditions)
            (told,) = side_designs([known], groups, weights)
            halves = self_halves(len(areas[0]), task.seed, design=told.design)
            groups = {"real": told.take(halves[0]), "generated": told.take(halves[1])}
            labels, weights = [f"{labels[0]} (one half)", f"{labels[0]} (other half)"], None
        real, generated = _sides(areas, halves)
        second = None
        if task.second_segmenter is not None:
            second = _sides([by_segmenter[1] for by_segmenter in seen], halves)
        checks, second_checks = (
            [self._check(which, side, seen) for side in range(1, len(generated) + 1)]
            if task.check_segmenter and (which == 0 or second is not None)
            else None
            for which in (0, 1)
        )
        comparison = compare_areas(
            real,
            generated,
            seed=task.seed,
            presence_threshold=task.presence_threshold,
            labels=labels,
            classes=task.classes,
            second=second,
            groups=groups,
            weights=weights,
            paired=task.paired,
            checks=checks,
            second_checks=second_checks,
            audit=self.answers,
        )
        left_out = without_partner(self.labels, self.alone)
        comparison = dataclasses.replace(comparison, caveats=(*left_out, *comparison.caveats))
        if halves is not None:
            return comparison  # no file holds the areas of a half
        files = [self._areas_file(side) for side in self.inputs]
        return dataclasses.replace(
            comparison,
            real=dataclasses.replace(comparison.real, areas=files[0]),
            generated=tuple(
                dataclasses.replace(side, areas=file)
                for side, file in zip(comparison.generated, files[1:], strict=True)
            ),
        )

    def _areas_file(self, side: _Input) -> str | None:
        """Where the areas of a side lie: below the folder of the run, or as they were named."""
        if side.source is not None:
            return self._areas_of(side, "").relative_to(self.task.out).as_posix()
        return side.text if side.text.endswith(".parquet") else None

    def _areas_of(self, side: _Input, suffix: str) -> Path:
        checked = "-checked" if self.task.check_segmenter else ""
        return self.task.out / "areas" / f"{side.key}{suffix}{checked}.parquet"

    def _check(self, which: int, side: int, seen: Sequence[Sequence[Areas]]) -> Check:
        """The check of a segmenter on a generated side: images made alike where they differ much.

        Args:
            which: the number of the segmenter.
            side: the number of the generated side among the inputs.
            seen: the areas of every input by every segmenter.
        """
        pair = (0, side)
        if side >= len(self.inputs) or any(self.inputs[i].source is None for i in pair):
            return Check()  # halves of one set, or areas
        areas = [seen[i][which] for i in pair]
        # For each of the two, what it has more of, and which share of that the other side has.
        more: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for measure in differences(areas[0], areas[1]):
            if measure.large and measure.name in WEARABLE:
                means = (measure.real, measure.generated)
                worn = 0 if measure.name == "brightness" else int(means[1] > means[0])
                more[worn][measure.name] = means[1 - worn] / means[worn]
        if not any(more):
            return Check()
        real, generated = (
            self._worn(which, self.inputs[i], areas[k], more[k], self.inputs[pair[1 - k]])
            if more[k]
            else areas[k]
            for k, i in enumerate(pair)
        )
        return Check((real, generated))

    def _worn(
        self, which: int, side: _Input, areas: Areas, shares: Mapping[str, float], like: _Input
    ) -> Areas:
        """The areas of a side whose images have so much of their brightness, contrast, … left."""
        assert side.source is not None
        task, segmenter = self.task, self.segmenters[which]
        segmentation = self._segmentation(check=False)
        sample = next(
            batches(
                side.source,
                self._indices(side)[:_WEAR_SAMPLE],
                Preparation(segmenter.resolution, task.match_resolution, task.fit),
                batch_size=_WEAR_SAMPLE,
                workers=0,
                skip_broken=task.skip_broken,
            )
        ).images
        means = {name: float(values.mean()) for name, values in measure_images(sample).items()}
        wear = worn_to(sample, {name: share * means[name] for name, share in shares.items()})
        with self.watch(f"{side.text}, made like {like.text}") as progress:
            run = segmentation.run(
                side.source,
                segmenter,
                areas.provenance["images"][0]["fingerprint"],
                out=task.out / "areas" / f"{side.key}-like-{like.key}{_SUFFIXES[which]}.parquet",
                progress=progress,
                wear=wear,
                paired=side.paired,
            )
            return make_areas([run])[0]

    def keep_pictures(self, comparison: Comparison) -> Comparison:
        """The record with the pictures of its example images, where the sides are images."""
        inputs = self.inputs if len(self.inputs) > 1 else [self.inputs[0], self.inputs[0]]
        keys = ["real", *(f"generated-{i + 1}" for i in range(len(inputs) - 1))]
        identities = [*self.identities, self.identities[0]]  # the last is for halves
        for key, side, identity in zip(keys, inputs, identities, strict=False):
            if side.source is None:
                clear_side(self.task.out, key)
                continue
            show = _Pictures(self.task, side, self._indices(side), self.segmenters[0])
            comparison = keep_side(self.task.out, key, comparison, identity, show)
        return comparison

    def _segmentation(self, *, check: bool) -> Segmentation:
        task = self.task
        return Segmentation(
            count=task.count,
            seed=task.seed,
            channel=task.channel,
            match_resolution=task.match_resolution,
            fit=task.fit,
            batch_size=task.batch_size,
            workers=task.workers,
            skip_broken=task.skip_broken,
            check_segmenter=check,
            overwrite=task.overwrite,
        )

    def _areas(self, side: _Input) -> list[Areas]:
        """The areas of a side by each segmenter, in one pass over its images."""
        if side.areas is not None:
            return [side.areas]
        assert side.source is not None
        task, fingerprint = self.task, side.source.fingerprint()
        segmentation = self._segmentation(check=task.check_segmenter)
        indices = self._indices(side)
        sample = sample_rows(len(indices), task.seed)
        side.candidates.want(side.source.names[indices[row]] for row in sample)
        with self.watch(side.text) as progress:
            runs = [
                segmentation.run(
                    side.source,
                    segmenter,
                    fingerprint,
                    out=self._areas_of(side, suffix),
                    progress=progress,
                    see=side.candidates if task.pictures and not suffix else None,
                    paired=side.paired,
                )
                for segmenter, suffix in zip(self.segmenters, _SUFFIXES, strict=False)
            ]
            if self.engine.apart:
                self._make_apart(side, runs, segmentation)
            areas = make_areas(runs)
        if isinstance(side.source, DrawnImages) and side.source.keep is not None:
            side.source.keep_all(runs[0].indices)  # those of areas that an earlier run made
        return areas

    def _make_apart(
        self, side: _Input, runs: Sequence[AreasRun], segmentation: Segmentation
    ) -> None:
        """Let the engine make the shards of a side, by one segmenter after the other."""
        task = self.task
        for run, segmenter in zip(runs, self.chosen, strict=True):
            opening = Opening(
                images=side.text if side.named else side.source,
                segmenter=segmenter,
                drawing=dataclasses.replace(
                    task.drawing, keep_images=getattr(side.source, "keep", None)
                ),
                device=task.device,
                precision=task.precision,
            )
            make_apart(run, segmentation, opening, self.engine, paired=side.paired)


@dataclasses.dataclass(frozen=True, eq=False)
class _Pictures:
    """Shows images of a side as they were segmented, with their label maps."""

    task: ComparisonRun
    side: _Input
    chosen: Sequence[int]  # the images that were compared
    segmenter: Segmenter

    def __call__(self, names: list[str]) -> Iterator[Shown]:
        """The images of these names: kept from the pass over the images, or read again."""
        kept = self.side.candidates.show(names)
        yield from kept
        task, source = self.task, self.side.source
        assert source is not None
        rest = sorted(set(names) - {name for name, *_ in kept}, key=names.index)
        if not rest:
            return
        preparation = Preparation(self.segmenter.resolution, task.match_resolution, task.fit)
        index_of = {source.names[index]: index for index in self.chosen}
        stream = batches(
            source,
            [index_of[name] for name in rest],
            preparation,
            batch_size=task.batch_size,
            workers=0,
        )
        for batch in stream:
            shown = [rest[position] for position in batch.positions]
            label_maps = label_batch(
                self.segmenter,
                batch.images,
                task.channel,
                of=(source, shown, batch.sizes),
                preparation=preparation,
            ).maps
            yield from zip(
                shown,
                map(preparation.picture, batch.images, batch.sizes),
                label_maps,
                strict=True,
            )


def _sides(areas: Sequence[Areas], halves: tuple[Any, Any] | None) -> tuple[Areas, Sequence[Areas]]:
    """Real and generated areas; or the halves of a set that is compared with itself."""
    if halves is None:
        return areas[0], areas[1:]
    return _rows(areas[0], halves[0]), [_rows(areas[0], halves[1])]


def _rows(areas: Areas, rows: Any) -> Areas:
    """Some images of the areas; the provenance says so."""
    images = [
        {**source, "count": len(rows), "half": True}
        for source in areas.provenance.get("images", [])[:1]
    ]
    return dataclasses.replace(areas.part(rows), provenance={**areas.provenance, "images": images})


def _told_apart(texts: Sequence[str]) -> list[str]:
    """What the user wrote, of long paths the end; numbered where two sides are written alike."""
    labels = [text.rstrip("/") or text for text in texts]
    short = [
        "/".join(Path(label).parts[-2:]) if Path(label).is_absolute() else label for label in labels
    ]
    if len(set(short)) == len(set(labels)):
        labels = short
    return [
        f"{label} ({i + 1})" if labels.count(label) > 1 else label for i, label in enumerate(labels)
    ]
