"""What an error of the disk means for the spool, and what its owner can do."""

import errno
from pathlib import Path

from flowpi.core.errors import SpoolError

NO_FILE = frozenset({errno.EINVAL, errno.ELOOP, errno.EISDIR})
"""Of `open_regular`: what is there is no regular file. Any other error may pass, and says nothing about the file."""


def unusable(directory: Path, error: OSError) -> SpoolError:
    return SpoolError(f"the spool {str(directory)!r} cannot be used ({error.strerror})", hint_for(error))


def hint_for(error: OSError) -> str:
    """What the owner can do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on its disk"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "make it writable for the daemon's user, or set spool.directory"
        case errno.ENOTDIR | errno.ENOENT | errno.ELOOP | errno.ENAMETOOLONG:
            return "set spool.directory"
        case _:
            return "check the disk, and see the journal"
