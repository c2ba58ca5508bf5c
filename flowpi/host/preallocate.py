"""Allocating blocks of the disk for a file before they are written, many at a time."""

import ctypes
import os

KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the length of the file stays. `os.posix_fallocate` always extends it."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def preallocate(file: int, at: int, size: int) -> None:
    """Allocate blocks for `size` bytes of an open file from the offset `at` on. Its content and length do not change.

    `os.ftruncate` to the length of the file releases what was not used, also after an error.

    Raises:
        OSError: ENOSPC, or EOPNOTSUPP if the filesystem cannot do that.
    """
    if _libc.fallocate64(file, KEEP_SIZE, at, size):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
