"""Converts PCM of any format to that of flowpi: int16 little-endian, mono, 16 kHz.

`audioop` and strided memoryviews do it in a few us for 100 ms. `soxr`, which brings numpy and 12 MB, is imported only
if the rate differs. All sizes are whole frames: a caller never passes a part of one.
"""

import audioop
from collections.abc import Callable
from typing import Any, Literal

from flowpi.dsp.format import RATE_HZ

Channel = Literal["mix", "audible"] | int
"""One channel, counted from 0; "mix", the mean of all; "audible", the mean, or the loudest where they cancel in it."""

CANCELS = 0.5
"""Channels cancel if their mean is below this share of what one live channel among dead ones would leave."""

WIDTHS = (1, 2, 3, 4)
"""The sample widths, in bytes, that can be converted."""


def to_16_bit(pcm: bytes, width: int) -> bytes:
    """Convert samples of `width` bytes (1: unsigned, as in WAV files; 2 to 4: signed little-endian) to int16.

    Wider samples lose their low bits. int16 is returned as the same object.
    """
    if width == 2:
        return pcm
    if width == 1:
        return audioop.lin2lin(audioop.bias(pcm, 1, 128), 1, 2)
    return audioop.lin2lin(pcm, width, 2)


def check_channel(channels: int, channel: Channel) -> None:
    """Raise IndexError if there is no such channel."""
    if isinstance(channel, int) and not 0 <= channel < channels:
        raise IndexError(f"channel {channel} of {channels}")


def to_mono(pcm: bytes, channels: int, channel: Channel = "mix") -> bytes:
    """Convert interleaved int16, shape (frames, channels), to shape (frames,). Mono is returned as the same object.

    Raises:
        IndexError: there is no such channel.
    """
    check_channel(channels, channel)
    if channels == 1:
        return pcm
    if channel == "audible":
        return _audible(pcm, channels)
    if channels == 2:  # nearly all devices, and six times as fast as the general way below
        left, right = (0.5, 0.5) if channel == "mix" else (1 - channel, channel)
        return audioop.tomono(pcm, 2, left, right)
    samples = memoryview(pcm).cast("h")
    if channel != "mix":
        return samples[channel::channels].tobytes()
    # The sum is made in 32 bits, where it cannot overflow, and rounded: equal channels mix to themselves.
    total = bytes(2 * len(pcm) // channels)
    for index in range(channels):
        wide = audioop.lin2lin(samples[index::channels].tobytes(), 2, 4)
        total = audioop.add(total, audioop.mul(wide, 4, 1 / channels), 4)
    return audioop.lin2lin(audioop.bias(total, 4, 1 << 15), 4, 2)


def _audible(pcm: bytes, channels: int) -> bytes:
    """Return the mean of all channels, or the loudest of them if the mean is far quieter: two wires were swapped."""
    mixed = to_mono(pcm, channels, "mix")
    samples = memoryview(pcm).cast("h")
    loudest = max(
        (samples[index::channels].tobytes() for index in range(channels)), key=lambda one: audioop.rms(one, 2)
    )
    return loudest if audioop.rms(mixed, 2) < CANCELS * audioop.rms(loudest, 2) / channels else mixed


def held_back_s(feed_5_ms: Callable[[], int], from_hz: int, to_hz: int = RATE_HZ) -> float:
    """Return how much sound a resampler holds back at most.

    soxr documents no bound for that, so it is measured with half a second of silence: `feed_5_ms` feeds a two-hundredth
    of a second, and returns how many frames came out.
    """
    step, held, out = from_hz // 200, 0.0, 0
    for fed in range(step, from_hz // 2, step):
        out += feed_5_ms()
        held = max(held, fed / from_hz - out / to_hz)
    return held


class Resampler:
    """Converts a stream of int16 mono from one rate to another.

    The output is in step with the input: output frame k is the sound of second k / to_hz of the stream, and after
    `flush()` the durations agree to one frame. But soxr works in blocks, and holds the newest sound back until a block
    is full: up to `delay_s`. Measured with soxr 1.1 and 20 ms chunks at its "HQ": 37 ms from 48 kHz, 41 ms from
    44.1 kHz, 115 ms from 8 kHz, at 13 to 22 us a chunk.

    Digital silence stays digital silence; soxr alone would dither it.
    """

    def __init__(self, from_hz: int, to_hz: int = RATE_HZ) -> None:
        import numpy
        import soxr

        self._numpy = numpy
        self._stream: Any = soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16", quality="HQ")
        silence = bytes(2 * (from_hz // 200))
        self.delay_s = held_back_s(lambda: len(self._resample(silence, last=False)) // 2, from_hz, to_hz)
        self._settle_frames = from_hz // 2
        self._begin()

    def _begin(self) -> None:
        self._stream.clear()
        self._constant = 0
        self._still_frames = self._settle_frames
        """For how many frames every sample has been `_constant`. Before the stream, there were only zeros."""

    def feed(self, pcm: bytes) -> bytes:
        """Add the next piece of the stream, and return what is ready, which may be nothing."""
        settled = self._still_frames >= self._settle_frames
        out = self._resample(pcm, last=False)
        low, high = audioop.minmax(pcm, 2) if pcm else (self._constant, self._constant)
        if low == high == self._constant:
            self._still_frames += len(pcm) // 2
            return self._constant.to_bytes(2, "little", signed=True) * (len(out) // 2) if settled else out
        self._constant, self._still_frames = low, len(pcm) // 2 if low == high else 0
        return out

    def flush(self) -> bytes:
        """Return the sound still held back, and end the stream: the next `feed` begins another."""
        rest = self._resample(b"", last=True)
        self._begin()
        return rest

    def _resample(self, pcm: bytes, last: bool) -> bytes:
        resampled: bytes = self._stream.resample_chunk(self._numpy.frombuffer(pcm, self._numpy.int16), last).tobytes()
        return resampled


class Converter:
    """Converts a stream of int16 to int16 mono 16 kHz. PCM in that format already is returned as the same object."""

    def __init__(self, rate_hz: int, channels: int = 1, channel: Channel = "mix", *, gain_db: float = 0.0) -> None:
        """
        Args:
            rate_hz, channels: of the PCM.
            channel: what to hear of it.
            gain_db: makes it louder. What then exceeds full scale is limited to it, and counts as clipped.

        Raises:
            IndexError: there is no such channel.
        """
        check_channel(channels, channel)
        self._channels = channels
        self._channel = channel
        self._factor = 10 ** (gain_db / 20)
        self._resampler = None if rate_hz == RATE_HZ else Resampler(rate_hz)

    @property
    def delay_s(self) -> float:
        """How much of the newest sound is held back at most: 0 unless the rate differs."""
        return self._resampler.delay_s if self._resampler else 0.0

    def feed(self, pcm: bytes) -> bytes:
        """Add interleaved PCM, and return the mono 16 kHz that is ready."""
        mono = to_mono(pcm, self._channels, self._channel)
        return louder(self._resampler.feed(mono) if self._resampler else mono, self._factor)

    def flush(self) -> bytes:
        """Return what is still held back, and end the stream: the next `feed` begins another."""
        return louder(self._resampler.flush(), self._factor) if self._resampler else b""


def louder(pcm: bytes, factor: float) -> bytes:
    """Return int16 multiplied and limited to full scale; with a factor of 1 the same object."""
    return pcm if factor == 1 else audioop.mul(pcm, 2, factor)
