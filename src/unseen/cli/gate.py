"""What ends `unseen compare` with status 3 (something is wrong) or 4 (it could not have shown).

The last generated side is judged: with a previous generator and a new one, the new one.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

from unseen.core.errors import SpecError
from unseen.core.wording import number, percent, ratio_interval, times, value_interval
from unseen.distribution.comparison import ClassRow, Comparison
from unseen.distribution.comparison_wording import is_nothing

FAILED = 3
NOT_SHOWN = 4

_FSD = re.compile(r"fsd\s*>\s*(\d+(?:\.\d*)?)")
_POWER = re.compile(
    r"presence\s*>=\s*(?P<presence>\d+(?:\.\d*)?)\s*%\s*,\s*drop\s*<=\s*(?P<drop>\d+(?:\.\d*)?)\s*%"
)


@dataclasses.dataclass(frozen=True)
class Power:
    """Every class of at least `presence` in the real images must show a loss of `drop`."""

    presence: float  # 0 to 1
    drop: float  # 0 to 1


@dataclasses.dataclass(frozen=True)
class Gate:
    """Conditions on a comparison.

    Attributes:
        fail_on: "omitted", "under" (which includes omitted), "regressed", "fsd>NUMBER" (the
            corrected FSD).
        power: what the sample must have been able to show.
    """

    fail_on: tuple[str, ...] = ()
    power: Power | None = None

    @classmethod
    def parse(cls, fail_on: Sequence[str], require_power: str | None) -> "Gate":
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
        if require_power is None:
            return cls(tuple(conditions))
        match = _POWER.fullmatch(require_power.strip())
        if match is None:
            raise SpecError(
                f"--require-power {require_power!r} is not understood; write "
                "'presence>=1%,drop<=50%'"
            )
        power = Power(float(match["presence"]) / 100, float(match["drop"]) / 100)
        if not (power.presence <= 1 and 0 < power.drop <= 1):
            raise SpecError(
                f"--require-power {require_power!r} asks for more than all images; presence is at "
                "most 100 %, drop above 0 % and at most 100 %"
            )
        return cls(tuple(conditions), power)

    def check(self, sides: int) -> None:
        """Refuse a question that this number of generated sides cannot answer (SpecError)."""
        if "regressed" in self.fail_on and sides < 2:
            raise SpecError(
                "--fail-on regressed compares the last generated side with the one before it; "
                "name both: unseen compare REAL PREVIOUS NEW"
            )

    def judge(self, comparison: Comparison) -> tuple[int, list[str]]:
        """The exit status, and a line for every reason."""
        failures = [line for condition in self.fail_on for line in _failures(condition, comparison)]
        blind = self._blind(comparison)
        if failures:
            return FAILED, failures + blind
        return (NOT_SHOWN if blind else 0), blind

    def _blind(self, comparison: Comparison) -> list[str]:
        if self.power is None:
            return []
        lines = []
        side = comparison.generated[-1]
        for row in side.classes:
            if row.real_presence < self.power.presence or is_nothing(comparison, row):
                continue
            least = row.smallest_detectable_drop
            if not row.tested or least is None or least > self.power.drop:
                could = (
                    "not even its absence"
                    if least is None or not row.tested
                    else f"only a loss of {percent(least)} or more"
                )
                lines.append(
                    f"could not have shown a loss of {percent(self.power.drop)}: {row.name} (in "
                    f"{percent(row.real_presence)} of the real images; {could} would show)"
                )
        for condition in self.fail_on:
            match = _FSD.fullmatch(condition)
            high = side.fsd.interval[1]
            least = side.fsd.corrected
            if match and (high is None or least is None or high > float(match[1]) >= least):
                lines.append(
                    f"could not have shown: {condition} (corrected {number(side.fsd.corrected)}, "
                    f"interval {value_interval(side.fsd.interval)})"
                )
        return lines


def _failures(condition: str, comparison: Comparison) -> list[str]:
    side = comparison.generated[-1]
    if condition == "regressed":
        last = len(comparison.generated) - 1
        (ordering,) = (
            ordering
            for ordering in comparison.orderings
            if (ordering.previous, ordering.new) == (last - 1, last)
        )
        return [
            f"regressed: {row.column.partition('/')[2]} ({row.statistic} {percent(row.previous)} → "
            f"{percent(row.new)}, real {percent(row.real)})"
            for row in ordering.named("regressed")
        ]
    match = _FSD.fullmatch(condition)
    if match:
        if side.fsd.corrected is None or side.fsd.corrected <= float(match[1]):
            return []
        return [
            f"{condition}: corrected FSD {number(side.fsd.corrected)}, interval "
            f"{value_interval(side.fsd.interval)}"
        ]
    rows = side.named("omitted") if condition == "omitted" else side.named("omitted", "under")
    return [_class_line(row) for row in rows if not is_nothing(comparison, row)]


def _class_line(row: ClassRow) -> str:
    return (
        f"{row.verdict}: {row.name} ({times(row.ratio)} [{ratio_interval(row.interval)}], in "
        f"{percent(row.real_presence)} of the real and {percent(row.generated_presence)} of the "
        "generated images)"
    )
