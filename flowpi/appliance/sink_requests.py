"""Requests about the sinks: list them, let them try now, and pass what blocks them."""

from typing import Any

from flowpi.core.errors import SinkError
from flowpi.core.nearest import nearest
from flowpi.publish.messages import Problem, Request, SinkPayload
from flowpi.publish.publisher import Publisher

MAX_LISTED = 500
"""The most parked texts in one answer, which must fit into the queue of a client."""


class SinkRequests:
    """The requests to a running daemon."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def sinks(self) -> list[SinkPayload]:
        """Describe each sink that is configured."""
        return await self._publisher.sinks()

    async def handle(self, request: Request) -> dict[str, Any] | Problem:
        """Return the members of the response, or what is wrong with the request."""
        known = self._publisher.names
        names = known if not isinstance(request.sinks, list) else list(dict.fromkeys(request.sinks))
        for name in names:
            if name not in known:
                hint = nearest(name[:40], known) if known else "none is configured"
                return Problem("no_such_sink", f"there is no sink {name[:40]!r}: {hint}")
        match request.action:
            case "list":
                parked = self._publisher.parked(names)
                sinks = [one for one in await self._publisher.sinks() if one.name in names]
                return {"sinks": sinks, "parked": parked[:MAX_LISTED], "more": len(parked) > MAX_LISTED}
            case "retry":
                self._publisher.retry(names)
                return {"count": len(names)}
            case "skip":
                if not isinstance(request.sinks, list):
                    return Problem("bad_request", "name the sinks in which to skip")
                try:
                    return {"count": await self._publisher.skip(names)}
                except SinkError as error:
                    return Problem("spool", str(error))
            case _:
                return Problem("bad_request", "action is one of: list, retry, skip")
