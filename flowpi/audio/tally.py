"""What the readers of sound files hand over: sound as it is in the file, and what they found missing."""

from msgspec import Struct, field

from flowpi.dsp.format import FRAME_BYTES


class Raw(Struct, frozen=True):
    """A block of sound: int16 little-endian, shape (frames, channels), at the rate of the file."""

    rate_hz: int
    channels: int
    pcm: bytes

    @property
    def frames(self) -> int:
        return len(self.pcm) // (FRAME_BYTES * self.channels)


class Tally(Struct):
    """How much sound a file announced, how much was read from it, and what else is to be said about it.

    Where a file does not say how long it is, `announced_s` counts what was read. Both are complete only at the end.
    `expected_s` is known from the beginning, as far as the file says it: for showing how far a reader is.
    """

    expected_s: float = 0.0
    announced_s: float = 0.0
    read_s: float = 0.0
    remarks: list[str] = field(default_factory=list)


class Unreadable(Exception):
    """The form of a file is not known, or nothing in it can be decoded. Its text says why, in a few words."""
