"""The states of a microphone that is kept open; `device.py` explains how they follow each other."""

import asyncio
from typing import assert_never

from msgspec import Struct

from flowpi.audio.device_probe import DeviceProbe
from flowpi.core.errors import MicrophoneError

STALL_S = 1.0
"""A microphone that delivers nothing for this long is dead. The next read notices, `idle_read_s` later at most."""

WAKE_S = 2.5
"""The same for a device just opened: a sound server that has to wake it needs up to two seconds."""

STUCK_S = 60.0
"""A driver that has been stuck for this long will not recover."""


class Trouble(Struct, frozen=True):
    """A reported fault that still stands. `tries`: how many waits for another try it has caused."""

    error: MicrophoneError
    tries: int = 0


class Closed(Struct, frozen=True):
    """Closed until `start`. A trouble that stood before is remembered."""

    trouble: Trouble | None = None


class Resting(Struct, frozen=True):
    """Closed until somebody needs it."""


class Open(Struct):
    """Open. `heard_at`: the time of the last read that found sound, or None before the first."""

    since: float
    trouble: Trouble | None
    heard_at: float | None = None

    def is_dead(self, now: float) -> bool:
        """Return whether a read at `now` that finds nothing means that the device is dead."""
        if self.heard_at is None:
            return now - self.since >= WAKE_S
        return now - self.heard_at >= STALL_S


class Lost(Struct, frozen=True):
    """Failed, and tried again by `retry`. `dead`: the source is still open, because closing it could block."""

    trouble: Trouble
    retry: asyncio.TimerHandle
    dead: bool


class Probing(Struct):
    """Tried on a thread. `dead`: that of `Lost`. `closed`: `close` was called after the probe began."""

    trouble: Trouble
    probe: DeviceProbe
    dead: bool = False
    closed: bool = False


State = Closed | Resting | Open | Lost | Probing


def is_alive(state: State, now: float, read_every_s: float) -> bool:
    """Return whether a device makes progress, waits for another try, or is closed by intent.

    It is not alive if reads, which should come every `read_every_s`, find no sound, or a probe is stuck for `STUCK_S`.
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
