"""Whether a microphone that delivers is mute: digital silence, without even the noise that a real one always has.

Time is that of the caller, monotonic.
"""

import logging
from collections.abc import Callable

from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.silence import Silence, is_constant

log = logging.getLogger(__name__)

SILENT_S = 10.0
"""Digital silence for so long is told."""

SETTLE_S = 1.0
"""Just opened, a device may click and a resampler rings: that is no sign that a silent one hears again."""

REVIVE_S = 60.0
"""How often a mute device is opened anew while nobody records: some USB microphones wake up by that."""


class SilenceWatch:
    def __init__(self, name: str, on_silence: Callable[[bool], None]) -> None:
        """`on_silence` is called with each change."""
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
        """Of a device that is gone nobody knows."""
        self._silence = Silence()
        self._tell(False)

    def hear(self, pcm: bytes, now: float) -> None:
        if now - self._opened_at >= SETTLE_S or is_constant(memoryview(pcm)):
            self._silence.feed(pcm)
            silent = self._silence.frames >= SILENT_S * RATE_HZ
            if silent and not self._silent:
                self._revive_at = now
            self._tell(silent)

    def wants_reviving(self, now: float) -> bool:
        return self._silent and now >= self._revive_at

    def _tell(self, silent: bool) -> None:
        if silent != self._silent:
            self._silent = silent
            if silent:
                log.warning("%r gives digital silence", self._name)
            self._on_silence(silent)
