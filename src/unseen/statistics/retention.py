"""What retained and lost instances say of a class: matched controls, ratios, verdict.

The retention of a class's instances in photographs is compared with that of *control regions*:
instances of any class in the generator's own images, inverted by the same optimiser, matched on
area, perimeter ratio and contrast. Controls begin nearer to their solution than photographs do, so
it is also compared with that of its *peers*, instances of other classes in the photographs, matched
in the same way. A class that the segmenter finds again only in part, in any image, is compared with
itself in the generator's own images, where these hold it. A mosaic of samples has a closer control
than peers and that: what the same mosaic of photographs retains of the same instances. Instances of
one image are not independent, so images, or the groups that they belong to, are counted and
resampled, never instances. Arrays alone; definitions and a simulation are in docs/evidence.md.
"""

import dataclasses
import math
from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float64, Int64

from unseen.core.errors import SampleError
from unseen.core.verdicts import Against, InstanceVerdict
from unseen.core.wording import count, listed, share
from unseen.statistics.retention_ratio import Retained, RetentionRatio

_LEVEL = 0.95  # of intervals
_FORBIDDEN = 1e6  # cost of a pair outside of the calipers; a pair inside costs √3 at most
_IN_WORDS: Mapping[Against, str] = {
    "controls": "of its controls",
    "own": "of it in the generator's own images",
    "peers": "of its peers",
    "reference": "of it by as many other photographs",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judging:
    """The numbers that decide; docs/evidence.md says why these."""

    area_factor: float = 1.5  # a control's area is at most 1.5 times larger or smaller
    perimeter_factor: float = 1.3  # the same of its perimeter ratio
    contrast_within: float = 0.1  # its contrast, 0 to 1, differs by 0.1 at most
    controls_per_instance: int = 4  # matched at most
    least_images: int = 5  # photographs, and generated images, that a test needs
    half: float = 0.5  # ratio to controls, peers and itself, between "cannot" and "can draw"
    third: float = 1 / 3  # ratio to the reference, below which alone a class is "cannot draw"
    significance: float = 0.05  # of both ends of a ratio's interval, over all classes together
    resamples: int = 1999  # of the intervals of means
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Instances:
    """Instances of one kind, in arrays.

    Attributes:
        images: number of the image that each lies in.
        area: fraction of its image.
        perimeter_ratio: as `instances.perimeter_ratio`.
        contrast: as `instances.contrast`.
        retention: a method each → share retained; NaN where the method failed on the image.
        groups: number of the group of images that each belongs to, such as the crops of one
            photograph; None: every image is a group of its own.
    """

    images: Int64[np.ndarray, " n"]
    area: Float64[np.ndarray, " n"]
    perimeter_ratio: Float64[np.ndarray, " n"]
    contrast: Float64[np.ndarray, " n"]
    retention: Mapping[str, Float64[np.ndarray, " n"]]
    groups: Int64[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        columns = (self.images, self.area, self.perimeter_ratio, self.contrast, self.units)
        lengths = {len(column) for column in (*columns, *self.retention.values())}
        if len(lengths) > 1:
            raise SampleError(
                f"instances have columns of {' and '.join(map(str, sorted(lengths)))} entries; "
                "each needs an entry an instance"
            )
        if not all(np.isfinite(column).all() for column in columns):
            raise SampleError("an instance has an area, shape or contrast that is not finite")
        if len(self) and min(self.area.min(), self.perimeter_ratio.min()) <= 0:
            raise SampleError("an instance has an area or a perimeter ratio that is not above 0")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def units(self) -> Int64[np.ndarray, " n"]:
        """What is independent: the groups, or the images."""
        return self.images if self.groups is None else self.groups

    def take(self, rows: np.ndarray) -> "Instances":
        """Some of them, by numbers or as a mask."""
        return Instances(
            self.images[rows],
            self.area[rows],
            self.perimeter_ratio[rows],
            self.contrast[rows],
            {method: values[rows] for method, values in self.retention.items()},
            self.units[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence["Instances"]) -> "Instances":
        """All of several kinds; at least one, of the same methods."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.area for part in parts]),
            np.concatenate([part.perimeter_ratio for part in parts]),
            np.concatenate([part.contrast for part in parts]),
            {
                method: np.concatenate([part.retention[method] for part in parts])
                for method in parts[0].retention
            },
            np.concatenate([part.units for part in parts]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanRetention:
    """A mean with its 95 % interval; None where there is nothing to take it of."""

    mean: float | None
    interval: tuple[float, float] | None  # None: fewer than two groups
    instances: int
    images: int
    groups: int  # that are independent; as many as images, unless these belong together


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodRetention:
    """One class under one method."""

    photographs: MeanRetention  # all instances
    matched: MeanRetention  # those with matched controls
    controls: MeanRetention  # the controls, each weighted by one over how many its instance has


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRatio:
    """The retention of one class over that of what it is compared with, beside a margin.

    Attributes:
        against: what it is compared with.
        method: by which the class was rebuilt; the other side by the primary method, or by the
            reference.
        ratio: of the two means; None where neither retains anything, infinite where the second does
            not.
        interval: of the ratio; the intervals of all classes hold together in 95 % of cases. The
            upper end is infinite where nothing bounds it.
        margin: what the ratio is compared with.
        p_value: one-sided, of "the ratio is at least the margin" (of a method in range(G): "at most
            the margin"), not adjusted.
        instances: of the class that are compared.
        groups: of images in which they lie.
        against_groups: in which those lie that they are compared with.
    """

    against: Against
    method: str
    ratio: float | None
    interval: tuple[float, float]
    margin: float
    p_value: float
    instances: int
    groups: int
    against_groups: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassJudgement:
    """One class of the photographs.

    Attributes:
        verdict: see `judge_classes`; None without controls.
        reason: one sentence that says why.
        by_method: in the order of the methods.
        controls: for every instance the rows of its matched controls, nearest first.
        peers: what the primary method retains of matched instances of the photographs' other
            classes, each weighted by one over how many its instance has.
        own: what it retains of the class's own instances in the generator's images.
        ratios: of the primary method, and of those in range(G) to the controls; none where the
            class was not tested.
        p_value: of "retained at least as much as a margin allows": the largest of the primary
            method's, times the number of classes tested; None where not tested.
        range_method: the method in range(G) that retained it, where the verdict is "can draw".
    """

    verdict: InstanceVerdict | None
    reason: str
    by_method: Mapping[str, MethodRetention]
    controls: Sequence[Sequence[int]]
    peers: MeanRetention
    own: MeanRetention
    ratios: Sequence[ClassRatio] = ()
    p_value: float | None = None
    range_method: str | None = None


def match_controls(
    instances: Instances, controls: Instances, judging: Judging = Judging()
) -> list[list[int]]:
    """Controls for every instance: within all three calipers, each control used once.

    In rounds of one control an instance, each round the assignment with the most pairs, and of
    those the least sum of distances (Euclidean, in units of the calipers).

    Args:
        instances: of one class, in photographs.
        controls: of any class, in the generator's own images.
        judging: the calipers, and the number of rounds.

    Returns:
        Rows of `controls` for every instance, nearest first.
    """
    squares = np.zeros((len(instances), len(controls)))
    within = np.ones(squares.shape, bool)
    columns_of_both = (_covariates(kind, judging).T for kind in (instances, controls))
    for ours, theirs in zip(*columns_of_both, strict=True):
        apart = ours[:, None] - theirs
        squares += apart**2
        within &= np.abs(apart) <= 1
    distance = np.where(within, np.sqrt(squares), _FORBIDDEN)
    matches: list[list[int]] = [[] for _ in range(len(instances))]
    free = np.flatnonzero(within.any(axis=0))
    for _ in range(judging.controls_per_instance):
        if len(free) == 0:
            break
        rows, columns = scipy.optimize.linear_sum_assignment(distance[:, free])
        allowed = distance[rows, free[columns]] < _FORBIDDEN
        if not allowed.any():
            break
        for row, column in zip(rows[allowed], columns[allowed], strict=True):
            matches[row].append(int(free[column]))
        free = np.delete(free, columns[allowed])
    return [
        sorted(rows, key=near.__getitem__) for rows, near in zip(matches, distance, strict=True)
    ]


def _covariates(instances: Instances, judging: Judging) -> Float64[np.ndarray, "n 3"]:
    """What is matched, in units of the calipers."""
    return np.stack(
        [
            np.log(instances.area) / math.log(judging.area_factor),
            np.log(instances.perimeter_ratio) / math.log(judging.perimeter_factor),
            instances.contrast / judging.contrast_within,
        ],
        axis=1,
    )


def mean_retention(
    values: Float64[np.ndarray, " n"],
    images: Int64[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"] | None = None,
    *,
    groups: Int64[np.ndarray, " n"] | None = None,
    resamples: int = 1999,
    seed: int = 0,
) -> MeanRetention:
    """The weighted mean, with a 95 % interval by resampling images with all their instances.

    Half an image that retains nothing and half a one that retains everything are resampled with
    them; they do not count for the mean.

    Args:
        values: of each instance, 0 to 1.
        images: the image of each.
        weights: of each; 1 unless given.
        groups: the group of each, resampled as a whole; None: every image is one.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    if len(values) == 0:
        return MeanRetention(mean=None, interval=None, instances=0, images=0, groups=0)
    units = images if groups is None else groups
    _, sums, sizes = Retained(values, units, weights).by_group()
    holding = len(sums)
    mean = float(sums.sum() / sizes.sum())
    interval = None
    if holding > 1:
        # Few images that are all retained well say nothing of the ones that are not: two more are
        # resampled with them, half as heavy as they, of which one retains nothing and the other
        # everything. (As Agresti and Coull add successes and failures, American Statistician 52,
        # 1998.) By simulation the lower end is then above the truth as seldom as it should be.
        extra = sizes.mean() / 2
        sums, sizes = np.append(sums, [0, extra]), np.append(sizes, [extra, extra])
        n = len(sums)
        # Percentiles of the bootstrap are too narrow for few images: too small by the factor
        # √((n − 1) / n), and normal where t is right. Hesterberg's expansion asks for percentiles
        # as far out as makes the two equal (American Statistician 69, 2015, section 5.3).
        t = scipy.special.stdtrit(n - 1, 0.5 + _LEVEL / 2)
        tail = scipy.special.ndtr(-t * math.sqrt(n / (n - 1)))
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        means = (drawn @ sums) / (drawn @ sizes)
        low, high = np.quantile(means, [tail, 1 - tail])
        interval = (float(low), float(high))
    return MeanRetention(
        mean=mean,
        interval=interval,
        instances=len(values),
        images=len(np.unique(images)),
        groups=holding,
    )


def judge_classes(
    photographs: Mapping[str, Instances],
    controls: Instances | None,
    *,
    primary: str,
    range_methods: Sequence[str] = (),
    reference: str | None = None,
    asked: Container[str] | None = None,
    own: Mapping[str, Instances] | None = None,
    judging: Judging = Judging(),
) -> dict[str, ClassJudgement]:
    """A verdict for every class that photographs hold.

    The first that holds:

    - *untested*: its instances lie in fewer than `least_images` photographs.
    - *undecided*: matched instances, or their controls, lie in fewer than `least_images` images,
      or fewer than half of the instances have a control.
    - *cannot draw*: of the ratio of what the primary method retains of it to what it retains of
      its controls, the upper end lies below a half; so do those of the ratios to its peers, where
      these lie in `least_images` photographs, and to the class's own instances in the generator's
      images, where there are any; and no method in range(G) retains it. With a reference, this
      takes the place of peers and own instances, and the upper end lies below a third.
    - *can draw*: of the ratio of what a method whose reconstructions lie in range(G) retains of it,
      to what the primary method retains of its controls, the lower end lies above a half; and the
      primary method retains half as much as of the controls, too.
    - *undecided*.

    The intervals of the ratios hold for all classes tested together (Bonferroni).

    Args:
        photographs: class → its instances; retention by every method.
        controls: instances of any class in the generator's own images; None: no verdicts.
        primary: the method that verdicts are about (f).
        range_methods: those whose reconstructions are images G(z) (d, e).
        reference: the method that rebuilds the same photographs from others, where the primary one
            rebuilds them from samples; without its retention no class gets a verdict on drawing.
        asked: the classes that are judged; None: all. The others are peers alone.
        own: class → its instances among the controls; None: it is not known of which class these
            are.
        judging: the numbers that decide.

    Returns:
        The classes asked for.
    """
    judge = _Judge(controls, primary, range_methods, reference, own or {}, judging)
    measured = {}
    for name, instances in photographs.items():
        if asked is None or name in asked:
            others = [photographs[known] for known in photographs if known != name]
            peers = Instances.joined(others) if others else None
            measured[name] = judge.measure(name, instances, peers)
    tested = sum(bool(class_measured.ratios) for class_measured in measured.values())
    return {name: judge.decide(measured[name], tested) for name in measured}


@dataclasses.dataclass(frozen=True, eq=False)
class _Compared:
    """Two samples of instances, before it is known how many classes are tested."""

    against: Against
    method: str
    margin: float
    ratio: RetentionRatio
    instances: int
    groups: int
    against_groups: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """A class before its verdict, with what it is compared with; nothing where it is not tested."""

    judged: ClassJudgement
    ratios: Sequence[_Compared] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class _Judge:
    """What the judgements of all classes have in common."""

    controls: Instances | None
    primary: str
    range_methods: Sequence[str]
    reference: str | None
    own: Mapping[str, Instances]
    rules: Judging

    def measure(self, name: str, instances: Instances, others: Instances | None) -> _Measured:
        """Means and matches; ratios where there is enough to test, else the verdict."""
        matches = self._matched(instances, self.controls)
        peers = self._matched(instances, others)
        own = self.own.get(name)
        everything = np.arange(len(instances))
        has = np.flatnonzero([bool(chosen) for chosen in matches])
        by_method = {
            method: MethodRetention(
                photographs=self._mean(instances, method, everything),
                matched=self._mean(instances, method, has),
                controls=self._mean_of_matched(self.controls, matches, method),
            )
            for method in instances.retention
        }
        judged = ClassJudgement(
            verdict=None,
            reason="",
            by_method=by_method,
            controls=matches,
            peers=self._mean_of_matched(others, peers, self.primary),
            own=_NO_MEAN if own is None else self._mean(own, self.primary, np.arange(len(own))),
        )
        if self.controls is None:
            return _Measured(
                dataclasses.replace(judged, reason="without controls no verdict is possible")
            )
        short = self._too_little(by_method[self.primary])
        if short is not None:
            return _Measured(dataclasses.replace(judged, verdict=short[0], reason=short[1]))
        judged = dataclasses.replace(judged, verdict="undecided")
        compared = [
            *self._beside_controls(instances, self.controls, matches),
            *(
                self._beside_reference(instances, self.reference)
                if self.reference is not None
                else self._beside_others(judged, instances, others, peers, own)
            ),
        ]
        return _Measured(judged, compared)

    def _matched(self, instances: Instances, controls: Instances | None) -> list[list[int]]:
        """Controls for every instance, none for those on which the primary method failed."""
        matches: list[list[int]] = [[] for _ in range(len(instances))]
        if controls is not None:
            whole = np.flatnonzero(~np.isnan(instances.retention[self.primary]))
            usable = np.flatnonzero(~np.isnan(controls.retention[self.primary]))
            rows = match_controls(instances.take(whole), controls.take(usable), self.rules)
            for i, chosen in zip(whole, rows, strict=True):
                matches[i] = [int(usable[j]) for j in chosen]
        return matches

    def _mean(
        self, instances: Instances, method: str, rows: np.ndarray, weights: np.ndarray | None = None
    ) -> MeanRetention:
        values = instances.retention[method][rows]
        whole = ~np.isnan(values)  # the method did not fail
        return mean_retention(
            values[whole],
            instances.images[rows][whole],
            None if weights is None else weights[whole],
            groups=instances.units[rows][whole],
            resamples=self.rules.resamples,
            seed=self.rules.seed,
        )

    def _mean_of_matched(
        self, controls: Instances | None, matches: Sequence[Sequence[int]], method: str
    ) -> MeanRetention:
        """What a method retains of matched controls, every instance's together weighing 1."""
        if controls is None:
            return _NO_MEAN
        return self._mean(controls, method, *_weighted(matches))

    def _too_little(self, here: MethodRetention) -> tuple[InstanceVerdict, str] | None:
        """The verdict, and why, of a class that cannot be tested; None where it can."""
        photographs, matched, controls = here.photographs, here.matched, here.controls
        needed = self.rules.least_images
        if photographs.groups < needed:
            holders = _images(photographs, "photograph")
            hold = "hold" if photographs.groups != 1 else "holds"
            return "untested", f"{holders} {hold} it; a test needs {needed}"
        if 2 * matched.instances < photographs.instances:
            return "undecided", (
                f"only {matched.instances} of {photographs.instances} instances have a control of "
                "like area, perimeter ratio and contrast"
            )
        if min(matched.groups, controls.groups) < needed:
            return "undecided", (
                f"too few matched controls: {_images(controls, 'generated image')} for "
                f"{_images(matched, 'photograph')}; {needed} of each are needed"
            )
        return None

    def _beside_controls(
        self, instances: Instances, controls: Instances, matches: Sequence[Sequence[int]]
    ) -> Iterator[_Compared]:
        """The primary method, and those in range(G), with what the primary keeps of controls."""
        has = np.array([bool(chosen) for chosen in matches])
        beside = _retained(controls, self.primary, *_weighted(matches))
        for method in (self.primary, *self.range_methods):
            rows = np.flatnonzero(has & ~np.isnan(instances.retention[method]))
            if len(rows):
                kept = _retained(instances, method, rows)
                yield self._compared("controls", kept, beside, method=method)

    def _beside_others(
        self,
        judged: ClassJudgement,
        instances: Instances,
        others: Instances | None,
        peers: Sequence[Sequence[int]],
        own: Instances | None,
    ) -> Iterator[_Compared]:
        """Peers, where they lie in enough photographs; the class in the generator's images."""
        if others is not None and judged.peers.groups >= self.rules.least_images:
            rows = np.flatnonzero([bool(chosen) for chosen in peers])
            beside = _retained(others, self.primary, *_weighted(peers))
            kept = _retained(instances, self.primary, rows)
            yield self._compared("peers", kept, beside, shared=True)
        if own is not None and judged.own.instances:
            rows = np.flatnonzero(~np.isnan(instances.retention[self.primary]))
            theirs = np.flatnonzero(~np.isnan(own.retention[self.primary]))
            beside = _retained(own, self.primary, theirs)
            yield self._compared("own", _retained(instances, self.primary, rows), beside)

    def _beside_reference(self, instances: Instances, reference: str) -> Iterator[_Compared]:
        """The same instances by the reference, where it rebuilt enough photographs."""
        if reference in instances.retention:
            both = ~np.isnan(instances.retention[self.primary])
            both &= ~np.isnan(instances.retention[reference])
            rows = np.flatnonzero(both)
            if len(np.unique(instances.units[rows])) >= self.rules.least_images:
                kept = _retained(instances, self.primary, rows)
                beside = _retained(instances, reference, rows)
                yield self._compared("reference", kept, beside, shared=True)

    def _compared(
        self,
        against: Against,
        kept: Retained,
        beside: Retained,
        *,
        method: str | None = None,
        shared: bool = False,
    ) -> _Compared:
        return _Compared(
            against,
            method or self.primary,
            self.rules.third if against == "reference" else self.rules.half,
            RetentionRatio(kept, beside, shared=shared),
            len(kept.values),
            len(np.unique(kept.groups)),
            len(np.unique(beside.groups)),
        )

    def _ratio(self, compared: _Compared, tested: int) -> ClassRatio:
        """Its interval, so wide that those of all classes tested hold together."""
        within_range = compared.method != self.primary
        level = self.rules.significance / 2 / tested
        if within_range:
            level /= len(self.range_methods)
        ratio = compared.ratio
        return ClassRatio(
            against=compared.against,
            method=compared.method,
            ratio=None if math.isnan(ratio.value) else ratio.value,
            interval=(ratio.bound(level, "above"), ratio.bound(level, "below")),
            margin=compared.margin,
            p_value=ratio.p_value(compared.margin, "above" if within_range else "below"),
            instances=compared.instances,
            groups=compared.groups,
            against_groups=compared.against_groups,
        )

    def decide(self, measured: _Measured, tested: int) -> ClassJudgement:
        """The verdict, where so many classes are tested."""
        if not measured.ratios:
            return measured.judged
        ratios = [self._ratio(compared, tested) for compared in measured.ratios]
        primary = [ratio for ratio in ratios if ratio.method == self.primary]
        judged = dataclasses.replace(
            measured.judged,
            ratios=ratios,
            p_value=min(1.0, tested * max(ratio.p_value for ratio in primary)),
        )
        retained = judged.by_method[self.primary].matched.mean
        text = f"{share(retained)} retained, {', '.join(map(_as_much, primary))}"
        if self.reference is not None and all(r.against != "reference" for r in primary):
            return dataclasses.replace(judged, reason=f"{text}; there is no reference")
        drawn = [
            ratio
            for ratio in ratios
            if ratio.method != self.primary and ratio.interval[0] > ratio.margin
        ]
        not_below = [ratio for ratio in primary if not ratio.interval[1] < ratio.margin]
        beside_controls = primary[0].ratio
        loses = beside_controls is None or beside_controls < self.rules.half
        if drawn and not loses:
            reason = (
                f"{drawn[0].method}, which lies in range(G), retains "
                f"{_as_much(drawn[0], bound='at least')}"
            )
            return dataclasses.replace(
                judged, verdict="can draw", range_method=drawn[0].method, reason=reason
            )
        if drawn:
            text += f", and yet {drawn[0].method}, which lies in range(G), retains it"
        elif not not_below:
            return dataclasses.replace(judged, verdict="cannot draw", reason=text)
        elif not loses:
            text += "; no method in range(G) is shown to retain it"
        else:
            limits = [f"{share(r.margin)} of that {_IN_WORDS[r.against]}" for r in not_below]
            text += f": not shown to be under {listed(limits, last='or')}"
        return dataclasses.replace(judged, reason=text)


_NO_MEAN = mean_retention(np.zeros(0), np.zeros(0, np.int64))


def _retained(
    instances: Instances, method: str, rows: np.ndarray, weights: np.ndarray | None = None
) -> Retained:
    """What a method retains of some instances."""
    return Retained(instances.retention[method][rows], instances.units[rows], weights)


def _as_much(ratio: ClassRatio, *, bound: str = "at most") -> str:
    """The ratio and the end of its interval that decides: "4 % as much as of its peers …"."""
    end = ratio.interval[0 if bound == "at least" else 1]
    limit = f"{bound} {share(end)}" if math.isfinite(end) else "not bounded above"
    value = "no telling how" if ratio.ratio is None else share(ratio.ratio)
    if ratio.ratio is not None and math.isinf(ratio.ratio):
        value = "infinitely"
    return f"{value} as much as {_IN_WORDS[ratio.against]} ({limit})"


def _images(mean: MeanRetention, noun: str) -> str:
    """How many images, or groups of images where these belong together."""
    if mean.groups == mean.images:
        return count(mean.images, noun)
    return f"{count(mean.groups, 'group')} of {count(mean.images, noun)}"


def _weighted(
    matches: Sequence[Sequence[int]],
) -> tuple[Int64[np.ndarray, " b"], Float64[np.ndarray, " b"]]:
    """The matched controls, each with one over the number that its instance has."""
    rows = np.array([row for chosen in matches for row in chosen], np.int64)
    return rows, np.array([1 / len(chosen) for chosen in matches for _ in chosen], np.float64)
