"""The memory that this process keeps."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_… of glibc's malloc.h
LARGEST = 32 << 20  # bytes, glibc's maximum for MMAP_THRESHOLD; larger arrays are mapped each time


def keep_freed() -> None:
    """Make glibc's malloc keep freed memory; without glibc this does nothing.

    Judging allocates and frees thousands of arrays of some megabytes. By default, glibc returns their pages
    to the system, and each page that is used again costs a fault.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library has no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(MMAP_THRESHOLD, LARGEST)
