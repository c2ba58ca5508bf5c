"""Durable operations on directories and files, which never follow a symlink that somebody else planted."""

import contextlib
import errno
import os
import stat
from itertools import takewhile
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(name: str, directory: int) -> int:
    """Open a file in an open directory for reading.

    Raises:
        OSError: it cannot be opened; EINVAL if it is no regular file. That is not opened at all, because opening alone
            has an effect on some devices and FIFOs.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    handle = os.open(name, READ, dir_fd=directory)
    if stat.S_ISREG(os.fstat(handle).st_mode):  # it may have been replaced since the look above
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "Not a regular file")


def is_same(handle: int, path: Path) -> bool:
    """Whether an open directory is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Make a directory durably if it is missing, and its parents, all for this user alone.

    Raises:
        OSError: what was made is removed again.
    """
    if path.is_dir():
        return
    missing = [path, *takewhile(lambda folder: not folder.exists(), path.parents)]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            made.append(folder)
            # Before anything is put into it: a power cut that takes its name away takes all that is in it.
            parent = os.open(folder.parent, FOLDER)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
    except OSError:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def write_and_delete(name: str, directory: int, content: bytes) -> None:
    """Check that the disk accepts `content`, by writing, syncing and deleting a file in an open directory.

    Raises:
        OSError: it does not. The file is deleted then too, if that is possible.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)  # left by a crash
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
    """Replace a file durably and atomically: a reader, or a power cut, finds the old content or all of the new.

    Args:
        mode: the permissions of the file.
        group: the number of the group of the file; None for the group that the directory or the process implies.

    Raises:
        OSError: the old content is still there, or the new content is, and perhaps not durable.
    """
    beside = f".{path.name}.new"
    directory = os.open(path.parent, FOLDER)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=directory)  # left by a crash
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(beside, create, 0o600, dir_fd=directory)
        try:
            with open(file, "wb") as written:
                written.write(content)
                written.flush()
                # Closed to all others until the group is right, and synced before it gets its name: a power cut must
                # leave no empty file in place of the old one.
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
    """Make the names in an open directory durable. Raises OSError.

    It opens the directory anew: a handle on which a sync has failed may report success the next time.
    """
    handle = os.open(".", FOLDER, dir_fd=directory)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
