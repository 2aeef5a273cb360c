"""The measure of page faults: its two ways differ in what it measures."""

import pytest
from lab.page_faults import PageFaults, measure_faults

from lab import page_faults
from unseen.core.errors import SpecError


def test_kept_memory_takes_fewer_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 48 << 20  # bytes: more than glibc keeps by itself

    def step() -> None:
        for _ in range(20):  # pages may be large, so that one block takes few of them
            len(b"x" * size)

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=0")
    monkeypatch.setattr(page_faults, "_WORK", {"bytes": lambda: step})
    row = measure_faults(PageFaults(work=("bytes",), turns=1), say=lambda _: None).splitlines()[-1]
    given_back, kept = (int(cell.replace(",", "")) for cell in row.split("|")[2:4])
    assert kept < 20 < given_back


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with pytest.raises(SpecError, match="GLIBC_TUNABLES"):
        measure_faults(PageFaults())
