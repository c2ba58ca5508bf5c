"""What the operator can do about an error of the disk, for files of flowpi whose path the message names."""

import errno


def disk_hint(error: OSError, setting: str = "") -> str:
    """Return what to do about an error. `setting`: the key with which these files are kept elsewhere."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            todo = "free some space on its disk"
        case errno.EACCES | errno.EPERM:
            todo = "give it to the daemon's user with chown, or open it to that user with chmod"
        case errno.EROFS:
            todo = "mount its disk writable"
        case _ if setting:
            return f"set {setting}"
        case _:
            return "check its disk, and see the journal"
    return f"{todo}, or set {setting}" if setting else todo
