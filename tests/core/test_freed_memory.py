"""Freed memory stays with the process, unless the user has settings of the allocator."""

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from unseen.core.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    print(keep_freed_memory())
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
size = 40 << 20  # bytes: more than glibc ever keeps by itself (DEFAULT_MMAP_THRESHOLD_MAX, 32 MiB)
block = b"x" * size
del block
before = faults()
block = b"x" * size
print(faults() - before)
"""


def run(*arguments: str, **variables: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    ran = subprocess.run(
        [sys.executable, "-c", _FAULTS, *arguments],
        env={**clean, "GLIBC_TUNABLES": "", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_second_block_of_the_same_size_takes_no_pages_from_the_system() -> None:
    (given_back,) = run("leave")
    done, kept = run("keep")
    assert done == "True"
    assert int(kept) < 10  # a few of the interpreter's own
    # 40 MiB are 10,240 pages of 4 KiB, or 20 of 2 MiB
    assert int(given_back) >= 20


@pytest.mark.parametrize(
    "own", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}]
)
def test_the_users_own_settings_stand(own: dict[str, str]) -> None:
    assert run("keep", **own)[0] == "False"
