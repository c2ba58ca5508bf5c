"""The directory of the position files, which one daemon has at a time.

Of two daemons that move the same positions, each would pass over texts that only the other one sent.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from flowpi.core.errors import SinkError
from flowpi.host.folders import FOLDER, make_folder


class Positions:
    """The directory at `path`. `lock` and `unlock` run on the thread of the transcripts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    @property
    def is_locked(self) -> bool:
        return self._handle is not None

    def lock(self) -> None:
        """Make the directory if it is missing, and keep other daemons out of it. Harmless if it is locked.

        One that cannot be used at all is not locked: the position that cannot be read or written says why.

        Raises:
            SinkError: another daemon has it.
        """
        if self._handle is not None:
            return
        with contextlib.suppress(OSError):
            make_folder(self.path)
            handle = os.open(self.path, FOLDER)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                hint = "stop that one, or start this one with a STATE_DIRECTORY of its own"
                raise SinkError(f"another flowpi has the positions in {str(self.path)!r}", hint) from None
            except OSError:
                os.close(handle)
                raise
            self._handle = handle

    def unlock(self) -> None:
        """Let others use it. Harmless if it is not locked."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
