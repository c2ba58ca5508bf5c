"""The disk while the daemon runs: spool and transcripts, opened at the start or as soon as that is possible.

A disk that is full, read-only or broken is a fault and not the end: until it works, speech is kept in memory.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from flowpi.appliance.announcer import Announcer
from flowpi.appliance.inbox import Inbox
from flowpi.audio.utterance import PartId
from flowpi.config.schema import Config
from flowpi.core import faults
from flowpi.core.errors import AlreadyRunning, CannotCreateError, SpoolError
from flowpi.core.ulid import UlidFactory
from flowpi.delivery.delivery import Delivery
from flowpi.host import paths
from flowpi.host.logfields import fields
from flowpi.publish.files import Transcripts
from flowpi.spool.spool import Spool

log = logging.getLogger(__name__)

OPEN_AGAIN_S = 3.0
"""How often to try a disk that could not be used."""

EXPIRE_S = 3600.0
"""How often to look for what is too old."""

T = TypeVar("T")


class Storage:
    """Spool and transcripts. `open`, then `resume`; `keep_opening` and `expire` are tasks; `close` at the end.

    Attributes:
        ids: makes ids that sort after all that the disk has.
    """

    def __init__(
        self, config: Config, transcripts: Transcripts, ids: UlidFactory, inbox: Inbox, announcer: Announcer
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transcripts = transcripts
        self._ids = ids
        self._inbox = inbox
        self._announcer = announcer
        self.spool = Spool(
            paths.spool_directory(config),
            sync_s=config.spool.sync_ms / 1000,
            max_bytes=config.spool.max_mb * 1_000_000,
            keep_days=config.publish.files.keep_days,
            on_quarantine=self._on_quarantine,
        )
        self._kept: list[PartId] | None = None
        """What the spool held when it was opened; None until it is."""
        self._failed: set[str] = set()
        """The fault codes of what is not open."""

    def open(self) -> None:
        """Open what can be opened, and raise a fault for each that cannot.

        Raises:
            AlreadyRunning: another daemon has the spool.
        """
        self._kept = self._try(faults.SPOOL, self.spool.open)
        try:
            self._try(faults.TRANSCRIPTS, self._transcripts.open)
            for last in (self._transcripts.last_id(), self._kept[-1].utterance if self._kept else None):
                if last is not None:
                    self._ids.follow(last)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """After what is being written is written."""
        self.spool.close()
        self._transcripts.close()

    async def resume(self, delivery: Delivery) -> None:
        """Begin to deliver what earlier runs left."""
        delivery.start(await self._undelivered(self._kept or [], delivery))

    async def keep_opening(self, delivery: Delivery) -> None:
        """Try again until all is open, and deliver what is found then."""
        while self._failed:
            await asyncio.sleep(OPEN_AGAIN_S)
            if faults.TRANSCRIPTS in self._failed:
                await asyncio.to_thread(self._try, faults.TRANSCRIPTS, self._transcripts.open)
                if faults.TRANSCRIPTS not in self._failed:
                    if (last := await asyncio.to_thread(self._transcripts.last_id)) is not None:
                        self._ids.follow(last)
                    self._inbox.clear_fault(faults.TRANSCRIPTS)
            if faults.SPOOL in self._failed:
                kept = await asyncio.to_thread(self._try, faults.SPOOL, self.spool.open)
                if kept is not None:
                    await self._resume_late(kept, delivery)

    async def apply(self, config: Config) -> None:
        """Use the `spool.max_mb` and `publish.max_lag_days` of a new configuration."""
        self.spool.limit(config.spool.max_mb * 1_000_000)
        self._transcripts.limit_lag(config.publish.max_lag_days)

    async def expire(self) -> None:
        """Delete what is too old, again and again."""
        while True:
            for expire in (self._transcripts.expire, self.spool.expire):
                try:
                    await asyncio.to_thread(expire, time.time(), time.monotonic())
                except OSError as error:  # not urgent, so no fault
                    log.warning("nothing is deleted for its age now (%s)", error)
            await asyncio.sleep(EXPIRE_S)

    def _try(self, code: str, attempt: Callable[[], T]) -> T | None:
        """Return what `attempt` returns, or None if it failed.

        The first failure, which `open` sees on the loop, raises the fault. Later tries run on threads.
        """
        try:
            done = attempt()
        except AlreadyRunning:
            raise
        except (SpoolError, CannotCreateError) as error:
            log.log(logging.DEBUG if code in self._failed else logging.ERROR, "%s", error, extra=fields(fault=code))
            if code not in self._failed:
                self._failed.add(code)
                self._inbox.raise_fault(code, str(error))
            return None
        self._failed.discard(code)
        return done

    async def _resume_late(self, kept: list[PartId], delivery: Delivery) -> None:
        if kept:
            self._ids.follow(kept[-1].utterance)
        delivery.add(await self._undelivered(kept, delivery))
        self._inbox.clear_fault(faults.SPOOL)

    async def _undelivered(self, kept: list[PartId], delivery: Delivery) -> list[PartId]:
        """Return the parts in the spool that have no text yet, and delete the others."""
        done = await asyncio.to_thread(self._transcripts.ids) if kept else set()
        for part in kept:
            if part in done:  # the transcripts have its text, and a crash came before its audio was deleted
                with contextlib.suppress(SpoolError):
                    # A damaged file goes into quarantine here instead of being deleted: the text may lack its end.
                    await asyncio.to_thread(self.spool.load, part)
                delivery.discard(part)
        backlog = [part for part in kept if part not in done]
        if backlog:
            log.info("of an earlier run, waiting for a text: %d", len(backlog))
        if self.spool.quarantined:
            self._announcer.quarantined(None, "", self.spool.quarantined)
        return backlog

    def _on_quarantine(self, part: PartId, reason: str) -> None:
        """Runs on the thread that found the file."""
        self._loop.call_soon_threadsafe(self._quarantined, part, reason)

    def _quarantined(self, part: PartId, reason: str) -> None:
        self._announcer.quarantined(part if reason else None, reason, self.spool.quarantined)
