"""Places on the disk for what is going to be written to a file, got ahead of time and all at once."""

import ctypes
import os

KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the file does not become longer, which `os.posix_fallocate` cannot do."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def preallocate(file: int, at: int, size: int) -> None:
    """Find places for `size` bytes of an open file from `at` on; what it holds, and its length, stay as they are.

    `os.ftruncate` to the length of the file gives back what was not used, also after an error.

    Raises:
        OSError: ENOSPC; EOPNOTSUPP of a file system that knows no such thing.
    """
    if _libc.fallocate64(file, KEEP_SIZE, at, size):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
