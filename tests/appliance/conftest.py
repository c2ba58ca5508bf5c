from collections.abc import AsyncIterator

import pytest

from tests.appliance.harness import ConductorHarness, opened
from tests.clock import JumpingLoop


@pytest.fixture
async def harness(jumping_clock: JumpingLoop) -> AsyncIterator[ConductorHarness]:
    """A conductor with the default rules, ready for the first press."""
    async with opened() as harness:
        yield harness
