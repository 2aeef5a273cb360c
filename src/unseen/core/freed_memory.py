"""Memory that a command has freed stays with its process, for its next batch.

glibc gives large blocks back to the system at once and takes them again for the next batch, page by
page: every page costs a fault and is cleared anew. Steps of a network ask for the same blocks again
and again. What is gained is in docs/throughput.md.
Source: mallopt(3) of the Linux manual.
"""

import ctypes
import os

# Of mallopt: name → number in malloc.h, value. Blocks up to 128 MiB come from the heap, which keeps
# them. Larger ones are given back: glibc before 2.38 takes an aligned block up to eight times
# before it uses one again (https://sourceware.org/bugzilla/show_bug.cgi?id=14581).
_PARAMETERS = {
    "M_MMAP_THRESHOLD": (-3, 128 << 20),
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # the heap keeps its free end; the most of an int
    "M_TOP_PAD": (-2, 64 << 20),  # bytes by which the heap grows; untouched, they take no memory
}


def keep_freed_memory() -> bool:
    """Let the allocator of this process keep what is freed.

    The user's own settings stand: variables `MALLOC_…_`, or `glibc.malloc` in `GLIBC_TUNABLES`.

    Returns:
        Whether it was done. Other systems and C libraries have no such setting.
    """
    own = [name for name in os.environ if name.startswith("MALLOC_")]
    if own or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):  # Windows; macOS and musl
        return False
    if not glibc:
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Each call gives 1 where the value was taken; without the first the others are of no use.
    return all(mallopt(number, value) == 1 for number, value in _PARAMETERS.values())
