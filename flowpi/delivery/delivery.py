"""Attempts until delivered: what turns utterances into published texts.

An utterance that is being spoken has a task of its own from the press on. If no backend gives a text by the time it
is complete, it joins the backlog: one worker takes the oldest first, with growing waits while nothing answers, and at
once when something does. What an earlier life of the daemon left in the spool starts in the backlog.

Who speaks has the right of way: the worker begins nothing meanwhile, and gives up the attempt whose text it awaits.
A text that cannot go out yet, for want of disk or because an earlier part of the same utterance has none, is held and
published by a task of its own; nobody is asked for it again.

An utterance leaves only by `remove` from the spool after its text is durable elsewhere, or by its owner's cancel.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from msgspec import Struct

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.chain import BackendChain, retry_s
from flowpi.backends.current import BackendAudience, CurrentBackends
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError, FlowpiError, SpoolError
from flowpi.core.failover import without_network
from flowpi.delivery.backlog import Backlog, Pending, Waiting
from flowpi.delivery.outbox import Outbox, TextAudience
from flowpi.host.logfields import MessageId, fields
from flowpi.spool.spool import Spool
from flowpi.spool.writer import REWRITE_S, DiskAudience, SpoolWriter

log = logging.getLogger(__name__)

PACE_S = 0.1
"""From one of the backlog to the next: two thousand at once would starve whatever else this machine and the backend
have to do."""

MAX_INTERRUPTIONS = 3
"""In a row, of one of the backlog: then it is let through, or someone who dictates all day would never get it."""


DROPPED = "dropped; the disk does not delete it yet"
DELIVERED = "its text is out; the disk does not delete its sound yet"


class Audience(BackendAudience, DiskAudience, TextAudience, Protocol):
    """Who is told what becomes of an utterance. Called on the loop."""

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool) -> None:
        """No text now; the audio is kept. `without_network`: no backend could even be reached."""

    def parked(self, part: PartId, reason: str) -> None:
        """No backend takes it; its audio is kept, and nothing is done about it until `Delivery.retry`."""

    def backlog_changed(self) -> None: ...


class _Live(Struct, eq=False):
    """One that is being spoken, or was a moment ago."""

    utterance: Utterance
    attempts: int = 0
    reason: str = ""
    errors: list[BackendError] = []
    """Of the last round; one a backend that was asked."""
    task: asyncio.Task[None] | None = None


class Delivery:
    """`late` in what follows: the person has been told, in this life or an earlier one, that the text comes later."""

    def __init__(
        self,
        backends: BackendChain,
        spool: Spool,
        audience: Audience,
        *,
        keep_audio: bool = False,
        retry_s: Callable[[int], float] = retry_s,
        pace_s: float = PACE_S,
        rewrite_s: float = REWRITE_S,
        probe: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`retry_s`: how long to wait after so many failures in a row. `pace_s`: from one late attempt to the next.
        `rewrite_s`: how long at most to leave a disk alone that took nothing. `probe`: as for `Outbox`."""
        self._backends = CurrentBackends(backends, audience)
        self._keep_audio = keep_audio
        self._audience = audience
        self._retry_s = retry_s
        self._pace_s = pace_s
        self._keeper = SpoolWriter(spool, audience, rewrite_s=rewrite_s)
        self._live: dict[PartId, _Live] = {}
        self._backlog = Backlog()
        self._outbox = Outbox(
            self._backlog,
            self._keeper,
            audience,
            blocked=lambda part: self._live_before(part) is not None,
            forget=self._forget,
            keep_audio=keep_audio,
            rewrite_s=rewrite_s,
            probe=probe,
        )
        self._tasks: list[asyncio.Task[None]] = []
        """The worker on the backlog, and the one that publishes what is held."""
        self._asking: tuple[Pending, asyncio.Task[Recognised | None]] | None = None
        """The late attempt whose text is awaited."""
        self._stir = asyncio.Event()
        """An utterance came to the backlog, or nobody is speaking any more."""

    @property
    def backend(self) -> str | None:
        """The one that answered last."""
        return self._backends.last

    @property
    def spooled(self) -> int:
        """How many utterances wait for their text in the backlog."""
        return len(self._backlog)

    @property
    def memory_full(self) -> bool:
        """The disk takes nothing, and no more must be recorded until it does."""
        return self._outbox.memory_full

    async def recorded(self, utterance_id: str) -> bool:
        """Whether all of an utterance that is complete is on the disk, once that is known."""
        return await self._keeper.recorded(utterance_id)

    def start(self, backlog: Iterable[PartId]) -> None:
        """Take up what the spool holds."""
        self.add(backlog)
        self._backends.start()
        self._tasks = [
            asyncio.create_task(self._work_off(), name="backlog"),
            asyncio.create_task(self._publish_held(), name="publish"),
        ]

    def add(self, parts: Iterable[PartId]) -> None:
        """Take up what the spool holds that was opened only now. What is known already is not taken up twice."""
        for part in parts:
            if part not in self._live and part not in self._backlog and part not in self._keeper:
                self._backlog.add(part)
        self._backlog_changed()

    def discard(self, part: PartId) -> None:
        """Its text is out since an earlier life: take it off the disk."""
        self._keeper.remove(part, keep_audio=self._keep_audio)

    def use(self, backends: BackendChain) -> None:
        """Other backends, from the next attempt on. They may take what the others did not; so may the disk now."""
        self._backends.replace(backends)
        self._backlog.forgive()
        self._stir_all()

    async def close(self) -> None:
        """End all attempts; what is not delivered stays in the spool. Recordings must have ended."""
        tasks = [*(live.task for live in self._live.values() if live.task), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._keeper.close()
        await self._backends.close()

    def begin(self, utterance: Utterance) -> None:
        """Keep an utterance that has just begun, and send it while it grows. Sets `utterance.durable`."""
        self._keeper.keep(utterance)
        live = self._live[utterance.part_id] = _Live(utterance)
        live.task = asyncio.create_task(self._deliver_live(live), name=f"deliver {utterance.part_id}")
        if self._asking:
            entry, asking = self._asking
            if entry.interruptions < MAX_INTERRUPTIONS and asking.cancel():
                entry.interruptions += 1

    def drop(self, part: PartId) -> None:
        """Its owner wants no text of it, and no audio. Harmless if it is unknown.

        A text that is just being published cannot be called back; if the disk does not take it, it goes too.
        """
        if self._outbox.call_back(part):
            return
        if part in self._keeper.undeleted:
            self._keeper.remove(part, give_up=True)
            return
        live = self._live.pop(part, None)
        if live is None and part not in self._backlog:
            return
        if live is not None and live.task is not None:
            live.task.cancel()
        if self._asking and self._asking[0].part == part:
            self._asking[1].cancel()
        self._forget(part)
        self._keeper.remove(part, give_up=True)

    def retry(self, parts: Iterable[PartId] | None = None) -> None:
        """The owner wants these, or all, tried now, also those that are parked.

        A rest that a service asked for still counts.
        """
        self._backlog.forgive(parts)
        self._backends.end_rests()
        self._stir_all()

    def waiting(self) -> list[Waiting]:
        """All that have no published text yet, and those that the disk does not delete; oldest first."""
        found = [self._waiting(entry) for entry in self._backlog]
        for part, live in self._live.items():
            reason = live.reason or ("the text is awaited" if live.utterance.complete else "it is being spoken")
            in_memory, duration_s = self._keeper.in_memory(part), live.utterance.duration_s
            found.append(Waiting(part, reason, live.attempts, False, in_memory, True, True, duration_s))
        for part, removal in self._keeper.undeleted.items():
            reason = DROPPED if removal.cancelled else DELIVERED
            found.append(Waiting(part, reason, 0, False, False, False, deleting=True))
        return sorted(found, key=lambda one: one.part)

    def _waiting(self, entry: Pending) -> Waiting:
        part = entry.part
        sending = part in self._outbox or (self._asking is not None and self._asking[0] is entry)
        reason = entry.reason
        if (earlier := self._backlog.waits_for(part)) is not None:
            reason = f"waits for the text of part {earlier.part}"
        in_memory, duration_s = self._keeper.in_memory(part), self._keeper.duration_s(part)
        return Waiting(part, reason, entry.attempts, entry.parked, in_memory, sending, False, duration_s)

    # Live.

    async def _deliver_live(self, live: _Live) -> None:
        utterance = live.utterance
        part = utterance.part_id
        recognised = None
        try:
            recognised = await self._recognise(live)
            while earlier := self._live_before(part):
                assert earlier.task is not None
                await asyncio.wait({earlier.task})
            if (waited_for := self._backlog.waits_for(part)) is not None:
                self._defer(live, f"the text waits for that of part {waited_for.part}", recognised)
            else:
                await self._outbox.publish(recognised, late=False)
        except BackendError as error:
            self._defer(live, str(error))
        except SpoolError as error:
            self._defer(live, str(error), recognised)
        except Exception as error:  # a mistake in one dictation must not end the delivery of all
            log.exception("%s: the delivery failed", part, extra=fields(part=part))
            await utterance.wait_complete()
            self._defer(live, str(FlowpiError(f"internal error ({type(error).__name__})", "see the journal")))
        finally:
            if self._live.get(part) is live:
                del self._live[part]
            self._stir.set()
            self._outbox.look_again()

    async def _recognise(self, live: _Live) -> Recognised:
        """Raises BackendError once an attempt failed that began after the end of the audio."""
        utterance = live.utterance
        while True:
            was_complete = utterance.complete
            live.errors = []
            try:
                live.attempts += 1
                return await self._backends.ask(utterance, live.errors.append)
            except BackendError as error:
                live.reason = str(error)
                if was_complete:
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_s(live.attempts)):
                    await utterance.wait_complete()

    def _live_before(self, part: PartId) -> _Live | None:
        """The nearest earlier part of the same utterance of which it is open what becomes of it."""
        earlier = [one for one in self._live if one.utterance == part.utterance and one.part < part.part]
        return self._live[max(earlier)] if earlier else None

    def _defer(self, live: _Live, reason: str, recognised: Recognised | None = None) -> None:
        part = live.utterance.part_id
        log.warning("%s is kept for later: %s", part, reason, extra=fields(MessageId.KEPT, part=part))
        entry = self._backlog.add(part)
        entry.attempts, entry.reason = live.attempts, reason
        if recognised is not None:
            self._outbox.hold(recognised)
        else:
            self._backlog.failed(entry, live.errors, len(self._backends), self._backends.texts)
        unreached = recognised is None and without_network(live.errors)
        self._audience.deferred(live.utterance, reason, without_network=unreached)
        self._backlog_changed()

    # Late.

    async def _work_off(self) -> None:
        """The backlog, while nobody is speaking."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._stir.clear()
            # While the disk takes no text, more of them would only fill the memory.
            entry = None if self._live or self._outbox.stuck else self._backlog.next_to_ask()
            if entry is None:
                await self._stir.wait()
                continue
            self._backends.answered.clear()
            began = loop.time()
            done = await self._deliver_late(entry)
            if done:
                failures = 0
                await asyncio.sleep(max(0.0, began + self._pace_s - loop.time()))
            elif done is False:
                failures += 1
                pause_s = self._retry_s(failures)
                log.debug("the backlog of %d waits %.1f s", len(self._backlog), pause_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._backends.answered.wait()

    async def _deliver_late(self, entry: Pending) -> bool | None:
        """True if its text is there, or the utterance gone. None if somebody spoke, or dropped it."""
        part = entry.part
        errors: list[BackendError] = []
        entry.attempts += 1
        asking = asyncio.create_task(self._ask_late(part, errors), name=f"late {part}")
        self._asking = entry, asking
        try:
            recognised = await asking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.debug("%s gives way", part, extra=fields(part=part))
            return None
        except BackendError as error:
            log.debug("%s stays in the backlog: %s", part, error, extra=fields(part=part))
            entry.reason = str(error)
            self._tell_if(self._backlog.failed(entry, errors, len(self._backends), self._backends.texts), entry)
            return False
        except SpoolError as error:
            log.debug("%s stays in the backlog: %s", part, error, extra=fields(part=part))
            entry.reason = str(error)
            entry.refusals += 1
            return False
        except Exception as error:
            self._made_a_mistake(entry, error)
            return False
        finally:
            self._asking = None
        if part not in self._backlog:
            return None
        if recognised is None:
            self._forget(part)
            return True
        entry.interruptions = 0
        return await self._publish_late(entry, recognised)

    async def _ask_late(self, part: PartId, errors: list[BackendError]) -> Recognised | None:
        utterance = await self._keeper.load(part)
        return None if utterance is None else await self._backends.ask(utterance, errors.append)

    async def _publish_held(self) -> None:
        while True:
            entry, recognised = await self._outbox.next()
            await self._publish_late(entry, recognised)

    async def _publish_late(self, entry: Pending, recognised: Recognised) -> bool:
        """False if it came to nothing, by a mistake of ours or for want of memory. What the disk refused is held."""
        try:
            await self._outbox.publish(recognised, late=True)
        except SpoolError as error:
            entry.reason = str(error)
            # A text that could not be held is to be asked for again, but not at once.
            return self._outbox.hold(recognised)
        except Exception as error:
            self._backlog.held.pop(entry.part, None)
            self._made_a_mistake(entry, error)
            return False
        return True

    def _made_a_mistake(self, entry: Pending, error: Exception) -> None:
        """It must not end the delivery of all."""
        log.error("%s stays in the backlog", entry.part, exc_info=error, extra=fields(part=entry.part))
        entry.reason = f"internal error ({type(error).__name__}): see the journal"
        entry.refusals += 1
        self._tell_if(self._backlog.strike(entry), entry)

    def _tell_if(self, parked: bool, entry: Pending) -> None:
        if parked and entry.part in self._backlog:
            what = "%s is parked, no backend takes it: %s"
            log.warning(what, entry.part, entry.reason, extra=fields(part=entry.part))
            self._audience.parked(entry.part, entry.reason)
            self._outbox.look_again()  # later parts need not wait for it

    # Both.

    def _forget(self, part: PartId) -> None:
        if self._backlog.remove(part):
            self._backlog_changed()
        self._outbox.look_again()

    def _backlog_changed(self) -> None:
        self._audience.backlog_changed()
        self._stir.set()
        self._outbox.look_again()

    def _stir_all(self) -> None:
        self._backends.answered.set()
        self._outbox.try_now()
        self._keeper.try_now()
        self._stir.set()
