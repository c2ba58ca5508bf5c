"""What an error of the disk means for the spool, and what the operator can do about it."""

import errno
from pathlib import Path

from flowpi.core.errors import SpoolError

NO_FILE = frozenset({errno.EINVAL, errno.ELOOP, errno.EISDIR})
"""The errors by which `open_regular` reports that a name is no regular file. Any other error may be a passing one of
the disk, and is no reason to move the file away."""


def unusable(directory: Path, error: OSError) -> SpoolError:
    """Return the error to raise when the spool as a whole cannot be used."""
    return SpoolError(f"the spool {str(directory)!r} cannot be used ({error.strerror})", hint_for(error))


def hint_for(error: OSError, *, reading: bool = False) -> str:
    """Return what the operator can do about an error of the disk, in writing or else in reading."""
    match error.errno:
        case errno.EACCES | errno.EPERM if reading:
            return "make it readable for the daemon's user, or try it with sudo"
        case errno.ENOTEMPTY:
            return "delete what is in it"
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on its disk"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "make it writable for the daemon's user, or set spool.directory"
        case errno.ENOTDIR | errno.ENOENT | errno.ELOOP | errno.ENAMETOOLONG:
            return "set spool.directory"
        case _:
            return "check the disk, and see the journal"
