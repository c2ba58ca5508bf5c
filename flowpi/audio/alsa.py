"""An ALSA microphone: a NONBLOCK PCM with short periods and a long buffer, emptied at each read.

Nothing here polls: a wake-up for each period of 20 ms would cost four times the CPU of a read every 100 ms. The periods
are short nevertheless, because the last read misses up to one. The long buffer allows the loop to stall without a loss.
"""

import errno
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import alsaaudio

from flowpi.audio import alsalib, cards
from flowpi.audio.source import Gap, Heard
from flowpi.audio.streamclock import StreamClock
from flowpi.core.errors import MicrophoneError
from flowpi.dsp import wide
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.pcm import Channel, Converter

if TYPE_CHECKING:
    from flowpi.config.boards import Control

EDGE_MARGIN_S = 0.003
"""The delay of a read after the edge of a period: timers may fire a little early, and devices deliver a little late."""

DEFAULT = "default"
"""The device where none is configured. If it does not open, the only card that records is used instead, so that the
`default` of a sound server, or of the user's asound.conf, comes first."""

RUNAWAY_S = 1.0
"""The lead over real time that no live device can have, but `null` and `file` PCMs do."""

NARROW = "S16_LE"
"""The format that needs no numpy. `plughw:` turns any other into it, also those of `dsp/wide.py`, which lose by it."""

IN_THE_WAY = (errno.EBUSY, errno.EACCES, errno.EPERM)
"""Why a device that is there does not open. To name another card would hide that."""

HINTS = {
    errno.ENOENT: "see `arecord -L` for the devices there are and set audio.device",
    errno.ENODEV: "plug the microphone in, or see `arecord -L` and set audio.device",
    errno.ENXIO: "plug the microphone in, or see `arecord -L` and set audio.device",
    errno.EBUSY: "another program has it: `sudo fuser -v /dev/snd/*` names it, so that you can stop it",
    errno.EACCES: "let the service's user use sound: usermod -aG audio USER",
    errno.EPERM: "let the service's user use sound: usermod -aG audio USER",
    errno.EIO: "the device or its sound server failed: plug it in again, or try another USB port or power supply",
    errno.EPIPE: "the device does not start: plug it in again",
    errno.EBADFD: "the driver lost the stream: plug the microphone in again if opening it does not help",
    errno.ESTRPIPE: "it was suspended, and is opened again",
    errno.ECONNREFUSED: "its sound server does not run: start it, or set audio.device to plughw:CARD=...",
    errno.EHOSTDOWN: "its sound server does not run: start it, or set audio.device to plughw:CARD=...",
    errno.EINVAL: "it takes none of the usual parameters: set audio.device to plughw:CARD=...",
}


class AlsaSource:
    """An ALSA capture device.

    The device keeps its own rate, channel count and sample width; the sound is converted here.
    """

    has_noise = True

    def __init__(
        self,
        device: str,
        rate_hz: int = RATE_HZ,
        channels: int = 1,
        channel: Channel = "mix",
        period_ms: int = 20,
        buffer_ms: int = 1000,
        gain_db: float = 0.0,
        controls: "Sequence[Control]" = (),
    ) -> None:
        """
        Args:
            device: an ALSA PCM, or `usb:PORT`, which is looked up at each opening.
            rate_hz, channels: what to ask the device for. It may do something else, which is converted.
            channel: the one of those channels to hear, or "mix".
            period_ms: how much sound the device moves at once. It sets `period_s`, not the number of wake-ups.
            buffer_ms: how long the device may go unread before sound is lost.
            gain_db: makes the sound louder, with all the bits that the device has.
            controls: of the card's mixer, changed at the first opening, and after a loss, where they are as after a
                boot.
        """
        self.name = device
        self._ask = (rate_hz, channels, period_ms, buffer_ms)
        self._channel: Channel = channel
        self._gain_db = gain_db
        self._controls = controls
        self._stream: _Stream | None = None
        self._worked = False
        """Whether nothing has gone wrong since the last opening: then the name still leads to the same device."""
        self._period_s = period_ms / 1000

    @property
    def period_s(self) -> float:
        """One period of the device, plus what resampling holds back if the device is open and needs it."""
        return self._stream.grain_s if self._stream else self._period_s

    @property
    def held_s(self) -> float:
        return self._stream.held_s if self._stream else 0.0

    @property
    def buffer_s(self) -> float:
        return self._stream.buffer_s if self._stream else math.inf

    def open(self, now: float) -> None:
        self.close()
        alsalib.library()
        worked, self._worked = self._worked, False
        try:
            name = cards.resolved(self.name)
            if not worked:
                self._open_input(name)
            self._stream = _Stream(self._open_first(name), self._channel, self._gain_db)
            self._worked = True
        except alsaaudio.ALSAAudioError as error:
            raise self._explained(_reason(error)) from error
        except _Unusable as error:
            raise MicrophoneError(self.name, error.reason, error.hint) from error

    def trial(self) -> None:
        reason = alsalib.try_to_open(cards.resolved(self.name), fresh=not self._worked)
        if reason:
            self._worked = False
            reason = alsalib.try_to_open(self._instead(reason), fresh=False)
        if reason:
            raise self._explained(reason)

    def _open_first(self, name: str) -> Any:
        try:
            return self._open_pcm(name)
        except alsaaudio.ALSAAudioError as error:
            return self._open_pcm(self._instead(_reason(error)))

    def _instead(self, reason: str) -> str:
        """Return the PCM to open instead of one that does not open for this reason. Raises MicrophoneError."""
        if self.name != DEFAULT:
            raise self._explained(reason)
        try:
            return cards.only_microphone()
        except MicrophoneError as error:
            if reason in map(os.strerror, IN_THE_WAY):
                raise self._explained(reason) from error
            raise

    def _open_input(self, name: str) -> None:
        if self._controls and (card := cards.card_of(name)):
            from flowpi.audio import mixer

            mixer.open_input(f"hw:{card}", self._controls)

    def _open_pcm(self, name: str) -> Any:
        rate_hz, channels, period_ms, buffer_ms = self._ask
        for _ in range(2):
            pcm = alsaaudio.PCM(
                type=alsaaudio.PCM_CAPTURE,
                mode=alsaaudio.PCM_NONBLOCK,
                device=name,
                rate=rate_hz,
                channels=channels,
                format=alsaaudio.PCM_FORMAT_S16_LE,
                periodsize=rate_hz * period_ms // 1000,
                periods=max(2, buffer_ms // period_ms),
            )
            # A parameter that the device cannot do is silently replaced: only info() shows what it does. Periods are
            # requested in frames, so a higher rate makes the buffer too short: ask again at that rate.
            given_hz = pcm.info()["rate"]
            if given_hz == rate_hz:
                break
            rate_hz = given_hz
            pcm.close()
        return pcm

    def read(self, now: float) -> list[Heard]:
        if self._stream is None:
            raise MicrophoneError(self.name, "it is not open")
        heard: list[Heard] = []
        try:
            heard.extend(self._stream.read(now))
        except alsaaudio.ALSAAudioError as error:
            if not heard:
                self._worked = False
                self.close()
                raise self._explained(_reason(error)) from error
            # What was heard before it broke is returned first. A dead handle fails again at the next read.
        except _Unusable as error:
            self.close()
            raise MicrophoneError(self.name, error.reason, error.hint) from error
        return heard

    def due(self, after: float) -> float:
        if self._stream is None:
            return after + self._period_s
        return self._stream.clock.next_edge(after) + EDGE_MARGIN_S

    def close(self) -> None:
        # The handle is dropped together with the stream: pyalsaaudio aborts the process if info() is called on a
        # closed one.
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.pcm.close()

    def _explained(self, reason: str) -> MicrophoneError:
        hint = next((hint for code, hint in HINTS.items() if os.strerror(code) == reason), "")
        return MicrophoneError(self.name, reason, hint)


def _reason(error: Exception) -> str:
    """Return the reason in an error of pyalsaaudio, which has no errno, only the text "strerror [device]"."""
    return re.sub(r"\s*\[[^]]*\]$", "", str(error))


class _Unusable(Exception):
    """Raised for a device that works, but not as a microphone."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason, hint)
        self.reason = reason
        self.hint = hint


class _Stream:
    """An open device: its handle, and everything that is valid only as long as the handle."""

    def __init__(self, pcm: Any, channel: Channel, gain_db: float) -> None:
        """Take ownership of `pcm` and start it; close it if it cannot be used.

        Raises:
            _Unusable: the device gives nothing that can be converted.
            ALSAAudioError: the device does not start.
        """
        self.pcm = pcm
        info = pcm.info()
        rate_hz, channels, form = info["rate"], info["channels"], info["format_name"]
        try:
            if form != NARROW and form not in wide.FORMATS:
                raise _Unusable(f"it gives {form} samples", "set audio.device to plughw:CARD=...")
            if channel != "mix" and channel not in range(channels):
                raise _Unusable(f"it has no channel {channel}", f"set audio.channel to mix or below {channels}")
            self._rate_hz = rate_hz
            self._converter = _converter(rate_hz, channels, form, channel, gain_db)
            period_s = info["period_size"] / rate_hz
            self.buffer_s = info["periods"] * period_s
            self.held_s = self._converter.delay_s
            self.grain_s = period_s + self.held_s
            # One read finds a full buffer and a little more. Only a sound server that catches up after a stall has
            # more than that.
            self._most_reads = 2 * info["periods"] + 2
            # Opening took time, so the `now` of the caller is out of date.
            self.clock = StreamClock(time.monotonic(), rate_hz, period_s)
            # A capture stream starts at its first read, which finds nothing yet on a live device.
            self._started = pcm.read()
        except BaseException:
            pcm.close()
            raise

    def read(self, now: float) -> Iterator[Heard]:
        """Yield all the sound there is, converted, and a gap wherever the device stopped because nobody read it.

        Raises:
            ALSAAudioError: the device is gone. Everything it gave before was yielded.
            _Unusable: the device is not a live one.
        """
        fresh: list[bytes] = []
        try:
            for length, pcm in self._reads():
                if length > 0:
                    self.clock.frames += length
                    fresh.append(pcm)
                elif length == 0:
                    self.clock.drained(now, time.monotonic())
                    yield from self._convert(fresh)
                    return
                else:  # -EPIPE, an overrun: read() has prepared the device again, and the next read starts it
                    yield from self._convert(fresh, last=True)
                    fresh.clear()
                    if lost := self.clock.lost(now):
                        yield Gap(round(lost * RATE_HZ / self._rate_hz))
        except alsaaudio.ALSAAudioError:
            yield from self._convert(fresh, last=True)
            raise
        yield from self._convert(fresh)
        if self.clock.ahead_s(now) > RUNAWAY_S:
            raise _Unusable("it is faster than real time", "a null or file PCM is no microphone: set audio.device")

    def _convert(self, periods: list[bytes], last: bool = False) -> Iterator[bytes]:
        """Convert all periods at once: a call for each would double the cost of a device that is resampled."""
        sound = self._converter.feed(b"".join(periods)) if periods else b""
        if last:
            sound += self._converter.flush()
        if sound:
            yield sound

    def _reads(self) -> Iterator[tuple[int, bytes]]:
        first, self._started = self._started, (0, b"")
        if first[0]:
            yield first
        for _ in range(self._most_reads):
            yield self.pcm.read()


def _converter(
    rate_hz: int, channels: int, form: str, channel: Channel, gain_db: float
) -> Converter | wide.WideConverter:
    if form == NARROW:
        return Converter(rate_hz, channels, channel, gain_db=gain_db)
    return wide.WideConverter(rate_hz, channels, form, channel, gain_db=gain_db)
