"""Turns utterances into published texts, with as many attempts as that needs.

An utterance that is being spoken has a task of its own from the press on. If no backend returns a text by the time it
is complete, it joins the backlog: one worker sends the oldest first, with growing waits while nothing answers, and at
once when something does. What an earlier run of the daemon left in the spool starts in the backlog.

Live dictation has priority: the worker starts nothing meanwhile, and cancels the attempt that is under way. A text that
cannot be published yet, because of the disk or because an earlier part of the same utterance has none, is held and
published by a task of its own; no backend is asked for it again.

An utterance leaves the spool only after its text is durable elsewhere, or when the user cancels or drops it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from msgspec import Struct

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.chain import BackendChain, make_backends, retry_s
from flowpi.backends.current import BackendAudience, CurrentBackends
from flowpi.backends.result import Recognised
from flowpi.config.schema import Config
from flowpi.core.errors import BackendError, FlowpiError, SpoolError
from flowpi.core.failover import without_network
from flowpi.delivery.backlog import Backlog, Pending, Waiting
from flowpi.delivery.outbox import Outbox, TextAudience
from flowpi.host.logfields import MessageId, fields
from flowpi.spool.spool import Spool
from flowpi.spool.writer import REWRITE_S, DiskAudience, SpoolWriter

log = logging.getLogger(__name__)

PACE_S = 0.1
"""The seconds from one utterance of the backlog to the next: two thousand at once would starve everything else on this
machine and on the backend."""

MAX_INTERRUPTIONS = 3
"""How often in a row live dictation may cancel the attempts of one utterance in the backlog. The next attempt may
finish, or somebody who dictates all day would never get its text."""


DROPPED = "dropped; the disk does not delete it yet"
DELIVERED = "its text is out; the disk does not delete its sound yet"


class Audience(BackendAudience, DiskAudience, TextAudience, Protocol):
    """Who is told what happens to utterances. Called on the loop."""

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool) -> None:
        """There is no text yet; the audio is kept. `without_network`: no backend could even be reached."""

    def parked(self, part: PartId, reason: str) -> None:
        """No backend accepts a part; its audio is kept, and nothing is done about it until `Delivery.retry`."""

    def backlog_changed(self) -> None:
        """The backlog has more or fewer entries than before."""


class _Live(Struct, eq=False):
    """An utterance that is being spoken, or was a moment ago."""

    utterance: Utterance
    attempts: int = 0
    reason: str = ""
    errors: list[BackendError] = []
    """The errors of the last attempt, one for each backend that was asked."""
    task: asyncio.Task[None] | None = None


class Delivery:
    """The attempts of all utterances. Call `start` once, then `begin` for each utterance, and `close` at the end.

    A text is `late` if the user was told, in this run or an earlier one, that it comes later.
    """

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
        """
        Args:
            keep_audio: as for `Spool.remove`.
            retry_s: returns the wait after a number of failures in a row, in seconds.
            pace_s: the seconds from one late attempt to the next.
            rewrite_s: the longest wait before a disk that failed is tried again, in seconds.
            probe: as for `Outbox`.
        """
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
        """The worker on the backlog, and the one that publishes held texts."""
        self._asking: tuple[Pending, asyncio.Task[Recognised | None]] | None = None
        """The late attempt that is under way."""
        self._stir = asyncio.Event()
        """Set when the worker should look again: an utterance joined the backlog, or nobody is speaking any more."""

    @property
    def backend(self) -> str | None:
        """The name of the backend that answered last, None before the first answer."""
        return self._backends.last

    @property
    def spooled(self) -> int:
        """The number of utterances in the backlog."""
        return len(self._backlog)

    @property
    def memory_full(self) -> bool:
        """Whether the disk refuses everything and the memory is full, so that nothing more may be recorded."""
        return self._outbox.memory_full

    async def recorded(self, utterance_id: str) -> bool:
        """Wait for pending writes, then return whether all complete parts of an utterance are on the disk."""
        return await self._keeper.recorded(utterance_id)

    def start(self, backlog: Iterable[PartId]) -> None:
        """Start the workers, with the parts that the spool holds as the backlog. Called once."""
        self.add(backlog)
        self._backends.start()
        self._tasks = [
            asyncio.create_task(self._work_off(), name="backlog"),
            asyncio.create_task(self._publish_held(), name="publish"),
        ]

    def add(self, parts: Iterable[PartId]) -> None:
        """Add the parts of a spool that could be opened only now. Those that are known already are left alone."""
        for part in parts:
            if part not in self._live and part not in self._backlog and part not in self._keeper:
                self._backlog.add(part)
        self._backlog_changed()

    def discard(self, part: PartId) -> None:
        """Delete a part whose text an earlier run of the daemon published, but whose audio it could not delete."""
        self._keeper.remove(part, keep_audio=self._keep_audio)

    def use(self, backends: BackendChain) -> None:
        """Switch to new backends from the next attempt on, and retry everything: they, or the disk, may accept it."""
        self._backends.replace(backends)
        self._backlog.forgive()
        self._stir_all()

    async def apply(self, config: Config) -> None:
        """Use the backends of a new configuration, even if they are the same: a key may be another one."""
        self.use(make_backends(config))

    async def close(self) -> None:
        """End all attempts; what is not delivered stays in the spool. Recordings must have ended before."""
        # The attempts first, as the end of one may still begin a removal. Then the writer, which finishes what it has
        # begun. The backends last: nothing uses them any more.
        tasks = [*(live.task for live in self._live.values() if live.task), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._keeper.close()
        await self._backends.close()

    def begin(self, utterance: Utterance) -> None:
        """Write an utterance that has just begun to the spool, and send it while it grows. Sets `utterance.durable`."""
        self._keeper.keep(utterance)
        live = self._live[utterance.part_id] = _Live(utterance)
        live.task = asyncio.create_task(self._deliver_live(live), name=f"deliver {utterance.part_id}")
        if self._asking:
            entry, asking = self._asking
            # Cancelling an attempt that has just ended returns False: its text is published, and it counts as no
            # interruption.
            if entry.interruptions < MAX_INTERRUPTIONS and asking.cancel():
                entry.interruptions += 1

    def drop(self, part: PartId) -> None:
        """Delete a part that the user dropped, without a text. Harmless if it is unknown.

        A text that is being published cannot be called back; if the disk refuses it, it is dropped too.
        """
        # Publishing wins: the text may be in the transcripts already, and removing the audio is the outbox's part.
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
        # Out of the backlog before it leaves the disk: an attempt that has just ended finds no entry, and does not
        # publish.
        self._forget(part)
        self._keeper.remove(part, give_up=True)

    def retry(self, parts: Iterable[PartId] | None = None) -> None:
        """Try these parts now, or all, also those that are parked. A pause that a service asked for is still kept."""
        self._backlog.forgive(parts)
        self._backends.end_rests()
        self._stir_all()

    def waiting(self) -> list[Waiting]:
        """Return all parts without a published text, and those that the disk has not deleted; oldest first."""
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
        """Return an entry of the backlog as it is listed for the user."""
        part = entry.part
        sending = part in self._outbox or (self._asking is not None and self._asking[0] is entry)
        reason = entry.reason
        if (earlier := self._backlog.waits_for(part)) is not None:
            reason = f"waits for the text of part {earlier.part}"
        in_memory, duration_s = self._keeper.in_memory(part), self._keeper.duration_s(part)
        return Waiting(part, reason, entry.attempts, entry.parked, in_memory, sending, False, duration_s)

    # Live.

    async def _deliver_live(self, live: _Live) -> None:
        """Send an utterance while it is spoken, and publish its text, or move it to the backlog."""
        utterance = live.utterance
        part = utterance.part_id
        recognised = None
        try:
            recognised = await self._recognise(live)
            # Sent at the same time, published in order: the parts before it first.
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
        except Exception as error:  # a bug met by one dictation must not end the delivery of all
            log.exception("%s: the delivery failed", part, extra=fields(part=part))
            await utterance.wait_complete()
            self._defer(live, str(FlowpiError(f"internal error ({type(error).__name__})", "see the journal")))
        finally:
            # After `_defer` has added it to the backlog: a later part must find it in one of the two, or it would be
            # published before it.
            if self._live.get(part) is live:
                del self._live[part]
            self._stir.set()
            self._outbox.look_again()

    async def _recognise(self, live: _Live) -> Recognised:
        """Ask the backends until one returns a text.

        Raises:
            BackendError: an attempt failed that began after the end of the audio. One that began earlier does not
                count: the backends are asked again when the utterance is complete, or sooner.
        """
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
        """Return the closest earlier part of this utterance that is still being delivered live, or None."""
        earlier = [one for one in self._live if one.utterance == part.utterance and one.part < part.part]
        return self._live[max(earlier)] if earlier else None

    def _defer(self, live: _Live, reason: str, recognised: Recognised | None = None) -> None:
        """Move an utterance to the backlog, with its text if it has one."""
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
        """Deliver the backlog one by one while nobody is speaking. Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._stir.clear()  # before the look: what is set during it leads to another look
            # While the disk writes no text, more of them would only fill the memory.
            entry = None if self._live or self._outbox.stuck else self._backlog.next_to_ask()
            if entry is None:
                await self._stir.wait()
                continue
            self._backends.answered.clear()  # before the attempt: an answer to somebody else meanwhile ends the pause
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
        """Make one attempt for an entry of the backlog.

        Returns:
            True if the entry is done with: published, held, or the utterance is gone. False if the attempt failed.
            None if it was cancelled, because somebody began to speak or dropped it: that is no failure of a backend.
        """
        part = entry.part
        errors: list[BackendError] = []
        entry.attempts += 1
        asking = asyncio.create_task(self._ask_late(part, errors), name=f"late {part}")
        self._asking = entry, asking
        try:
            recognised = await asking
        except asyncio.CancelledError:
            # Either `asking` was cancelled, and this worker goes on, or the worker itself, which has to end.
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
        if part not in self._backlog:  # dropped between the answer and now
            return None
        if recognised is None:  # there is no file any more, or only one that went to quarantine
            self._forget(part)
            return True
        entry.interruptions = 0
        return await self._publish_late(entry, recognised)

    async def _ask_late(self, part: PartId, errors: list[BackendError]) -> Recognised | None:
        """Load a part and ask the backends for its text; None if it cannot be loaded any more."""
        utterance = await self._keeper.load(part)
        return None if utterance is None else await self._backends.ask(utterance, errors.append)

    async def _publish_held(self) -> None:
        """Publish held texts as soon as they may go. Runs until it is cancelled."""
        while True:
            entry, recognised = await self._outbox.next()
            await self._publish_late(entry, recognised)

    async def _publish_late(self, entry: Pending, recognised: Recognised) -> bool:
        """Publish a late text, or hold it if the disk refuses it.

        Returns:
            False if the text is lost, by a bug or because the memory is full: a backend has to be asked again.
        """
        try:
            await self._outbox.publish(recognised, late=True)
        except SpoolError as error:
            entry.reason = str(error)
            # A text that could not be held is asked for again, but after a wait: False counts as a failure.
            return self._outbox.hold(recognised)
        except Exception as error:
            self._backlog.held.pop(entry.part, None)
            self._made_a_mistake(entry, error)
            return False
        return True

    def _made_a_mistake(self, entry: Pending, error: Exception) -> None:
        """Log a bug that one utterance met, and count it as a strike. It must not end the delivery of all."""
        log.error("%s stays in the backlog", entry.part, exc_info=error, extra=fields(part=entry.part))
        entry.reason = f"internal error ({type(error).__name__}): see the journal"
        entry.refusals += 1
        self._tell_if(self._backlog.strike(entry), entry)

    def _tell_if(self, parked: bool, entry: Pending) -> None:
        """Log and report that an entry is parked, if it is."""
        if parked and entry.part in self._backlog:
            what = "%s is parked, no backend takes it: %s"
            log.warning(what, entry.part, entry.reason, extra=fields(part=entry.part))
            self._audience.parked(entry.part, entry.reason)
            self._outbox.look_again()  # later parts need not wait for it

    # Both.

    def _forget(self, part: PartId) -> None:
        """Remove a part from the backlog, if it is there, and look at what waited for it."""
        if self._backlog.remove(part):
            self._backlog_changed()
        self._outbox.look_again()

    def _backlog_changed(self) -> None:
        """Report the change, and look again at what may be sent or published."""
        self._audience.backlog_changed()
        self._stir.set()
        self._outbox.look_again()

    def _stir_all(self) -> None:
        """End all waits: something was done about the backends, the disk or the utterances."""
        self._backends.answered.set()
        self._outbox.try_now()
        self._keeper.try_now()
        self._stir.set()
