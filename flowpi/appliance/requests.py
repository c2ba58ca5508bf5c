"""The commands of the local socket: what a client may ask for, checked and answered."""

from typing import Any

import msgspec
from msgspec import UnsetType

from flowpi.appliance.conductor import Conductor
from flowpi.appliance.spool_requests import SpoolRequests, choose
from flowpi.core.appliance import Finishing, Recording
from flowpi.core.errors import SpoolError
from flowpi.core.events import CancelCommanded, Event, StartCommanded, StopCommanded, ToggleCommanded
from flowpi.core.hints import Hints
from flowpi.publish.files import TextLog
from flowpi.publish.messages import Problem, Request, Spooled
from flowpi.spool.spool import Spool

MAX_LISTED = 500
"""In one answer, which must fit into a client's queue."""


class RequestHandler:
    """Calls the conductor and the spool on behalf of the clients of the socket."""

    def __init__(self, conductor: Conductor, spool: Spool, transcripts: TextLog) -> None:
        self._conductor = conductor
        self._holdings = SpoolRequests(conductor, spool, transcripts)
        self._directory = spool.directory

    async def carry_out(self, request: Request) -> dict[str, Any] | Problem:
        """The members of the response, or what is wrong with the request."""
        match request.command:
            case "record":
                return await self._record(request)
            case "spool":
                return await self._spool(request)
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
            hints = msgspec.convert(request.context or {}, Hints)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            return Problem("bad_request", f"context{path.rstrip('`')}: {what[:200]}")
        before = conductor.state
        if (refused := conductor.handle(event, hints=hints)) is not None:
            return Problem(refused.code, refused.message)
        after = conductor.state
        more = {}
        if request.action in ("stop", "toggle") and isinstance(before, Recording | Finishing):
            more = {} if isinstance(after, Recording) else {"recorded": await conductor.recorded(before.utterance)}
            after = conductor.state
        return {"state": after.name, "utterance": getattr(after, "utterance", None), **more}

    async def _spool(self, request: Request) -> dict[str, Any] | Problem:
        try:
            found = await self._holdings.find()
            match request.action:
                case "list":
                    return self._page(found, request.after)
                case "retry" | "drop" as action:
                    chosen = choose(found, request.utterances or ())
                    if isinstance(chosen, Problem):
                        return chosen
                    if action == "retry":
                        return {"count": await self._holdings.retry(chosen)}
                    if not request.utterances:
                        return Problem("bad_request", "name the utterances to drop")
                    if any(one.state == "speaking" for one in chosen):
                        return Problem("bad_request", "it is still being said: `flowpi record cancel` drops it")
                    return {"count": await self._holdings.drop(chosen)}
                case _:
                    return Problem("bad_request", "action is one of: list, retry, drop")
        except SpoolError as error:
            return Problem("spool", str(error))

    def _page(self, found: list[Spooled], after: str | UnsetType) -> dict[str, Any]:
        """As much as fits into one answer."""
        names = [one.name for one in found]
        start = names.index(after) + 1 if isinstance(after, str) and after in names else 0
        page = found[start : start + MAX_LISTED]
        more = start + MAX_LISTED < len(found)
        return {"spool": page, "more": more, "directory": str(self._directory)}
