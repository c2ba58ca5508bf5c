"""Requests about the spool: list, retry and drop what has no text yet, with and without a running daemon."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from msgspec import structs

from flowpi.appliance.announcer import Announcer
from flowpi.appliance.protocols import Deliveries
from flowpi.appliance.utterances import Utterances
from flowpi.audio.utterance import PartId
from flowpi.core.errors import SpoolError
from flowpi.delivery.backlog import Waiting
from flowpi.publish.files import TextLog
from flowpi.publish.messages import Problem, Spooled, moment
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.quarantine import is_delivered
from flowpi.spool.spool import Spool

LISTINGS = 2
"""The most listings at once: each needs a thread, which the disk and the backends need as well."""


class SpoolRequests:
    """The requests to a running daemon."""

    def __init__(
        self, spool: Spool, transcripts: TextLog, delivery: Deliveries, utterances: Utterances, announcer: Announcer
    ) -> None:
        self.directory = str(spool.directory)
        self._spool = spool
        self._transcripts = transcripts
        self._delivery = delivery
        self._utterances = utterances
        self._announcer = announcer
        self._listing = asyncio.Semaphore(LISTINGS)

    async def find(self) -> list[Spooled]:
        """Return all that has no text, oldest first, and what is in quarantine behind it. Raises SpoolError."""
        speaking = {utterance.part_id for utterance in self._utterances.growing()}
        # On a thread: thousands of files take their time, and somebody may be speaking.
        async with self._listing:
            return await asyncio.to_thread(self._listed, self._delivery.waiting(), speaking)

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
                one.reason or (found[name].reason if name in found else ""),
                duration_s,
                in_memory=one.in_memory,
            )
        return named(found.values())

    async def retry(self, chosen: Iterable[Spooled]) -> int:
        """Ask the backends now, also for what is parked or in quarantine. Return for how many.

        Raises:
            SpoolError: one could not be brought back from quarantine. All others are tried.
        """
        chosen = list(chosen)
        published = await asyncio.to_thread(self._transcripts.ids)
        out = [one for one in chosen if (one.id, one.part) in published or is_delivered(one.name)]
        wanted = [one for one in chosen if one.state != "newer" and one not in out]
        failures: list[SpoolError] = []
        for one in [one for one in wanted if one.state == "quarantined"]:
            try:
                self._delivery.add([await asyncio.to_thread(self._spool.restore, one.name)])
            except SpoolError as error:
                failures.append(error)
                wanted.remove(one)
        parts = [PartId(one.id, one.part) for one in wanted if one.id is not None]
        self._delivery.add(parts)  # the delivery may have lost sight of some while their disk was away
        self._count_quarantined()
        self._delivery.retry(parts)
        if failures:
            raise failures[0]
        return len(wanted)

    async def drop(self, chosen: Iterable[Spooled]) -> int:
        """Delete for good, and return how many.

        Raises:
            SpoolError: one could not be deleted. All others are.
        """
        dropped = list(chosen)
        known = {waiting.part for waiting in self._delivery.waiting()}

        async def drop(one: Spooled) -> None:
            if one.state != "quarantined" and one.id is not None:
                part = PartId(one.id, one.part)
                self._announcer.dropped(part)
                self._delivery.drop(part)
                if part in known:
                    return
            await _delete(self._spool, one)

        try:
            await _each(drop, dropped)
        finally:
            self._count_quarantined()
        return len(dropped)

    def _count_quarantined(self) -> None:
        self._announcer.quarantined(None, "", self._spool.quarantined)


def named(found: Iterable[Spooled]) -> list[Spooled]:
    """Return them in order of speech. The first part of several is named `ID.1`: the bare ULID means all of them."""
    ordered = sorted(found, key=_order)
    several = {one.id for one in ordered if one.part > 1}
    return [
        structs.replace(one, name=f"{one.id}.1") if one.name == one.id and one.id in several else one for one in ordered
    ]


def file_of(one: Spooled) -> str:
    """Return the name of an entry in the spool."""
    return one.name if one.state == "quarantined" or one.id is None else str(PartId(one.id, one.part))


async def drop_from(spool: Spool, chosen: Iterable[Spooled]) -> None:
    """Delete for good while no daemon runs. The spool must be open.

    Raises:
        SpoolError: one could not be deleted. All others are.
    """
    await _each(partial(_delete, spool), chosen)


async def _each(delete: Callable[[Spooled], Awaitable[None]], chosen: Iterable[Spooled]) -> None:
    """Delete them all, and raise the first SpoolError in the end."""
    failures: list[SpoolError] = []
    for one in chosen:
        try:
            await delete(one)
        except SpoolError as error:
            failures.append(error)
    if failures:
        raise failures[0]


async def _delete(spool: Spool, one: Spooled) -> None:
    """Delete one from the disk. Raises SpoolError."""
    if one.state == "quarantined":
        await asyncio.to_thread(spool.discard, one.name)
    elif one.id is not None:
        await spool.remove(PartId(one.id, one.part), cancelled=True)


def spooled(entry: SpoolEntry) -> Spooled:
    """Describe an entry by what its file says."""
    reason = entry.reason
    if entry.state == "newer":
        reason = "a later version of flowpi wrote it"
    elif entry.delivered:
        reason = "its text is out, but not all of its sound could be read"
    elif entry.state == "quarantined" or reason:
        reason = f"its file cannot be read{reason and f' ({reason})'}"
    return _spooled(entry.name, entry.part, entry.state, reason, entry.duration_s)


def choose(found: list[Spooled], wanted: Iterable[str]) -> list[Spooled] | Problem:
    """Return the entries whose name or ULID is wanted; a ULID means all its parts, and no name at all means all."""
    names = set(wanted)
    unknown = sorted(names - {name for one in found for name in (one.name, one.id)})
    if unknown:
        return Problem("no_such_utterance", f"no such utterance: {', '.join(name[:40] for name in unknown[:5])}")
    return [one for one in found if not names or one.name in names or one.id in names]


def _order(one: Spooled) -> tuple[bool, str, int, str]:
    """Sort by the time of speech, quarantine last."""
    return one.state == "quarantined", one.id or "", one.part, one.name


def _spooled(
    name: str, part: PartId | None, state: str, reason: str, duration_s: float, *, in_memory: bool = False
) -> Spooled:
    if part is None:
        return Spooled(name, None, 1, state, reason, None, round(duration_s, 1))
    said_at = moment(part.utterance)
    return Spooled(name, part.utterance, part.part, state, reason, said_at, round(duration_s, 1), in_memory)
