"""One line on a terminal that shows how far a command is; nothing anywhere else."""

import os
import shutil
from typing import TextIO
from unicodedata import combining, east_asian_width

from flowpi.core.safe_text import printable

CLEAR = "\r\x1b[K"


class Progress:
    """The line. Call `clear` before anything else is printed, and at the end."""

    def __init__(self, stream: TextIO | None) -> None:
        """`stream`: stderr, or None to show nothing."""
        able = stream is not None and stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        self._stream = stream if able else None
        self._shown = False

    def show(self, where: str, heard: str = "") -> None:
        """Replace the line.

        Args:
            where: how far it is.
            heard: untrusted text, of which the end is shown as far as there is room.
        """
        if self._stream is None:
            return
        room = shutil.get_terminal_size().columns - 1
        line = _start(printable(where, None), room)
        if heard := _end(printable(heard, None).strip(), room - _width(line) - 2):
            line += f"  {heard}"
        self._stream.write(CLEAR + line)
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self._stream is not None and self._shown:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._shown = False


def clock(seconds: float) -> str:
    """Return a duration as MM:SS, or H:MM:SS from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _start(text: str, room: int) -> str:
    while _width(text) > room:
        text = text[:-1]
    return text


def _end(text: str, room: int) -> str:
    """Return the end of a text, from the beginning of a word on if it does not fit."""
    if _width(text) <= room:
        return text
    end = text[-room:] if room > 0 else ""
    while _width(end) > max(room, 0):
        end = end[1:]
    return end.partition(" ")[2]


def _width(text: str) -> int:
    """Return how many columns a text needs at most."""
    return sum(2 if east_asian_width(letter) in "WF" else not combining(letter) for letter in text)
