"""Finds out on a thread whether a microphone can be opened, which may block for ever."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable


class DeviceProbe:
    """One attempt, on a daemon thread of its own. An ending program does not wait for it, as it would for an executor.

    Attributes:
        since: the `loop.time()` at which the attempt began.
    """

    def __init__(self, attempt: Callable[[], None]) -> None:
        """Start `attempt`, which raises if the device cannot be opened."""
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._attempt = attempt
        self._done = concurrent.futures.Future[None]()
        threading.Thread(target=self._run, name="microphone", daemon=True).start()

    @property
    def error(self) -> BaseException | None:
        """The exception that the attempt raised, or None. Ask only after the attempt has ended."""
        return self._done.exception(timeout=0)

    def wait(self, seconds: float) -> bool:
        """Block the loop until the attempt ends, for `seconds` at most. Return whether it ended."""
        return bool(concurrent.futures.wait([self._done], seconds).done)

    def call_back(self, on_end: Callable[["DeviceProbe"], None]) -> None:
        """Call `on_end` on the loop when the attempt ends."""

        def hand_over(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
                self._loop.call_soon_threadsafe(on_end, self)

        self._done.add_done_callback(hand_over)

    def _run(self) -> None:
        try:
            self._attempt()
        except BaseException as error:
            self._done.set_exception(error)
        else:
            self._done.set_result(None)
