"""Signals of the programs that tests start, whatever started the tests.

A shell starts a background job with SIGINT ignored, and `nohup` ignores SIGHUP. An ignored signal stays ignored in all
children; a caught one has its default action again in a child.
"""

import signal
from types import FrameType

STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def catch_ignored() -> None:
    """Give the signals that this process ignores their default action in its children; it goes on ignoring them."""
    for number in STOPPING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
