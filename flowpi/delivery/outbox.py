"""The last step of the delivery: a text is published, then its audio is deleted. A text that cannot go yet is held.

Two things can hold a text: a disk that does not write it, which is retried with growing waits, and an earlier part of
the same utterance that has no published text yet. While the disk failed last and no text may go, the disk is probed.
It holds no task: `delivery.py` publishes what `next` returns.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Recognised, Timings
from flowpi.core.errors import SpoolError
from flowpi.delivery.backlog import Backlog, Pending
from flowpi.spool.writer import LONGEST_WAIT, SpoolWriter
from flowpi.wire.roles import FinalText

MAX_MEMORY_BYTES = 64 << 20
"""The limit of audio that is in memory because the disk refused it, or its text: half an hour of speech."""


class TextAudience(Protocol):
    """Who publishes texts, and is told how that went. Called on the loop."""

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        """Publish a text and return once it is durable. Called again with the same text after a failure.

        Raises:
            SpoolError: the text could not be made durable.
        """

    def texts_work(self) -> None:
        """The disk can write texts again; a probe found that, not a text."""

    def delivered(self, utterance: Utterance) -> None:
        """The text of an utterance is durable; its audio is deleted next."""


class Outbox:
    """Publishes texts in the order that the parts of an utterance have, and holds those that must wait."""

    def __init__(
        self,
        backlog: Backlog,
        writer: SpoolWriter,
        audience: TextAudience,
        *,
        blocked: Callable[[PartId], bool],
        forget: Callable[[PartId], None],
        keep_audio: bool,
        rewrite_s: float,
        probe: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """
        Args:
            backlog: where texts are held.
            writer: where the audio of published texts is deleted.
            blocked: whether an earlier part that is not in the backlog must be published first.
            forget: called for each part that is done with, to remove it from the backlog if it is there.
            keep_audio: as for `Spool.remove`.
            rewrite_s: the longest wait before a disk that refused a text is tried again, in seconds.
            probe: raises SpoolError if the disk would not write a text now. None if there is no way to find out.
        """
        self._backlog = backlog
        self._writer = writer
        self._audience = audience
        self._blocked = blocked
        self._forget = forget
        self._keep_audio = keep_audio
        self._rewrite_s = rewrite_s
        self._probe = probe
        self._probe_wait_s = rewrite_s
        self._publishing: set[PartId] = set()
        self._unwanted: set[PartId] = set()
        """Those of `_publishing` that the user dropped meanwhile."""
        self._unpublished = 0
        """How many texts in a row could not be made durable."""
        self._news = asyncio.Event()
        """Set when a text is held, or when something that held one may be gone."""
        self._published = asyncio.Event()
        """Set when a text was made durable, so that the others need not wait any longer."""

    def __contains__(self, part: PartId) -> bool:
        """Whether a part is being published at this moment."""
        return part in self._publishing

    @property
    def stuck(self) -> bool:
        """Whether a text that may be published waits only for the disk."""
        return self._unpublished > 0 and self._next() is not None

    @property
    def memory_full(self) -> bool:
        """Whether nothing more may be held or recorded until the disk works again."""
        held = (one for one in self._backlog.held() if self._writer.on_disk(one.part_id))
        return self._writer.memory_bytes + sum(utterance.length for utterance in held) >= MAX_MEMORY_BYTES

    async def publish(self, recognised: Recognised, *, late: bool) -> None:
        """Publish a text, then delete its audio. That order is the promise: no audio goes before its text is durable.

        Args:
            late: the user was told that the text comes later, in this run of the daemon or an earlier one.

        Raises:
            SpoolError: the text is not durable; the audio is kept.
        """
        utterance = recognised.utterance
        part = utterance.part_id
        self._publishing.add(part)
        try:
            await self._audience.publish(utterance, recognised.text, recognised.backend, recognised.timings, late)
        except SpoolError:
            self._unpublished += 1
            if part not in self._unwanted:
                raise
            # Dropped while it was being published: the drop loses against a text that became durable, and wins here.
            self._forget(part)
            self._writer.remove(part, give_up=True)
            return
        finally:
            self._publishing.discard(part)
            self._unwanted.discard(part)
        self._works()
        # A kill anywhere from here on leaves the text in the transcripts and the audio in the spool. The next start
        # finds the id in the transcripts and deletes the audio, so nothing is published twice in the file. Deleting
        # first would leave neither. The part leaves the backlog in the same turn of the loop in which its removal
        # begins: in between, a listing of the spool could add it again.
        self._audience.delivered(utterance)
        self._forget(part)
        self._writer.remove(part, keep_audio=self._keep_audio)

    def call_back(self, part: PartId) -> bool:
        """Note that the user dropped a part that is being published. Returns False if it is not.

        A text on its way to the disk cannot be stopped. But if the disk refuses it, it is given up and not tried again.
        """
        if part in self._publishing:
            self._unwanted.add(part)
            return True
        return False

    def hold(self, recognised: Recognised) -> bool:
        """Keep a text, with its audio, until it may be published.

        Returns:
            False if the memory is full and the audio on the disk: the text is discarded, and a backend is asked again.
        """
        part = recognised.utterance.part_id
        held = not (self.memory_full and self._writer.on_disk(part))
        if held:
            self._backlog.hold(recognised)
        self._news.set()
        return held

    async def next(self) -> tuple[Pending, Recognised]:
        """Wait until a held text may be published, and return it. It stays held until it is published.

        Cancelling loses nothing.
        """
        while True:
            self._news.clear()  # before the look at what is held: news during the look leads to another one
            if self._unpublished:
                # The first failures are tried again soon: 1/4, then 1/2 of the longest wait.
                self._published.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._rewrite_s / 2 ** max(0, 3 - self._unpublished)):
                        await self._published.wait()
            recognised = self._next()
            entry = self._backlog.get(recognised.utterance.part_id) if recognised is not None else None
            if recognised is not None and entry is not None:
                return entry, recognised
            if self._unpublished and self._probe is not None:
                await self._probe_until_news(self._probe)
            else:
                await self._news.wait()

    def look_again(self) -> None:
        """Check again whether a held text may be published: what held it may be gone."""
        self._news.set()

    def try_now(self) -> None:
        """Try the disk at once, without the rest of the wait."""
        self._published.set()
        self._news.set()

    async def _probe_until_news(self, probe: Callable[[], Awaitable[None]]) -> None:
        """Probe the disk while no text may go to it that would show whether it works again; return at news."""
        while self._unpublished and not self._news.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._probe_wait_s):
                    await self._news.wait()
                    return
            self._probe_wait_s = min(2 * self._probe_wait_s, LONGEST_WAIT * self._rewrite_s)
            with contextlib.suppress(SpoolError):
                await probe()
                self._works()
                self._audience.texts_work()

    def _works(self) -> None:
        """The disk wrote a text, or could: end all waits for it."""
        self._unpublished = 0
        self._probe_wait_s = self._rewrite_s
        self._published.set()

    def _next(self) -> Recognised | None:
        """Return the text that may be published next, if there is one."""
        return self._backlog.next_to_publish(self._blocked)
