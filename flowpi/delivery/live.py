"""Live delivery: an utterance is sent while it is spoken, and published, or moved to the backlog."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.current import CurrentBackends
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError, FlowpiError, SpoolError
from flowpi.core.failover import without_network
from flowpi.delivery.backlog import Backlog
from flowpi.delivery.edits import Editor, edited
from flowpi.delivery.outbox import Outbox
from flowpi.host.logfields import MessageId, fields

log = logging.getLogger(__name__)


class LiveAudience(Protocol):
    """Who is told what happens to live utterances. Called on the loop."""

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool) -> None:
        """There is no text yet; the audio is kept. `without_network`: no backend could even be reached."""

    def backlog_changed(self) -> None:
        """The backlog has more or fewer entries than before."""


class Live(Struct, eq=False):
    """An utterance that is being spoken, or was a moment ago."""

    utterance: Utterance
    attempts: int = 0
    reason: str = ""
    errors: list[BackendError] = []
    """The errors of the last attempt, one for each backend that was asked."""
    asking: asyncio.Task[Recognised] | None = None
    """The attempt that is under way, if it may have to begin anew."""
    asked_as: str | None = None
    """The profile that the utterance had when that attempt began."""
    task: asyncio.Task[None] | None = None


class LiveParts(dict[PartId, Live]):
    """The parts that are being delivered live."""

    def before(self, part: PartId) -> Live | None:
        """Return the closest earlier part of this utterance that is still being delivered live, or None."""
        earlier = [one for one in self if one.utterance == part.utterance and one.part < part.part]
        return self[max(earlier)] if earlier else None


class LiveDelivery:
    """One task for each live part."""

    def __init__(
        self,
        parts: LiveParts,
        backends: CurrentBackends,
        backlog: Backlog,
        outbox: Outbox,
        audience: LiveAudience,
        editor: Editor,
        *,
        retry_s: Callable[[int], float],
        look_again: Callable[[], None],
    ) -> None:
        """
        Args:
            parts: holds the parts; entries come and go here.
            look_again: called when something that others wait for may have changed.
        """
        self._parts = parts
        self._backends = backends
        self._backlog = backlog
        self._outbox = outbox
        self._audience = audience
        self._editor = editor
        self._retry_s = retry_s
        self._look_again = look_again

    def begin(self, utterance: Utterance) -> None:
        """Begin to send an utterance, whose audio is being recorded."""
        live = self._parts[utterance.part_id] = Live(utterance)
        live.task = asyncio.create_task(self._deliver(live), name=f"deliver {utterance.part_id}")

    def begin_again(self, part: PartId) -> None:
        """Ask anew for the text of a part whose profile may have changed. Harmless if it is not live."""
        live = self._parts.get(part)
        if live is not None and live.asking is not None and live.asked_as != live.utterance.about.profile:
            live.asking.cancel()

    def cancel(self, part: PartId) -> bool:
        """End the delivery of a part that the user dropped. Return False if it is not live."""
        live = self._parts.pop(part, None)
        if live is not None and live.task is not None:
            live.task.cancel()
        return live is not None

    async def close(self) -> None:
        """End the delivery of all live parts. Their audio stays in the spool."""
        tasks = [live.task for live in self._parts.values() if live.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, live: Live) -> None:
        """Send an utterance while it is spoken, and publish its text, or move it to the backlog."""
        utterance = live.utterance
        part = utterance.part_id
        recognised = None
        try:
            # Edited before anything is waited for. Other utterances have tasks of their own, and are not held up.
            recognised = await edited(self._editor, await self._recognise(live), late=False)
            # Sent at the same time, published in order: the parts before it first.
            while earlier := self._parts.before(part):
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
            if self._parts.get(part) is live:
                del self._parts[part]
            self._look_again()

    async def _recognise(self, live: Live) -> Recognised:
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
                return await self._ask(live)
            except BackendError as error:
                live.reason = str(error)
                if was_complete:
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry_s(live.attempts)):
                    await utterance.wait_complete()

    async def _ask(self, live: Live) -> Recognised:
        """Ask the backends of the profile that the utterance has; from the beginning if it gets another one meanwhile.

        Raises:
            BackendError: none of them gave a text.
        """
        while live.utterance.choosing:
            live.asked_as = live.utterance.about.profile
            live.asking = asyncio.create_task(self._backends.ask(live.utterance, live.errors.append))
            try:
                return await live.asking
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                live.errors.clear()  # cancelled by `begin_again`; the profile may be the same as before by now
            finally:
                live.asking = None
        return await self._backends.ask(live.utterance, live.errors.append)

    def _defer(self, live: Live, reason: str, recognised: Recognised | None = None) -> None:
        """Move an utterance to the backlog, with its text if it has one."""
        part = live.utterance.part_id
        log.warning("%s is kept for later: %s", part, reason, extra=fields(MessageId.KEPT, part=part))
        entry = self._backlog.add(part)
        entry.attempts, entry.reason, entry.profile = live.attempts, reason, live.utterance.about.profile
        if recognised is not None:
            self._outbox.hold(recognised)
        else:
            profile = entry.profile
            self._backlog.failed(entry, live.errors, len(self._backends.of(profile)), self._backends.texts(profile))
        unreached = recognised is None and without_network(live.errors)
        self._audience.deferred(live.utterance, reason, without_network=unreached)
        self._audience.backlog_changed()
        self._look_again()
