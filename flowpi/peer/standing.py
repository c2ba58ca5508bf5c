"""How a sink is, for those who look after it: whether it fails, and by which error it did last."""

import asyncio
import time

from flowpi.publish.messages import rfc3339

ERROR_LETTERS = 500
"""The length that a report allows."""


class Standing:
    """Written by the worker, read by the reporter, on the loop.

    Attributes:
        error: the last error, which may be over; None before the first.
        error_at: when it came.
        failing: whether a text, or a note about one, waits because of it.
        news: set when something changed that a report shows, here or in the state of the sink.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self.error_at: str | None = None
        self.failing = False
        self.news = asyncio.Event()

    def failed(self, error: str) -> None:
        """Something failed, and is tried again."""
        self.error, self.error_at, self.failing = error[:ERROR_LETTERS], rfc3339(time.time()), True
        self.news.set()

    def works(self) -> None:
        """What failed has succeeded, or was given up; or the position has moved."""
        self.failing = False
        self.news.set()
