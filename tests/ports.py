"""TCP ports of this machine that nobody has, and nobody is given before a test listens there."""

import itertools
import os
import socket

FIRST, SHARE = 10_000, 1_000
"""Each worker of a test run has so many. They lie below those that Linux gives to connections (`ip_local_port_range`):
a port from there may belong to a connection, of another test or to that very port, when a broker starts on it again."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(os.getpid())  # two runs at a time begin at different ones


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens, and that no later call returns for a long time."""
    while True:
        port = FIRST + _worker % 20 * SHARE + next(_numbers) % SHARE
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
