"""What has no text yet, for its owner: what the disk has, and with a daemon what it knows of it."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowpi.core.ulid import ulid_unix_ms
from flowpi.dictation.spool import Spool
from flowpi.dictation.spool_listing import Entry
from flowpi.dictation.utterance import PartId
from flowpi.publish.messages import Problem, Spooled, rfc3339

if TYPE_CHECKING:
    from flowpi.conductor import Conductor

END_OF_TIME_S = 253_402_300_799
"""The end of the year 9999; the id of a stranger's file may say that it is later."""


class Holdings:
    """Of a running daemon."""

    def __init__(self, conductor: "Conductor", spool: Spool) -> None:
        self._conductor = conductor
        self._spool = spool

    async def list(self) -> list[Spooled]:
        """Oldest first; at the end what is in quarantine. Raises SpoolError."""
        delivery, outcomes = self._conductor.delivery, self._conductor.outcomes
        on_disk = await asyncio.to_thread(self._spool.entries)
        found = {entry.name: spooled(entry) for entry in on_disk}
        spoken = {utterance.part_id: utterance for utterance in outcomes.open()}
        for one in delivery.waiting():
            name = str(one.part)
            live = spoken.get(one.part)
            if live is not None and not live.complete:
                state = "speaking"
            else:
                state = "sending" if one.sending else "parked" if one.parked else "waiting"
            duration_s = one.duration_s
            if duration_s is None:
                duration_s = found[name].duration_s if name in found else 0.0
            found[name] = _spooled(name, one.part, state, one.reason, duration_s, in_memory=one.in_memory)
        return sorted(found.values(), key=order)

    async def retry(self, chosen: Iterable[Spooled]) -> None:
        """Now, also what is parked or in quarantine. Raises SpoolError."""
        delivery = self._conductor.delivery
        for one in chosen:
            if one.state == "quarantined":
                delivery.add([await asyncio.to_thread(self._spool.restore, one.name)])
        self._count_quarantined()
        delivery.retry([PartId(one.id, one.part) for one in chosen if one.id is not None])

    async def drop(self, chosen: Iterable[Spooled]) -> None:
        """For good. Raises SpoolError."""
        for one in chosen:
            if one.state == "quarantined":
                await asyncio.to_thread(self._spool.discard, one.name)
            elif one.id is not None:
                part = PartId(one.id, one.part)
                self._conductor.outcomes.dropped(part)
                self._conductor.delivery.drop(part)
                if one.state == "newer":  # the delivery does not know it
                    await self._spool.remove(part, cancelled=True)
        self._count_quarantined()

    def _count_quarantined(self) -> None:
        self._conductor.outcomes.quarantined(None, "", self._spool.quarantined)


async def drop_from(spool: Spool, chosen: Iterable[Spooled]) -> None:
    """Without a daemon; the spool must be open. Raises SpoolError."""
    for one in chosen:
        if one.state == "quarantined":
            spool.discard(one.name)
        elif one.id is not None:
            await spool.remove(PartId(one.id, one.part), cancelled=True)


def spooled(entry: Entry) -> Spooled:
    """What the disk knows of it."""
    reason = "a later version of flowpi wrote it" if entry.state == "newer" else ""
    if entry.state == "quarantined":
        reason = "its file could not be read, or not to its end"
    return _spooled(entry.name, entry.part, entry.state, reason, entry.duration_s)


def choose(found: list[Spooled], wanted: Iterable[str]) -> list[Spooled] | Problem:
    """Those that are named, or whose ULID is: all parts of it. All if none is named."""
    names = set(wanted)
    unknown = sorted(names - {name for one in found for name in (one.name, one.id)})
    if unknown:
        return Problem("no_such_utterance", f"no such utterance: {', '.join(name[:40] for name in unknown[:5])}")
    return [one for one in found if not names or one.name in names or one.id in names]


def order(one: Spooled) -> tuple[bool, str, int, str]:
    """By the time of speech, quarantine last."""
    return one.state == "quarantined", one.id or "", one.part, one.name


def _spooled(
    name: str, part: PartId | None, state: str, reason: str, duration_s: float, *, in_memory: bool = False
) -> Spooled:
    if part is None:
        return Spooled(name, None, 1, state, reason, None, round(duration_s, 1))
    said_at = rfc3339(min(ulid_unix_ms(part.utterance) / 1000, END_OF_TIME_S))
    return Spooled(name, part.utterance, part.part, state, reason, said_at, round(duration_s, 1), in_memory)
