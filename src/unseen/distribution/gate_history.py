"""A gate that is asked every night: false alarms of all runs together keep the level.

Run t may spend 0.05 · t^−1.2 / ζ(1.2), which sums to 0.05 over all t, so that no number of runs
has a false alarm more often than that, however the runs depend on each other: they share the real
images. Which way of spending was chosen, and why no e-values: docs/comparison.md.
The history is one JSON file, written aside and renamed while a lock is held.
"""

import dataclasses
import math
from pathlib import Path
from typing import Literal

import scipy.special

from unseen.core.errors import RecordError
from unseen.core.files import canonical_json, check_writable, package_version, sha256_of_parts
from unseen.core.lock import PATIENCE, locked
from unseen.core.records import Count, RecordFile, Share, to_json
from unseen.distribution.comparison import Comparison, GateResult
from unseen.distribution.gate import LEVEL, Gate

_DECAY = 1.2  # of the level with the number of the run
_LOCK_SUFFIX = ".lock"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateRun:
    """One run: which data were judged, and how it ended."""

    data: str  # SHA-256 of the numbers that were judged
    fail_on: tuple[str, ...]
    level: Share  # of false alarms that this run was allowed
    status: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateHistory:
    """All runs of a gate so far, the first one first."""

    schema_version: Literal[1] = 1
    package_version: str = dataclasses.field(default_factory=package_version)
    runs: tuple[GateRun, ...]  # no default: another record is no empty history


_FILE = RecordFile(
    GateHistory, "history of a gate", "gate-history.json", "unseen compare --history", 1
)


def level_of_run(run: int) -> float:
    """The level of false alarms of the run of this number, counted from 1.

    >>> round(level_of_run(1), 4), round(level_of_run(30), 6)
    (0.0089, 0.000151)
    """
    share = float(scipy.special.zeta(_DECAY))
    return LEVEL / (share * math.pow(run, _DECAY))


def check_history(path: Path) -> None:
    """Refuse, before any work, a file that is no history or cannot be written.

    Raises:
        RecordError: another file, or a damaged one.
        StorageError: its folder cannot be written.
    """
    check_writable(path)
    _read(path)


def judge_with_history(path: Path, gate: Gate, comparison: Comparison) -> GateResult:
    """Judge at the level of the next run, and write the run down.

    The same data judged again by the same conditions are the same run: they spend nothing.

    Raises:
        RecordError: the file is no history.
        StorageError: it cannot be written, or another process has been holding it for long.
    """
    data = _data(comparison)
    with locked(path.with_name(path.name + _LOCK_SUFFIX), patience=PATIENCE):
        history = _read(path)
        known = [(run.data, run.fail_on) for run in history.runs]
        again = (data, gate.fail_on) in known
        number = known.index((data, gate.fail_on)) + 1 if again else len(known) + 1
        result = dataclasses.replace(gate.judge(comparison, level=level_of_run(number)), run=number)
        if not again:
            run = GateRun(data=data, fail_on=gate.fail_on, level=result.level, status=result.status)
            _FILE.write(path, dataclasses.replace(history, runs=(*history.runs, run)))
    return result


def _read(path: Path) -> GateHistory:
    """The history; empty where there is no file yet."""
    if not path.exists():
        return GateHistory(runs=())
    try:
        return _FILE.read(path)
    except RecordError as error:
        raise RecordError(
            f"{error}; a history is a file that `unseen compare --history` wrote: name another "
            "file to begin a new one"
        ) from error


def _data(comparison: Comparison) -> str:
    """What the runs of one comparison have in common, and no two different ones."""
    record = to_json(comparison)
    parts = [
        {
            name: value
            for name, value in side.items()
            if name in ("images", "fsd", "classes", "second_segmenter")
        }
        for side in record["generated"]
    ]
    return sha256_of_parts(canonical_json(part) for part in parts)
