"""What retained and lost instances say of a class: matched controls, test, interval, verdict.

The retention of a class's instances in photographs is compared with that of *control regions*:
instances of any class in the generator's own images, inverted by the same optimiser, matched on
area, perimeter ratio and contrast. Controls begin nearer to their solution than photographs do, so
it is also compared with that of its *peers*, instances of other classes in the photographs, matched
in the same way. A mosaic of samples has a closer control: what the same mosaic of photographs
retains of the same instances. Instances of one image are not independent, so images, never
instances, are permuted and resampled. Arrays alone; definitions and a simulation are in
docs/evidence.md.

Source of the studentised permutation test: Chung and Romano, Annals of Statistics 41, 2013.
"""

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float64, Int64

from unseen.core.errors import SampleError
from unseen.core.verdicts import InstanceVerdict
from unseen.core.wording import count, share
from unseen.statistics.multiplicity import holm

_LEVEL = 0.95  # of intervals
_FORBIDDEN = 1e6  # cost of a pair outside of the calipers; a pair inside costs √3 at most
_BLOCK = 1000  # exchanges held in memory at once: some 10 MB for a thousand images
_NOTHING = 1e-12  # variance that is rounding: shares are between 0 and 1, rounded to 1e-16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judging:
    """The numbers that decide; docs/evidence.md says why these."""

    area_factor: float = 1.5  # a control's area is at most 1.5 times larger or smaller
    perimeter_factor: float = 1.3  # the same of its perimeter ratio
    contrast_within: float = 0.1  # its contrast, 0 to 1, differs by 0.1 at most
    controls_per_instance: int = 4  # matched at most
    least_images: int = 5  # photographs, and generated images, that a test needs
    half: float = 0.5  # share of the control's mean retention between "cannot" and "can draw"
    fifth: float = 0.2  # share of the reference's, below which alone a class is "cannot draw"
    significance: float = 0.05  # after Holm
    permutations: int = 9999
    resamples: int = 1999  # of intervals
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
    """

    images: Int64[np.ndarray, " n"]
    area: Float64[np.ndarray, " n"]
    perimeter_ratio: Float64[np.ndarray, " n"]
    contrast: Float64[np.ndarray, " n"]
    retention: Mapping[str, Float64[np.ndarray, " n"]]

    def __post_init__(self) -> None:
        columns = (self.images, self.area, self.perimeter_ratio, self.contrast)
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

    def take(self, rows: np.ndarray) -> "Instances":
        """Some of them, by numbers or as a mask."""
        return Instances(
            self.images[rows],
            self.area[rows],
            self.perimeter_ratio[rows],
            self.contrast[rows],
            {method: values[rows] for method, values in self.retention.items()},
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
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanRetention:
    """A mean with its 95 % interval; None where there is nothing to take it of."""

    mean: float | None
    interval: tuple[float, float] | None  # None: fewer than two images
    instances: int
    images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodRetention:
    """One class under one method."""

    photographs: MeanRetention  # all instances
    matched: MeanRetention  # those with matched controls
    controls: MeanRetention  # the controls, each weighted by one over how many its instance has


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
        p_value: one-sided, of "retained as well as the matched controls" (with a reference, of "as
            well as these or as the reference"); None where not tested.
        p_holm: adjusted over the classes tested.
        range_method: the method in range(G) that retained it, where the verdict is "can draw".
    """

    verdict: InstanceVerdict | None
    reason: str
    by_method: Mapping[str, MethodRetention]
    controls: Sequence[Sequence[int]]
    peers: MeanRetention
    p_value: float | None = None
    p_holm: float | None = None
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
    # (n, m, 3)
    apart = _covariates(instances, judging)[:, None] - _covariates(controls, judging)
    distance = np.sqrt((apart**2).sum(axis=2))
    distance[(np.abs(apart) > 1).any(axis=2)] = _FORBIDDEN
    matches: list[list[int]] = [[] for _ in range(len(instances))]
    free = np.arange(len(controls))
    for _ in range(judging.controls_per_instance):
        if len(free) == 0 or len(instances) == 0:
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
        resamples: bootstrap draws.
        seed: of the draws.
    """
    if len(values) == 0:
        return MeanRetention(mean=None, interval=None, instances=0, images=0)
    sums, sizes = _by_image(values, images, weights)
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
        t = scipy.stats.t.ppf(0.5 + _LEVEL / 2, n - 1)
        tail = scipy.stats.norm.cdf(-t * math.sqrt(n / (n - 1)))
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        means = (drawn @ sums) / (drawn @ sizes)
        low, high = np.quantile(means, [tail, 1 - tail])
        interval = (float(low), float(high))
    return MeanRetention(mean=mean, interval=interval, instances=len(values), images=holding)


def permutation_p_value(
    photographs: tuple[Float64[np.ndarray, " a"], Int64[np.ndarray, " a"]],
    controls: tuple[Float64[np.ndarray, " b"], Int64[np.ndarray, " b"], Float64[np.ndarray, " b"]],
    *,
    permutations: int = 9999,
    seed: int = 0,
) -> float:
    """One-sided p-value of "photographs retain as much as the controls".

    Whole images change sides. The statistic is the difference of the weighted means over its
    standard error, which allows for images that hold many instances.

    Args:
        photographs: retention and image of every instance.
        controls: retention, image and weight of every control.
        permutations: random exchanges.
        seed: of the exchanges.

    Returns:
        (1 + exchanges with a statistic at least as low) / (1 + exchanges).

    Raises:
        SampleError: fewer than two images on a side.
    """
    sums_a, sizes_a = _by_image(photographs[0], photographs[1], None)
    sums_b, sizes_b = _by_image(*controls)
    n, m = len(sums_a), len(sums_b)
    if min(n, m) < 2:
        raise SampleError(
            f"{n} photographs and {m} images of the generator hold instances; a test of their "
            "retention needs at least 2 of each"
        )
    sums, sizes = np.concatenate([sums_a, sums_b]), np.concatenate([sizes_a, sizes_b])
    observed = np.concatenate([np.ones((1, n)), np.zeros((1, m))], axis=1)
    limit = _studentised(sums, sizes, observed)[0] + 1e-9  # ties that rounding parts
    random = np.random.default_rng(seed)
    reached = 0
    for done in range(0, permutations, _BLOCK):
        rows = min(_BLOCK, permutations - done)
        order = random.random((rows, n + m)).argsort(axis=1)
        first = np.zeros((rows, n + m))
        np.put_along_axis(first, order[:, :n], 1, axis=1)
        reached += int((_studentised(sums, sizes, first) <= limit).sum())
    return (1 + reached) / (1 + permutations)


def _studentised(
    sums: Float64[np.ndarray, " n"],
    sizes: Float64[np.ndarray, " n"],
    first: Float64[np.ndarray, "p n"],
) -> Float64[np.ndarray, " p"]:
    """Difference of two ratio means over its standard error, for every choice of the first side."""
    difference = np.zeros(len(first))
    variance = np.full(len(first), _NOTHING)
    for sign, side in ((1, first), (-1, 1 - first)):
        total = side @ sizes
        mean = (side @ sums) / total
        squares = side @ sums**2 - 2 * mean * (side @ (sums * sizes)) + mean**2 * (side @ sizes**2)
        images = side.sum(axis=1)
        difference += sign * mean
        variance += np.maximum(squares, 0) / total**2 * images / (images - 1)
    statistic: Float64[np.ndarray, " p"] = difference / np.sqrt(variance)
    return statistic


def _by_image(
    values: Float64[np.ndarray, " n"],
    images: Int64[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"] | None,
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """Weighted sum of the values, and sum of the weights, of every image."""
    weights = np.ones(len(values)) if weights is None else weights
    _, number = np.unique(images, return_inverse=True)
    return (
        np.bincount(number, weights * values).astype(np.float64),
        np.bincount(number, weights).astype(np.float64),
    )


def judge_classes(
    photographs: Mapping[str, Instances],
    controls: Instances | None,
    *,
    primary: str,
    range_methods: Sequence[str] = (),
    reference: str | None = None,
    asked: Container[str] | None = None,
    judging: Judging = Judging(),
) -> dict[str, ClassJudgement]:
    """A verdict for every class that photographs hold.

    The first that holds:

    - *untested*: its instances lie in fewer than `least_images` photographs.
    - *undecided*: matched instances, or their controls, lie in fewer than `least_images` images,
      or fewer than half of the instances have a control.
    - *cannot draw*: the primary method retains significantly less of it than of its controls
      (Holm over the classes tested), and on average under half of what it retains of these; under
      half, too, of what it retains of its peers, where these lie in `least_images` photographs; and
      no method in range(G) retains it. With a reference, this takes the place of the peers: it
      retains significantly more of the same instances, and five times as much on average.
    - *can draw*: a method whose reconstructions lie in range(G) retains it: the lower end of the
      95 % interval of its mean is at least half of the control's mean under the primary method;
      and the primary method retains at least that half, too.
    - *undecided*.

    Args:
        photographs: class → its instances; retention by every method.
        controls: instances of any class in the generator's own images; None: no verdicts.
        primary: the method that verdicts are about (f).
        range_methods: those whose reconstructions are images G(z) (d, e).
        reference: the method that rebuilds the same photographs from others, where the primary one
            rebuilds them from samples; without its retention no class gets a verdict on drawing.
        asked: the classes that are judged; None: all. The others are peers alone.
        judging: the numbers that decide.

    Returns:
        The classes asked for.
    """
    judge = _Judge(controls, primary, range_methods, reference, judging)
    judged = {}
    for name, instances in photographs.items():
        if asked is None or name in asked:
            others = [photographs[known] for known in photographs if known != name]
            judged[name] = judge.measure(instances, Instances.joined(others) if others else None)
    tested = [name for name, judgement in judged.items() if judgement.p_value is not None]
    adjusted = holm(np.array([judged[name].p_value for name in tested], np.float64))
    for name, p_holm in zip(tested, adjusted, strict=True):
        judged[name] = judge.decide(dataclasses.replace(judged[name], p_holm=float(p_holm)))
    return judged


@dataclasses.dataclass(frozen=True, eq=False)
class _Judge:
    """What the judgements of all classes have in common."""

    controls: Instances | None
    primary: str
    range_methods: Sequence[str]
    reference: str | None
    rules: Judging

    def measure(self, instances: Instances, others: Instances | None) -> ClassJudgement:
        """Means, matches, and the p-value where there is enough to test; else the verdict."""
        matches = self._matched(instances, self.controls)
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
            peers=self._mean_of_matched(others, self._matched(instances, others), self.primary),
        )
        if self.controls is None:
            return dataclasses.replace(judged, reason="without controls no verdict is possible")
        short = self._too_little(by_method[self.primary])
        if short is not None:
            return dataclasses.replace(judged, verdict=short[0], reason=short[1])
        rows, weights = _weighted(matches)
        p_value = self._p_value(
            (instances.retention[self.primary][has], instances.images[has]),
            (self.controls.retention[self.primary][rows], self.controls.images[rows], weights),
        )
        if self.reference is not None:
            p_value = max(p_value, self._reference_p_value(instances, self.reference))
        return dataclasses.replace(judged, verdict="undecided", p_value=p_value)

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
            resamples=self.rules.resamples,
            seed=self.rules.seed,
        )

    def _mean_of_matched(
        self, controls: Instances | None, matches: Sequence[Sequence[int]], method: str
    ) -> MeanRetention:
        """What a method retains of matched controls, every instance's together weighing 1."""
        if controls is None:
            return mean_retention(np.zeros(0), np.zeros(0, np.int64))
        return self._mean(controls, method, *_weighted(matches))

    def _too_little(self, here: MethodRetention) -> tuple[InstanceVerdict, str] | None:
        """The verdict, and why, of a class that cannot be tested; None where it can."""
        images, instances = here.photographs.images, here.photographs.instances
        needed = self.rules.least_images
        if images < needed:
            holders = f"{count(images, 'photograph')} hold{'s' if images == 1 else ''} it"
            return "untested", f"{holders}; a test needs {needed}"
        if 2 * here.matched.instances < instances:
            return "undecided", (
                f"only {here.matched.instances} of {instances} instances have a control of like "
                "area, perimeter ratio and contrast"
            )
        if min(here.matched.images, here.controls.images) < needed:
            return "undecided", (
                f"too few matched controls: {count(here.controls.images, 'generated image')} for "
                f"{count(here.matched.images, 'photograph')}; {needed} of each are needed"
            )
        return None

    def _p_value(self, photographs: Any, controls: Any) -> float:
        return permutation_p_value(
            photographs, controls, permutations=self.rules.permutations, seed=self.rules.seed
        )

    def _reference_p_value(self, instances: Instances, reference: str) -> float:
        """One-sided p-value of "the reference retains the same instances no better"."""
        if reference not in instances.retention:
            return 1.0
        ours, theirs = instances.retention[self.primary], instances.retention[reference]
        both = ~np.isnan(ours) & ~np.isnan(theirs)
        images = instances.images[both]
        if len(np.unique(images)) < self.rules.least_images:
            return 1.0
        return self._p_value((ours[both], images), (theirs[both], images, np.ones(len(images))))

    def decide(self, judged: ClassJudgement) -> ClassJudgement:
        """The verdict of a class that was tested."""
        here = judged.by_method[self.primary]
        retained, controls = here.matched.mean, here.controls.mean
        assert judged.p_holm is not None
        assert retained is not None
        assert controls is not None
        limit = self.rules.half * controls
        drawn = [m for m in self.range_methods if _retains(judged.by_method[m], limit)]
        beside, objection = self._beside(judged, retained, limit)
        text = f"{share(retained)} retained, {share(controls)} of its controls{beside}"
        if objection:
            return dataclasses.replace(judged, reason=f"{text}{objection}")
        if drawn and retained >= limit:
            by_drawn = share(judged.by_method[drawn[0]].photographs.mean)
            reason = f"{drawn[0]}, which lies in range(G), retains {by_drawn}"
            return dataclasses.replace(
                judged, verdict="can draw", range_method=drawn[0], reason=reason
            )
        if retained >= limit:
            text += "; no method in range(G) retains it"
        elif judged.p_holm >= self.rules.significance:
            text += "; not shown to be more than chance"
        elif drawn:
            text += f", and yet {drawn[0]}, which lies in range(G), retains it"
        else:
            return dataclasses.replace(judged, verdict="cannot draw", reason=text)
        return dataclasses.replace(judged, reason=text)

    def _beside(self, judged: ClassJudgement, retained: float, limit: float) -> tuple[str, str]:
        """The reference or the peers in words, and why they forbid "cannot draw", or nothing."""
        if self.reference is not None:
            by_reference = judged.by_method.get(self.reference)
            if by_reference is None or by_reference.matched.mean is None:
                return "", "; there is no reference"
            mean, least = by_reference.matched.mean, self.rules.fifth
            words = f", {share(mean)} by as many other photographs"
            objection = ": not under a fifth of these"
        elif judged.peers.mean is not None and judged.peers.images >= self.rules.least_images:
            mean, least = judged.peers.mean, self.rules.half
            words = f", {share(mean)} of its peers"
            objection = ": the photographs as a whole are not rebuilt much better"
        else:
            return "", ""
        return words, objection if limit > retained >= least * mean else ""


def _retains(method: MethodRetention, limit: float) -> bool:
    """Whether its mean is certainly at least the limit."""
    interval = method.photographs.interval
    return interval is not None and interval[0] >= limit


def _weighted(
    matches: Sequence[Sequence[int]],
) -> tuple[Int64[np.ndarray, " b"], Float64[np.ndarray, " b"]]:
    """The matched controls, each with one over the number that its instance has."""
    rows = np.array([row for chosen in matches for row in chosen], np.int64)
    return rows, np.array([1 / len(chosen) for chosen in matches for _ in chosen], np.float64)
