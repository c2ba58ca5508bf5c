"""Reports that a name in a folder is gone, without looking for it again and again: inotify(7)."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

# linux/inotify.h
IN_MOVED_FROM, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x200, 0x400, 0x800

_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Calls back on the event loop when something in a folder, or the folder itself, was deleted or renamed."""

    def __init__(self, folder: Path, on_change: Callable[[], None]) -> None:
        """Raises OSError if the folder cannot be watched, or no more watches are allowed."""
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._handle = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        mask = IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
        try:
            _check(_libc.inotify_add_watch(self._handle, os.fsencode(folder), ctypes.c_uint32(mask)))
        except OSError:
            os.close(self._handle)
            raise
        self._loop.add_reader(self._handle, self._read)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._handle)
        os.close(self._handle)

    def _read(self) -> None:
        os.read(self._handle, 65_536)  # which name it was does not matter: the callback looks for itself
        self._on_change()


def _check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
