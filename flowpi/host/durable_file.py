"""A small file with what flowpi must remember across restarts and power cuts: JSON, replaced as a whole."""

import logging
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from flowpi.host.folders import make_folder, replace_file

log = logging.getLogger(__name__)

Content = TypeVar("Content")


class DurableFile(Generic[Content]):
    """The file at `path`, for this user alone. Its methods touch the disk."""

    def __init__(self, path: Path, content: type[Content], if_damaged: str) -> None:
        """
        Args:
            content: the type of what is in it.
            if_damaged: what follows for the user if it cannot be understood; for the log.
        """
        self.path = path
        self._decoder = msgspec.json.Decoder(content)
        self._if_damaged = if_damaged

    def read(self) -> Content | None:
        """Return what was written last, or None if nothing was, or if the file is damaged: that is logged.

        Raises:
            OSError: it is unknown what is in it.
        """
        try:
            return self._decoder.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.error("%s is damaged: %s (%s)", self.path, self._if_damaged, error)
            return None

    def write(self, content: Content) -> None:
        """Replace what is in it, durably; its directory is made if it is missing.

        Raises:
            OSError: the old content is still there, or the new content is, and perhaps not durable.
        """
        make_folder(self.path.parent)
        replace_file(self.path, msgspec.json.encode(content) + b"\n", 0o600)
