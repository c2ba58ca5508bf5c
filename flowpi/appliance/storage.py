"""The disk while the daemon runs: spool and transcripts, opened at the start or as soon as that is possible.

A disk that is full, read-only or broken is a fault to live with, not the end: what is said is in memory meanwhile.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from flowpi.appliance.conductor import Conductor
from flowpi.audio.utterance import PartId
from flowpi.config.schema import Config
from flowpi.core import faults
from flowpi.core.errors import AlreadyRunning, CannotCreateError, SpoolError
from flowpi.core.events import FaultRaised
from flowpi.core.ulid import UlidFactory
from flowpi.host import paths
from flowpi.host.logfields import fields
from flowpi.publish.files import Transcripts
from flowpi.spool.spool import Spool

log = logging.getLogger(__name__)

OPEN_AGAIN_S = 3.0
"""How often a disk that could not be used is tried again."""

EXPIRE_S = 3600.0
"""How often what is too old is looked for."""

T = TypeVar("T")


class Storage:
    """`open`, set `conductor`, then `resume`; `keep_opening` and `expire` are tasks; `close` at the end.

    Attributes:
        ids: of new utterances, behind all that the disk knows.
    """

    conductor: Conductor

    def __init__(self, config: Config) -> None:
        self._loop = asyncio.get_running_loop()
        self.spool = Spool(
            paths.spool_directory(config),
            sync_s=config.spool.sync_ms / 1000,
            max_bytes=config.spool.max_mb * 1_000_000,
            keep_days=config.publish.files.keep_days,
            on_quarantine=self._on_quarantine,
        )
        self.transcripts = Transcripts(paths.transcripts_directory(config), config.publish.files.keep_days)
        self.ids = UlidFactory()
        self._kept: list[PartId] | None = None
        """What the spool held when it was opened; None until it is."""
        self._trouble: dict[str, SpoolError | CannotCreateError] = {}
        """By the code of its fault."""

    def open(self) -> None:
        """Raises AlreadyRunning if another daemon has the spool."""
        self._kept = self._try(faults.SPOOL, self.spool.open)
        try:
            self._try(faults.TRANSCRIPTS, self.transcripts.open)
            for last in (self.transcripts.last_id(), self._kept[-1].utterance if self._kept else None):
                if last is not None:
                    self.ids.follow(last)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """After what is being written is written."""
        self.spool.close()
        self.transcripts.close()

    def raise_faults(self) -> None:
        """Raise a fault for each folder that could not be opened."""
        for code, error in self._trouble.items():
            self.conductor.handle(FaultRaised(code, str(error)))

    async def resume(self) -> None:
        """Begin to deliver what earlier runs left."""
        self.conductor.delivery.start(await self._undelivered(self._kept or []))

    async def keep_opening(self) -> None:
        """Until all is open."""
        while self._trouble:
            await asyncio.sleep(OPEN_AGAIN_S)
            if faults.TRANSCRIPTS in self._trouble:
                await asyncio.to_thread(self._try, faults.TRANSCRIPTS, self.transcripts.open)
                if faults.TRANSCRIPTS not in self._trouble:
                    if (last := await asyncio.to_thread(self.transcripts.last_id)) is not None:
                        self.ids.follow(last)
                    self.conductor.outcomes.clear(faults.TRANSCRIPTS)
            if faults.SPOOL in self._trouble:
                kept = await asyncio.to_thread(self._try, faults.SPOOL, self.spool.open)
                if kept is not None:
                    await self._resume_late(kept)

    def apply(self, config: Config) -> None:
        """Use the `spool.max_mb` of a new configuration."""
        self.spool.limit(config.spool.max_mb * 1_000_000)

    async def expire(self) -> None:
        """Delete what is too old, for ever."""
        while True:
            for expire in (self.transcripts.expire, self.spool.expire):
                try:
                    await asyncio.to_thread(expire, time.time(), time.monotonic())
                except OSError as error:  # there is no hurry, and nobody must stop talking for it
                    log.warning("nothing is deleted for its age now (%s)", error)
            await asyncio.sleep(EXPIRE_S)

    def _try(self, code: str, attempt: Callable[[], T]) -> T | None:
        try:
            done = attempt()
        except AlreadyRunning:
            raise
        except (SpoolError, CannotCreateError) as error:
            log.log(logging.DEBUG if code in self._trouble else logging.ERROR, "%s", error, extra=fields(fault=code))
            self._trouble[code] = error
            return None
        self._trouble.pop(code, None)
        return done

    async def _resume_late(self, kept: list[PartId]) -> None:
        if kept:
            self.ids.follow(kept[-1].utterance)
        self.conductor.delivery.add(await self._undelivered(kept))
        self.conductor.outcomes.spool_works()

    async def _undelivered(self, kept: list[PartId]) -> list[PartId]:
        """Of what the spool holds, that which has no text yet; the rest is deleted."""
        outcomes = self.conductor.outcomes
        done = await asyncio.to_thread(self.transcripts.ids) if kept else set()
        for part in kept:
            if part in done:  # its text got out, and a crash came before it was deleted
                with contextlib.suppress(SpoolError):
                    await asyncio.to_thread(self.spool.load, part)  # a damaged one is put aside, not deleted
                self.conductor.delivery.discard(part)
        backlog = [part for part in kept if part not in done]
        if backlog:
            log.info("of an earlier run, waiting for a text: %d", len(backlog))
        if self.spool.quarantined:
            outcomes.quarantined(None, "", self.spool.quarantined)
        return backlog

    def _on_quarantine(self, part: PartId, reason: str) -> None:
        """On whatever thread found it."""
        self._loop.call_soon_threadsafe(self._quarantined, part, reason)

    def _quarantined(self, part: PartId, reason: str) -> None:
        self.conductor.outcomes.quarantined(part if reason else None, reason, self.spool.quarantined)
