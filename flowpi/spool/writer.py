"""Keeping utterances: on the disk through the spool, and in memory while the disk fails.

What the disk refused is written again every few seconds, one utterance at a time, and all of them at once when one has
succeeded. A disk that is full, read-only or missing costs nobody a dictation; it costs the safety against a power cut,
and the audience is told so.

What the disk does not delete is deleted again, with growing waits. When nothing is left to write or to delete, the disk
is probed until it works, so that the fault does not stand until somebody dictates.
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
from flowpi.spool.spool import AudioNotKept

log = logging.getLogger(__name__)

REWRITE_S = 3.0
"""The seconds between two attempts to write: how long a disk that works again may stay unused."""

LONGEST_WAIT = 20
"""The longest wait between deletions or probes, as a multiple of `rewrite_s`: each wakes a disk that may be dying."""

LOST = "the disk did not take it before the stop"


class Store(Protocol):
    """What the writer asks of the disk: see `flowpi.spool.spool.Spool`."""

    async def keep(self, utterance: Utterance) -> None: ...
    def load(self, part: PartId) -> Utterance | None: ...
    async def remove(self, part: PartId, *, keep_audio: bool = False, cancelled: bool = False) -> None: ...
    async def probe(self) -> None: ...


class DiskAudience(Protocol):
    """Who is told whether the disk works. Called on the loop."""

    def spool_failed(self, error: SpoolError) -> None:
        """The disk did not write or delete something. Called again for each write that fails."""

    def spool_works(self) -> None:
        """The disk wrote something, and no deletion is pending. Called at each success."""

    def lost(self, part: PartId, reason: str) -> None:
        """A part was in memory only, and the daemon is stopping."""


class Removal(Struct, frozen=True):
    """What `Spool.remove` is asked to do with a part."""

    keep_audio: bool
    cancelled: bool


class SpoolWriter:
    """Writes utterances to the spool and removes them, and repeats what the disk refused.

    A part has at most one task, a write or a removal. A removal replaces the write and waits for its end: it always
    wins, and what is removed is never written again.
    """

    def __init__(self, spool: Store, audience: DiskAudience, *, rewrite_s: float = REWRITE_S) -> None:
        self._spool = spool
        self._audience = audience
        self._rewrite_s = rewrite_s
        self._tasks: dict[PartId, asyncio.Task[None]] = {}
        self._unsaved: dict[PartId, Utterance] = {}
        """The utterances that are not on the disk to their end."""
        self._refused: dict[PartId, Utterance] = {}
        """Those of `_unsaved` that the disk did not write; the one that was tried last is at the end."""
        self._undeleted: dict[PartId, Removal] = {}
        """The parts that are done with, and that the disk did not delete."""
        self._rewriting: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._recover_now = asyncio.Event()
        self._refuses = False
        """Whether the last write failed."""
        self._fault = False
        """Whether the audience was told that the disk fails, and not yet that it works."""
        self._closing = False

    @property
    def memory_bytes(self) -> int:
        """The number of bytes of audio that are in memory only."""
        return sum(utterance.length for utterance in self._unsaved.values())

    def __contains__(self, part: PartId) -> bool:
        """Whether a write or a removal of this part is still pending."""
        return part in self._tasks or part in self._unsaved or part in self._undeleted

    def on_disk(self, part: PartId) -> bool:
        """Whether all of a part is on the disk. True also of one that is not known here."""
        return part not in self._unsaved

    def in_memory(self, part: PartId) -> bool:
        """Whether the disk refused a part, so that it is in memory only."""
        return part in self._refused

    async def recorded(self, utterance_id: str) -> bool:
        """Wait for pending writes, then return whether all complete parts of an utterance are, or were, on the disk."""
        while tasks := [task for part, task in self._tasks.items() if part.utterance == utterance_id]:
            await asyncio.wait(tasks)
        return not any(part.utterance == utterance_id for part in self._unsaved)

    @property
    def undeleted(self) -> dict[PartId, Removal]:
        """A copy of the parts that are done with, and that the disk has not deleted yet."""
        return dict(self._undeleted)

    def duration_s(self, part: PartId) -> float | None:
        """Return the length of a part in seconds, or None if it is on the disk only."""
        return self._unsaved[part].duration_s if part in self._unsaved else None

    def keep(self, utterance: Utterance) -> None:
        """Begin to write an utterance to the disk as it grows. Sets a new `utterance.durable`, also for a rewrite."""
        part = utterance.part_id
        durable = utterance.durable = asyncio.get_running_loop().create_future()
        self._unsaved[part] = utterance
        task = asyncio.create_task(self._keep(utterance), name=f"keep {part}")
        task.add_done_callback(lambda _: _settle(durable))
        self._run(part, task)

    async def load(self, part: PartId) -> Utterance | None:
        """Return a part from memory or the disk, None if it is in neither. Raises SpoolError if it cannot be read."""
        return self._unsaved.get(part) or await asyncio.to_thread(self._spool.load, part)

    def remove(self, part: PartId, *, give_up: bool = False, keep_audio: bool = False) -> None:
        """Delete a part once its write has ended. Returns at once; what the disk does not delete is tried again.

        Args:
            give_up: the user dropped it: stop writing it, and never let it come back after a power cut.
            keep_audio: as for `Spool.remove`.
        """
        # The write leaves `_tasks` here, not when it ends: from now on the part's task is the removal, which waits for
        # it. So nothing starts a rewrite in between, and a deleted file is not written a second time.
        keeping = self._tasks.pop(part, None)
        if keeping is not None and give_up:
            keeping.cancel()
        removal = Removal(keep_audio, give_up)
        self._run(part, asyncio.create_task(self._remove(part, keeping, removal), name=f"remove {part}"))

    def try_now(self) -> None:
        """Write and delete at once what the disk refused, because the user did something about it."""
        self._rewrite_all()
        self._recover_now.set()

    async def close(self) -> None:
        """Finish what is being written, and try once more what the disk refused to write or delete.

        What is lost with the memory is logged and reported, also if this is cancelled.
        """
        self._closing = True
        try:
            tasks = [task for task in (self._rewriting, self._recovering) if task is not None]
            # The repeating tasks end first, or they would start new attempts while this waits for the last ones.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._rewrite_all()
            self._remove_all()
            while self._tasks:  # a write that succeeds starts another attempt for the others
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        finally:
            self._tell_the_end()

    def _tell_the_end(self) -> None:
        """Log and report what is lost with the memory, and what was dropped and comes back."""
        for part, utterance in sorted(self._unsaved.items()):
            log.error("lost at the stop: %s, %.1f s: %s", part, utterance.duration_s, LOST, extra=fields(part=part))
            self._audience.lost(part, LOST)
        for part, removal in sorted(self._undeleted.items()):
            if removal.cancelled:
                what = "%s was dropped, but the disk did not delete it: it comes back at the next start"
                log.error(what, part, extra=fields(part=part))

    def _run(self, part: PartId, task: asyncio.Task[None]) -> None:
        """Make this the task of a part until it ends."""
        self._tasks[part] = task
        task.add_done_callback(partial(self._ended, part))

    def _ended(self, part: PartId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(part) is task:  # and not a removal that has replaced it
            del self._tasks[part]

    async def _keep(self, utterance: Utterance) -> None:
        """Write an utterance to its end, or note it for a rewrite."""
        part = utterance.part_id
        try:
            await self._spool.keep(utterance)
        except SpoolError as error:
            # Only the first failure of a streak is an error: the others repeat it every few seconds.
            level = logging.DEBUG if self._refuses else logging.ERROR
            log.log(level, "%s: %s", part, error, extra=fields(part=part))
            self._refuses = True
            self._refused.pop(part, None)  # so that it goes to the end: no bad utterance keeps the others waiting
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
        """Write one of the refused utterances every `rewrite_s`. One success writes all others, see `_keep`."""
        while self._refused:
            await asyncio.sleep(self._rewrite_s)
            for utterance in self._to_rewrite()[:1]:
                self.keep(utterance)

    def _rewrite_all(self) -> None:
        for utterance in self._to_rewrite():
            self.keep(utterance)

    def _to_rewrite(self) -> list[Utterance]:
        """Return the refused utterances that may be written again.

        A rewrite begins a new file with the first byte, so it waits until the utterance is complete.
        """
        return [one for part, one in self._refused.items() if one.complete and part not in self._tasks]

    async def _remove(self, part: PartId, before: asyncio.Task[None] | None, removal: Removal) -> None:
        """Delete a part after `before`, its write, has ended; if the disk does not, note it for another attempt."""
        # The write may still make the file, and would leave it behind a deletion that did not wait.
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        # Forgotten here before it is deleted there: from now on nothing can write it again.
        self._unsaved.pop(part, None)
        self._refused.pop(part, None)
        try:
            await self._spool.remove(part, keep_audio=removal.keep_audio, cancelled=removal.cancelled)
        except AudioNotKept as error:
            self._undeleted.pop(part, None)
            self._failed(error)
        except SpoolError as error:
            # Only the first failure of a streak is a warning and reported: the rest repeats it.
            news = not self._undeleted
            log.log(logging.WARNING if news else logging.DEBUG, "%s", error, extra=fields(part=part))
            self._undeleted[part] = removal
            if news:
                self._failed(error)
        else:
            self._undeleted.pop(part, None)

    def _remove_all(self) -> None:
        """Try again to delete what the disk did not delete."""
        for part, removal in self._undeleted.items():
            if part not in self._tasks:
                self._run(part, asyncio.create_task(self._remove(part, None, removal), name=f"remove {part}"))

    # Whether the disk works.

    def _failed(self, error: SpoolError) -> None:
        """Report a failure, and try to recover from it until `_succeeded` clears the fault."""
        self._fault = True
        if not self._closing and (self._recovering is None or self._recovering.done()):
            self._recovering = asyncio.create_task(self._recover(), name="recover")
        self._audience.spool_failed(error)

    def _succeeded(self) -> None:
        """A write succeeded. The fault stands until pending deletions succeed too."""
        if self._undeleted:
            self._recover_now.set()
            return
        self._fault = False
        self._audience.spool_works()

    async def _recover(self) -> None:
        """Until the disk works, delete what it did not delete; when there is nothing to write or delete, probe it."""
        wait_s = self._rewrite_s
        while self._fault:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._recover_now.wait()
            self._recover_now.clear()  # after the wait and not before: what is set during a round starts the next one
            wait_s = min(2 * wait_s, LONGEST_WAIT * self._rewrite_s)
            self._remove_all()
            leaving = [self._tasks[part] for part in self._undeleted if part in self._tasks]
            await asyncio.gather(*leaving, return_exceptions=True)
            if self._fault and not self._refused and not self._undeleted:
                with contextlib.suppress(SpoolError):
                    await self._spool.probe()
                    self._succeeded()


def _settle(durable: asyncio.Future[bool]) -> None:
    """Set `durable` of an utterance whose write was cancelled before it began: it is not on the disk."""
    if not durable.done():
        durable.set_result(False)
