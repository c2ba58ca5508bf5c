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
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.chain import BackendChain, make_backends, retry_s
from flowpi.backends.current import BackendAudience, CurrentBackends
from flowpi.config.schema import Config
from flowpi.delivery.backlog import Backlog, Pending, Waiting
from flowpi.delivery.edits import Editor, NoEditor
from flowpi.delivery.late import LateAudience, LateDelivery
from flowpi.delivery.live import LiveAudience, LiveDelivery, LiveParts
from flowpi.delivery.outbox import Outbox, TextAudience
from flowpi.spool.writer import REWRITE_S, DiskAudience, SpoolWriter, Store

log = logging.getLogger(__name__)

PACE_S = 0.1
"""The seconds from one utterance of the backlog to the next: two thousand at once would starve everything else on this
machine and on the backend."""

UNEDITED = NoEditor()

DROPPED = "dropped; the disk does not delete it yet"
DELIVERED = "its text is out; the disk does not delete its sound yet"


class Audience(BackendAudience, DiskAudience, TextAudience, LiveAudience, LateAudience, Protocol):
    """Who is told what happens to utterances. Called on the loop."""


class Delivery:
    """The attempts of all utterances. Call `start` once, then `begin` for each utterance, and `close` at the end.

    A text is `late` if the user was told, in this run or an earlier one, that it comes later.
    """

    def __init__(
        self,
        backends: BackendChain,
        spool: Store,
        audience: Audience,
        *,
        editor: Editor = UNEDITED,
        keep_audio: bool = False,
        retry_s: Callable[[int], float] = retry_s,
        pace_s: float = PACE_S,
        rewrite_s: float = REWRITE_S,
        probe: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            editor: edits the texts. Whoever made it closes it, after the delivery.
            keep_audio: as for `Spool.remove`.
            retry_s: returns the wait after a number of failures in a row, in seconds.
            pace_s: the seconds from one late attempt to the next.
            rewrite_s: the longest wait before a disk that failed is tried again, in seconds.
            probe: as for `Outbox`.
        """
        self._backends = CurrentBackends(backends, audience)
        self._keep_audio = keep_audio
        self._audience = audience
        self._writer = SpoolWriter(spool, audience, rewrite_s=rewrite_s)
        self._live_parts = LiveParts()
        self._backlog = Backlog()
        self._outbox = Outbox(
            self._backlog,
            self._writer,
            audience,
            blocked=lambda part: self._live_parts.before(part) is not None,
            forget=self._forget,
            keep_audio=keep_audio,
            rewrite_s=rewrite_s,
            probe=probe,
        )
        self._live = LiveDelivery(
            self._live_parts,
            self._backends,
            self._backlog,
            self._outbox,
            audience,
            editor,
            retry_s=retry_s,
            look_again=self._look_again,
        )
        self._late = LateDelivery(
            self._live_parts,
            self._backends,
            self._backlog,
            self._outbox,
            self._writer,
            audience,
            editor,
            retry_s=retry_s,
            pace_s=pace_s,
            forget=self._forget,
        )

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
        return await self._writer.recorded(utterance_id)

    def start(self, backlog: Iterable[PartId]) -> None:
        """Start the workers, with the parts that the spool holds as the backlog. Called once."""
        self.add(backlog)
        self._backends.start()
        self._late.start()

    def add(self, parts: Iterable[PartId]) -> None:
        """Add the parts of a spool that could be opened only now. Those that are known already are left alone."""
        for part in parts:
            if part not in self._live_parts and part not in self._backlog and part not in self._writer:
                self._backlog.add(part)
        self._backlog_changed()

    def discard(self, part: PartId) -> None:
        """Delete a part whose text an earlier run of the daemon published, but whose audio it could not delete."""
        self._writer.remove(part, keep_audio=self._keep_audio)

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
        await asyncio.gather(self._live.close(), self._late.close())
        await self._writer.close()
        await self._backends.close()

    def begin(self, utterance: Utterance) -> None:
        """Write an utterance that has just begun to the spool, and send it while it grows. Sets `utterance.durable`."""
        self._writer.keep(utterance)
        self._live.begin(utterance)
        self._late.give_way()

    def begin_again(self, utterance: Utterance) -> None:
        """Send an utterance again, from its beginning: its profile is another one. No effect once it has its text."""
        self._live.begin_again(utterance.part_id)

    def drop(self, part: PartId) -> None:
        """Delete a part that the user dropped, without a text. Harmless if it is unknown.

        A text that is being published cannot be called back; if the disk refuses it, it is dropped too.
        """
        # Publishing wins: the text may be in the transcripts already, and removing the audio is the outbox's part.
        if self._outbox.call_back(part):
            return
        if part in self._writer.undeleted:
            self._writer.remove(part, give_up=True)
            return
        if not self._live.cancel(part) and part not in self._backlog:
            return
        self._late.cancel(part)
        # Out of the backlog before it leaves the disk: an attempt that has just ended finds no entry, and does not
        # publish.
        self._forget(part)
        self._writer.remove(part, give_up=True)

    def retry(self, parts: Iterable[PartId] | None = None) -> None:
        """Try these parts now, or all, also those that are parked. A pause that a service asked for is still kept."""
        self._backlog.forgive(parts)
        self._backends.end_rests()
        self._stir_all()

    def waiting(self) -> list[Waiting]:
        """Return all parts without a published text, and those that the disk has not deleted; oldest first."""
        found = [self._waiting(entry) for entry in self._backlog]
        for part, live in self._live_parts.items():
            reason = live.reason or ("the text is awaited" if live.utterance.complete else "it is being spoken")
            in_memory, duration_s = self._writer.in_memory(part), live.utterance.duration_s
            found.append(Waiting(part, reason, live.attempts, False, in_memory, True, True, duration_s))
        for part, removal in self._writer.undeleted.items():
            reason = DROPPED if removal.cancelled else DELIVERED
            found.append(Waiting(part, reason, 0, False, False, False, deleting=True))
        return sorted(found, key=lambda one: one.part)

    def _waiting(self, entry: Pending) -> Waiting:
        """Return an entry of the backlog as it is listed for the user."""
        part = entry.part
        sending = part in self._outbox or self._late.is_asking(part)
        reason = entry.reason
        if (earlier := self._backlog.waits_for(part)) is not None:
            reason = f"waits for the text of part {earlier.part}"
        in_memory, duration_s = self._writer.in_memory(part), self._writer.duration_s(part)
        return Waiting(part, reason, entry.attempts, entry.parked, in_memory, sending, False, duration_s)

    def _forget(self, part: PartId) -> None:
        """Remove a part from the backlog, if it is there, and look at what waited for it."""
        if self._backlog.remove(part):
            self._backlog_changed()
        self._outbox.look_again()

    def _backlog_changed(self) -> None:
        """Report the change, and look again at what may be sent or published."""
        self._audience.backlog_changed()
        self._look_again()

    def _look_again(self) -> None:
        self._late.look_again()
        self._outbox.look_again()

    def _stir_all(self) -> None:
        """End all waits: something was done about the backends, the disk or the utterances."""
        self._backends.wake()
        self._outbox.try_now()
        self._writer.try_now()
        self._late.look_again()
