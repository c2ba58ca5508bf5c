"""What becomes of utterances, told to everybody: texts and failures as messages, in counters, and as faults.

Knows each utterance from its press until it is delivered, deferred or dropped, part by part. What a delivery has to say
(`flowpi.delivery.delivery.Audience`) comes in here; messages go to the hub, and events to the appliance. All on the
event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from msgspec.structs import replace

from flowpi.audio.capture import Capture
from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Timings
from flowpi.core import topics
from flowpi.core.appliance import State
from flowpi.core.errors import SpoolError
from flowpi.core.events import (
    DeliveryDeferred,
    DeliveryGivenUp,
    Event,
    FaultCleared,
    FaultRaised,
    TextDelivered,
)
from flowpi.core.faults import BACKEND, NETWORK, QUARANTINE, REFUSED, SPOOL, TRANSCRIPTS
from flowpi.host.logfields import MessageId, fields
from flowpi.publish import messages
from flowpi.publish.files import TextLog
from flowpi.publish.hub import Hub
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)

NOT_YET = "no backend gave the text yet: what was said is kept, and its text comes later"
SILENT = "the microphone gave nothing but digital silence"


class Outcomes:
    """`capture`: whose losses count; set it before anything else."""

    capture: Capture

    def __init__(
        self,
        hub: Hub,
        transcripts: TextLog,
        *,
        state: Callable[[], State],
        handle: Callable[[Event], object],
        refresh: Callable[[], None],
    ) -> None:
        """`state`: of the appliance now. `handle`: takes an event for it. `refresh`: show how much waits for a text."""
        self._hub = hub
        self._transcripts = transcripts
        self._state = state
        self._handle = handle
        self._refresh = refresh
        self._loop = asyncio.get_running_loop()
        self._open: dict[PartId, Utterance] = {}
        """Those of this life that are not delivered, deferred or dropped."""
        self._said: set[PartId] = set()
        """Whose text is out, but not safe yet: it is not said twice in one life."""
        self._told_late: set[str] = set()
        """Utterances of which it was said that their text comes later, while it is awaited."""
        self._stats = messages.Stats(messages.rfc3339(time.time()))

    # The utterances.

    def begun(self, utterance: Utterance) -> None:
        self._open[utterance.part_id] = utterance
        self._stats.dictations += utterance.about.part == 1

    def parts(self, utterance_id: str) -> list[Utterance]:
        """Those parts of an utterance that are open, in order. The last one may be growing."""
        return [self._open[part] for part in sorted(self._open) if part.utterance == utterance_id]

    def growing(self) -> list[Utterance]:
        """What is being recorded."""
        return [utterance for utterance in self._open.values() if not utterance.complete]

    def droppable(self, utterance_id: str) -> list[Utterance]:
        """What its owner may still cancel: a text that is out cannot be called back, and its audio goes its way."""
        return [utterance for utterance in self.parts(utterance_id) if utterance.part_id not in self._said]

    def cancelled(self, utterance: Utterance) -> None:
        log.info("%s: cancelled", utterance.part_id, extra=fields(part=utterance.part_id))
        self._stats.cancelled += utterance.about.part == 1
        self._forget(utterance)

    def dropped(self, part: PartId) -> None:
        """As cancelled, but later, and by name."""
        log.info("%s: dropped by its owner", part, extra=fields(part=part))
        self._stats.dropped += 1
        self._said.discard(part)
        if (utterance := self._open.get(part)) is not None and self._forget(utterance):
            self._handle(DeliveryGivenUp(part.utterance))

    def tell_late(self, utterance_id: str) -> None:
        """Its text is still awaited, but nobody should wait for it."""
        if self.parts(utterance_id):
            self._told_late.add(utterance_id)
            self._no_text(BACKEND, NOT_YET)

    def _forget(self, utterance: Utterance) -> bool:
        """True if nothing of it is open any more."""
        self._open.pop(utterance.part_id, None)
        if self.parts(utterance.id):
            return False
        self._told_late.discard(utterance.id)
        return True

    # What the delivery says.

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None:
        if self._hub.wants(topics.PARTIAL):
            about = utterance.about
            self._hub.publish(topics.PARTIAL, messages.Partial(about.id, about.part, text.text, text.language, backend))

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        about, part, ended_at = utterance.about, utterance.part_id, utterance.completed_at
        if utterance.silent:  # whatever a recogniser dreams up, nobody said it
            self.failed(part, SILENT)
            return
        final = messages.Final(
            about.id,
            about.part,
            text.text,
            text.language,
            backend,
            messages.rfc3339(about.started_at),
            round(utterance.duration_s, 3),
            None if ended_at is None else round(self._loop.time() - ended_at, 3),
            late or about.id in self._told_late,
            text.confirmed,
            utterance.partial,
            utterance.lost_frames // 16,
        )
        if part not in self._said:  # else it is only the disk that did not take it
            self._hub.publish(topics.FINAL, final)  # first of all: somebody waits for it
            self._said.add(part)
            if not final.late:
                self._time(utterance, timings, self._loop.time())
            log.info(
                "%s: %.1f s, %d characters from %r%s%s%s",
                part, utterance.duration_s, len(text.text), backend, ", late" if final.late else "",
                ", cut short" if utterance.partial else "", "" if text.confirmed else ", not confirmed",
                extra=fields(MessageId.LATE if final.late else MessageId.DELIVERED, part=part, backend=backend),
            )  # fmt: skip
        try:
            await self._transcripts.append(final, time.time())
        except SpoolError as error:
            self._handle(FaultRaised(TRANSCRIPTS, str(error)))
            raise
        self._said.discard(part)
        self.clear(TRANSCRIPTS)

    def delivered(self, utterance: Utterance) -> None:
        self._stats.delivered += not utterance.silent
        self.clear(BACKEND)
        self.clear(NETWORK)
        if self._forget(utterance):
            self._handle((DeliveryGivenUp if utterance.silent else TextDelivered)(utterance.id))
        self.publish_stats()

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool = False) -> None:
        self._stats.deferred += 1
        if not self._state().has_fault(TRANSCRIPTS):  # else the text is there, and the disk does not take it
            self._no_text(NETWORK if without_network else BACKEND, reason)
        if self._forget(utterance):
            self._handle(DeliveryDeferred(utterance.id))
        self._hub.publish(topics.FAILED, messages.Failed(utterance.id, utterance.about.part, reason, retry=True))

    def _no_text(self, code: str, reason: str) -> None:
        """`code`: `NETWORK` or `BACKEND`; one takes the place of the other."""
        self._handle(FaultRaised(code, reason))
        self.clear(BACKEND if code == NETWORK else NETWORK)

    def failed(self, part: PartId, reason: str) -> None:
        """No text comes of it unless its owner does something."""
        log.warning("%s: no text: %s", part, reason, extra=fields(MessageId.FAILED, part=part))
        self._stats.failed += 1
        self._hub.publish(topics.FAILED, messages.Failed(part.utterance, part.part, reason, retry=False))

    def backlog_changed(self) -> None:
        self._refresh()

    def parked(self, part: PartId, reason: str) -> None:
        self.failed(part, reason)

    def refusals_changed(self, refusals: list[str]) -> None:
        message = "; ".join(refusals)
        if not message:
            self.clear(REFUSED)
        elif all(fault.message != message for fault in self._state().faults if fault.code == REFUSED):
            self._handle(FaultRaised(REFUSED, message))

    def spool_failed(self, error: SpoolError) -> None:
        self._handle(FaultRaised(SPOOL, str(error)))

    def spool_works(self) -> None:
        self.clear(SPOOL)

    def texts_work(self) -> None:
        self.clear(TRANSCRIPTS)

    def lost(self, part: PartId, reason: str) -> None:
        self.failed(part, reason)

    def quarantined(self, part: PartId | None, reason: str, count: int) -> None:
        """`part`: the one that was put aside now. `count`: how many files lie there."""
        if part is not None:
            self.failed(part, f"its file cannot be read ({reason})")
        self._stats.quarantined = count
        if count:
            what = "a file of the spool" if count == 1 else f"{count} files of the spool"
            self._handle(FaultRaised(QUARANTINE, f"{what} cannot be read, or not to the end: see `flowpi spool list`"))
        else:
            self.clear(QUARANTINE)
        self.publish_stats()

    def clear(self, code: str) -> None:
        """A fault is over. Harmless if there is none."""
        if self._state().has_fault(code):
            self._handle(FaultCleared(code))

    # Counters and timings.

    def stats(self) -> messages.Stats:
        """A copy: what is published does not change any more."""
        return replace(self._stats, gaps=self.capture.gaps, lost_ms=self.capture.lost_frames // 16)

    def publish_stats(self) -> None:
        self._hub.publish(topics.STATS, self.stats())

    def _time(self, utterance: Utterance, timings: Timings, published_at: float) -> None:
        def ms(start: float | None, stop: float | None) -> float | None:
            return None if start is None or stop is None else round((stop - start) * 1000, 1)

        stats = self._stats
        if utterance.pressed_at is not None:
            stats.press_to_first_packet_ms = ms(utterance.pressed_at, timings.first_packet_at)
            stats.release_to_commit_ms = ms(utterance.released_at, timings.committed_at)
            stats.release_to_final_ms = ms(utterance.released_at, timings.final_at)
            stats.final_to_published_ms = ms(timings.final_at, published_at)
