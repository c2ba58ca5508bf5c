"""Describes the hook in its reports to the daemon."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from flowpi.hook.state import HookState
from flowpi.peer.reporter import Reporter
from flowpi.peer.standing import Standing
from flowpi.publish.messages import GivenUp, SinkReport

SINK = "command"
"""The name of the hook among the sinks of the daemon, as that of its settings in `publish`."""

MOST_WITH_REASONS = 150
"""How many texts are reported with the reason why they were given up: a line to the daemon is at most 64 KiB long."""


def report(state: HookState, standing: Standing) -> SinkReport:
    """Return the report of a hook as it is now."""
    parked = state.refused.texts
    reasons = len(parked) <= MOST_WITH_REASONS
    return SinkReport(
        sink=SINK,
        state="failing" if standing.failing else "open",
        last=state.position,
        error=standing.error,
        error_at=standing.error_at,
        parked=[GivenUp(one.id, one.part, one.reason if reasons else "") for one in parked],
    )


def make_reporter(
    socket: Path, state: HookState, standing: Standing, *, retry: Callable[[], None], skip: Callable[[], None]
) -> Reporter:
    """Return what reports a hook. `retry` and `skip`: what the daemon may ask for."""
    return Reporter(socket, standing.news, partial(report, state, standing), {"retry": retry, "skip": skip})
