import socket
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a socket in place of the service manager's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end
