"""Reads the microphone by one timer, and hands the audio to whoever records.

Short periods and few wake-ups at once: the device moves sound in periods of 20 ms, but it is read only every
`read_s` (`idle_read_s` while nobody records), and once more at each press and release, so a release loses at most one
period. Between presses the newest audio is kept in memory: the pre-roll. Without a pre-roll the device is closed
between presses, and nothing wakes up.

A device that is lost, or has been dead for `STALL_S`, is opened again and again until sound comes from it. Whether it
can be opened is found out on a thread (`Source.trial`), and a dead one is closed only after that: whatever is stuck
there, the loop goes on.

Runs on the event loop and calls back on it. Times are those of `loop.time()`, which is `time.monotonic()`.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable

from flowpi.audio.cue_mask import CueMask
from flowpi.audio.device_probe import DeviceProbe, Ended
from flowpi.audio.recorder import Following, Log, Recorder
from flowpi.audio.silence_watch import SilenceWatch
from flowpi.audio.source import Gap, Source
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import Level, measure
from flowpi.dsp.ring import Ring

log = logging.getLogger(__name__)

METER_S = 0.1
"""`level` is published ten times a second while somebody listens."""

STALL_S = 1.0
"""A microphone that delivers nothing for so long is dead. Seen at the next read: `idle_read_s` later at most."""

WAKE_S = 2.5
"""Just opened it may take longer: a sound server that has to wake its device needs up to two seconds."""

REOPEN_S = (0.5, 1.0, 1.5)
"""Waits before opening a lost device again; the last one repeats. One that is plugged in is back within 2 s."""

STUCK_S = 60.0
"""A driver that does not let go for so long will not."""

AT_ONCE_S = 1.0
"""What a stuck driver may take from the start of the program, or from a press where no pre-roll keeps it open."""

LATE_S = 1.0
"""How late a press may be handled and still get its whole pre-roll."""


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
        on_silence: Callable[[bool], None],
        on_level: Callable[[Level], None],
        mask: CueMask | None = None,
    ) -> None:
        """
        Args:
            on_fault: called once for a device that cannot be opened or is lost, and again when the reason is another;
                `on_recovery` when it is back.
            on_silence: called with true when the device has given digital silence for `SILENT_S`, and with false when
                it gives sound again, or is lost.
            mask: what must not be heard: of the recordings and the pre-roll; the level is that of the microphone.
        """
        self._source = source
        self._read_s = read_s
        self._idle_read_s = idle_read_s
        self._preroll_s = preroll_s
        self._postroll_s = postroll_s
        self._on_fault = on_fault
        self._on_recovery = on_recovery
        self._on_level = on_level
        self._cue_mask = mask or CueMask()
        self._loop = asyncio.get_running_loop()
        self._ring_frames = math.ceil((preroll_s + LATE_S) * RATE_HZ) if preroll_s else 0
        self._ring = Ring(self._ring_frames)
        self._recorders: list[Recorder] = []
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._closed = False
        """By `close`, until `start`."""
        self._stuck = False
        """Dead, and not closed yet: closing it could take for ever."""
        self._probe = DeviceProbe(self._probe_ended)
        self._lost: MicrophoneError | None = None
        """Until sound comes again."""
        self._tries = 0
        self._heard_at = 0.0
        self._sounded = False
        """Something was heard since it was opened."""
        self._silence_watch = SilenceWatch(source.name, on_silence)
        self._metering = False
        self.frames = 0
        """Heard since the start, gaps not counted."""
        self.gaps = 0
        self.lost_frames = 0

    def start(self) -> None:
        """Begin to listen, if there is a pre-roll to fill; else see that the microphone is there."""
        self._closed = False
        if self._probe.since is None:  # else what it finds out leads on from there
            self._open_at_once(self._open_again)

    def close(self) -> None:
        """Let go of the device, until `start`.

        Recordings in progress end with what there is, marked unless they were released.
        """
        if self._open and self._recorders:
            self._read()
        for recorder in list(self._recorders):
            self._complete(recorder, partial=recorder.stop is None)
        self._closed = True
        self._cancel_timer()
        self._silence_watch.lost()
        if not self._stuck:
            self._close_source()
        elif self._probe.since is None:
            self._reopen()  # and with `_closed` set, that closes it as soon as it can be

    @property
    def metering(self) -> bool:
        return self._metering

    @metering.setter
    def metering(self, wanted: bool) -> None:
        """Whether `on_level` is called, ten times a second."""
        if wanted == self._metering:  # a read must not be put off by those who come and go
            return
        self._metering = wanted
        if wanted and not self._open and not self._closed and self._lost is None:
            self._open_at_once(self._try_open)
        self._rest()

    def is_alive(self, now: float) -> bool:
        """Whether the microphone makes progress, is being opened again, or rests by intent.

        Not alive: nobody reads it any more, or opening it has been stuck for `STUCK_S`.
        """
        if self._probe.since is not None:
            return now - self._probe.since < STUCK_S
        return not self._open or now - self._heard_at < WAKE_S + self._idle_read_s

    def begin(self, entry: Log, at: float) -> None:
        """Record into `entry`, from the pre-roll before `at` on.

        Raises:
            MicrophoneError: there is nothing to record from; `on_fault` has been called, unless it is closed.
        """
        if self._closed:
            raise MicrophoneError(self._source.name, "it is closed")
        if self._open:
            self._read()
        elif self._lost is None:
            self._open_at_once(self._try_open)
        if self._lost is not None:
            raise self._lost
        recorder = Recorder(entry)
        if self._preroll_s:
            late_s = max(0.0, self._loop.time() - at)
            recorder.hear(self._ring.newest(math.ceil((self._preroll_s + late_s) * RATE_HZ)))
        self._recorders.append(recorder)
        self._schedule()

    def continue_in(self, entry: Log, following: Log, until: float, on_next: Callable[[], None]) -> None:
        """Let the recording go on in `following`, with no gap and no overlap, from the next pause in speech on.

        At the latest after the sample of `until`. Then `entry` is finished, and `on_next` called. If the recording of
        `entry` ends before, however it does, `following` never begins. Harmless if it has ended or was released.
        """
        recorder = self._find(entry)
        if recorder is None or recorder.stop is not None:
            return
        at_latest = self._loop.call_at(self._source.due(until + self._source.held_s), self._cut, recorder, following)
        recorder.continue_in(Following(following, on_next, at_latest))

    def end(self, entry: Log, at: float) -> None:
        """Record on until the post-roll after `at` is heard, then finish `entry`. Harmless if it has ended."""
        recorder = self._find(entry)
        if recorder is None or recorder.stop is not None:
            return
        recorder.cancel_next()
        until = at + self._postroll_s + self._source.held_s
        if not self._open or self._loop.time() >= until:
            self._read_and_complete(recorder)
        else:
            recorder.stop = self._loop.call_at(self._source.due(until), self._read_and_complete, recorder)

    def drop(self, entry: Log) -> None:
        """Stop recording into `entry` at once. Harmless if it has ended."""
        if recorder := self._find(entry):
            self._complete(recorder)
            self._rest()

    def _find(self, entry: Log) -> Recorder | None:
        return next((recorder for recorder in self._recorders if recorder.entry is entry), None)

    def _cut(self, recorder: Recorder, following: Log) -> None:
        """The latest moment is there; a pause may have been earlier, and found by this very read."""
        self._read()
        if recorder.following is not None and recorder.following.entry is following:
            recorder.cut(self._loop.time())

    def _read_and_complete(self, recorder: Recorder) -> None:
        if self._open:
            self._read()
        if recorder in self._recorders:
            self._complete(recorder)
            self._rest()

    def _complete(self, recorder: Recorder, *, partial: bool = False) -> None:
        self._recorders.remove(recorder)
        recorder.finish(self._loop.time(), partial=partial)

    def _rest(self) -> None:
        """Nobody may record any more: slow down, or close the device where there is no pre-roll."""
        if self._open and not self._wanted():
            self._cancel_timer()
            self._close_source()
        elif self._open:
            self._schedule()

    def _wanted(self) -> bool:
        return bool(self._recorders) or self._metering or self._preroll_s > 0

    def _tick(self) -> None:
        self._timer = None
        self._read()
        if self._open and not self._recorders and self._silence_watch.wants_reviving(self._loop.time()):
            self._revive()
        elif self._open:
            self._schedule()

    def _schedule(self) -> None:
        self._cancel_timer()
        pause = self._read_s if self._recorders or self._lost is not None else self._idle_read_s
        if self._metering:
            pause = min(pause, METER_S)
        self._timer = self._loop.call_at(self._source.due(self._loop.time() + pause), self._tick)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Hearing.

    def _read(self) -> None:
        """Take all that was heard, to the recordings, the ring and the meter."""
        now = self._loop.time()
        try:
            heard = self._source.read(now)
        except MicrophoneError as error:
            self._lose(error)
            return
        except Exception as error:  # whatever a driver throws, the microphone is opened anew
            log.exception("the microphone's driver failed")
            self._lose(MicrophoneError(self._source.name, type(error).__name__, "see the journal"))
            return
        if not heard:
            if now - self._heard_at >= (STALL_S if self._sounded else WAKE_S):
                self._stuck = self._source.trial is not None
                self._lose(MicrophoneError(self._source.name, "it delivers no sound", "plug it in again"))
            return
        self._heard_at = now
        self._sounded = True
        read_at = self._loop.time()
        slack_s = self._source.period_s + read_at - now
        later = sum(piece.frames if isinstance(piece, Gap) else len(piece) // FRAME_BYTES for piece in heard)
        for is_gap, pieces in itertools.groupby(heard, lambda piece: isinstance(piece, Gap)):
            if is_gap:
                gap = sum(piece.frames for piece in pieces if isinstance(piece, Gap))
                later -= gap
                self._take_gap(gap)
            else:
                pcm = b"".join(piece for piece in pieces if not isinstance(piece, Gap))
                later -= len(pcm) // FRAME_BYTES
                self._take_audio(pcm, read_at - later / RATE_HZ, slack_s)
        self._recovered()
        for recorder in list(self._recorders):
            if recorder.pausing:
                recorder.cut(now)

    def _take_audio(self, pcm: bytes, heard_by: float, slack_s: float) -> None:
        """`heard_by`, `slack_s`: as for `CueMask.apply`."""
        self.frames += len(pcm) // FRAME_BYTES
        masked = self._cue_mask.apply(pcm, heard_by, slack_s)
        self._ring.push(masked)
        for recorder in self._recorders:
            recorder.hear(masked)
        if self._metering:
            self._on_level(measure(pcm))
        if self._source.has_noise:
            self._silence_watch.hear(pcm, self._loop.time())

    def _take_gap(self, frames: int) -> None:
        self.gaps += 1
        self.lost_frames += frames
        log.warning("%d ms of sound were lost: the machine was too busy", frames * 1000 // RATE_HZ)
        self._ring.push(bytes(min(frames, self._ring_frames) * FRAME_BYTES))
        for recorder in self._recorders:
            recorder.miss(frames)

    # The device: opened, lost, opened again.

    def _try_open(self) -> bool:
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
        self._sounded = False
        self._heard_at = self._loop.time()
        self._silence_watch.opened(self._heard_at)
        if self._wanted():
            self._schedule()
        return True

    def _open_at_once(self, open_it: Callable[[], object]) -> None:
        """Somebody waits for it. Whatever is stuck there holds the loop up no longer than `AT_ONCE_S`."""
        if self._source.trial is None:
            open_it()
            return
        if ended := self._probe.begin(self._source.trial, within_s=AT_ONCE_S):
            self._probe_ended(ended, open_it)
        else:
            self._lose(MicrophoneError(self._source.name, "it does not answer", "start its sound server again"))

    def _open_again(self) -> None:
        if self._try_open() and not self._wanted():  # so no sound is waited for: that it opens must be enough
            self._recovered()
            self._close_source()

    def _recovered(self) -> None:
        self._tries = 0
        if self._lost is not None:
            log.info("sound from %r again", self._source.name)
            self._lost = None
            self._on_recovery()

    def _revive(self) -> None:
        log.info("%r is opened anew: it gives digital silence", self._source.name)
        self._cancel_timer()
        self._close_source()
        self._try_open()

    def _lose(self, error: MicrophoneError) -> None:
        """Recordings end with what there is: what the device will hear when it is back belongs to no sentence."""
        self._cancel_timer()
        if self._stuck:
            self._rest_from_reading()
        else:
            self._close_source()
        for recorder in list(self._recorders):
            self._complete(recorder, partial=True)
        self._silence_watch.lost()
        if self._probe.since is None:
            pause = REOPEN_S[min(self._tries, len(REOPEN_S) - 1)]
            self._tries += 1
            self._timer = self._loop.call_later(pause, self._reopen)
        known, self._lost = self._lost, error
        if known is None or known.reason != error.reason:
            log.warning("%s", error)
            self._on_fault(error)

    def _reopen(self) -> None:
        self._timer = None
        if self._source.trial is None:
            self._open_again()
        else:
            self._probe.begin(self._source.trial)

    def _probe_ended(self, ended: Ended, open_it: Callable[[], object] | None = None) -> None:
        """Whatever it says, driver and sound server answer: closing and opening will not get stuck."""
        was_stuck, self._stuck = self._stuck, False
        if was_stuck:
            self._close_source()
        if self._closed:
            return
        error = ended.exception()
        if error is None or was_stuck:  # it may have been busy only by this very program
            (open_it or self._open_again)()
        elif isinstance(error, MicrophoneError):
            self._lose(error)
        else:
            log.error("the microphone's driver failed", exc_info=error)
            self._lose(MicrophoneError(self._source.name, type(error).__name__, "check audio.device"))

    def _rest_from_reading(self) -> None:
        self._open = False
        self._ring.clear()

    def _close_source(self) -> None:
        if self._open:
            self._rest_from_reading()
        self._source.close()
