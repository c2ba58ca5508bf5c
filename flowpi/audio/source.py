"""What a microphone is: a thing that is opened, read without waiting, and closed.

A source never waits and owns no timer; whoever reads it decides when (`capture.py`). All drivers pass the same
contract tests, `tests/audio/test_source.py`.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Gap(Struct, frozen=True):
    """Frames of 16 kHz that the device heard and nobody read in time (an overrun)."""

    frames: int


Heard = bytes | Gap
"""Audio as int16 little-endian mono 16 kHz PCM of any whole number of frames, or a hole in it."""


class Source(Protocol):
    """A microphone, pulled.

    `now` is always `time.monotonic()` seconds, given by the caller.
    """

    @property
    def name(self) -> str:
        """What the owner calls it: an ALSA PCM name or a path. For messages."""

    @property
    def period_s(self) -> float:
        """The grain of delivery: at most so much of the newest sound is not yet readable."""

    @property
    def held_s(self) -> float:
        """Of that, what a resampler holds back: a sound is readable so much later than `due` says. Mostly 0."""

    @property
    def has_noise(self) -> bool:
        """Whether it always hears a little noise, as every real microphone does: if not, something is wrong."""

    @property
    def trial(self) -> Callable[[], None] | None:
        """Find out on a thread whether the device can be opened, without opening it for good.

        `open` and `close` hold up the whole process while a driver or a sound server is stuck; this holds up its own
        thread, perhaps for ever. It raises MicrophoneError as `open` does. None: they never get stuck.
        """

    def open(self, now: float) -> None:
        """Open the device and start the stream. May block for some ms.

        Raises:
            MicrophoneError: no such device, busy, or it cannot be set up. The source stays closed.
        """

    def read(self, now: float) -> list[Heard]:
        """Everything heard since the last read, oldest first; an empty list if no period is complete. Never waits.

        Raises:
            MicrophoneError: the device is gone. The source is closed by then, and may be opened again.
        """

    def due(self, after: float) -> float:
        """The first moment at which a read finds all periods up to `after`: just behind the edge of one.

        Reading a hair before the edge would miss that period until the next read.
        """

    def close(self) -> None:
        """Stop and release the device. Harmless when closed."""
