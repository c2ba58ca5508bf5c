"""A crowd of clients of the local socket, as a process: `python -m tests.reliability.crowd KIND PATH CLIENTS`.

It prints `ready` when all have connected and begun, and goes on until its standard input ends.
"""

import contextlib
import json
import resource
import select
import socket
import sys

SUBSCRIBE = json.dumps({"subscribe": ["#"]}).encode() + b"\n"

KINDS: dict[str, tuple[bytes, bool]] = {
    "blank": (b"\n" * 65_536, True),
    "subscribe": (SUBSCRIBE * 280, False),
    "subscribe again": (json.dumps({"subscribe": ["zz"]}).encode() + b"\n", True),
    "status": (json.dumps({"command": "status", "request": "\u2028" * 300}).encode() + b"\n", True),
    "reads nothing": (SUBSCRIBE + json.dumps({"command": "spool", "action": "list"}).encode() + b"\n", True),
}
"""By name: what each client sends, and whether it does so for ever."""


def connected(path: str, clients: int) -> list[socket.socket]:
    """Connect, as fast as the daemon accepts."""
    made = []
    for _ in range(clients):
        made.append(socket.socket(socket.AF_UNIX))
        made[-1].connect(path)
        made[-1].setblocking(False)
    return made


def crowd(kind: str, path: str, clients: int) -> None:
    what, for_ever = KINDS[kind]
    files = clients + 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    left = dict.fromkeys(connected(path, clients), what)
    reads = kind != "reads nothing"
    print("ready", flush=True)
    while left:
        readable, writable, _ = _select(left)
        if 0 in readable:
            return
        for one in writable:
            with contextlib.suppress(BlockingIOError):
                try:
                    sent = one.send(left[one])
                    left[one] = left[one][sent:] or (what if for_ever else b"")
                    if reads:
                        with contextlib.suppress(BlockingIOError):
                            one.recv(65_536)
                except OSError:  # the daemon has dropped it
                    del left[one]


def _select(left: dict[socket.socket, bytes]) -> tuple[list[int], list[socket.socket], None]:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    by_number = {one.fileno(): one for one, rest in left.items() if rest}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    events = poll.poll(1000)
    return [number for number, _ in events if number == 0], [by_number[n] for n, _ in events if n in by_number], None


if __name__ == "__main__":
    crowd(sys.argv[1], sys.argv[2], int(sys.argv[3]))
