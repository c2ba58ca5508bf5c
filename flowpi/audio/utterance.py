"""An utterance is a log of audio: the capture appends, readers follow.

Every attempt at delivery, be it the first, a retry or one after a reboot, is a new reader that starts at byte 0 and
follows the log until it is complete. The spool is a reader too. Everything runs on the event loop; nothing here is
thread-safe.
"""

import asyncio
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from flowpi.core.hints import Hints
from flowpi.core.ulid import is_ulid
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.silence import is_constant

SILENT_S = 1.0
"""Less digital silence than this proves nothing: some microphones begin with it."""

FOREVER = 1 << 62
"""A length that no utterance reaches: waiting for it means waiting for the end."""


class PartId(NamedTuple):
    """The key of a part of an utterance, in the spool and the delivery. Keys sort in the order of speech."""

    utterance: str
    part: int = 1

    def __str__(self) -> str:
        """Return the name of the part's file in the spool: the ULID, and from the second part on a number."""
        return self.utterance if self.part == 1 else f"{self.utterance}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> "PartId | None":
        """Parse what `str()` returns. Return None for anything else, and for numbers that no speech ever reaches."""
        utterance, _, number = text.partition(".")
        is_number = number.isascii() and number.isdigit() and len(number) < 5
        part = cls(utterance, int(number)) if is_number else cls(utterance)
        return part if is_ulid(utterance) and str(part) == text else None


class About(Struct, frozen=True):
    """The facts about an utterance that are known when it begins.

    `id`: a ULID. `started_at`: Unix time of the press. `hints`: for this dictation, over the configured ones.
    `profile`: the name of the profile that was chosen for it, which may not be configured any more; None: none was.
    """

    id: str
    started_at: float
    part: int = 1
    hints: Hints = field(default=Hints(), name="context")
    profile: str | None = None


class Utterance:
    """int16 little-endian mono 16 kHz PCM that grows until `complete`."""

    def __init__(
        self,
        about: About,
        *,
        choosing: bool = False,
        pcm: bytes | bytearray = b"",
        complete: bool = False,
        partial: bool = False,
    ) -> None:
        """`partial`: some of the speech is missing, as after a power cut. A bytearray is used as it is, not copied."""
        self.about = about
        self.choosing = choosing
        """Whether the profile may still become another one."""
        self.complete = complete
        self.partial = partial
        self.damaged = False
        """Whether it was read from a file that holds more, which is unreadable."""
        self.lost_frames = 0
        """How many of its frames are silence in place of audio lost in overruns."""
        self.pressed_at: float | None = None
        self.released_at: float | None = None
        self.completed_at: float | None = None
        """Monotonic times of the press, the release and the last sample; None if it was read from the spool."""
        self.durable: asyncio.Future[bool] | None = None
        """Set if the spool keeps it: becomes true once all audio is on the disk, or false if it cannot be."""
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
        """The number of bytes so far."""
        return len(self._pcm)

    @property
    def duration_s(self) -> float:
        return len(self._pcm) / BYTES_PER_S

    @property
    def silent(self) -> bool:
        """Whether it is at least `SILENT_S` of one constant sample, which no working microphone gives."""
        with memoryview(self._pcm) as view:
            return self.duration_s >= SILENT_S and is_constant(view)

    def choose(self, profile: str | None, *, choosing: bool = False) -> None:
        """Set the profile; the one for good unless it is `choosing`. Of what is complete, it stays as it is."""
        if not self.complete:
            self.about, self.choosing = replace(self.about, profile=profile), choosing

    def wanted(self) -> list[int]:
        """Return how many more bytes each reader waits for."""
        return [length - len(self._pcm) for length, _ in self._waiting]

    def append(self, pcm: bytes) -> None:
        assert not self.complete
        self._pcm += pcm
        self._wake()

    def append_gap(self, frames: int) -> None:
        """Append silence in place of `frames` that were lost, so that later sound keeps its time."""
        self.lost_frames += frames
        self.append(bytes(frames * FRAME_BYTES))

    def finish(self, now: float, *, partial: bool = False) -> None:
        """Complete the log. `partial`: more was said than it holds. Harmless when complete."""
        if not self.complete:
            self.complete = True
            self.partial = self.partial or partial
            self.completed_at = now
            self.choosing = False
            self._wake()

    def read(self, start: int, stop: int) -> bytes:
        """Return a copy of the bytes from `start` to `stop`, or to the end if that comes first."""
        with memoryview(self._pcm) as view:
            return bytes(view[start:stop])

    async def wait(self, length: int) -> None:
        """Wait until there are `length` bytes, or the log is complete. May be cancelled."""
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
