"""The commands of the local socket: what a client may ask for, checked and answered."""

from typing import Any

import msgspec

from flowpi.conductor import Conductor
from flowpi.core.appliance import Recording
from flowpi.core.events import CancelCommanded, Event, StartCommanded, StopCommanded, ToggleCommanded
from flowpi.publish.messages import Problem, Request
from flowpi.wire.flow_messages import Context


class Commands:
    """Calls the conductor on behalf of the clients of the socket."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    async def carry_out(self, request: Request) -> dict[str, Any] | Problem:
        """The members of the response, or what is wrong with the request."""
        match request.command:
            case "record":
                return await self._record(request)
            case "status":
                return {"status": self._conductor.status()}
            case str(name):
                return Problem("unknown_command", f"{name[:40]!r} is none of: record, status")
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
        if isinstance(before, Recording) and not isinstance(after, Recording):
            await conductor.recorded(before.utterance)
            after = conductor.state
        return {"state": after.name, "utterance": getattr(after, "utterance", None)}
