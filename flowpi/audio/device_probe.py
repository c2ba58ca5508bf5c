"""Attempts that may never come back, each on a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable

Ended = concurrent.futures.Future[None]
"""Its exception is the attempt's."""


class DeviceProbe:
    """One at a time. Nobody waits for it when the program ends, as an executor would.

    Attributes:
        since: when the one that goes on now began, by `loop.time()`; None if there is none.
    """

    def __init__(self, on_end: Callable[[Ended], None]) -> None:
        """`on_end` is called on the loop, unless `begin` gave the end already."""
        self.since: float | None = None
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()

    def begin(self, attempt: Callable[[], None], *, within_s: float = 0.0) -> Ended | None:
        """Hold up the loop for so long at most; the end of the attempt, if it came by then."""
        self.since = self._loop.time()
        ended = Ended()

        def run() -> None:
            try:
                attempt()
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        threading.Thread(target=run, name="microphone", daemon=True).start()
        if within_s and concurrent.futures.wait([ended], within_s).done:
            self.since = None
            return ended
        ended.add_done_callback(self._call_back)
        return None

    def _call_back(self, ended: Ended) -> None:
        """On the thread of the attempt."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
            self._loop.call_soon_threadsafe(self._end, ended)

    def _end(self, ended: Ended) -> None:
        self.since = None
        self._on_end(ended)
