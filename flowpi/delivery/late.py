"""Late delivery: the backlog is worked off one by one while nobody is speaking, and held texts are published."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import UNSET

from flowpi.audio.utterance import PartId
from flowpi.backends.current import CurrentBackends
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError, SpoolError
from flowpi.core.failover import without_network
from flowpi.delivery.backlog import Backlog, Pending, nobody
from flowpi.delivery.edits import Editor, edited
from flowpi.delivery.live import LiveParts
from flowpi.delivery.outbox import Outbox
from flowpi.host.logfields import fields
from flowpi.spool.writer import SpoolWriter

log = logging.getLogger(__name__)

MAX_INTERRUPTIONS = 3
"""How often in a row live dictation may cancel the attempts of one utterance in the backlog. The next attempt may
finish, or somebody who dictates all day would never get its text."""


class LateAudience(Protocol):
    """Who is told what happens to utterances in the backlog. Called on the loop."""

    def deferred_again(self, part: PartId, reason: str, *, without_network: bool) -> None:
        """Another attempt for a part gave no text. `without_network`: no backend could even be reached."""

    def parked(self, part: PartId, reason: str) -> None:
        """No backend accepts a part; its audio is kept, and nothing is done about it until `Delivery.retry`."""


class LateDelivery:
    """Two tasks, from `start` to `close`: the worker on the backlog, and the one that publishes held texts."""

    def __init__(
        self,
        live: LiveParts,
        backends: CurrentBackends,
        backlog: Backlog,
        outbox: Outbox,
        writer: SpoolWriter,
        audience: LateAudience,
        editor: Editor,
        *,
        retry_s: Callable[[int], float],
        pace_s: float,
        forget: Callable[[PartId], None],
    ) -> None:
        """
        Args:
            forget: called with a part that is done with.
        """
        self._live = live
        self._backends = backends
        self._backlog = backlog
        self._outbox = outbox
        self._writer = writer
        self._audience = audience
        self._editor = editor
        self._retry_s = retry_s
        self._pace_s = pace_s
        self._forget = forget
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: tuple[Pending, asyncio.Task[Recognised | None]] | None = None
        """The attempt that is under way."""
        self._silent: set[tuple[str, ...] | None] = set()
        """The backends, as they are asked for one profile or another, that gave no text since the last pause."""
        self._stir = asyncio.Event()
        """Set when the worker should look again: an utterance joined the backlog, or nobody is speaking any more."""

    def start(self) -> None:
        """Start both tasks. Called once."""
        self._tasks = [
            asyncio.create_task(self._work_off(), name="backlog"),
            asyncio.create_task(self._publish_held(), name="publish"),
        ]

    async def close(self) -> None:
        """End both tasks. What they did not deliver stays in the spool."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look_again(self) -> None:
        """Make the worker look whether it has something to do."""
        self._stir.set()

    def give_way(self) -> None:
        """Cancel the attempt that is under way: somebody begins to speak."""
        if self._asking:
            entry, asking = self._asking
            # Cancelling an attempt that has just ended returns False: its text is published, and it counts as no
            # interruption.
            if entry.interruptions < MAX_INTERRUPTIONS and asking.cancel():
                entry.interruptions += 1

    def is_asking(self, part: PartId) -> bool:
        """Return whether the backends are being asked for a part of the backlog."""
        return self._asking is not None and self._asking[0].part == part

    def cancel(self, part: PartId) -> None:
        """Cancel the attempt for a part that the user dropped, if it is under way."""
        if self._asking is not None and self._asking[0].part == part:
            self._asking[1].cancel()

    async def _work_off(self) -> None:
        """Deliver the backlog one by one while nobody is speaking. Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._stir.clear()  # before the look: what is set during it leads to another look
            entry = await self._next()
            if entry is None and self._silent:  # nothing is left for backends that may answer
                failures += 1
                pause_s = self._retry_s(failures)
                log.debug("the backlog of %d waits %.1f s", len(self._backlog), pause_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._backends.wait_for_answer()
                self._silent.clear()
                continue
            if entry is None:
                await self._stir.wait()
                continue
            self._backends.forget_answers()  # before the attempt: an answer to somebody else meanwhile ends the pause
            began = loop.time()
            done = await self._deliver_late(entry)
            if done:
                failures = 0
                await asyncio.sleep(max(0.0, began + self._pace_s - loop.time()))
            elif done is False:
                self._silent.add(self._backends_of(entry))

    async def _next(self) -> Pending | None:
        """Return the entry to send next, or None if there is none for now."""
        # While the disk writes no text, more of them would only fill the memory.
        while not self._live and not self._outbox.stuck:
            entry = self._backlog.next_to_ask(self._is_silent if self._silent else nobody)
            if entry is None or entry.profile is not UNSET or not (self._silent and self._backends.differ):
                return entry
            # Its backends may be others than those that are silent: only the disk knows its profile.
            with contextlib.suppress(SpoolError):  # the attempt meets it too
                utterance = await self._writer.load(entry.part)
                entry.profile = None if utterance is None else utterance.about.profile
                continue
            return entry
        return None

    def _is_silent(self, entry: Pending) -> bool:
        return self._backends_of(entry) in self._silent

    def _backends_of(self, entry: Pending) -> tuple[str, ...] | None:
        """Return the names of the backends that are asked for an entry; None if they are not known yet."""
        if entry.profile is UNSET and self._backends.differ:
            return None
        return self._backends.of(entry.profile or None)

    async def _deliver_late(self, entry: Pending) -> bool | None:
        """Make one attempt for an entry of the backlog.

        Returns:
            True if the entry is done with: published, held, or the utterance is gone. False if the attempt failed.
            None if it was cancelled, because somebody began to speak or dropped it: that is no failure of a backend.
        """
        part = entry.part
        errors: list[BackendError] = []
        entry.attempts += 1
        asking = asyncio.create_task(self._ask_late(entry, errors), name=f"late {part}")
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
            if errors:  # else all backends rest, and nothing new is known
                self._audience.deferred_again(part, entry.reason, without_network=without_network(errors))
            profile = entry.profile or None
            asked, texts = len(self._backends.of(profile)), self._backends.texts(profile)
            self._tell_if(self._backlog.failed(entry, errors, asked, texts), entry)
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
        # Behind the attempt, which gives way to somebody who begins to speak: this ends soon and needs no backend.
        recognised = await edited(self._editor, recognised, late=True)
        if part not in self._backlog:  # dropped meanwhile
            return None
        return await self._publish_late(entry, recognised)

    async def _ask_late(self, entry: Pending, errors: list[BackendError]) -> Recognised | None:
        """Load a part and ask the backends for its text; None if it cannot be loaded any more."""
        utterance = await self._writer.load(entry.part)
        if utterance is None:
            return None
        entry.profile = utterance.about.profile
        return await self._backends.ask(utterance, errors.append)

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
            self._backlog.let_go(entry.part)
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
