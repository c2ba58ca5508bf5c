"""What has no text yet, for its owner: what the disk has, and with a daemon what it knows of it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from flowpi.audio.utterance import PartId
from flowpi.delivery.backlog import Waiting
from flowpi.publish.files import TextLog
from flowpi.publish.messages import Problem, Spooled, moment
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.quarantine import is_delivered
from flowpi.spool.spool import Spool

if TYPE_CHECKING:
    from flowpi.appliance.conductor import Conductor


class SpoolRequests:
    """Of a running daemon."""

    def __init__(self, conductor: "Conductor", spool: Spool, transcripts: TextLog) -> None:
        self._conductor = conductor
        self._spool = spool
        self._transcripts = transcripts

    async def find(self) -> list[Spooled]:
        """Oldest first; at the end what is in quarantine. Raises SpoolError."""
        speaking = {utterance.part_id for utterance in self._conductor.outcomes.growing()}
        # Thousands of lines take their time, and somebody may be speaking.
        return await asyncio.to_thread(self._listed, self._conductor.delivery.waiting(), speaking)

    def _listed(self, known: Sequence[Waiting], speaking: set[PartId]) -> list[Spooled]:
        found = {entry.name: spooled(entry) for entry in self._spool.entries()}
        for one in known:
            name = str(one.part)
            state = "deleting" if one.deleting else "sending" if one.sending else "parked" if one.parked else "waiting"
            duration_s = one.duration_s
            if duration_s is None:
                duration_s = found[name].duration_s if name in found else 0.0
            found[name] = _spooled(
                name,
                one.part,
                "speaking" if one.part in speaking else state,
                one.reason,
                duration_s,
                in_memory=one.in_memory,
            )
        return named(found.values())

    async def retry(self, chosen: Iterable[Spooled]) -> int:
        """Now, also what is parked or in quarantine; to how many that was done. Raises SpoolError."""
        delivery = self._conductor.delivery
        chosen = list(chosen)
        published = await asyncio.to_thread(self._transcripts.ids)
        out = [one for one in chosen if (one.id, one.part) in published or is_delivered(one.name)]
        wanted = [one for one in chosen if one.state != "newer" and one not in out]
        for one in wanted:
            if one.state == "quarantined":
                delivery.add([await asyncio.to_thread(self._spool.restore, one.name)])
        parts = [PartId(one.id, one.part) for one in wanted if one.id is not None]
        delivery.add(parts)  # of those that it lost sight of while their disk was away
        self._count_quarantined()
        delivery.retry(parts)
        return len(wanted)

    async def drop(self, chosen: Iterable[Spooled]) -> int:
        """For good; how many that were. Raises SpoolError."""
        dropped = list(chosen)
        known = {waiting.part for waiting in self._conductor.delivery.waiting()}
        for one in dropped:
            if one.state == "quarantined":
                await asyncio.to_thread(self._spool.discard, one.name)
            elif one.id is not None:
                part = PartId(one.id, one.part)
                self._conductor.outcomes.dropped(part)
                self._conductor.delivery.drop(part)
                if part not in known:
                    await self._spool.remove(part, cancelled=True)
        self._count_quarantined()
        return len(dropped)

    def _count_quarantined(self) -> None:
        self._conductor.outcomes.quarantined(None, "", self._spool.quarantined)


def named(found: Iterable[Spooled]) -> list[Spooled]:
    """In order; a first part is called `.1` where there are others, as the bare ULID means all of them."""
    ordered = sorted(found, key=_order)
    several = {one.id for one in ordered if one.part > 1}
    return [
        structs.replace(one, name=f"{one.id}.1") if one.name == one.id and one.id in several else one for one in ordered
    ]


def file_of(one: Spooled) -> str:
    """The name of its entry in the spool."""
    return one.name if one.state == "quarantined" or one.id is None else str(PartId(one.id, one.part))


async def drop_from(spool: Spool, chosen: Iterable[Spooled]) -> None:
    """Without a daemon; the spool must be open. Raises SpoolError."""
    for one in chosen:
        if one.state == "quarantined":
            spool.discard(one.name)
        elif one.id is not None:
            await spool.remove(PartId(one.id, one.part), cancelled=True)


def spooled(entry: SpoolEntry) -> Spooled:
    """What the disk knows of it."""
    reason = entry.reason
    if entry.state == "newer":
        reason = "a later version of flowpi wrote it"
    elif entry.delivered:
        reason = "its text is out, but not all of its sound could be read"
    elif entry.state == "quarantined":
        reason = f"its file cannot be read{reason and f' ({reason})'}"
    return _spooled(entry.name, entry.part, entry.state, reason, entry.duration_s)


def choose(found: list[Spooled], wanted: Iterable[str]) -> list[Spooled] | Problem:
    """Those that are named, or whose ULID is: all parts of it. All if none is named."""
    names = set(wanted)
    unknown = sorted(names - {name for one in found for name in (one.name, one.id)})
    if unknown:
        return Problem("no_such_utterance", f"no such utterance: {', '.join(name[:40] for name in unknown[:5])}")
    return [one for one in found if not names or one.name in names or one.id in names]


def _order(one: Spooled) -> tuple[bool, str, int, str]:
    """By the time of speech, quarantine last."""
    return one.state == "quarantined", one.id or "", one.part, one.name


def _spooled(
    name: str, part: PartId | None, state: str, reason: str, duration_s: float, *, in_memory: bool = False
) -> Spooled:
    if part is None:
        return Spooled(name, None, 1, state, reason, None, round(duration_s, 1))
    said_at = moment(part.utterance)
    return Spooled(name, part.utterance, part.part, state, reason, said_at, round(duration_s, 1), in_memory)
