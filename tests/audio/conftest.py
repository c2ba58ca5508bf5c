from collections.abc import AsyncIterator

import pytest

from tests.audio.room import Room, capturing
from tests.clock import JumpingLoop


@pytest.fixture
async def room(jumping_clock: JumpingLoop) -> AsyncIterator[Room]:
    """A capture of a fake source, with the options that it has by default."""
    async with capturing() as room:
        yield room
