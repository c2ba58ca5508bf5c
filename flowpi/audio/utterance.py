"""An utterance is a log of audio: capture appends, readers follow.

Every delivery attempt, the first, a retry, the one after a reboot, is a new reader from byte 0 that follows the tail
until the log is complete. The spool is a reader too. All of it happens on the event loop; nothing here is thread-safe.
"""

import asyncio
from typing import NamedTuple

from msgspec import Struct, field

from flowpi.core.hints import Hints
from flowpi.core.ulid import is_ulid
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.silence import is_constant

SILENT_S = 1.0
"""Less than that of digital silence proves nothing: some microphones begin with it."""

FOREVER = 1 << 62
"""A length that no utterance reaches: waiting for it is waiting for the end."""


class PartId(NamedTuple):
    """Which part of which utterance: what the spool and the delivery know it by. They sort in the order of speech."""

    utterance: str
    part: int = 1

    def __str__(self) -> str:
        """The name of its file in the spool: the ULID, from the second part on with a number."""
        return self.utterance if self.part == 1 else f"{self.utterance}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> "PartId | None":
        """From what `str()` gives; None if it is anything else, or a part that nobody ever speaks up to."""
        utterance, _, number = text.partition(".")
        is_number = number.isascii() and number.isdigit() and len(number) < 5
        part = cls(utterance, int(number)) if is_number else cls(utterance)
        return part if is_ulid(utterance) and str(part) == text else None


class About(Struct, frozen=True):
    """What is known of an utterance when it begins.

    `id`: a ULID. `started_at`: Unix seconds of the press. `hints`: for this dictation, over the configured ones.
    """

    id: str
    started_at: float
    part: int = 1
    hints: Hints = field(default=Hints(), name="context")


class Utterance:
    """int16 little-endian mono 16 kHz PCM that grows until `complete`."""

    def __init__(
        self, about: About, *, pcm: bytes | bytearray = b"", complete: bool = False, partial: bool = False
    ) -> None:
        """`partial`: not all that was said is in it, as after a power cut. A bytearray is taken over, not copied."""
        self.about = about
        self.complete = complete
        self.partial = partial
        self.damaged = False
        """Read back from a file that holds more, which cannot be read."""
        self.lost_frames = 0
        """How much of it is silence put in for audio that was overrun."""
        self.pressed_at: float | None = None
        self.released_at: float | None = None
        self.completed_at: float | None = None
        """Monotonic seconds: of the person, and of the last sample. None for one that was read back from the spool."""
        self.durable: asyncio.Future[bool] | None = None
        """Of one that the spool keeps: done once all of the audio is on the disk (true), or cannot be (false)."""
        self._pcm = pcm if isinstance(pcm, bytearray) else bytearray(pcm)
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def id(self) -> str:
        return self.about.id

    @property
    def part_id(self) -> PartId:
        return PartId(self.about.id, self.about.part)

    @property
    def length(self) -> int:
        """Bytes so far."""
        return len(self._pcm)

    @property
    def duration_s(self) -> float:
        return len(self._pcm) / BYTES_PER_S

    @property
    def silent(self) -> bool:
        """At least `SILENT_S` long, and the same sample from the first to the last: no microphone gave that."""
        with memoryview(self._pcm) as view:
            return self.duration_s >= SILENT_S and is_constant(view)

    def append(self, pcm: bytes) -> None:
        assert not self.complete
        self._pcm += pcm
        self._wake()

    def append_gap(self, frames: int) -> None:
        """Frames that were spoken and not caught: silence takes their place, so that time stays true."""
        self.lost_frames += frames
        self.append(bytes(frames * FRAME_BYTES))

    def finish(self, now: float, *, partial: bool = False) -> None:
        """No more comes; `partial`: though more was said. Harmless when complete."""
        if not self.complete:
            self.complete = True
            self.partial = self.partial or partial
            self.completed_at = now
            self._wake()

    def read(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from `start` up to `stop`, or to the end of what there is."""
        with memoryview(self._pcm) as view:
            return bytes(view[start:stop])

    async def wait(self, length: int) -> None:
        """Until there are `length` bytes, or no more will come."""
        if self.complete or len(self._pcm) >= length:
            return
        future = asyncio.get_running_loop().create_future()
        entry = (length, future)
        self._waiting.append(entry)
        try:
            await future
        finally:
            if entry in self._waiting:  # cancelled
                self._waiting.remove(entry)

    async def wait_complete(self) -> None:
        await self.wait(FOREVER)

    def _wake(self) -> None:
        if not self._waiting:
            return
        enough = [entry for entry in self._waiting if self.complete or entry[0] <= len(self._pcm)]
        for entry in enough:
            self._waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)
