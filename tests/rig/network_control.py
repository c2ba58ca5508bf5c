"""`python -m tests.rig.network_control CONDITIONS`: sends datagrams through a network with these conditions.

It prints as JSON which of `SENT` came back in which order, the time of the median one, and the counts.
"""

import json
import select
import socket
import statistics
import sys
import threading
import time
from typing import Any

from tests.rig.netem import Network

SO_RCVBUFFORCE = 33
SENT = 300
RECEIVE_BUFFER_BYTES = 4 << 20
"""The size of the receive buffer: the kernel's default would lose a burst by itself."""

QUIET_S = 0.5
"""The time without a datagram after which none is expected any more."""


def echo(there: socket.socket) -> None:
    while True:
        data, address = there.recvfrom(2048)
        there.sendto(data, address)


def open_socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    return one


def main(conditions: dict[str, Any]) -> None:
    with Network() as network:
        with network.far():
            there = open_socket()
            there.bind((network.far_address, 7))
        threading.Thread(target=echo, args=(there,), daemon=True).start()
        here = open_socket()
        here.connect((network.far_address, 7))
        network.set(**conditions)
        came: list[int] = []
        away_s: list[float] = []
        began = time.monotonic()
        for number in range(SENT):
            here.send(f"{number} {time.monotonic()}".encode().ljust(500))
        while select.select([here], [], [], QUIET_S)[0]:
            number_text, sent_at = here.recv(2048).split()
            came.append(int(number_text))
            away_s.append(time.monotonic() - float(sent_at))
            took_s = time.monotonic() - began
        counts = network.set()
    outcome = {"came": came, "away_s": statistics.median(away_s) if away_s else None}
    print(json.dumps(outcome | {"took_s": took_s if came else None, "carried": counts.carried, "lost": counts.lost}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
