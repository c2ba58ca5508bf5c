"""Keeps lines of the log that untrusted peers can cause to one a second: a flood of them hides what matters."""

import logging
import time
from collections.abc import Callable

INTERVAL_S = 1.0


class LogLimit(logging.Filter):
    """A filter for a logger: of each message one line in `INTERVAL_S`, which says how many were left out before it.

    Messages are told apart by their text before the arguments are filled in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._messages: dict[str, tuple[float, int]] = {}
        """By text: when the last line was logged, and how many were left out since."""

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        logged_at, left_out = self._messages.get(record.msg, (-INTERVAL_S, 0))
        if now - logged_at < INTERVAL_S:
            self._messages[record.msg] = logged_at, left_out + 1
            return False
        self._messages[record.msg] = now, 0
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} more like it)"
            record.args = None
        return True
