"""A sound file as a microphone."""

import logging
import math
from pathlib import Path

from flowpi.audio.sound import read_sound
from flowpi.audio.source import Heard
from flowpi.core.errors import FlowpiError, MicrophoneError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.pcm import louder

log = logging.getLogger(__name__)

FORGIVEN = 1e-6
"""The share of a period by which an edge may be missed: its time is no exact binary fraction."""


class WavSource:
    """A sound file of any form, as a microphone: it plays once, in real time from `open()` on, then silence for ever.

    It never gives a gap, however late it is read. It holds all of the file in memory.
    """

    has_noise = False
    trial = None
    buffer_s = math.inf

    def __init__(self, path: str | Path, period_ms: int = 20, gain_db: float = 0.0) -> None:
        self.name = str(path)
        self.period_s = period_ms / 1000
        self.held_s = 0.0
        self._period_bytes = RATE_HZ * period_ms // 1000 * FRAME_BYTES
        self._factor = 10 ** (gain_db / 20)
        self._speech: memoryview | None = None  # None: closed
        self._began = 0.0
        self._periods = 0

    def open(self, now: float) -> None:
        try:
            pcm, warnings = read_sound(self.name)
        except FlowpiError as error:
            raise MicrophoneError(self.name, error.message, error.hint) from error
        for warning in warnings:
            log.warning(warning)
        self._speech = memoryview(louder(pcm, self._factor))
        self._began = now
        self._periods = 0

    def read(self, now: float) -> list[Heard]:
        if self._speech is None:
            raise MicrophoneError(self.name, "it is not open")
        done, self._periods = self._periods, max(self._periods, self._complete(now))
        if self._periods == done:
            return []
        size = (self._periods - done) * self._period_bytes
        heard = bytes(self._speech[done * self._period_bytes :][:size])
        return [heard.ljust(size, b"\0")]

    def due(self, after: float) -> float:
        periods = max(self._periods + 1, math.ceil((after - self._began) / self.period_s - FORGIVEN))
        return max(after, self._began + periods * self.period_s)

    def close(self) -> None:
        self._speech = None

    def _complete(self, now: float) -> int:
        return int((now - self._began) / self.period_s + FORGIVEN)
