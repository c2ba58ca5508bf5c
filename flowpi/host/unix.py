"""Listening Unix sockets, for the daemon and for the recogniser."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

MODE = 0o660
BACKLOG = 128


def listen_unix(path: Path, group: int | None = None) -> socket.socket:
    """Make a listening stream socket to which its user and its group may connect.

    The socket file of a process that has ended is replaced; anything else at `path` stays.

    Args:
        group: the group of the file. None, or one that this user is not a member of, for the user's own group.

    Raises:
        FileExistsError: there is a file at `path` that is no socket.
        OSError: it cannot be made; EADDRINUSE if another process answers on it.
    """
    remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o177)  # closed until the group is right: a chmod after the bind alone would come too late
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        if group is not None:
            with contextlib.suppress(PermissionError):  # not a member
                os.chown(path, -1, group)
        path.chmod(MODE)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def remove_stale(path: Path) -> None:
    """Remove the socket file of a process that has ended.

    Raises:
        FileExistsError: there is a file at `path` that is no socket.
        OSError: it cannot be removed; EADDRINUSE if a process answers on it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "it is no socket", str(path))
    if _answers(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    """Whether a process listens on the socket. Raises OSError if that cannot be determined."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            pass  # its queue is full: somebody listens
        return True
