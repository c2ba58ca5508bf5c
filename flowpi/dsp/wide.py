"""Converts PCM of more than 16 bits to flowpi's own, for microphones that use the low ones.

The digital microphones for a Pi (INMP441, SPH0645, ICS43434) give 24 bits, speech near -60 dBFS, and some of them a
constant offset far larger than that. Narrowed to 16 bits as it is, speech would keep 6 bits. So the order is: choose
the channel, resample, remove the offset, apply the gain, and only then round to 16 bits, limited to full scale.

numpy does it, which soxr has brought already where the rate differs, as it does for all of these microphones.
"""

import audioop
from typing import Any

from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.pcm import Channel, check_channel, held_back_s

FORMATS = ("S24_3LE", "S24_LE", "S32_LE")
"""ALSA's names of the formats: 24 bits in three bytes; in the low three of four, the fourth undefined; 32 bits."""

SETTLING_S = 0.25
"""The time constant of the high-pass. Its corner, 0.6 Hz, is far below speech and far above the drift of an offset."""

TURN = RATE_HZ
"""How many frames are filtered at once at most: the powers that one turn needs stay far from overflow."""

LOWEST, HIGHEST = -32_768, 32_767


class OffsetFilter:
    """Removes the offset of a stream of float64 at 16 kHz: a high-pass of first order, the same however it is split.

    The offset is the mean of all samples at first, and after `SETTLING_S` the exponential mean of the newest: so it is
    gone from the beginning, and follows a drift.
    """

    def __init__(self) -> None:
        import numpy

        self._numpy = numpy
        self._settling = round(SETTLING_S * RATE_HZ)
        self._decay = 1 - 1 / self._settling
        # Of the exponential mean m[n] = decay * m[n - 1] + (1 - decay) * x[n], written as a sum over one turn.
        self._powers = self._decay ** numpy.arange(1, TURN + 1)
        self._heard = 0
        self._mean = 0.0

    def feed(self, samples: Any) -> Any:
        """Return the next samples without the offset."""
        np, done = self._numpy, []
        at = 0
        while at < len(samples):
            settling = self._settling - self._heard
            turn = samples[at : at + (settling if settling > 0 else TURN)]
            if settling > 0:
                counts = np.arange(self._heard + 1, self._heard + len(turn) + 1)
                means = (self._mean * self._heard + np.cumsum(turn)) / counts
            else:
                powers = self._powers[: len(turn)]
                means = powers * (self._mean + (1 - self._decay) * np.cumsum(turn / powers))
            done.append(turn - means)
            self._mean = float(means[-1])
            self._heard = min(self._heard + len(turn), self._settling)
            at += len(turn)
        return done[0] if len(done) == 1 else np.concatenate(done) if done else samples


class WideConverter:
    """Converts a stream of wide PCM to int16 mono 16 kHz, as `Converter` does for 16 bits.

    `flush` ends the stream for the resampler only: the offset belongs to the microphone, and outlives a gap.

    A microphone whose clock starts gives zeros until it is awake: an INMP441 for 85 ms. They are no sound, and have no
    offset yet: the step from them to the offset would be as loud as speech for a second.
    """

    def __init__(
        self, rate_hz: int, channels: int, form: str, channel: Channel = "mix", *, gain_db: float = 0.0
    ) -> None:
        """
        Args:
            rate_hz, channels: of the PCM.
            form: one of `FORMATS`.
            channel: the channel to hear, or "mix".
            gain_db: applied before the sound is narrowed. What then exceeds full scale is limited to it.

        Raises:
            IndexError: there is no such channel.
        """
        import numpy

        check_channel(channels, channel)
        self._numpy = numpy
        self._channels = channels
        self._form = form
        self._channel = channel
        self._scale = 10 ** (gain_db / 20) / (1 << 16)
        self._offset = OffsetFilter()
        self._first: Any = None
        """The first sample that is not zero, which is taken from all that follow: a resampler would ring at the step
        from nothing to the offset."""
        self._wakes = True
        """Whether there were only zeros since the stream began."""
        self._stream: Any = None
        self.delay_s = 0.0
        """How much of the newest sound is held back at most."""
        if rate_hz != RATE_HZ:
            import soxr

            self._stream = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
            silence = numpy.zeros(rate_hz // 200, numpy.float32)
            self.delay_s = held_back_s(lambda: len(self._stream.resample_chunk(silence)), rate_hz)
            self._stream.clear()

    def feed(self, pcm: bytes) -> bytes:
        """Add interleaved PCM, and return the mono 16 kHz that is ready."""
        return self._narrowed(self._centred(self._mono(pcm)), last=False)

    def flush(self) -> bytes:
        """Return what is still held back, and end the stream: the next `feed` begins another."""
        self._wakes = True
        if self._stream is None:
            return b""
        rest = self._narrowed(self._numpy.zeros(0, self._numpy.float32), last=True)
        self._stream.clear()
        return rest

    def _centred(self, mono: Any) -> Any:
        """Return the sound without most of its offset."""
        zeros = 0
        if self._wakes:
            heard = mono.nonzero()[0]
            zeros = int(heard[0]) if len(heard) else len(mono)
            self._wakes = not len(heard)
        if zeros == len(mono):
            return mono
        if self._first is None:
            self._first = mono[zeros]
        mono[zeros:] -= self._first
        return mono

    def _mono(self, pcm: bytes) -> Any:
        """Return one channel as float32, which holds 24 bits exactly; full scale is 2**31."""
        np = self._numpy
        samples = np.frombuffer(audioop.lin2lin(pcm, 3, 4) if self._form == "S24_3LE" else pcm, "<i4")
        if self._form == "S24_LE":
            samples = samples << 8
        frames = samples.reshape(-1, self._channels)
        if self._channel == "mix":
            return frames.mean(axis=1, dtype=np.float32)
        return frames[:, self._channel].astype(np.float32)

    def _narrowed(self, mono: Any, *, last: bool) -> bytes:
        np = self._numpy
        sound = self._stream.resample_chunk(mono, last) if self._stream is not None else mono
        level = self._offset.feed(sound.astype(np.float64)) * self._scale
        narrowed: bytes = np.clip(np.rint(level), LOWEST, HIGHEST).astype("<i2").tobytes()
        return narrowed
