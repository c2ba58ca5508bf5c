"""Keeping utterances: on the disk through the spool, in memory while the disk does not take them.

What the disk refused is tried again every few seconds, one at a time, and all of it at once when one was taken. A disk
that is full, read-only or not there at all costs nobody a dictation; it costs safety against a power cut, of which the
audience is told.

So is what it does not delete, with growing waits. When nothing is left to write or to delete, the disk is probed until
it works: the fault must not stand until somebody dictates.
"""

import asyncio
import contextlib
import logging
from functools import partial
from typing import Protocol

from msgspec import Struct

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import SpoolError
from flowpi.host.logfields import fields
from flowpi.spool.spool import AudioNotKept, Spool

log = logging.getLogger(__name__)

REWRITE_S = 3.0
"""How long a disk that works again may stay unused."""

LONGEST_WAIT = 20
"""Times `rewrite_s`, from one try to delete, or one probe, to the next: each wakes a disk that may be dying."""

LOST = "the disk did not take it before the stop"


class DiskAudience(Protocol):
    """Who is told how the disk does. Called on the loop."""

    def spool_failed(self, error: SpoolError) -> None: ...

    def spool_works(self) -> None: ...

    def lost(self, part: PartId, reason: str) -> None:
        """It was in memory only, and the memory ends now."""


class Removal(Struct, frozen=True):
    """As for `Spool.remove`."""

    keep_audio: bool
    cancelled: bool


class SpoolWriter:
    def __init__(self, spool: Spool, audience: DiskAudience, *, rewrite_s: float = REWRITE_S) -> None:
        self._spool = spool
        self._audience = audience
        self._rewrite_s = rewrite_s
        self._tasks: dict[PartId, asyncio.Task[None]] = {}
        self._unsaved: dict[PartId, Utterance] = {}
        """All that is not on the disk to its end."""
        self._refused: dict[PartId, Utterance] = {}
        """Those of them that the disk did not take, the one that was tried last at the end."""
        self._undeleted: dict[PartId, Removal] = {}
        """Those that are over, and that the disk did not delete."""
        self._rewriting: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._recover_now = asyncio.Event()
        self._refuses = False
        """The disk did not take what it was given last."""
        self._fault = False
        """The audience was told that the disk fails, and not yet that it works."""
        self._closing = False

    @property
    def memory_bytes(self) -> int:
        """How much audio is in memory alone."""
        return sum(utterance.length for utterance in self._unsaved.values())

    def __contains__(self, part: PartId) -> bool:
        """Whether it is on its way to the disk, or from it."""
        return part in self._tasks or part in self._unsaved or part in self._undeleted

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

    @property
    def undeleted(self) -> dict[PartId, Removal]:
        """What is over, and what the disk does not delete yet. A copy."""
        return dict(self._undeleted)

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

    def remove(self, part: PartId, *, give_up: bool = False, keep_audio: bool = False) -> None:
        """Take it off the disk when nothing is written to it any more; what the disk does not delete is tried again.

        `give_up`: its owner wants it no more: what is not written yet need not be, and it must not come back after a
        power cut. `keep_audio`: as for `Spool.remove`.
        """
        keeping = self._tasks.pop(part, None)
        if keeping is not None and give_up:
            keeping.cancel()
        removal = Removal(keep_audio, give_up)
        self._run(part, asyncio.create_task(self._remove(part, keeping, removal), name=f"remove {part}"))

    def try_now(self) -> None:
        """Leave the disk alone no longer: something was done about it."""
        self._rewrite_all()
        self._recover_now.set()

    async def close(self) -> None:
        """Try once more what the disk did not take or delete, and finish what is being written. What is lost with the
        memory is told, also if this is cancelled."""
        self._closing = True
        try:
            tasks = [task for task in (self._rewriting, self._recovering) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._rewrite_all()
            self._remove_all()
            while self._tasks:  # one that is written lets the others have another try
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        finally:
            self._tell_the_end()

    def _tell_the_end(self) -> None:
        for part, utterance in sorted(self._unsaved.items()):
            log.error("lost at the stop: %s, %.1f s: %s", part, utterance.duration_s, LOST, extra=fields(part=part))
            self._audience.lost(part, LOST)
        for part, removal in sorted(self._undeleted.items()):
            if removal.cancelled:
                what = "%s was dropped, but the disk did not delete it: it comes back at the next start"
                log.error(what, part, extra=fields(part=part))

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
            level = logging.DEBUG if self._refuses else logging.ERROR
            log.log(level, "%s: %s", part, error, extra=fields(part=part))
            self._refuses = True
            self._refused.pop(part, None)
            self._refused[part] = utterance
            if not self._closing and (self._rewriting is None or self._rewriting.done()):
                self._rewriting = asyncio.create_task(self._rewrite(), name="rewrite")
            self._failed(error)
        else:
            self._refuses = False
            del self._unsaved[part]
            self._refused.pop(part, None)
            self._succeeded()
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

    async def _remove(self, part: PartId, before: asyncio.Task[None] | None, removal: Removal) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        self._unsaved.pop(part, None)
        self._refused.pop(part, None)
        try:
            await self._spool.remove(part, keep_audio=removal.keep_audio, cancelled=removal.cancelled)
        except AudioNotKept as error:
            self._undeleted.pop(part, None)
            self._failed(error)
        except SpoolError as error:
            # The first failure of a streak is news.
            news = not self._undeleted
            log.log(logging.WARNING if news else logging.DEBUG, "%s", error, extra=fields(part=part))
            self._undeleted[part] = removal
            if news:
                self._failed(error)
        else:
            self._undeleted.pop(part, None)

    def _remove_all(self) -> None:
        for part, removal in self._undeleted.items():
            if part not in self._tasks:
                self._run(part, asyncio.create_task(self._remove(part, None, removal), name=f"remove {part}"))

    # How the disk does.

    def _failed(self, error: SpoolError) -> None:
        self._fault = True
        if not self._closing and (self._recovering is None or self._recovering.done()):
            self._recovering = asyncio.create_task(self._recover(), name="recover")
        self._audience.spool_failed(error)

    def _succeeded(self) -> None:
        """It took something. While it does not delete what it should, all is not well."""
        if self._undeleted:
            self._recover_now.set()
            return
        self._fault = False
        self._audience.spool_works()

    async def _recover(self) -> None:
        """Until the disk works: delete what it did not delete; with nothing to write, write something to see."""
        wait_s = self._rewrite_s
        while self._fault:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._recover_now.wait()
            self._recover_now.clear()  # not earlier: what is said during a round counts for the next
            wait_s = min(2 * wait_s, LONGEST_WAIT * self._rewrite_s)
            self._remove_all()
            leaving = [self._tasks[part] for part in self._undeleted if part in self._tasks]
            await asyncio.gather(*leaving, return_exceptions=True)
            if self._fault and not self._refused and not self._undeleted:
                with contextlib.suppress(SpoolError):
                    await self._spool.probe()
                    self._succeeded()


def _settle(durable: asyncio.Future[bool]) -> None:
    """An utterance that was dropped before the spool began with it is not on the disk."""
    if not durable.done():
        durable.set_result(False)
