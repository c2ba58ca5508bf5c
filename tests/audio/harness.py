"""A capture of a microphone in the real ALSA library, in real time, with its reports and the stalls of the loop."""

import asyncio
import time
from typing import Any

from flowpi.audio.alsa import AlsaSource
from flowpi.audio.capture import Capture, Timing
from flowpi.core.errors import MicrophoneError
from tests.waiting import until

BLOCKED_S = 1.0
"""How long the loop may stall on a loaded machine; a stuck driver would block it for as long as the test waits."""


class CaptureHarness:
    """`recoveries`: their monotonic times. `blocked_s`: the longest stall of the loop while `watch` ran."""

    def __init__(self, device: str = "clock", **options: Any) -> None:
        self.faults: list[MicrophoneError] = []
        self.recoveries: list[float] = []
        self.silences: list[bool] = []
        self.capture = Capture(
            AlsaSource(device),
            Timing(**options),
            on_fault=self.faults.append,
            on_recovery=lambda: self.recoveries.append(time.monotonic()),
            on_silence=self.silences.append,
            on_level=lambda level: None,
        )
        self.blocked_s = 0.0

    async def watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.blocked_s = max(self.blocked_s, time.monotonic() - before)

    async def hear(self, frames: int) -> None:
        wanted = self.capture.frames + frames
        await until(lambda: self.capture.frames >= wanted)
