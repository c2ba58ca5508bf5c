"""`python -m tests.reliability.counting_server ADDRESS`: `flowpi serve` with an engine that counts, and some faults.

A sample of the soak's microphone is the number of its frame, modulo 65536. The text says what was heard: the first
frame, how many frames there are, and how many of them do not follow the one before. One recognition of `ONE_FAILS_OF`
fails. At SIGURG, which a process that has just started ignores, every connection is reset.
"""

import ctypes
import os
import random
import signal
import socket
import struct
import sys
from typing import Any

from flowpi.cli import main as cli
from flowpi.server.engines import ENGINES, EchoRecognition, Expected
from tests.audio.listening import missing, samples

ONE_FAILS_OF = 100


class CountingEngine:
    languages = ("en",)

    def recognition(self, expected: Expected) -> "CountingRecognition":
        return CountingRecognition()


class CountingRecognition(EchoRecognition):
    def __init__(self) -> None:
        super().__init__()
        self._heard = bytearray()

    def feed(self, pcm: bytes) -> str | None:
        self._heard += pcm
        return super().feed(pcm)

    def finish(self) -> str:
        if random.randrange(ONE_FAILS_OF) == 0:
            raise RuntimeError("one of the failures that an engine may have")
        pcm = bytes(self._heard).rstrip(b"\0")  # the last packet is padded
        pcm += bytes(len(pcm) % 2)
        first = samples(pcm[:2])[0] if pcm else 0
        return f"{first} {len(pcm) // 2} {len(missing(pcm))}"


def reset_all(*_: Any) -> None:
    """Disconnect every TCP socket of this process as connect(2) describes it; the peer receives a reset."""
    libc = ctypes.CDLL(None)
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as one:
                one.getpeername()
                libc.connect(one.fileno(), nowhere, len(nowhere))
        except OSError:
            pass  # no socket, or the listening one


def main(address: str) -> int:
    ENGINES["echo"] = lambda _: CountingEngine()
    signal.signal(signal.SIGURG, reset_all)
    return cli.main(["serve", "--set", "server.engine=echo", "--listen", address])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
