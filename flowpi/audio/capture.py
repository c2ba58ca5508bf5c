"""Reads the microphone by one timer, and hands the audio to the recordings in progress.

Short periods and few wake-ups at once: the device moves sound in periods of 20 ms, but it is read only when a reader of
the recording (the connection, the disk) waits for no more than there is, and once more at each press and release, so a
release loses at most one period. Between presses the newest audio is kept in memory: the pre-roll. Without a pre-roll
the device is closed between presses, and nothing wakes up.

`Device` opens the microphone, and opens it again after a loss. Everything runs on the event loop, callbacks too. Times
are those of `loop.time()`, which is `time.monotonic()`.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from msgspec import Struct

from flowpi.audio.cue_mask import CueMask
from flowpi.audio.device import Device
from flowpi.audio.recorder import Following, Log, Recorder
from flowpi.audio.source import Gap, Source
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import Level, measure
from flowpi.dsp.ring import Ring

log = logging.getLogger(__name__)

METER_S = 0.1
"""How often the level is measured while somebody listens to it."""

BRISK_S = 1.0
"""How long after a press the microphone is read every `read_s`, because its readers are still coming."""

LONGEST_READ_S = 1.0
"""The longest time between reads while somebody records, whatever the readers wait for."""

LATE_S = 1.0
"""How late a press may be handled and still get its whole pre-roll."""


class Timing(Struct, frozen=True):
    """The times of a capture.

    `read_s`: the shortest time between reads while somebody records. `idle_read_s`: between reads while nobody does.
    `preroll_s`, `postroll_s`: how much sound from before the press and after the release belongs to a recording.
    """

    read_s: float = 0.1
    idle_read_s: float = 0.5
    preroll_s: float = 0.3
    postroll_s: float = 0.2


class Capture:
    """The microphone as the appliance uses it: begin, continue and end recordings, and measure the level.

    Attributes:
        frames: heard so far, without gaps.
        gaps, lost_frames: how often sound was lost because nobody read in time, and how much.
    """

    def __init__(
        self,
        source: Source,
        timing: Timing,
        *,
        on_fault: Callable[[MicrophoneError], None],
        on_recovery: Callable[[], None],
        on_silence: Callable[[bool], None],
        on_level: Callable[[Level], None],
        on_quiet: Callable[[bool], None] = lambda quiet: None,
        mask: CueMask | None = None,
    ) -> None:
        """
        Args:
            on_fault: called when the device cannot be opened or is lost, and again if the reason changes.
            on_recovery: called when the device works again.
            on_silence: called with true when the device has given digital silence for `SILENT_S`, and with false when
                it gives sound again, or is lost.
            on_level: called with the level of the microphone, as `meter` asks.
            on_quiet: called at the end of a recording in which somebody spoke, with whether it was too quiet for a
                recogniser.
            mask: silences the appliance's own tones in recordings and pre-roll, but not in the level.
        """
        self._on_fault = on_fault
        self._on_recovery = on_recovery
        self._on_silence = on_silence
        self._on_level = on_level
        self._on_quiet = on_quiet
        self._cue_mask = mask or CueMask()
        self._loop = asyncio.get_running_loop()
        self._recorders: list[Recorder] = []
        self._timer: asyncio.Handle | None = None
        self._read_at: float | None = None
        """When the next read is due. Nothing puts it off, or listeners that come and go would do so for ever."""
        self._use(source, timing)
        self._metering = False
        self._brisk_until = 0.0
        self.frames = 0
        self.gaps = 0
        self.lost_frames = 0

    def start(self) -> None:
        """Begin to listen if there is a pre-roll to fill; otherwise only check that the microphone works."""
        self._device.start()

    def close(self) -> None:
        """Close the device until `start`.

        Recordings in progress end with what was heard, marked as partial unless they were released.
        """
        if self._recorders:
            self._read()
        for recorder in list(self._recorders):
            self._complete(recorder, partial=recorder.stop is None)
        self._device.close()

    def replace(self, source: Source, timing: Timing) -> None:
        """Close the old source and use another from now on, which is opened if the capture is started."""
        was_started = self._device.is_started
        self.close()
        self._use(source, timing)
        if was_started:
            self.start()

    def meter(self, wanted: bool) -> None:
        """Start or stop calling `on_level`, ten times a second."""
        if wanted == self._metering:  # listeners that come and go must not delay the next read
            return
        self._metering = wanted
        if wanted:
            self._device.wake()
        self._rest()

    def is_alive(self, now: float) -> bool:
        """Return whether the microphone makes progress, is being opened again, or is closed by intent.

        It is not alive if nobody reads it any more, or if opening it has been stuck for `STUCK_S`.
        """
        return self._device.is_alive(now, self._timing.idle_read_s)

    def begin(self, entry: Log, at: float) -> None:
        """Record into `entry`, beginning with the pre-roll before `at`.

        Raises:
            MicrophoneError: the microphone is closed, or does not work, which `on_fault` has reported.
        """
        if self._device.is_open:
            self._read()
        else:
            self._device.wake()
        if (refusal := self._device.refusal) is not None:
            raise refusal
        recorder = Recorder(entry)
        if self._timing.preroll_s:
            late_s = max(0.0, self._loop.time() - at)
            recorder.hear(self._ring.newest(math.ceil((self._timing.preroll_s + late_s) * RATE_HZ)))
        self._recorders.append(recorder)
        self._brisk_until = self._loop.time() + BRISK_S
        self._schedule()

    def continue_in(self, entry: Log, following: Log, until: float, on_next: Callable[[], None]) -> None:
        """Continue the recording in `following`, without gap or overlap, at the next pause in speech.

        Without a pause, it is cut after the sample heard at `until`. At the cut, `entry` is finished and `on_next` is
        called. If the recording ends before that, for whatever reason, `following` never begins. Harmless if the
        recording has ended or was released.
        """
        recorder = self._find(entry)
        if recorder is None or recorder.stop is not None:
            return
        at_latest = self._loop.call_at(self._source.due(until + self._source.held_s), self._cut, recorder, following)
        recorder.continue_in(Following(following, on_next, at_latest))

    def end(self, entry: Log, at: float) -> None:
        """Finish `entry` once the post-roll after `at` has been heard. Harmless if the recording has ended."""
        recorder = self._find(entry)
        if recorder is None or recorder.stop is not None:
            return
        recorder.cancel_next()
        until = at + self._timing.postroll_s + self._source.held_s
        if self._loop.time() >= until:
            self._read_and_complete(recorder)
        else:
            recorder.stop = self._loop.call_at(self._source.due(until), self._read_and_complete, recorder)

    def drop(self, entry: Log) -> None:
        """Stop recording into `entry` at once. Harmless if the recording has ended."""
        if recorder := self._find(entry):
            self._complete(recorder)
            self._rest()

    def _use(self, source: Source, timing: Timing) -> None:
        self._source = source
        self._timing = timing
        self._ring_frames = math.ceil((timing.preroll_s + LATE_S) * RATE_HZ) if timing.preroll_s else 0
        self._ring = Ring(self._ring_frames)
        # The device of before may be stuck: then it stays alive until its driver answers, and closes itself.
        self._device = Device(
            source,
            on_open=self._rest,
            on_stop=self._stopped,
            on_fault=self._on_fault,
            on_recovery=self._on_recovery,
            on_silence=self._on_silence,
        )

    def _find(self, entry: Log) -> Recorder | None:
        return next((recorder for recorder in self._recorders if recorder.entry is entry), None)

    def _cut(self, recorder: Recorder, following: Log) -> None:
        """Cut now: the deadline has passed. The read may still find an earlier pause to cut at."""
        self._read()
        if recorder.following is not None and recorder.following.entry is following:
            recorder.cut(self._loop.time())

    def _read_and_complete(self, recorder: Recorder) -> None:
        self._read()
        if recorder in self._recorders:
            self._complete(recorder)
            self._rest()

    def _complete(self, recorder: Recorder, *, partial: bool = False) -> None:
        self._recorders.remove(recorder)
        recorder.finish(self._loop.time(), partial=partial)
        if (quiet := recorder.level.is_too_quiet) is not None:
            self._on_quiet(quiet)

    def _rest(self) -> None:
        """Read at the pace that is needed now, or close the device if nobody needs it any more."""
        if not self._wanted():
            self._device.rest()
        elif self._device.is_open:
            self._schedule()

    def _stopped(self) -> None:
        """End all recordings: the device is closed, and what it hears later belongs to none of them."""
        self._cancel_timer()
        self._read_at = None
        self._ring.clear()
        for recorder in list(self._recorders):
            self._complete(recorder, partial=True)

    def _wanted(self) -> bool:
        return bool(self._recorders) or self._metering or self._timing.preroll_s > 0

    def _tick(self) -> None:
        self._timer = self._read_at = None
        self._read()
        if not self._recorders:
            self._device.revive()
        self._rest()

    def _schedule(self) -> None:
        """Plan the next read, once the readers that the last one has woken wait for more."""
        self._cancel_timer()
        self._timer = self._loop.call_soon(self._set_timer)

    def _set_timer(self) -> None:
        now = self._loop.time()
        if self._recorders:
            pause = self._recording_pause_s(now)
        else:
            pause = self._timing.idle_read_s if self._device.refusal is None else self._timing.read_s
        if self._metering:
            pause = min(pause, METER_S)
        # A short buffer, such as dsnoop's, is read while it is half full.
        due = self._source.due(now + min(pause, self._source.buffer_s / 2))
        self._read_at = due if self._read_at is None else min(self._read_at, due)
        self._timer = self._loop.call_at(self._read_at, self._tick)

    def _recording_pause_s(self, now: float) -> float:
        """Return how long to wait: for the reader that wants the least, and those that follow within one `read_s`."""
        read_s = self._timing.read_s
        if now < self._brisk_until:
            return read_s
        wanted = [wanted_s for recorder in self._recorders for wanted_s in recorder.wanted_s()]
        together = min(wanted, default=math.inf) + read_s
        wanted_s = max((one for one in wanted if one <= together), default=math.inf)
        return max(read_s, min(wanted_s, LONGEST_READ_S))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Hearing.

    def _read(self) -> None:
        """Read everything heard, and pass it to the recordings, the ring and the meter."""
        now = self._loop.time()
        heard = self._device.read(now)
        if not heard:
            return
        read_at = self._loop.time()
        slack_s = self._source.period_s + read_at - now
        later = sum(piece.frames if isinstance(piece, Gap) else len(piece) // FRAME_BYTES for piece in heard)
        for piece in heard:
            if isinstance(piece, Gap):
                later -= piece.frames
                self._fill_gap(piece.frames)
            else:
                later -= len(piece) // FRAME_BYTES
                self._pass_on(piece, read_at - later / RATE_HZ, slack_s)
        self._device.confirm()
        for recorder in list(self._recorders):
            if recorder.pausing:
                recorder.cut(now)

    def _pass_on(self, pcm: bytes, heard_by: float, slack_s: float) -> None:
        """Pass audio to the recordings, the ring and the meter. `heard_by`, `slack_s`: those of `CueMask.apply`."""
        self.frames += len(pcm) // FRAME_BYTES
        masked = self._cue_mask.apply(pcm, heard_by, slack_s)
        self._ring.push(masked)
        for recorder in self._recorders:
            recorder.hear(masked)
        if self._metering:
            self._on_level(measure(pcm))
        self._device.watch(pcm)

    def _fill_gap(self, frames: int) -> None:
        """Put silence in place of sound that nobody read in time."""
        self.gaps += 1
        self.lost_frames += frames
        log.warning("%d ms of sound were lost: the machine was too busy", frames * 1000 // RATE_HZ)
        self._ring.push(bytes(min(frames, self._ring_frames) * FRAME_BYTES))
        for recorder in self._recorders:
            recorder.miss(frames)
