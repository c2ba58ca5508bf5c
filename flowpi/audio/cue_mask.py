"""What the appliance itself sounds is taken out of what it hears: silence takes the place of it.

Times are `time.monotonic()`. All on the event loop.
"""

import math

from msgspec import Struct

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

FORGET_S = 10.0
"""No read comes so late: see `audio.idle_read_ms`, and how long the loop may stand still."""


class Sound(Struct, eq=False):
    """`until`: infinite while it goes on."""

    since: float
    until: float = math.inf


class CueMask:
    def __init__(self) -> None:
        self._sounds: list[Sound] = []

    def begin(self, now: float) -> Sound:
        """Something sounds from now on; its owner sets `until`."""
        self._sounds = [one for one in self._sounds if one.until >= now - FORGET_S]
        self._sounds.append(sound := Sound(now))
        return sound

    def apply(self, pcm: bytes, heard_by: float, slack_s: float) -> bytes:
        """As many frames, silent where something sounded.

        Args:
            pcm: int16 mono 16 kHz.
            heard_by: when its last frame was heard at the latest.
            slack_s: how much before that it may have been.
        """
        frames = len(pcm) // FRAME_BYTES
        masked: bytearray | None = None
        for sound in self._sounds:
            # Of the frame that is the n-th from the end, it is known that it was heard from
            # heard_by - n / RATE_HZ - slack_s to heard_by - n / RATE_HZ.
            first = max(0, frames - math.floor((heard_by - sound.since) * RATE_HZ) - 1)
            behind = (heard_by - slack_s - sound.until) * RATE_HZ
            last = frames if behind <= 0 else frames - math.ceil(behind)
            if first < last:
                masked = bytearray(pcm) if masked is None else masked
                masked[first * FRAME_BYTES : last * FRAME_BYTES] = bytes((last - first) * FRAME_BYTES)
        return pcm if masked is None else bytes(masked)
