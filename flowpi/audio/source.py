"""The interface of a microphone: it is opened, read without waiting, and closed.

A source never waits and owns no timer; its reader (`capture.py`) decides when to read. All drivers pass the same
contract tests, `tests/audio/test_source.py`.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Gap(Struct, frozen=True):
    """An overrun: how many frames, at 16 kHz, the device heard but nobody read in time."""

    frames: int


Heard = bytes | Gap
"""Audio as int16 little-endian mono 16 kHz PCM, in any whole number of frames, or a gap in it."""


class Source(Protocol):
    """A microphone whose sound is pulled by its reader.

    `now` is always in `time.monotonic()` seconds, given by the caller.
    """

    @property
    def name(self) -> str:
        """The name that the user gave it, for messages: an ALSA PCM name or a path."""

    @property
    def period_s(self) -> float:
        """The grain of delivery: at most this much of the newest sound cannot be read yet."""

    @property
    def held_s(self) -> float:
        """The share of `period_s` that a resampler holds back, mostly 0: sound is readable that much after `due`."""

    @property
    def buffer_s(self) -> float:
        """How much sound an open source keeps for a late reader; infinite if it never loses any."""

    @property
    def has_noise(self) -> bool:
        """Whether the source always hears a little noise, as real microphones do: if so, digital silence is a fault."""

    @property
    def trial(self) -> Callable[[], None] | None:
        """A function, to be called on a thread, that finds out whether the device can be opened, or None.

        `open` and `close` block the whole process while a driver or a sound server is stuck; the function blocks only
        its own thread, perhaps for ever. It raises MicrophoneError as `open` does. With None, they never get stuck.
        """

    def open(self, now: float) -> None:
        """Open the device and start the stream. This may block for some milliseconds.

        Raises:
            MicrophoneError: the device does not exist, is busy or cannot be set up. The source stays closed.
        """

    def read(self, now: float) -> list[Heard]:
        """Return everything heard since the last read, oldest first, or an empty list if no period is complete.

        Raises:
            MicrophoneError: the device is gone. The source is closed already, and may be opened again.
        """

    def due(self, after: float) -> float:
        """Return the first moment when a read finds all periods up to `after`: just behind the edge of one.

        A read a little before the edge would miss that period until the next read.
        """

    def close(self) -> None:
        """Stop and release the device. Harmless when closed."""
