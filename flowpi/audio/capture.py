"""Reads the microphone by one timer, and hands the audio to whoever records.

Short periods and few wake-ups at once: the device moves sound in periods of 20 ms, but it is read only every
`read_s` (`idle_read_s` while nobody records), and once more at each press and release, so a release loses at most one
period. Between presses the newest audio is kept in memory: the pre-roll. Without a pre-roll the device is closed
between presses, and nothing wakes up.

Runs on the event loop and calls back on it. Times are those of `loop.time()`, which is `time.monotonic()`.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from typing import Protocol

from flowpi.audio.source import Gap, Source
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import Level, measure
from flowpi.dsp.ring import Ring

log = logging.getLogger(__name__)

METER_S = 0.1
"""`level` is published ten times a second while somebody listens."""

STALL_S = 1.5
"""A microphone that delivers nothing for so long is taken for dead."""

REOPEN_S = (0.5, 1.0, 2.0)
"""Waits before opening a lost device again; the last one repeats. Opening holds the interpreter for some ms."""

LATE_S = 1.0
"""How late a press may be handled and still get its whole pre-roll."""


class Log(Protocol):
    """What a recording is written to: an `Utterance`."""

    def append(self, pcm: bytes) -> None: ...
    def append_gap(self, frames: int) -> None: ...
    def finish(self, now: float) -> None: ...


class Capture:
    def __init__(
        self,
        source: Source,
        *,
        read_s: float = 0.1,
        idle_read_s: float = 0.5,
        preroll_s: float = 0.3,
        postroll_s: float = 0.2,
        on_fault: Callable[[MicrophoneError], None],
        on_recovery: Callable[[], None],
        on_level: Callable[[Level], None],
    ) -> None:
        """`on_fault` is called once for a device that cannot be opened or is lost, `on_recovery` when it is back."""
        self._source = source
        self._read_s = read_s
        self._idle_read_s = idle_read_s
        self._preroll_s = preroll_s
        self._postroll_s = postroll_s
        self._on_fault = on_fault
        self._on_recovery = on_recovery
        self._on_level = on_level
        self._loop = asyncio.get_running_loop()
        self._ring_frames = math.ceil((preroll_s + LATE_S) * RATE_HZ) if preroll_s else 0
        self._ring = Ring(self._ring_frames)
        self._logs: list[Log] = []
        self._stops: dict[int, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._lost: MicrophoneError | None = None
        self._tries = 0
        self._heard_at = 0.0
        self._metering = False
        self.frames = 0
        """Heard since the start, gaps not counted."""
        self.gaps = 0
        self.lost_frames = 0

    def start(self) -> None:
        """Begin to listen, if there is a pre-roll to fill; else see that the microphone is there."""
        if self._try_open() and not self._wanted():
            self._close_source()

    def close(self) -> None:
        """Let go of the device. Recordings in progress end with what there is."""
        if self._open and self._logs:
            self._read()
        for entry in list(self._logs):
            self._complete(entry)
        self._cancel_timer()
        self._close_source()

    @property
    def metering(self) -> bool:
        return self._metering

    @metering.setter
    def metering(self, wanted: bool) -> None:
        """Whether `on_level` is called, ten times a second."""
        if wanted == self._metering:  # a read must not be put off by those who come and go
            return
        self._metering = wanted
        if wanted and not self._open and self._lost is None:
            self._try_open()
        self._rest()

    def is_alive(self, now: float) -> bool:
        """Whether the microphone makes progress, is being opened again, or rests by intent."""
        return not self._open or now - self._heard_at < STALL_S + self._idle_read_s

    def begin(self, entry: Log, at: float) -> None:
        """Record into `entry`, from the pre-roll before `at` on.

        Raises:
            MicrophoneError: there is nothing to record from; `on_fault` has been called.
        """
        if self._open:
            self._read()
        elif self._lost is None:
            self._try_open()
        if self._lost is not None:
            raise self._lost
        if self._preroll_s:
            late_s = max(0.0, self._loop.time() - at)
            entry.append(self._ring.newest(math.ceil((self._preroll_s + late_s) * RATE_HZ)))
        self._logs.append(entry)
        self._schedule()

    def end(self, entry: Log, at: float) -> None:
        """Record on until the post-roll after `at` is heard, then finish `entry`. Harmless if it has ended."""
        if entry not in self._logs or id(entry) in self._stops:
            return
        until = at + self._postroll_s + self._source.held_s
        if not self._open or self._loop.time() >= until:
            self._read_and_complete(entry)
        else:
            self._stops[id(entry)] = self._loop.call_at(self._source.due(until), self._read_and_complete, entry)

    def drop(self, entry: Log) -> None:
        """Stop recording into `entry` at once. Harmless if it has ended."""
        if entry in self._logs:
            self._complete(entry)
            self._rest()

    def _read_and_complete(self, entry: Log) -> None:
        if self._open:
            self._read()
        if entry in self._logs:
            self._complete(entry)
            self._rest()

    def _complete(self, entry: Log) -> None:
        self._logs.remove(entry)
        if stop := self._stops.pop(id(entry), None):
            stop.cancel()
        entry.finish(self._loop.time())

    def _rest(self) -> None:
        """Nobody may record any more: slow down, or close the device where there is no pre-roll."""
        if self._open and not self._wanted():
            self._cancel_timer()
            self._close_source()
        elif self._open:
            self._schedule()

    def _wanted(self) -> bool:
        return bool(self._logs) or self._metering or self._preroll_s > 0

    def _tick(self) -> None:
        self._timer = None
        self._read()
        if self._open:
            self._schedule()

    def _schedule(self) -> None:
        self._cancel_timer()
        pause = self._read_s if self._logs else self._idle_read_s
        if self._metering:
            pause = min(pause, METER_S)
        self._timer = self._loop.call_at(self._source.due(self._loop.time() + pause), self._tick)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read(self) -> None:
        """Take all that was heard, to the recordings, the ring and the meter."""
        now = self._loop.time()
        try:
            heard = self._source.read(now)
            if not heard and now - self._heard_at > STALL_S:
                raise MicrophoneError(self._source.name, "it delivers no sound")
        except MicrophoneError as error:
            self._lose(error)
            return
        except Exception as error:  # whatever a driver throws, the microphone is opened anew
            log.exception("the microphone's driver failed")
            self._lose(MicrophoneError(self._source.name, type(error).__name__, "see the journal"))
            return
        if not heard:
            return
        self._heard_at = now
        for is_gap, pieces in itertools.groupby(heard, lambda piece: isinstance(piece, Gap)):
            if is_gap:
                self._take_gap(sum(piece.frames for piece in pieces if isinstance(piece, Gap)))
            else:
                self._take_audio(b"".join(piece for piece in pieces if not isinstance(piece, Gap)))

    def _take_audio(self, pcm: bytes) -> None:
        self.frames += len(pcm) // FRAME_BYTES
        self._ring.push(pcm)
        for entry in self._logs:
            entry.append(pcm)
        if self._metering:
            self._on_level(measure(pcm))

    def _take_gap(self, frames: int) -> None:
        self.gaps += 1
        self.lost_frames += frames
        log.warning("%d ms of sound were lost: the machine was too busy", frames * 1000 // RATE_HZ)
        self._ring.push(bytes(min(frames, self._ring_frames) * FRAME_BYTES))
        for entry in self._logs:
            entry.append_gap(frames)

    def _try_open(self) -> bool:
        self._tries += 1
        try:
            self._source.open(self._loop.time())
        except MicrophoneError as error:
            self._lose(error)
            return False
        except Exception as error:  # as in `_read`
            log.exception("the microphone's driver failed")
            self._lose(MicrophoneError(self._source.name, type(error).__name__, "check audio.device"))
            return False
        self._open = True
        self._heard_at = self._loop.time()
        self._tries = 0
        if self._lost is not None:
            log.info("sound from %r again", self._source.name)
            self._lost = None
            self._on_recovery()
        if self._wanted():
            self._schedule()
        return True

    def _lose(self, error: MicrophoneError) -> None:
        """Recordings end with what there is: what the device will hear when it is back belongs to no sentence."""
        self._cancel_timer()
        self._close_source()
        for entry in list(self._logs):
            self._complete(entry)
        pause = REOPEN_S[min(self._tries, len(REOPEN_S) - 1)]
        self._timer = self._loop.call_later(pause, self._reopen)
        if self._lost is None:
            self._lost = error
            log.warning("%s", error)
            self._on_fault(error)

    def _reopen(self) -> None:
        self._timer = None
        if self._try_open() and not self._wanted():
            self._close_source()

    def _close_source(self) -> None:
        if self._open:
            self._open = False
            self._ring.clear()
        self._source.close()
