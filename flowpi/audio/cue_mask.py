"""Replaces the appliance's own tones, as its microphone hears them, by silence.

Times are those of `time.monotonic()`. Everything runs on the event loop.
"""

import math

from msgspec import Struct

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

FORGET_S = 10.0
"""How long a tone that has ended is remembered. No read comes later: see `audio.idle_read_ms`."""


class PlayedTone(Struct, eq=False):
    """A tone that is or was playing. `until`: infinite while it plays."""

    since: float
    until: float = math.inf


class CueMask:
    def __init__(self) -> None:
        self._sounds: list[PlayedTone] = []

    def begin(self, now: float) -> PlayedTone:
        """Begin a sound now. The caller sets its `until` when it ends."""
        self._sounds = [one for one in self._sounds if one.until >= now - FORGET_S]
        self._sounds.append(sound := PlayedTone(now))
        return sound

    def apply(self, pcm: bytes, heard_by: float, slack_s: float) -> bytes:
        """Return as many frames as `pcm` has, silent where a tone sounded.

        Args:
            pcm: int16 mono 16 kHz.
            heard_by: the latest moment at which its last frame can have been heard.
            slack_s: how much earlier that frame may have been heard.
        """
        frames = len(pcm) // FRAME_BYTES
        masked: bytearray | None = None
        for sound in self._sounds:
            # The n-th frame from the end was heard between heard_by - n / RATE_HZ - slack_s and heard_by - n / RATE_HZ.
            # Every frame that may have been heard during the sound is silenced.
            first = max(0, frames - math.floor((heard_by - sound.since) * RATE_HZ) - 1)
            behind = (heard_by - slack_s - sound.until) * RATE_HZ
            last = frames if behind <= 0 else frames - math.ceil(behind)
            if first < last:
                masked = bytearray(pcm) if masked is None else masked
                masked[first * FRAME_BYTES : last * FRAME_BYTES] = bytes((last - first) * FRAME_BYTES)
        return pcm if masked is None else bytes(masked)
