"""Folders and files whose names must be on the disk when they are said to be, and may be another's trap."""

import contextlib
import errno
import os
import stat
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(name: str, directory: int) -> int:
    """For reading. Raises OSError; EINVAL for what is no regular file, which is not opened: of some, that is an act."""
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    handle = os.open(name, READ, dir_fd=directory)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "Not a regular file")


def is_same(handle: int, path: Path) -> bool:
    """Whether the open directory still is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Durably, if it is not there. Raises OSError; then it is not there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True)
        try:
            parent = os.open(path.parent, FOLDER)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
        except OSError:
            with contextlib.suppress(OSError):
                path.rmdir()
            raise


def write_and_delete(name: str, directory: int, content: bytes) -> None:
    """See whether the disk takes so much, to the end. Raises OSError if not; nothing stays of it if that can be."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)  # of a crash
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise
    os.unlink(name, dir_fd=directory)


def replace_file(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    """Durably and at once: whoever opens it finds the content of before, or all of this.

    Args:
        group: who else gets it, as a number; None: whoever the directory or the process gives it to.

    Raises:
        OSError: it is as it was, or new and perhaps not durable.
    """
    beside = f".{path.name}.new"
    directory = os.open(path.parent, FOLDER)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=directory)  # of a crash
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(beside, create, 0o600, dir_fd=directory)
        try:
            with open(file, "wb") as written:
                written.write(content)
                written.flush()
                if group is not None and os.fstat(file).st_gid != group:
                    os.fchown(file, -1, group)
                os.fchmod(file, mode)
                os.fsync(file)
            os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=directory)
            raise
        sync_names(directory)
    finally:
        os.close(directory)


def sync_names(directory: int) -> None:
    """Make durable which names there are in it. By a handle of its own: one on which a sync failed is of no worth."""
    handle = os.open(".", FOLDER, dir_fd=directory)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
