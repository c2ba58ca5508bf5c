"""Requests about the sinks: list them, let them try now, and pass what blocks them; and reports of other processes."""

from typing import Any

import msgspec

from flowpi.core.errors import SinkAbsentError, SinkError
from flowpi.core.nearest import nearest
from flowpi.publish.messages import Problem, Request, SinkPayload, SinkReport
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

    def cancel(self) -> None:
        """Let the sinks stop with what they do for a person who has changed their mind."""
        self._publisher.cancel()

    async def handle(self, request: Request, user: int | None = None) -> dict[str, Any] | Problem:
        """Return the members of the response, or what is wrong with the request.

        Args:
            user: the user id of the client; None for one that has none, and may not report.
        """
        if request.action == "report":
            return await self._report(request, user)
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
                return self._retry(names, named=isinstance(request.sinks, list))
            case "skip":
                if not isinstance(request.sinks, list):
                    return Problem("bad_request", "name the sinks in which to skip")
                try:
                    return {"count": await self._publisher.skip(names)}
                except SinkAbsentError as error:
                    return Problem("sink_absent", str(error))
                except SinkError as error:
                    return Problem("spool", str(error))
            case _:
                return Problem("bad_request", "action is one of: list, retry, skip, report")

    def _retry(self, names: list[str], *, named: bool) -> dict[str, Any] | Problem:
        """Let these sinks try now. One that is not there is an error only if it was named."""
        count = 0
        for name in names:
            try:
                self._publisher.retry([name])
                count += 1
            except SinkAbsentError as error:
                if named:
                    return Problem("sink_absent", str(error))
        return {"count": count}

    async def _report(self, request: Request, user: int | None) -> dict[str, Any] | Problem:
        """Take over a report. With `wait` it is answered when the process is to do something, or reports again."""
        try:
            report = msgspec.convert(request.report, SinkReport)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            return Problem("bad_request", f"report{path.rstrip('`')}: {what[:200]}")
        remote = self._publisher.remote(report.sink)
        if remote is None:
            what = "it is not configured, or runs in the daemon"
            return Problem("no_such_sink", f"no reports are expected of a sink {report.sink[:40]!r}: {what}")
        if not await remote.may_report(user):
            return Problem("not_permitted", f"only its service may report for the sink {report.sink}")
        if (problem := await remote.report(report)) is not None:
            return problem
        asked = await remote.wait() if request.wait else None
        return {} if asked is None else {"do": asked}
