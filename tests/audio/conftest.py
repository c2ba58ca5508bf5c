from collections.abc import AsyncIterator

import pytest

from tests.audio.room import Room, capturing
from tests.clock import JumpingLoop


@pytest.fixture
async def room(jumping_clock: JumpingLoop) -> AsyncIterator[Room]:
    """Start a capture of a fake source, with its default options."""
    async with capturing() as room:
        yield room
