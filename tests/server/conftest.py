"""Servers with keys, in both modes."""

from collections.abc import AsyncIterator

import pytest

from flowpi.host.log_limit import LogLimit
from flowpi.server import untrusted
from flowpi.server.app import Server
from tests.server.calling import Clock, locked, serving


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the lines of the test before, which would be counted among those of this one."""
    monkeypatch.setattr(untrusted.log, "filters", [LogLimit()])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
async def both(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Server]:
    async with serving(locked(clock), strict=request.param) as server:
        yield server


@pytest.fixture
async def lenient(clock: Clock) -> AsyncIterator[Server]:
    async with serving(locked(clock)) as server:
        yield server


@pytest.fixture
async def strict(clock: Clock) -> AsyncIterator[Server]:
    async with serving(locked(clock), strict=True) as server:
        yield server
