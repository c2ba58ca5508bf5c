"""Texts on their way out: published, then away with the audio. What cannot go out yet is held.

Two things stand in a text's way: a disk that does not take it, which is left alone with growing waits, and an earlier
part of the same utterance that has no published text yet. While the disk failed last and no text can go out, it is
probed. No task in here: `delivery.py` publishes what `next` gives.
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
"""What the disk did not take: half an hour of speech."""


class TextAudience(Protocol):
    """Who is told of texts. Called on the loop."""

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        """Publish the text; return once it is durable. Raises SpoolError if it cannot be made so: it is called again
        with the same text."""

    def texts_work(self) -> None:
        """The disk takes texts again, though none was published."""

    def delivered(self, utterance: Utterance) -> None: ...


class Outbox:
    def __init__(
        self,
        backlog: Backlog,
        keeper: SpoolWriter,
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
            backlog: where the texts are held.
            blocked: whether an earlier part that is not in the backlog has to be published first.
            forget: told of each that is over: take it out of the backlog, if it is there.
            keep_audio: as for `Spool.remove`.
            rewrite_s: how long at most to leave a disk alone that took nothing.
            probe: whether it would take a text; raises SpoolError if not. None: there is no way to know.
        """
        self._backlog = backlog
        self._keeper = keeper
        self._audience = audience
        self._blocked = blocked
        self._forget = forget
        self._keep_audio = keep_audio
        self._rewrite_s = rewrite_s
        self._probe = probe
        self._probe_wait_s = rewrite_s
        self._publishing: set[PartId] = set()
        self._unwanted: set[PartId] = set()
        """Those of them that their owner dropped meanwhile."""
        self._unpublished = 0
        """How often in a row a text could not be made durable."""
        self._news = asyncio.Event()
        """A text is to be published, or what stood in its way is gone."""
        self._published = asyncio.Event()
        """One was made durable, so that others can be."""

    def __contains__(self, part: PartId) -> bool:
        """Whether it is just being published."""
        return part in self._publishing

    @property
    def stuck(self) -> bool:
        """The disk takes no text, and one that could go out waits for it."""
        return self._unpublished > 0 and self._next() is not None

    @property
    def memory_full(self) -> bool:
        """No more must be held, nor recorded, until the disk takes some."""
        held = (one.utterance for part, one in self._backlog.held.items() if self._keeper.on_disk(part))
        return self._keeper.memory_bytes + sum(utterance.length for utterance in held) >= MAX_MEMORY_BYTES

    async def publish(self, recognised: Recognised, *, late: bool) -> None:
        """Publish it, then away with the audio. The order is the promise: nothing is deleted before.

        Raises SpoolError if it is not published.
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
            self._forget(part)
            self._keeper.remove(part, give_up=True)
            return
        finally:
            self._publishing.discard(part)
            self._unwanted.discard(part)
        self._works()
        self._audience.delivered(utterance)
        self._forget(part)
        self._keeper.remove(part, keep_audio=self._keep_audio)

    def call_back(self, part: PartId) -> bool:
        """Its owner wants no text of it. False if it is not just being published.

        One that is cannot be stopped any more; but if the disk does not take it, it is given up.
        """
        if part in self._publishing:
            self._unwanted.add(part)
            return True
        return False

    def hold(self, recognised: Recognised) -> bool:
        """False if the memory is full and the audio on the disk: the text is let go, and asked for again."""
        part = recognised.utterance.part_id
        held = not (self.memory_full and self._keeper.on_disk(part))
        if held:
            self._backlog.held[part] = recognised
        self._news.set()
        return held

    async def next(self) -> tuple[Pending, Recognised]:
        """Wait until one of those that are held may go out; it stays held until it is published."""
        while True:
            self._news.clear()
            if self._unpublished:
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
        """What stood in the way of a text may be gone."""
        self._news.set()

    def try_now(self) -> None:
        """Leave the disk alone no longer."""
        self._published.set()
        self._news.set()

    async def _probe_until_news(self, probe: Callable[[], Awaitable[None]]) -> None:
        """No text can go out that would show how the disk does."""
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
        self._unpublished = 0
        self._probe_wait_s = self._rewrite_s
        self._published.set()

    def _next(self) -> Recognised | None:
        return self._backlog.next_to_publish(self._blocked)
