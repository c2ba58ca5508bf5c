"""Attempts until delivered: what turns utterances into published texts.

An utterance that is being spoken has a task of its own from the press on. If no backend gives a text by the time it
is complete, it joins the backlog: one worker takes the oldest first, with growing waits while nothing answers, and at
once when something does. What an earlier life of the daemon left in the spool starts in the backlog.

An utterance leaves only by `remove` from the spool after its text is durable elsewhere, or by its owner's cancel.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from flowpi.core.errors import BackendError, FlowpiError, SpoolError
from flowpi.core.failover import concerns_utterance, retry_after_s
from flowpi.dictation.backends import Backends
from flowpi.dictation.session import Timings
from flowpi.dictation.spool import Spool
from flowpi.dictation.utterance import PartId, Utterance
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)


class Audience(Protocol):
    """Who is told what becomes of an utterance. Called on the loop."""

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None: ...

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        """Publish the text; return once it is durable. Raises SpoolError if it cannot be made so."""

    def delivered(self, utterance: Utterance) -> None: ...

    def deferred(self, utterance: Utterance, reason: str) -> None:
        """No text now; the audio is kept."""

    def backlog_changed(self) -> None: ...

    def refusals_changed(self, refusals: list[str]) -> None:
        """Why backends do not work until their owner does something, as of now."""

    def spool_failed(self, error: SpoolError) -> None: ...

    def spool_works(self) -> None: ...


def retry_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return retry_after_s(failures, random.random())


class Delivery:
    """`late` in what follows: the person has been told, in this life or an earlier one, that the text comes later."""

    def __init__(
        self,
        backends: Backends,
        spool: Spool,
        audience: Audience,
        *,
        keep_audio: bool = False,
        retry_s: Callable[[int], float] = retry_s,
    ) -> None:
        self._backends = backends
        self._spool = spool
        self._audience = audience
        self._keep_audio = keep_audio
        self._retry_s = retry_s
        self._live: dict[PartId, asyncio.Task[None]] = {}
        self._keeping: dict[PartId, asyncio.Task[None]] = {}
        self._memory: dict[PartId, Utterance] = {}
        """Utterances of the backlog that the disk did not take."""
        self._backlog: set[PartId] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._late: asyncio.Task[None] | None = None
        self._late_id: PartId | None = None
        self._refusals: dict[PartId, int] = {}
        """How often one of the backlog failed by itself: those that no backend takes must not hold up the others."""
        self._stir = asyncio.Event()
        """An utterance came to the backlog, or nobody is speaking any more."""
        self._answered = asyncio.Event()
        """A backend gave a text, or there are others now."""
        self.backend: str | None = None
        """The one that answered last."""

    @property
    def spooled(self) -> int:
        """How many utterances wait for their text in the backlog."""
        return len(self._backlog)

    def start(self, backlog: Iterable[PartId]) -> None:
        """Take up what the spool holds."""
        self._backlog.update(backlog)
        self._audience.backlog_changed()
        self._backends.start()
        self._stir.set()
        self._late = asyncio.create_task(self._work_off(), name="backlog")

    def use(self, backends: Backends) -> None:
        """Other backends, from the next attempt on."""
        retired, self._backends = self._backends, backends
        backends.start()
        self._retiring.add(task := asyncio.create_task(retired.retire(), name="retire backends"))
        task.add_done_callback(self._retiring.discard)
        self._answered.set()
        self._audience.refusals_changed(backends.refusals)

    async def close(self) -> None:
        """End all attempts; what is not delivered stays in the spool. Recordings must have ended."""
        tasks = [*self._live.values(), *([self._late] if self._late else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._retiring)  # whose last attempts are over now
        self._keep_again()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        await self._backends.close()

    def begin(self, utterance: Utterance) -> None:
        """Keep an utterance that has just begun, and send it while it grows. Sets `utterance.durable`."""
        durable = utterance.durable = asyncio.get_running_loop().create_future()
        keeping = asyncio.create_task(self._keep(utterance), name=f"keep {utterance.part_id}")
        keeping.add_done_callback(lambda _: _settle(durable))
        keeping.add_done_callback(partial(self._kept, utterance.part_id))
        self._keeping[utterance.part_id] = keeping
        live = asyncio.create_task(self._deliver_live(utterance), name=f"deliver {utterance.part_id}")
        self._live[utterance.part_id] = live

    def drop(self, part: PartId) -> None:
        """Its owner cancelled it: no text, no audio. Harmless if it is unknown."""
        if live := self._live.pop(part, None):
            live.cancel()
        if part in self._backlog and part == self._late_id and self._late:
            self._late.cancel()
            self._late = asyncio.create_task(self._work_off(), name="backlog")
        self._leave_backlog(part)
        self._put_away(part, give_up=True)

    async def _deliver_live(self, utterance: Utterance) -> None:
        failures = 0
        try:
            while True:
                # An attempt that begins after the end of the audio is the last one before the backlog.
                was_complete = utterance.complete
                try:
                    await self._attempt(utterance, late=False)
                    return
                except (BackendError, SpoolError) as error:
                    failures += 1
                    if was_complete:
                        self._defer(utterance, error)
                        return
                except Exception as error:  # as in `_deliver_late`
                    log.exception("%s: the delivery failed", utterance.part_id)
                    await utterance.wait_complete()
                    self._defer(utterance, FlowpiError(f"internal error ({type(error).__name__})", "see the journal"))
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._retry_s(failures)):
                        await utterance.wait_complete()
        finally:
            if self._live.get(utterance.part_id) is asyncio.current_task():
                del self._live[utterance.part_id]
            self._stir.set()

    def _defer(self, utterance: Utterance, error: FlowpiError) -> None:
        log.warning("%s is kept for later: %s", utterance.part_id, error)
        self._backlog.add(utterance.part_id)
        if utterance.durable is None or not utterance.durable.done() or not utterance.durable.result():
            self._memory[utterance.part_id] = utterance  # until the disk has it after all
        self._audience.deferred(utterance, str(error))

    async def _work_off(self) -> None:
        """The backlog, oldest first, while nobody is speaking."""
        failures = 0
        while True:
            self._stir.clear()
            if not self._backlog or self._live:
                await self._stir.wait()
                continue
            self._answered.clear()
            self._late_id = min(self._backlog, key=lambda one: (self._refusals.get(one, 0), one))
            if await self._deliver_late(self._late_id):
                failures = 0
                continue
            failures += 1
            pause_s = self._retry_s(failures)
            log.debug("the backlog of %d waits %.1f s", len(self._backlog), pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._answered.wait()  # a live text says that a backend is back

    async def _deliver_late(self, part: PartId) -> bool:
        """True if the utterance is done with, or gone."""
        try:
            utterance = self._memory.get(part)
            if utterance is None:
                utterance = await asyncio.to_thread(self._spool.load, part)
            if utterance is None:
                self._leave_backlog(part)
            else:
                await self._attempt(utterance, late=True)
            return True
        except (BackendError, SpoolError) as error:
            log.debug("%s stays in the backlog: %s", part, error)
            if isinstance(error, SpoolError) or concerns_utterance(error):
                self._refusals[part] = self._refusals.get(part, 0) + 1
        except Exception:  # a mistake in one dictation must not end the delivery of all
            log.exception("%s stays in the backlog", part)
            self._refusals[part] = self._refusals.get(part, 0) + 1
        return False

    def _leave_backlog(self, part: PartId) -> None:
        self._memory.pop(part, None)
        self._refusals.pop(part, None)
        if part in self._backlog:
            self._backlog.remove(part)
            self._audience.backlog_changed()

    async def _attempt(self, utterance: Utterance, *, late: bool) -> None:
        """Get the text and publish it, then away with the audio. The order is the promise: nothing is deleted before.

        Raises BackendError or SpoolError if it is not published.
        """

        backends = self._backends
        try:
            text, backend, timings = await backends.text_of(utterance, partial(self._audience.partial, utterance))
        finally:
            if backends is self._backends:
                self._audience.refusals_changed(backends.refusals)
        self.backend = backend
        self._answered.set()
        await self._audience.publish(utterance, text, backend, timings, late)
        self._audience.delivered(utterance)
        self._leave_backlog(utterance.part_id)
        self._put_away(utterance.part_id, keep_audio=self._keep_audio)

    def _put_away(self, part: PartId, *, give_up: bool = False, keep_audio: bool = False) -> None:
        """Take it off the disk when nothing is written to it any more, on a task that `close` waits for.

        `give_up`: what is not written yet need not be.
        """
        keeping = self._keeping.pop(part, None)
        if keeping is not None and give_up:
            keeping.cancel()
        task = asyncio.create_task(self._remove(part, keeping, keep_audio), name=f"put away {part}")
        self._keeping[part] = task
        task.add_done_callback(partial(self._kept, part))

    async def _keep(self, utterance: Utterance) -> None:
        try:
            await self._spool.keep(utterance)
            self._memory.pop(utterance.part_id, None)
            self._audience.spool_works()
            self._keep_again()
        except SpoolError as error:
            log.error("%s: %s", utterance.part_id, error)
            self._audience.spool_failed(error)

    def _keep_again(self) -> None:
        """The disk works: what it did not take before is tried once more, in a new file."""
        for utterance in self._memory.values():
            if utterance.part_id not in self._keeping and utterance.complete:
                utterance.durable = None
                task = asyncio.create_task(self._keep(utterance), name=f"keep {utterance.part_id}")
                self._keeping[utterance.part_id] = task
                task.add_done_callback(partial(self._kept, utterance.part_id))

    def _kept(self, part: PartId, task: asyncio.Task[None]) -> None:
        if self._keeping.get(part) is task:
            del self._keeping[part]

    async def _remove(self, part: PartId, keeping: asyncio.Task[None] | None, keep_audio: bool) -> None:
        if keeping is not None:
            await asyncio.gather(keeping, return_exceptions=True)
        try:
            await self._spool.remove(part, keep_audio=keep_audio)
        except SpoolError as error:
            self._audience.spool_failed(error)


def _settle(durable: asyncio.Future[bool]) -> None:
    """An utterance that was dropped before the spool began with it is not on the disk."""
    if not durable.done():
        durable.set_result(False)
