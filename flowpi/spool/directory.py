"""The directory of the spool as a directory: locked for one process, and opened again for each look at what is in it.

The lock is one on the directory itself, so it needs neither space nor a file that could be deleted. Directories in it
are opened by handle and never through a link: nothing outside the spool is read or written, whatever is planted there.
"""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from flowpi.host.folders import FOLDER, is_same, make_folder, sync_names
from flowpi.spool.errors import hint_for
from flowpi.spool.listing import files

log = logging.getLogger(__name__)

Found = TypeVar("Found")

NEW = ".new"
"""The suffix of a file that is being made. After a crash it is worth nothing."""

KEPT = "kept"


class LockedDirectory:
    """`lock`, `close` and `handle` belong to one thread; the rest may be called on any, in any process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._unreadable: set[str] = set()
        """The directories in it that could not be read at the last look, which is logged once for each."""

    def lock(self) -> None:
        """Make the directory if it is missing, lock it and delete what a crash left half made. Harmless if it is ours.

        Raises:
            BlockingIOError: another process holds the lock.
            OSError: it cannot be made or written to.
        """
        if self._handle is not None:
            return
        make_folder(self.path)
        handle = os.open(self.path, FOLDER)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.access(self.path, os.W_OK | os.X_OK):
                read_only = os.fstatvfs(handle).f_flag & os.ST_RDONLY
                reason = errno.EROFS if read_only else errno.EACCES
                raise OSError(reason, os.strerror(reason))
            _sweep(handle)  # only under the lock: without it the file may be one that another daemon is writing
        except OSError:
            os.close(handle)
            raise
        self._handle = handle

    def close(self) -> None:
        """Release the lock. Harmless if it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def handle(self) -> int:
        """The descriptor of the directory that is locked."""
        assert self._handle is not None
        return self._handle

    def is_there(self) -> bool:
        """Whether the directory that is locked still is the one at `path`."""
        return self._handle is not None and is_same(self._handle, self.path)

    @contextlib.contextmanager
    def at(self, folder: str = "") -> Iterator[int]:
        """Open the directory, or one in it, for the length of a block. Raises OSError, also if that one is a link."""
        home = os.open(self.path, FOLDER)
        try:
            if not folder:
                yield home
                return
            handle = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=home)
        finally:
            os.close(home)
        try:
            yield handle
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def within(self, folder: str) -> Iterator[int]:
        """Open a directory in it as `at` does, and make it first if it is missing. Raises OSError."""
        with self.at() as home, contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700, dir_fd=home)
            # A new directory that a power cut takes away would take with it the only copy that is moved there next.
            sync_names(home)
        with self.at(folder) as handle:
            yield handle

    def look(self, folder: str, read: Callable[[int], list[Found]]) -> list[Found] | None:
        """Return what `read` finds in a directory in it, or None if that cannot be read, which is logged once."""
        try:
            with self.at(folder) as handle:
                found = read(handle)
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError as error:
            if folder not in self._unreadable:
                log.warning("%s cannot be looked at (%s): %s", self.path / folder, error.strerror, hint_for(error))
            self._unreadable.add(folder)
            return None
        self._unreadable.discard(folder)
        return found


def _sweep(handle: int) -> None:
    """Delete what a crash left half made. What cannot be deleted does no harm."""
    for folder in (".", KEPT):
        with contextlib.suppress(OSError):
            inside = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            try:
                for name, _ in files(inside):
                    if name.endswith(NEW):
                        with contextlib.suppress(OSError):
                            os.unlink(name, dir_fd=inside)
            finally:
                os.close(inside)
