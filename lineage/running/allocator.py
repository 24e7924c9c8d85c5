"""Makes glibc's allocator keep the memory that tensors free."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """From here on freed memory stays with the process, for the next tensor; returns whether the allocator is glibc's.

    By itself glibc takes a large tensor from the system and gives it back when it is freed, so each activation of each
    step is paid for with page faults: half of the time of depthwise networks at 224 pixels (benchmarks/README.md). What
    the process holds is bounded by the most that it held at once, and by what falls between two tensors in use.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))  # -1: never
