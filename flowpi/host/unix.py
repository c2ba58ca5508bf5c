"""A listening Unix socket, for the daemon and for the recogniser."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

MODE = 0o660
BACKLOG = 128


def listen_unix(path: Path, group: int | None = None) -> socket.socket:
    """Make a listening stream socket, open to its owner and its group. The file of a process that is no more is
    replaced; anything else stays.

    Args:
        group: who gets the file; None, or one that this user is no member of: the user's own group.

    Raises:
        FileExistsError: what is there is no socket.
        OSError: with EADDRINUSE somebody answers there; else what the system said.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o177)  # a chmod after the bind would leave a moment open to the wrong group
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


def _remove_stale(path: Path) -> None:
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
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            pass  # its queue is full
        return True
