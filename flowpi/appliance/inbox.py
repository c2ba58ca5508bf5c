"""The inbox of the appliance: its parts post events and faults, and one handler works them off in order.

The inbox is made before all parts that report something, so none of them needs the conductor, which is made later.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from flowpi.core.events import Event, FaultCleared, FaultRaised


class Inbox:
    """A queue of events that is worked off at once, on the event loop, by whoever posts.

    What is posted before `open` waits for it. An event that the handling of another one posts is handled after it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[tuple[Event, float]] = deque()
        self._faults: set[str] = set()
        self._handle: Callable[[Event, float], None] | None = None
        self._done: Callable[[], None] = lambda: None
        self._working = False

    def open(self, handle: Callable[[Event, float], None], done: Callable[[], None]) -> None:
        """Begin to handle events, and first those that wait.

        Args:
            handle: called with each event, and when it happened.
            done: called whenever no event is left, and after `refresh`.
        """
        self._handle, self._done = handle, done
        self.refresh()

    def post(self, event: Event, at: float | None = None) -> None:
        """Add an event that happened at `at`, or now. It has been handled on return, unless another one is."""
        self._events.append((event, self._loop.time() if at is None else at))
        self.refresh()

    def refresh(self) -> None:
        """Report that something which is shown beside the state has changed."""
        if self._working or self._handle is None:
            return
        self._working = True
        try:
            while self._events:
                self._handle(*self._events.popleft())
        finally:
            self._working = False
        self._done()

    def raise_fault(self, code: str, message: str) -> None:
        """Raise a fault, or replace its message."""
        self._faults.add(code)
        self.post(FaultRaised(code, message))

    def clear_fault(self, code: str) -> None:
        """End a fault. Harmless if it does not stand."""
        if code in self._faults:
            self._faults.discard(code)
            self.post(FaultCleared(code))

    def has_fault(self, code: str) -> bool:
        """Return whether a fault stands that was raised here."""
        return code in self._faults
