"""What ends `unseen compare` with status 3 (something is wrong) or 4 (it could not have shown).

A comparison in, a `GateResult` out. The last generated side is judged, or every side. Status 0
promises that each condition, had it been true as `--require-power` states it, would have been
found in four of five such samples: the power is that of the condition itself, as both segmenters
would see it.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float64

from unseen.core.errors import SpecError
from unseen.core.wording import number, percent, ratio_interval, times, value_interval
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import (
    ClassChange,
    ClassRow,
    Comparison,
    GateFinding,
    GateResult,
    GeneratedSide,
    Ordering,
)
from unseen.distribution.comparison_wording import is_nothing
from unseen.statistics.classes import OMITTED_BELOW
from unseen.statistics.planning import (
    POWER,
    Condition,
    can_be_omitted,
    condition_power,
    rounded_up,
    seen_drop,
    smallest_factor,
)

NOT_SHOWN = 4  # the status of what this sample could not have shown
LEVEL = 0.05  # of false alarms, all classes of one side together

_FSD = re.compile(r"fsd\s*>\s*(\d+(?:\.\d*)?)")
_POWER = re.compile(
    r"presence\s*>=\s*(?P<presence>\d+(?:\.\d*)?)\s*%\s*,\s*drop\s*<=\s*(?P<drop>\d+(?:\.\d*)?)\s*%"
)
# A class that is called under with a ratio below this may be wholly absent, and what is left of it
# the segmenter's false positives: it sees classes where they are not up to half as often.
_GHOSTS_BELOW = 0.5
_MOST_TIMES = 10_000.0  # nobody draws so many times more images
_NORMAL = NormalDist()
_Factors = Float64[np.ndarray, "..."]  # of images, or a power; a class an entry


@dataclasses.dataclass(frozen=True)
class RequiredPower:
    """Every class of at least `presence` in the real images must show a loss of `drop`.

    >>> RequiredPower.parse("presence>=1%,drop<=50%")
    RequiredPower(presence=0.01, drop=0.5)
    """

    presence: float  # 0 to 1
    drop: float  # 0 to 1

    @classmethod
    def parse(cls, text: str) -> "RequiredPower":
        """From the command line's words (SpecError)."""
        match = _POWER.fullmatch(text.strip())
        if match is None:
            raise SpecError(f"the power {text!r} is not understood; write 'presence>=1%,drop<=50%'")
        power = cls(float(match["presence"]) / 100, float(match["drop"]) / 100)
        if not (power.presence <= 1 and 0 < power.drop <= 1):
            raise SpecError(
                f"the power {text!r} asks for more than all images; presence is at most 100 %, "
                "drop above 0 % and at most 100 %"
            )
        return power


@dataclasses.dataclass(frozen=True)
class Gate:
    """Conditions on a comparison.

    Attributes:
        fail_on: "omitted", "under" (which includes omitted), "regressed", "fsd>NUMBER".
        power: what the sample must have been able to show.
        every_side: judge every generated side, not the last one alone; false alarms of all sides
            together keep the level.

    >>> Gate(("omitted",)).judge(comparison).status
    3
    """

    fail_on: tuple[str, ...] = ()
    power: RequiredPower | None = None
    every_side: bool = False

    @classmethod
    def parse(
        cls, fail_on: Sequence[str], require_power: str | None, *, every_side: bool = False
    ) -> "Gate":
        """From the command line's words.

        Raises:
            SpecError: a condition that is not known, or malformed.
        """
        conditions = [part.strip() for text in fail_on for part in text.split(",")]
        for condition in conditions:
            limit = _FSD.fullmatch(condition)
            finite = limit is not None and math.isfinite(float(limit[1]))
            if condition not in ("omitted", "under", "regressed") and not finite:
                raise SpecError(
                    f"--fail-on {condition!r} is not known; known: omitted, under, regressed, "
                    "'fsd>30'"
                )
        power = None if require_power is None else RequiredPower.parse(require_power)
        return cls(tuple(conditions), power, every_side)

    def check(self, sides: int) -> None:
        """Refuse a question that this number of generated sides cannot answer (SpecError)."""
        if "regressed" in self.fail_on and sides < 2:
            raise SpecError(
                "--fail-on regressed compares the last generated side with the one before it; "
                "name both: unseen compare REAL PREVIOUS NEW"
            )

    @property
    def verdict(self) -> Condition | None:
        """What a class must not be called: the mildest of what is asked for."""
        if "under" in self.fail_on:
            return "under"
        return "omitted" if "omitted" in self.fail_on else None

    @property
    def out_of_reach(self) -> str:
        """Why no number of images can show what is asked for, or nothing."""
        if self.power is None or self.verdict != "omitted" or can_be_omitted(self.power.drop):
            return ""
        return (
            f"a class is omitted where less than {percent(OMITTED_BELOW)} of its presence is left: "
            f"a loss of {percent(self.power.drop)} is never called omitted; ask for "
            "--fail-on under, or for drop<=100%"
        )

    def judge(self, comparison: Comparison, *, level: float = LEVEL) -> GateResult:
        """The exit status, and a sentence for every reason.

        Args:
            comparison: what is judged.
            level: of false alarms, for all that is judged together. At the default, and where the
                last side alone is judged, classes have the verdicts of the page.
        """
        last = len(comparison.generated) - 1
        sides = range(last + 1) if self.every_side else [last]
        alpha = level
        if self.every_side or level != LEVEL:  # Bonferroni over sides and families of tests
            families = {"under" if c == "omitted" else c for c in self.fail_on}
            alpha = level / (len(sides) * max(len(families), 1))
        findings = [
            finding
            for side in sides
            for finding in _Judged(self, comparison, side, alpha).findings()
        ]
        kinds = {finding.kind for finding in findings}
        status: Literal[0, 3, 4] = 3 if "failed" in kinds else 4 if kinds else 0
        return GateResult(
            status=status,
            sides=tuple(comparison.generated[side].label for side in sides),
            fail_on=self.fail_on,
            presence=None if self.power is None else self.power.presence,
            drop=None if self.power is None else self.power.drop,
            level=level,
            run=None,
            findings=tuple(sorted(findings, key=lambda f: f.kind != "failed")),
        )


@dataclasses.dataclass(frozen=True)
class _Judged:
    """One side, judged at a level."""

    gate: Gate
    comparison: Comparison
    index: int  # of the side
    alpha: float  # of all classes together

    @property
    def side(self) -> GeneratedSide:
        """What is judged."""
        return self.comparison.generated[self.index]

    def findings(self) -> Iterator[GateFinding]:
        """What fails, then what could not have been shown."""
        gate = self.gate
        failed = [row for row in self._rows() if gate.verdict and self._called(row, gate.verdict)]
        for row in failed:
            yield self._finding("failed", row.verdict, row.column, _class_line(row))
        if gate.power is not None and (gate.verdict or "regressed" not in gate.fail_on):
            yield from self._blind([row for row in self._rows() if row not in failed])
        if "regressed" in gate.fail_on:
            yield from self._regressions()
        for condition in gate.fail_on:
            if limit := _FSD.fullmatch(condition):
                yield from self._distance(condition, float(limit[1]))

    def _finding(
        self,
        kind: Literal["failed", "not shown"],
        condition: str,
        column: str | None,
        text: str,
        power: float | None = None,
        more: float | None = None,
        more_real: float | None = None,
    ) -> GateFinding:
        """A finding; `more` says how many times the images of a side would do."""
        where = f"{self.side.label}: " if self.gate.every_side else ""
        return GateFinding(
            kind=kind,
            side=self.side.label,
            condition=condition,
            column=column,
            sentence=where + text,
            power=power,
            images=_times(self.side.images, more),
            real_images=_times(self.comparison.real.images, more_real),
        )

    def _rows(self) -> list[ClassRow]:
        return [row for row in self.side.classes if not is_nothing(self.comparison, row)]

    def _seconds(self) -> tuple[Mapping[str, ClassRow], int]:
        """The rows of the second segmenter by name, and how many it tests."""
        second = self.side.second_segmenter
        rows = () if second is None else second.classes
        return {row.name.casefold(): row for row in rows}, _tests(rows)

    def _called(self, row: ClassRow, condition: Condition) -> bool:
        """Whether the class has the verdict, at this level by every segmenter that knows it."""
        if row.verdict != "omitted" and (condition == "omitted" or row.verdict != "under"):
            return False
        if self.alpha == LEVEL:
            return True
        seconds, second_tests = self._seconds()
        seen = [(row, _tests(self.side.classes))]
        if row.second_verdict is not None:
            seen.append((seconds[row.name.casefold()], second_tests))
        return all(
            _p_value(by_segmenter, condition) <= self.alpha / tests for by_segmenter, tests in seen
        )

    def _blind(self, rows: Sequence[ClassRow]) -> Iterator[GateFinding]:
        """Required classes in which the loss would not have been found."""
        assert self.gate.power is not None
        condition: Condition = self.gate.verdict or "under"
        drop = self.gate.power.drop
        required = [row for row in rows if _may_reach(row, self.gate.power.presence)]
        if not required:
            return
        if self.gate.out_of_reach:
            yield self._finding(
                "not shown", condition, None, f"could not have shown: {self.gate.out_of_reach}", 0.0
            )
            return
        power = self._power(required, drop, condition)
        ones = np.ones(len(required))
        missed = [row for row, found in zip(required, power(ones), strict=True) if found < POWER]
        more = smallest_factor(self._power(missed, drop, condition), _MOST_TIMES)
        both = smallest_factor(
            lambda factor: self._power(missed, drop, condition)(factor, factor), _MOST_TIMES
        )
        powers = power(ones)
        for row, on_one, on_both in zip(missed, more, both, strict=True):
            found = float(powers[required.index(row)])
            yield self._finding(
                "not shown",
                condition,
                row.column,
                f"could not have shown a loss of {percent(drop)}: {row.name} (in "
                f"{percent(row.real_presence)} of the real images; {condition} in {percent(found)} "
                f"of such samples, {percent(POWER)} are needed; {self._enough(on_one, on_both)})",
                found,
                on_one if np.isfinite(on_one) else on_both,
                None if np.isfinite(on_one) else on_both,
            )
        for row in required:
            if row not in missed and row.audit is None and row.verdict != row.own_verdict:
                seen = {row.own_verdict, row.second_verdict}
                if "omitted" in seen or (condition == "under" and "under" in seen):
                    yield self._finding(
                        "not shown",
                        condition,
                        row.column,
                        f"could not have shown that it is {condition}: {row.name} "
                        f"({row.own_verdict} by the segmenter alone, {row.verdict} by all that "
                        "speaks for and against it)",
                    )
            elif condition == "omitted" and row not in missed and _may_be_ghosts(row):
                yield self._finding(
                    "not shown",
                    condition,
                    row.column,
                    f"could not have shown that it is omitted: {row.name} ({times(row.ratio)} "
                    f"[{ratio_interval(row.interval)}]; what is left may be false positives of the "
                    "segmenter, and then no number of images shows it: look at its pictures, or "
                    "ask for --fail-on under)",
                )

    def _enough(self, on_one: float, on_both: float) -> str:
        """How many images would do, in words."""
        if np.isfinite(on_one):
            return f"about {rounded_up(self.side.images * on_one):,} generated images would do"
        if np.isfinite(on_both):
            images = (self.side.images, self.comparison.real.images)
            generated, real = (f"{rounded_up(number * on_both):,}" for number in images)
            return f"about {generated} generated and {real} real images would do"
        return f"{_MOST_TIMES:,.0f} times as many images would not do"

    def _power(
        self, rows: Sequence[ClassRow], drop: float, condition: Condition
    ) -> Callable[..., _Factors]:
        """The power in every class by all segmenters that know it, at factors of the images.

        Segmenters see the same images, so that what one finds the other finds more often than by
        chance: the product of their powers is a lower bound.
        """
        seconds, second_tests = self._seconds()
        views = [(list(range(len(rows))), rows, _tests(self.side.classes))]
        known = [i for i, row in enumerate(rows) if row.second_verdict is not None]
        others = [seconds[rows[i].name.casefold()] for i in known]
        views.append((known, others, second_tests))

        def power(
            generated: _Factors,
            real: _Factors | float = 1.0,
        ) -> _Factors:
            product = np.ones(len(rows))
            generated = np.broadcast_to(generated, len(rows))
            real = np.broadcast_to(real, len(rows))
            for places, seen, tests in views:
                if places:
                    product[places] *= _class_power(
                        seen, drop, real[places], generated[places], self.alpha / tests, condition
                    )
            return product

        return power

    def _regressions(self) -> Iterator[GateFinding]:
        """Classes that the side has made worse, and those in which that would not show."""
        both = self.index - 1, self.index
        ordering = next((o for o in self.comparison.orderings if (o.previous, o.new) == both), None)
        if ordering is None:  # the first side has none before it
            return
        tests = max(sum(row.verdict != "untested" for row in ordering.classes), 1)
        for row in ordering.named("regressed"):
            if self.alpha == LEVEL or (row.p_value or 0.0) <= self.alpha / tests:
                yield self._finding(
                    "failed",
                    "regressed",
                    row.column,
                    f"regressed: {class_name(row.column)} ({row.statistic} "
                    f"{percent(row.previous)} → {percent(row.new)}, real {percent(row.real)})",
                )
        if self.gate.power is not None:
            yield from self._blind_to_regressions(ordering, tests)

    def _blind_to_regressions(self, ordering: Ordering, tests: int) -> Iterator[GateFinding]:
        """Classes whose loss against the previous side would not have been called regressed."""
        required = self.gate.power
        assert required is not None
        # The detectable loss grows as the quantiles of level and power do.
        wanted = _NORMAL.inv_cdf(POWER)
        stricter = (_NORMAL.inv_cdf(1.0 - self.alpha / tests / 2.0) + wanted) / (
            _NORMAL.inv_cdf(1.0 - LEVEL / tests / 2.0) + wanted
        )
        for row in ordering.classes:
            if not _can_regress(row, required) or row.verdict == "regressed":
                continue
            least = row.smallest_detectable_regression
            if least is not None and least * stricter <= required.drop:
                continue
            times_more = math.inf if least is None else (least * stricter / required.drop) ** 2
            needed = (
                "a total loss would not show, either"
                if least is None
                else f"about {rounded_up(self.side.images * times_more):,} images of every side "
                "would do"
            )
            yield self._finding(
                "not shown",
                "regressed",
                row.column,
                f"could not have shown a loss of {percent(required.drop)} against the previous "
                f"side: {class_name(row.column)} (in {percent(row.previous)} of its images; "
                f"{needed})",
                None,
                times_more,
                times_more,
            )

    def _distance(self, condition: str, limit: float) -> Iterator[GateFinding]:
        """Whether the interval of the FSD is beyond the limit, or does not say."""
        fsd = self.side.fsd
        low, high = fsd.interval
        shown = f"corrected FSD {number(fsd.corrected)}, interval {value_interval(fsd.interval)}"
        if fsd.corrected is None or low is None or high is None:
            yield self._finding(
                "not shown", condition, None, f"could not have shown: {condition} (no interval)"
            )
            return
        stricter = _NORMAL.inv_cdf(1.0 - self.alpha / 2.0) / _NORMAL.inv_cdf(1.0 - LEVEL / 2.0)
        low = fsd.corrected - (fsd.corrected - low) * stricter
        reach = (high - fsd.corrected) * stricter
        if low > limit:
            yield self._finding("failed", condition, None, f"{condition}: {shown}")
        elif fsd.corrected + reach > limit:
            away = abs(fsd.corrected - limit)
            more = (reach / away) ** 2 if away > 0.0 else math.inf
            known = more <= _MOST_TIMES
            images = f"{rounded_up(self.side.images * more):,}" if known else ""
            enough = f"; about {images} images a side would do" if known else ""
            yield self._finding(
                "not shown",
                condition,
                None,
                f"could not have shown: {condition} ({shown}{enough})",
                None,
                more if known else None,
                more if known else None,
            )


def _times(images: int, factor: float | None) -> int | None:
    """So many times the images; None where no number is known."""
    return None if factor is None or math.isinf(factor) else rounded_up(images * factor)


def _tests(rows: Sequence[ClassRow]) -> int:
    return max(sum(row.tested for row in rows), 1)


def _p_value(row: ClassRow, condition: Condition) -> float:
    """Two-sided, as the levels are."""
    p_value = row.p_value if condition == "under" else row.p_omitted
    if p_value is None:
        return 1.0
    return p_value if condition == "under" else 2.0 * p_value


def _class_power(
    rows: Sequence[ClassRow],
    drop: float,
    real: _Factors,
    generated: _Factors,
    alpha: float,
    condition: Condition,
) -> _Factors:
    """How often each class would be called, with so many times the images."""
    power = condition_power(
        np.asarray([row.real_presence for row in rows]),
        drop,
        np.asarray([row.real_effective for row in rows]) * real,
        np.asarray([row.generated_effective for row in rows]) * generated,
        alpha=alpha,
        condition=condition,
    )
    limit = math.log(1.0 if condition == "under" else OMITTED_BELOW)
    left = math.log(max(1.0 - float(seen_drop(drop, condition)), 1e-9))
    tests = _tests(rows)
    for k, row in enumerate(rows):
        low, high = row.interval
        if row.statistic == "area" and low and high:
            # The interval of the ratio of mean areas is symmetric on the log scale.
            error = math.log(high / low) / (2.0 * _NORMAL.inv_cdf(1.0 - LEVEL / tests / 2.0))
            apart = (limit - left) * math.sqrt(generated[k])
            power[k] = _NORMAL.cdf(apart / max(error, 1e-9) - _NORMAL.inv_cdf(1.0 - alpha / 2.0))
    return power


def _may_reach(row: ClassRow, presence: float) -> bool:
    """Whether the class may be so common: the real images are a sample, too (Clopper, Pearson)."""
    _, most = row.real_presence_interval
    return row.real_presence >= presence or (
        row.real_presence > 0.0 and most is not None and most >= presence
    )


def _may_be_ghosts(row: ClassRow) -> bool:
    """Whether so little of the class is left that the segmenter may see what is not there."""
    low, high = row.interval
    below = high is not None and high < 1.0 and row.verdict != "omitted"
    return below and low is not None and low < _GHOSTS_BELOW


def _can_regress(row: ClassChange, required: RequiredPower) -> bool:
    """Whether the class is common enough on both sides, and its loss would be for the worse."""
    fallen = row.previous * (1.0 - required.drop)
    worse = 0.5 * (row.previous + fallen) < row.real
    return min(row.real, row.previous) >= required.presence and worse


def _class_line(row: ClassRow) -> str:
    return (
        f"{row.verdict}: {row.name} ({times(row.ratio)} [{ratio_interval(row.interval)}], in "
        f"{percent(row.real_presence)} of the real and {percent(row.generated_presence)} of the "
        "generated images)"
    )
