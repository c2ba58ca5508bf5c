"""Announces what becomes of each utterance: texts and failures as messages, counters, faults, and lines of the log.

The announcer is the audience of the delivery (`flowpi.delivery.delivery.Audience`). Messages go to the hub, events and
faults to the inbox. Everything runs on the event loop.
"""

import asyncio
import logging
import time

from msgspec import UNSET

from flowpi.appliance.endings import Endings
from flowpi.appliance.inbox import Inbox
from flowpi.appliance.statistics import Statistics
from flowpi.appliance.utterances import Utterances
from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Timings
from flowpi.core import topics
from flowpi.core.agreement import agreed
from flowpi.core.errors import SpoolError
from flowpi.core.events import DeliveryDeferred, DeliveryGivenUp, TextDelivered
from flowpi.core.faults import BACKEND, NETWORK, QUARANTINE, REFUSED, SPOOL, TRANSCRIPTS
from flowpi.editing.editor import EditedText
from flowpi.host.logfields import MessageId, fields
from flowpi.publish import messages
from flowpi.publish.files import TextLog
from flowpi.publish.hub import Hub
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)

NOT_YET = "no backend gave the text yet: what was said is kept, and its text comes later"
SILENT = "the microphone gave nothing but digital silence"


class Announcer:
    """Call `begun` for each part, then what becomes of it; every part ends with one of these calls."""

    def __init__(
        self,
        inbox: Inbox,
        hub: Hub,
        transcripts: TextLog,
        utterances: Utterances,
        statistics: Statistics,
        endings: Endings,
    ) -> None:
        self._inbox = inbox
        self._hub = hub
        self._transcripts = transcripts
        self._utterances = utterances
        self._statistics = statistics
        self._loop = asyncio.get_running_loop()
        self._published: set[PartId] = set()
        """Parts whose text is published but not safe yet: in one run no text is published twice."""
        self._shown: dict[PartId, str] = {}
        """The latest partial text of each part that is being recognised."""
        self._told_late: set[str] = set()
        """Utterances whose text is awaited, and was announced to come later."""
        self._refusals = ""
        self._endings = endings

    # What the user does.

    def begun(self, utterance: Utterance) -> None:
        """A part begins to be recorded."""
        self._utterances.add(utterance)
        self._endings.begun(utterance.id)
        self._statistics.begun(utterance)

    def droppable(self, utterance_id: str) -> list[Utterance]:
        """Return the parts that can still be cancelled. A published text cannot be called back."""
        return [one for one in self._utterances.parts(utterance_id) if one.part_id not in self._published]

    def cancelled(self, utterance: Utterance) -> None:
        """The user cancelled a part of this run."""
        log.info("%s: cancelled", utterance.part_id, extra=fields(part=utterance.part_id))
        self._statistics.cancelled(utterance)
        self._end(utterance.part_id)

    def dropped(self, part: PartId) -> None:
        """The user dropped a part of this or an earlier run by its name."""
        log.info("%s: dropped on request", part, extra=fields(part=part))
        self._statistics.dropped()
        self._published.discard(part)
        if self._end(part):
            self._inbox.post(DeliveryGivenUp(part.utterance))

    def tell_late(self, utterance_id: str) -> None:
        """A text is still awaited, but nobody should wait for it."""
        if self._utterances.parts(utterance_id):
            self._told_late.add(utterance_id)
            self._endings.kept(utterance_id, NOT_YET)
            self._no_text(BACKEND, NOT_YET)

    # What the delivery reports.

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None:
        if self._hub.wants(topics.PARTIAL) and not utterance.choosing:  # for which sinks it is, is not known before
            about, part = utterance.about, utterance.part_id
            stable = agreed(self._shown.get(part, ""), text.text)
            self._shown[part] = text.text
            profile = about.profile or UNSET
            partial = messages.Partial(about.id, about.part, text.text, text.language, backend, stable, profile)
            self._hub.publish(topics.PARTIAL, partial)

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        about, part, ended_at = utterance.about, utterance.part_id, utterance.completed_at
        if utterance.silent:  # whatever text a recogniser invents for silence, nobody said it
            self.failed(part, SILENT)
            return
        edited = text if isinstance(text, EditedText) else None
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
            raw=edited.raw if edited else None,
            rewritten=edited.rewritten if edited else False,
            profile=about.profile,
        )
        if part not in self._published:  # a second call comes because the disk did not accept the text
            # The message goes out before the disk has the text: a person waits for it. A crash in between leaves the
            # audio in the spool, and the text is published once more, as late, by the next run.
            self._hub.publish(topics.FINAL, final)
            self._published.add(part)
            self._endings.text(about.id, about.part, text.text)
            if not final.late:
                self._statistics.timed(utterance, timings, self._loop.time())
            rewritten = ", rewritten" if final.rewritten else ""
            log.info(
                "%s: %.1f s, %d characters from %r%s%s%s%s",
                part, utterance.duration_s, len(text.text), backend, ", late" if final.late else "", rewritten,
                ", cut short" if utterance.partial else "", "" if text.confirmed else ", not confirmed",
                extra=fields(MessageId.LATE if final.late else MessageId.DELIVERED, part=part, backend=backend),
            )  # fmt: skip
        try:
            await self._transcripts.append(final, time.time())
        except SpoolError as error:
            self._inbox.raise_fault(TRANSCRIPTS, str(error))
            raise
        self._published.discard(part)
        self._inbox.clear_fault(TRANSCRIPTS)

    def delivered(self, utterance: Utterance) -> None:
        self._inbox.clear_fault(BACKEND)
        self._inbox.clear_fault(NETWORK)
        if self._end(utterance.part_id):
            self._inbox.post((DeliveryGivenUp if utterance.silent else TextDelivered)(utterance.id))
        self._statistics.delivered(utterance)

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool = False) -> None:
        self._statistics.deferred()
        # While the transcripts cannot be written there is a text, and only the disk does not accept it.
        if not self._inbox.has_fault(TRANSCRIPTS):
            self._no_text(NETWORK if without_network else BACKEND, reason)
        self._endings.kept(utterance.id, reason)
        if self._end(utterance.part_id):
            self._inbox.post(DeliveryDeferred(utterance.id))
        self._hub.publish(topics.FAILED, messages.Failed(utterance.id, utterance.about.part, reason, retry=True))

    def deferred_again(self, part: PartId, reason: str, *, without_network: bool) -> None:
        """Update the fault that stands, if any: the latest reason is the one that something can be done about."""
        self._shown.pop(part, None)
        if self._inbox.has_fault(BACKEND) or self._inbox.has_fault(NETWORK):
            self._no_text(NETWORK if without_network else BACKEND, reason)

    def failed(self, part: PartId, reason: str) -> None:
        """No text comes of a part unless the user does something."""
        self._shown.pop(part, None)
        log.warning("%s: no text: %s", part, reason, extra=fields(MessageId.FAILED, part=part))
        self._statistics.failed()
        self._endings.failed(part.utterance, reason)
        self._hub.publish(topics.FAILED, messages.Failed(part.utterance, part.part, reason, retry=False))

    def parked(self, part: PartId, reason: str) -> None:
        self.failed(part, reason)

    def lost(self, part: PartId, reason: str) -> None:
        self.failed(part, reason)

    def backlog_changed(self) -> None:
        self._inbox.refresh()

    def refusals_changed(self, refusals: list[str]) -> None:
        message = "; ".join(refusals)
        if message != self._refusals:
            self._refusals = message
            if message:
                self._inbox.raise_fault(REFUSED, message)
            else:
                self._inbox.clear_fault(REFUSED)

    def spool_failed(self, error: SpoolError) -> None:
        self._inbox.raise_fault(SPOOL, str(error))

    def spool_works(self) -> None:
        self._inbox.clear_fault(SPOOL)

    def texts_work(self) -> None:
        self._inbox.clear_fault(TRANSCRIPTS)

    def quarantined(self, part: PartId | None, reason: str, count: int) -> None:
        """Announce a part that was put into quarantine now, if any, and how many files lie there."""
        if part is not None:
            self.failed(part, f"its file cannot be read ({reason})")
        if count:
            what = "a file of the spool" if count == 1 else f"{count} files of the spool"
            self._inbox.raise_fault(QUARANTINE, f"{what} cannot be read, or not to the end: see `flowpi spool list`")
        else:
            self._inbox.clear_fault(QUARANTINE)
        self._statistics.quarantined(count)

    def _end(self, part: PartId) -> bool:
        """Forget an open part. Return whether it was the last one of its utterance."""
        self._shown.pop(part, None)
        last = self._utterances.remove(part)
        if last:
            self._told_late.discard(part.utterance)
            self._endings.ended(part.utterance)
        return last

    def _no_text(self, code: str, reason: str) -> None:
        """Raise `NETWORK` or `BACKEND`: one replaces the other."""
        self._inbox.raise_fault(code, reason)
        self._inbox.clear_fault(BACKEND if code == NETWORK else NETWORK)
