"""A capture on a jumping clock, with a microphone that a test controls."""

import array
import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from flowpi.audio.capture import Capture, Timing
from flowpi.audio.source import Gap, Heard
from flowpi.audio.utterance import Utterance
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.level import Level
from tests import clock
from tests.sound import beginning

PERIOD_S = 0.02
BUFFER_S = 1.0
SLACK_S = 1e-6
TURN_S = 65_536 / RATE_HZ


class FakeSource:
    """A microphone on the loop's clock: each sample is the number of its frame since time 0, modulo 65536.

    As sound, that is a saw tooth: far below its average level for 0.2 s before and after each multiple of `TURN_S`.

    Levers: `unplugged`, `stalled`, `constant` (a value for all samples), `speech` (PCM that it hears over and over),
    `held_s` (the delay of a resampler).
    """

    name = "fake"
    has_noise = True
    trial: Callable[[], None] | None = None

    def __init__(self, held_s: float = 0.0, buffer_s: float = BUFFER_S) -> None:
        self.held_s = held_s
        self.buffer_s = buffer_s
        self.unplugged = False
        self.stalled = False
        self.constant: int | None = None
        self.speech: bytes | None = None
        self.opened: list[float] = []
        """The times of all attempts to open it."""
        self.reads: list[float] = []
        self.is_open = False
        self._began = 0.0
        self._moved = 0

    @property
    def period_s(self) -> float:
        return PERIOD_S + self.held_s

    def open(self, now: float) -> None:
        self.opened.append(now)
        self._check()
        self.is_open = True
        self._began = now
        self._moved = 0

    def read(self, now: float) -> list[Heard]:
        assert self.is_open
        self.reads.append(now)
        self._check()
        if self.stalled:
            return []
        complete = int((now - self._began) / PERIOD_S + SLACK_S) * round(PERIOD_S * RATE_HZ)
        if complete - self._moved > self.buffer_s * RATE_HZ:
            lost, self._moved = complete - self._moved, complete
            return [Gap(lost)]
        ready = complete - round(self.held_s * RATE_HZ)
        if ready <= self._moved:
            return []
        first = round(self._began * RATE_HZ)
        pcm = array.array("H", ((first + n) % 65_536 for n in range(self._moved, ready)))
        if self.constant is not None:
            pcm = array.array("H", [self.constant]) * len(pcm)
        if self.speech is not None:
            speech = array.array("H", self.speech)
            pcm = array.array("H", (speech[number % len(speech)] for number in range(self._moved, ready)))
        self._moved = ready
        return [pcm.tobytes()]

    def due(self, after: float) -> float:
        periods = -(-(after - self._began - SLACK_S) // PERIOD_S)
        return float(max(after, self._began + periods * PERIOD_S))

    def close(self) -> None:
        self.is_open = False

    def _check(self) -> None:
        if self.unplugged:
            self.is_open = False
            raise MicrophoneError(self.name, "No such device")


class Room:
    """A capture of a fake source, on a jumping clock."""

    def __init__(self, source: FakeSource | None = None, **options: Any) -> None:
        self.source = source or FakeSource()
        self.faults: list[MicrophoneError] = []
        self.recoveries: list[float] = []
        self.silences: list[bool] = []
        self.quiets: list[bool] = []
        self.levels: list[Level] = []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, clock.JumpingLoop)
        self.loop = loop
        self.capture = Capture(
            self.source,
            Timing(**options),
            on_fault=self.faults.append,
            on_recovery=lambda: self.recoveries.append(loop.time()),
            on_silence=self.silences.append,
            on_level=self.levels.append,
            on_quiet=self.quiets.append,
        )
        self.capture.start()

    def press(self, at: float | None = None) -> Utterance:
        entry = beginning()
        self.capture.begin(entry, self.loop.time() if at is None else at)
        return entry

    async def record(self, seconds: float) -> tuple[Utterance, float, float]:
        """Record for `seconds`. Return the recording and the times of press and release."""
        pressed = self.loop.time()
        entry = self.press()
        await asyncio.sleep(seconds)
        released = self.loop.time()
        self.capture.end(entry, released)
        await entry.wait_complete()
        return entry, pressed, released


@asynccontextmanager
async def capturing(source: FakeSource | None = None, **options: Any) -> AsyncIterator[Room]:
    """Start the capture of a room, and check at the end that it holds no timer and no device."""
    room = Room(source, **options)
    yield room
    room.capture.close()
    assert clock.timers() == 0
    assert not room.source.is_open


def numbers(entry: Utterance) -> list[int]:
    return array.array("H", entry.read(0, entry.length)).tolist()


# These two hold within the first 4 s, before the numbers start over.


def begins(entry: Utterance) -> float:
    return numbers(entry)[0] / RATE_HZ


def ends(entry: Utterance) -> float:
    return (numbers(entry)[-1] + 1) / RATE_HZ


def has_no_seam(entry: Utterance) -> bool:
    return all((after - before) % 65_536 == 1 for before, after in itertools.pairwise(numbers(entry)))
