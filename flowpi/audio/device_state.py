"""The states of a microphone that is kept open: see `device.py` for how they follow each other."""

import asyncio
from typing import assert_never

from msgspec import Struct

from flowpi.audio.device_probe import DeviceProbe
from flowpi.core.errors import MicrophoneError

STALL_S = 1.0
"""A microphone that delivers nothing for this long is dead. The next read finds out, `idle_read_s` later at most."""

WAKE_S = 2.5
"""The same for one that was just opened: a sound server that has to wake its device needs up to two seconds."""

STUCK_S = 60.0
"""A driver that has been stuck for this long will not recover."""


class Trouble(Struct, frozen=True):
    """A reported fault that still stands. `tries`: how many waits before another try have begun since."""

    error: MicrophoneError
    tries: int = 0


class Closed(Struct, frozen=True):
    trouble: Trouble | None = None


class Resting(Struct, frozen=True):
    pass


class Open(Struct):
    """`heard_at`: the time of the last read that found sound; None before the first."""

    since: float
    trouble: Trouble | None
    heard_at: float | None = None

    def is_dead(self, now: float) -> bool:
        """Return whether a read at `now` that found nothing is one too many."""
        if self.heard_at is None:
            return now - self.since >= WAKE_S
        return now - self.heard_at >= STALL_S


class Lost(Struct, frozen=True):
    """`dead`: the source is still open, because closing it could block."""

    trouble: Trouble
    retry: asyncio.TimerHandle
    dead: bool


class Probing(Struct):
    """`dead`: as of `Lost`. `closed`: by `close`, since the probe began."""

    trouble: Trouble
    probe: DeviceProbe
    dead: bool = False
    closed: bool = False


State = Closed | Resting | Open | Lost | Probing


def is_alive(state: State, now: float, read_every_s: float) -> bool:
    """Return whether a device makes progress, waits for another try, or is closed by intent.

    Not alive: reads that should come every `read_every_s` find no sound, or a probe is stuck for `STUCK_S`.
    """
    match state:
        case Open(since=since, heard_at=heard_at):
            return now - (since if heard_at is None else heard_at) < WAKE_S + read_every_s
        case Probing(probe=probe):
            return now - probe.since < STUCK_S
        case Closed() | Resting() | Lost():
            return True
        case never:
            assert_never(never)
