"""Which machines have worked on a run: a list beside its result, and a warning where they differ.

The result does not say it: any machines of one kind give the same bytes.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unseen.core.files import canonical_json, sha256_of_parts, write_json
from unseen.core.identity import Identity
from unseen.core.lock import LOCK, locked
from unseen.core.records import build, decode, to_json
from unseen.core.twins import refresh

WORKERS = "workers.json"
"""Name of the list in a run's folder; ending of its name beside a file."""

# What of two machines changes the last bits of a network's arithmetic or of a decoded image, and
# with them labels.
_DECIDING = ("package_version", "torch", "pillow", "instructions", "gpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Workers:
    """The file."""

    run: str  # SHA-256 of its identity
    machines: tuple[Mapping[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class WorkersList:
    """The list of one run's machines: versions, processor and GPU, each kind once.

    Attributes:
        path: of the file.
        identity: of the run; a list of another run is replaced.
    """

    path: Path
    identity: Identity

    def add(self, machines: Sequence[Mapping[str, Any]]) -> None:
        """Add machines, as `core.devices.machine` describes them.

        Several processes may add to one list. Warns where machines of the run differ in what
        changes bytes.

        Raises:
            RecordError: the file there is none of these.
            StorageError: it cannot be written.
        """
        identity = dataclasses.replace(self.identity, batch_size=None)
        of = sha256_of_parts([canonical_json(identity.to_json())])
        with locked(self.path.with_name(f".{self.path.name}{LOCK}")):
            known = _Workers(run=of, machines=())
            refresh(self.path)
            if self.path.is_file():
                value = decode(self.path.read_bytes(), str(self.path), "remove it")
                there = build(_Workers, value, f"{self.path} lists no machines; remove it")
                known = there if there.run == of else known
            listed = {
                canonical_json(dict(machine)): machine for machine in (*known.machines, *machines)
            }
            if len(listed) > len(known.machines):
                ordered = tuple(listed[text] for text in sorted(listed))
                write_json(self.path, to_json(_Workers(run=of, machines=ordered)))
        warn_of_machines(list(listed.values()))


def list_beside(out: Path) -> Path:
    """The place of the list of a run that writes one file."""
    return out.with_name(f"{out.name}.{WORKERS}")


def warn_of_machines(machines: Sequence[Mapping[str, Any]]) -> None:
    """Warn where workers differ in what changes the last bits of arithmetic."""
    for key in _DECIDING:
        values = sorted({str(machine.get(key)) for machine in machines})
        if len(values) > 1:
            warnings.warn(
                f"workers differ in {key} ({', '.join(values)}): labels may differ where two "
                "classes are about as probable, and inversions by about 1 % of their loss; use "
                "machines of one kind for the same bytes",
                stacklevel=2,
            )
