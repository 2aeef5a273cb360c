"""The measure of page faults: its two ways differ in what it measures."""

import os
import subprocess
import sys

import pytest
from lab.page_faults import PageFaults, measure_faults

from unseen.core.errors import SpecError

_MEASURE = """
from lab import page_faults

def step():
    for _ in range(20):  # pages may be large, so that one block takes few of them
        len(b"x" * (48 << 20))  # bytes: more than glibc keeps by itself

page_faults._WORK = {"bytes": lambda: step}
task = page_faults.PageFaults(work=("bytes",), turns=1)
print(page_faults.measure_faults(task, say=lambda _: None))
"""


def test_kept_memory_takes_fewer_pages() -> None:
    """In a process of its own: one that has kept freed memory never gives it back again."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC_" not in name}
    environment["GLIBC_TUNABLES"] = "glibc.malloc.perturb=0"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    row = done.stdout.splitlines()[-1]
    given_back, kept = (int(cell.replace(",", "")) for cell in row.split("|")[2:4])
    assert kept < 20 < given_back


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with pytest.raises(SpecError, match="GLIBC_TUNABLES"):
        measure_faults(PageFaults())
