"""Keeping utterances: on the disk through the spool, in memory while the disk does not take them.

What the disk refused is tried again every few seconds, one at a time, and all of it at once when one was taken. A disk
that is full, read-only or not there at all costs nobody a dictation; it costs safety against a power cut, of which the
audience is told.
"""

import asyncio
import logging
from functools import partial
from typing import Protocol

from flowpi.core.errors import SpoolError
from flowpi.dictation.spool import Spool
from flowpi.dictation.utterance import PartId, Utterance

log = logging.getLogger(__name__)

REWRITE_S = 3.0
"""How long a disk that works again may stay unused."""


class DiskAudience(Protocol):
    """Who is told how the disk does. Called on the loop."""

    def spool_failed(self, error: SpoolError) -> None: ...

    def spool_works(self) -> None: ...


class Keeper:
    def __init__(self, spool: Spool, audience: DiskAudience, *, rewrite_s: float = REWRITE_S) -> None:
        self._spool = spool
        self._audience = audience
        self._rewrite_s = rewrite_s
        self._tasks: dict[PartId, asyncio.Task[None]] = {}
        self._unsaved: dict[PartId, Utterance] = {}
        """All that is not on the disk to its end."""
        self._refused: dict[PartId, Utterance] = {}
        """Those of them that the disk did not take, the one that was tried last at the end."""
        self._rewriting: asyncio.Task[None] | None = None
        self._fails = False
        self._closing = False

    @property
    def memory_bytes(self) -> int:
        """How much audio is in memory alone."""
        return sum(utterance.length for utterance in self._unsaved.values())

    def __contains__(self, part: PartId) -> bool:
        """Whether it is on its way to the disk, or from it."""
        return part in self._tasks or part in self._unsaved

    def on_disk(self, part: PartId) -> bool:
        """To its end."""
        return part not in self._unsaved

    def in_memory(self, part: PartId) -> bool:
        """The disk did not take it."""
        return part in self._refused

    async def recorded(self, utterance_id: str) -> bool:
        """Whether all parts of it that are complete are on the disk, or were; once that is known."""
        while tasks := [task for part, task in self._tasks.items() if part.utterance == utterance_id]:
            await asyncio.wait(tasks)
        return not any(part.utterance == utterance_id for part in self._unsaved)

    def duration_s(self, part: PartId) -> float | None:
        """None if it is on the disk alone."""
        return self._unsaved[part].duration_s if part in self._unsaved else None

    def keep(self, utterance: Utterance) -> None:
        """Follow it to its end. Sets `utterance.durable`, also when it is tried again."""
        part = utterance.part_id
        durable = utterance.durable = asyncio.get_running_loop().create_future()
        self._unsaved[part] = utterance
        task = asyncio.create_task(self._keep(utterance), name=f"keep {part}")
        task.add_done_callback(lambda _: _settle(durable))
        self._run(part, task)

    async def load(self, part: PartId) -> Utterance | None:
        """From memory or the disk; None if it is not there. Raises SpoolError if it cannot be read now."""
        return self._unsaved.get(part) or await asyncio.to_thread(self._spool.load, part)

    def put_away(self, part: PartId, *, give_up: bool = False, keep_audio: bool = False) -> None:
        """Take it off the disk when nothing is written to it any more.

        `give_up`: its owner wants it no more: what is not written yet need not be, and it must not come back after a
        power cut. `keep_audio`: as for `Spool.remove`.
        """
        keeping = self._tasks.pop(part, None)
        if keeping is not None and give_up:
            keeping.cancel()
        self._run(part, asyncio.create_task(self._remove(part, keeping, keep_audio, give_up), name=f"put away {part}"))

    async def close(self) -> None:
        """Try once more what the disk did not take, and finish what is being written."""
        self._closing = True
        if self._rewriting is not None:
            self._rewriting.cancel()
            await asyncio.gather(self._rewriting, return_exceptions=True)
        self._rewrite_all()
        while self._tasks:  # one that is written lets the others have another try
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _run(self, part: PartId, task: asyncio.Task[None]) -> None:
        self._tasks[part] = task
        task.add_done_callback(partial(self._ended, part))

    def _ended(self, part: PartId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(part) is task:
            del self._tasks[part]

    async def _keep(self, utterance: Utterance) -> None:
        part = utterance.part_id
        try:
            await self._spool.keep(utterance)
        except SpoolError as error:
            # The first failure of a streak is news.
            log.log(logging.DEBUG if self._fails else logging.ERROR, "%s: %s", part, error)
            self._fails = True
            self._refused.pop(part, None)
            self._refused[part] = utterance
            if not self._closing and (self._rewriting is None or self._rewriting.done()):
                self._rewriting = asyncio.create_task(self._rewrite(), name="rewrite")
            self._audience.spool_failed(error)
        else:
            self._fails = False
            del self._unsaved[part]
            self._refused.pop(part, None)
            self._audience.spool_works()
            self._rewrite_all()

    async def _rewrite(self) -> None:
        while self._refused:
            await asyncio.sleep(self._rewrite_s)
            for utterance in self._to_rewrite()[:1]:
                self.keep(utterance)

    def _rewrite_all(self) -> None:
        for utterance in self._to_rewrite():
            self.keep(utterance)

    def _to_rewrite(self) -> list[Utterance]:
        """Each goes to a new file, from its first byte: so not before it is complete."""
        return [one for part, one in self._refused.items() if one.complete and part not in self._tasks]

    async def _remove(
        self, part: PartId, keeping: asyncio.Task[None] | None, keep_audio: bool, cancelled: bool
    ) -> None:
        if keeping is not None:
            await asyncio.gather(keeping, return_exceptions=True)
        self._unsaved.pop(part, None)
        self._refused.pop(part, None)
        try:
            await self._spool.remove(part, keep_audio=keep_audio, cancelled=cancelled)
        except SpoolError as error:
            self._audience.spool_failed(error)


def _settle(durable: asyncio.Future[bool]) -> None:
    """An utterance that was dropped before the spool began with it is not on the disk."""
    if not durable.done():
        durable.set_result(False)
