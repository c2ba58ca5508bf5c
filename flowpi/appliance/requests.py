"""Requests of the local socket: what a client may ask for, checked and answered."""

import asyncio
import logging
from typing import Any

import msgspec

from flowpi.appliance.conductor import Conductor
from flowpi.appliance.endings import Endings
from flowpi.appliance.protocols import Deliveries
from flowpi.appliance.sink_requests import SinkRequests
from flowpi.appliance.spool_requests import SpoolRequests, choose
from flowpi.appliance.statistics import Statistics
from flowpi.appliance.text_requests import TextRequests
from flowpi.appliance.utterances import Utterances
from flowpi.core.appliance import Finishing, Recording
from flowpi.core.errors import SpoolError
from flowpi.core.events import CancelCommanded, Event, StartCommanded, StopCommanded, ToggleCommanded
from flowpi.core.hints import Hints
from flowpi.core.nearest import nearest
from flowpi.host.logfields import fields
from flowpi.publish.messages import BacklogPayload, Problem, Request, Spooled, moment

log = logging.getLogger(__name__)

MAX_LISTED = 500
"""The most entries in one answer, which must fit into the queue of a client."""


class RequestHandler:
    """Answers the requests of the clients of the socket."""

    def __init__(
        self,
        conductor: Conductor,
        delivery: Deliveries,
        utterances: Utterances,
        statistics: Statistics,
        spool_requests: SpoolRequests,
        endings: Endings,
        sink_requests: SinkRequests,
        text_requests: TextRequests,
    ) -> None:
        self._conductor = conductor
        self._delivery = delivery
        self._utterances = utterances
        self._statistics = statistics
        self._spool_requests = spool_requests
        self._endings = endings
        self._sink_requests = sink_requests
        self._text_requests = text_requests

    async def handle(self, request: Request, user: int | None = None) -> dict[str, Any] | Problem:
        """Return the members of the response, or what is wrong with the request.

        Args:
            user: the user id of a client of the socket; None for a peer of a sink.
        """
        match request.command:
            case "record":
                return await self._record(request)
            case "spool":
                return await self._spool(request)
            case "sinks":
                return await self._sink_requests.handle(request, user)
            case "status":
                return {"status": {**self._status(), "sinks": await self._sink_requests.sinks()}}
            case "transcripts":
                return await self._text_requests.handle(request)
            case str(name):
                known = "record, spool, sinks, status, transcripts"
                return Problem("unknown_command", f"{name[:40]!r} is none of: {known}")
            case _:
                return Problem("bad_request", "a request has a subscribe or a command")

    async def _record(self, request: Request) -> dict[str, Any] | Problem:
        conductor = self._conductor
        event: Event
        if request.profile is not None and request.profile not in conductor.profiles:
            hint = nearest(request.profile, conductor.profiles) if conductor.profiles else "none is configured"
            return Problem("bad_request", f"there is no profile {request.profile[:64]!r}: {hint}")
        match request.action:
            case "start":
                event = StartCommanded(conductor.new_id(), request.profile)
            case "stop":
                event = StopCommanded()
            case "toggle":
                event = ToggleCommanded(conductor.new_id(), request.profile)
            case "cancel":
                event = CancelCommanded()
                self._sink_requests.cancel()
            case _:
                return Problem("bad_request", "action is one of: start, stop, toggle, cancel")
        try:
            hints = msgspec.convert(request.context or {}, Hints)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            return Problem("bad_request", f"context{path.rstrip('`')}: {what[:200]}")
        before = conductor.state
        if (refused := conductor.command(event, hints=hints)) is not None:
            return Problem(refused.code, refused.message)
        after = conductor.state
        ending = None
        if request.wait and isinstance(before, Recording | Finishing) and not isinstance(after, Recording):
            ending = self._endings.of(before.utterance)
        await asyncio.sleep(0)  # as for the state: the connection to the backend begins before the answer is sent
        more: dict[str, Any] = {}
        if request.action in ("stop", "toggle") and isinstance(before, Recording | Finishing):
            more = {} if isinstance(after, Recording) else {"recorded": await self._recorded(before.utterance)}
            after = conductor.state
        if ending is not None:
            more["ending"] = await asyncio.shield(ending)  # which others may wait for too
            after = conductor.state
        return {"state": after.name, "utterance": getattr(after, "utterance", None), **more}

    async def _spool(self, request: Request) -> dict[str, Any] | Problem:
        try:
            found = await self._spool_requests.find()
            match request.action:
                case "list":
                    return _page(found, request.after, self._spool_requests.directory)
                case "retry" | "drop" as action:
                    chosen = choose(found, request.utterances or ())
                    if isinstance(chosen, Problem):
                        return chosen
                    if action == "retry":
                        return {"count": await self._spool_requests.retry(chosen)}
                    if not request.utterances:
                        return Problem("bad_request", "name the utterances to drop")
                    if any(one.state == "speaking" for one in chosen):
                        return Problem("bad_request", "it is still being said: `flowpi record cancel` drops it")
                    return {"count": await self._spool_requests.drop(chosen)}
                case _:
                    return Problem("bad_request", "action is one of: list, retry, drop")
        except SpoolError as error:
            return Problem("spool", str(error))

    def _status(self) -> dict[str, Any]:
        return {
            "state": self._conductor.payload(),
            "stats": self._statistics.snapshot(),
            "backlog": self._backlog(),
        }

    def _backlog(self) -> BacklogPayload:
        """Return what waits for its text, without what is being said or was a moment ago."""
        waiting = [one for one in self._delivery.waiting() if not one.live and not one.deleting]
        oldest_at = moment(waiting[0].part.utterance) if waiting else None
        return BacklogPayload(len(waiting), oldest_at, sum(one.in_memory for one in waiting))

    async def _recorded(self, utterance_id: str) -> bool:
        """Return whether all audio of an utterance is on the disk, once that is known.

        The answer to "stop" is about the disk and not about what was heard: a client that reads it may cut the power.
        """
        for utterance in self._utterances.parts(utterance_id):
            await utterance.wait_complete()
        on_disk = await self._delivery.recorded(utterance_id)
        if not on_disk:
            log.warning("%s is in memory only", utterance_id, extra=fields(utterance=utterance_id))
        return on_disk


def _page(found: list[Spooled], after: object, directory: str) -> dict[str, Any]:
    """Return as much of a list as fits into one answer, from the entry behind `after` on."""
    names = [one.name for one in found]
    start = names.index(after) + 1 if isinstance(after, str) and after in names else 0
    page = found[start : start + MAX_LISTED]
    more = start + MAX_LISTED < len(found)
    return {"spool": page, "more": more, "directory": directory}
