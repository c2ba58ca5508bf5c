"""Detects a mute microphone: it delivers digital silence, without even the noise that a real one always has.

Times are monotonic and given by the caller.
"""

import logging
from collections.abc import Callable

from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.silence import Silence, is_constant

log = logging.getLogger(__name__)

SILENT_S = 10.0
"""How long digital silence must last before it is reported."""

SETTLE_S = 1.0
"""How long sound is ignored after opening: devices click and resamplers ring, which proves nothing."""

REVIVE_S = 60.0
"""How often a mute device is reopened while nobody records: that wakes some USB microphones up."""


class SilenceWatch:
    def __init__(self, name: str, on_silence: Callable[[bool], None]) -> None:
        """`name` is for the log. `on_silence` is called at each change, with true when silence begins."""
        self._name = name
        self._on_silence = on_silence
        self._silence = Silence()
        self._opened_at = 0.0
        self._revive_at = 0.0
        self._silent = False

    def opened(self, now: float) -> None:
        self._opened_at = now
        self._revive_at = now + REVIVE_S

    def lost(self) -> None:
        """Reset: nothing is known about a device that is gone."""
        self._silence = Silence()
        self._report(False)

    def hear(self, pcm: bytes, now: float) -> None:
        if now - self._opened_at >= SETTLE_S or is_constant(memoryview(pcm)):
            self._silence.feed(pcm)
            silent = self._silence.frames >= SILENT_S * RATE_HZ
            if silent and not self._silent:
                self._revive_at = now
            self._report(silent)

    def wants_reviving(self, now: float) -> bool:
        return self._silent and now >= self._revive_at

    def _report(self, silent: bool) -> None:
        if silent != self._silent:
            self._silent = silent
            if silent:
                log.warning("%r gives digital silence", self._name)
            self._on_silence(silent)
