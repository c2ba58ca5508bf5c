from collections.abc import AsyncIterator, Iterator

import pytest

from tests.audio.opener import Opener
from tests.audio.room import Room, capturing
from tests.clock import JumpingLoop


@pytest.fixture
async def room(jumping_clock: JumpingLoop) -> AsyncIterator[Room]:
    """Start a capture of a fake source, with its default options."""
    async with capturing() as room:
        yield room


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open ALSA devices, each with a call; they are closed when the test is over."""
    opener = Opener()
    yield opener
    opener.close()
