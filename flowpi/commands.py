"""The commands of the local socket: what a client may ask for, checked and answered."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from flowpi.conductor import Conductor
from flowpi.core.appliance import Finishing, Recording
from flowpi.core.events import CancelCommanded, Event, StartCommanded, StopCommanded, ToggleCommanded
from flowpi.core.ulid import ulid_unix_ms
from flowpi.dictation.spool import QUARANTINED, WAITING, Spool
from flowpi.dictation.utterance import PartId
from flowpi.publish.messages import Problem, Request, Spooled, rfc3339
from flowpi.wire.flow_messages import Context

MAX_LISTED = 500
"""In one answer, which must fit into a client's queue."""


class Commands:
    """Calls the conductor and the spool on behalf of the clients of the socket."""

    def __init__(self, conductor: Conductor, spool: Spool) -> None:
        self._conductor = conductor
        self._spool = spool

    async def carry_out(self, request: Request) -> dict[str, Any] | Problem:
        """The members of the response, or what is wrong with the request."""
        match request.command:
            case "record":
                return await self._record(request)
            case "spool":
                return await self._spooled(request)
            case "status":
                return {"status": self._conductor.status()}
            case str(name):
                return Problem("unknown_command", f"{name[:40]!r} is none of: record, spool, status")
            case _:
                return Problem("bad_request", "a request has a subscribe or a command")

    async def _record(self, request: Request) -> dict[str, Any] | Problem:
        conductor = self._conductor
        event: Event
        match request.action:
            case "start":
                event = StartCommanded(conductor.new_id())
            case "stop":
                event = StopCommanded()
            case "toggle":
                event = ToggleCommanded(conductor.new_id())
            case "cancel":
                event = CancelCommanded()
            case _:
                return Problem("bad_request", "action is one of: start, stop, toggle, cancel")
        try:
            context = msgspec.convert(request.context or {}, Context)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            return Problem("bad_request", f"context{path.rstrip('`')}: {what[:200]}")
        before = conductor.state
        if (refused := conductor.handle(event, context=context)) is not None:
            return Problem(refused.code, refused.message)
        after = conductor.state
        more = {}
        if request.action != "cancel" and isinstance(before, Recording | Finishing) and not isinstance(after, Recording):
            more = {"recorded": await conductor.outcomes.recorded(before.utterance)}
            after = conductor.state
        return {"state": after.name, "utterance": getattr(after, "utterance", None), **more}

    async def _spooled(self, request: Request) -> dict[str, Any] | Problem:
        match request.action:
            case "list":
                spooled = await self._list()
                if isinstance(request.after, str):
                    after = PartId.parse(request.after)
                    if after is None:
                        return Problem("bad_request", f"{request.after[:40]!r} is no utterance")
                    spooled = [one for one in spooled if (one.id, one.part) > after]
                return {
                    "spool": spooled[:MAX_LISTED],
                    "more": len(spooled) > MAX_LISTED,
                    "directory": str(self._spool.directory),
                }
            case "retry" | "drop" as action:
                chosen = choose(await self._list(), request.utterances or ())
                if isinstance(chosen, Problem):
                    return chosen
                if any(one.state == "speaking" for one in chosen) and action == "drop":
                    return Problem("bad_request", "it is still being said: `flowpi record cancel` drops it")
                if action == "drop" and not request.utterances:
                    return Problem("bad_request", "name the utterances to drop")
                for one in chosen:
                    await self._retry(one) if action == "retry" else await self._drop(one)
                if not request.utterances:
                    self._conductor.delivery.retry(None)
                return {"spool": chosen[:MAX_LISTED], "more": len(chosen) > MAX_LISTED}
            case _:
                return Problem("bad_request", "action is one of: list, retry, drop")

    async def _list(self) -> list[Spooled]:
        """What has no text yet, oldest first."""
        delivery, outcomes = self._conductor.delivery, self._conductor.outcomes
        found = {(one.id, one.part): one for one in await asyncio.to_thread(listed, self._spool)}
        for utterance in outcomes.open():
            state = "sending" if utterance.complete else "speaking"
            found[utterance.part_id] = _spooled(utterance.part_id, state, "", utterance.duration_s)
        for waiting in delivery.waiting():
            part = waiting.part
            state = "parked" if waiting.parked else "sending" if waiting.sending else WAITING
            duration_s = waiting.duration_s if part not in found else found[part].duration_s
            found[part] = _spooled(part, state, waiting.reason, duration_s, in_memory=waiting.in_memory)
        return [found[key] for key in sorted(found)]

    async def _retry(self, one: Spooled) -> None:
        part = PartId(one.id, one.part)
        if one.state == QUARANTINED and await asyncio.to_thread(self._spool.restore, part):
            self._conductor.delivery.add([part])
            self._count_quarantined()
        self._conductor.delivery.retry([part])

    async def _drop(self, one: Spooled) -> None:
        part = PartId(one.id, one.part)
        if one.state == QUARANTINED:
            await asyncio.to_thread(self._spool.discard, part)
            self._count_quarantined()
        else:
            self._conductor.outcomes.dropped(part)
            self._conductor.delivery.drop(part)

    def _count_quarantined(self) -> None:
        self._conductor.outcomes.quarantined(None, "", self._spool.quarantined)


def listed(spool: Spool) -> list[Spooled]:
    """What the disk has. Any thread; also without a daemon."""
    return [_spooled(entry.part, entry.state, entry.reason, entry.duration_s) for entry in spool.entries()]


def choose(spooled: list[Spooled], wanted: Iterable[str]) -> list[Spooled] | Problem:
    """Those that are named, by ULID for all parts or by part; all if none is."""
    names = set(wanted)
    known = {name for one in spooled for name in (one.id, f"{one.id}.{one.part}")}
    unknown = sorted(names - known)
    if unknown:
        return Problem("bad_request", f"no such utterance: {', '.join(name[:40] for name in unknown[:5])}")
    return [one for one in spooled if not names or one.id in names or f"{one.id}.{one.part}" in names]


def _spooled(part: PartId, state: str, reason: str, duration_s: float, *, in_memory: bool = False) -> Spooled:
    said_at = rfc3339(min(ulid_unix_ms(part.utterance) / 1000, 253_402_300_799))  # of a wild id: the end of year 9999
    return Spooled(part.utterance, part.part, state, reason, said_at, round(duration_s, 1), in_memory)
