"""P10 for the server: malicious clients cost `flowpi serve` little memory, and no other client its text."""

import contextlib
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect, unix_connect

from flowpi.wire.codec import Encoding
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText
from tests.backends.hostile import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, bomb, for_ever
from tests.backends.hostile import frame as any_frame
from tests.rig.appliance import Process
from tests.server.calling import quiet
from tests.sound import echo, noise
from tests.waiting import PATIENCE_S

TIMES = 3
"""The number of attacks of each kind, one after the other."""
MEMORY_MB = 48
"""The largest frame that the server takes is 8 MB, and it is there up to four times: pieces, whole, text, message."""
KEY = "canary-of-the-victim"
SOUND = noise(1)

frame = partial(any_frame, mask=True)


def upgrade(encoding: str) -> bytes:
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    headers = f"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\nEncoding: {encoding}"
    return f"GET /api/v1/dash/ws HTTP/1.1\r\n{headers}\r\n\r\n".encode()


JSON, MSGPACK = upgrade("json"), upgrade("msgpack")
CONTINUED = frame(CONTINUATION, b"a" * 60_000, fin=False)
ARRAYS = b"\xdc\x01\xb0" + (b"\xdc\x3e\x80" + b"\x90" * 16_000) * 432
"""Seven million empty arrays, in arrays that are each within every limit."""


def auth(context: bytes) -> bytes:
    return frame(TEXT, b'{"type": "auth", "context": ' + context + b"}")


def packed_auth(context: bytes) -> bytes:
    return frame(BINARY, b"\x82\xa4type\xa4auth\xa7context" + context)


def endless(piece: bytes, megabytes: int = 1) -> Iterator[bytes]:
    """Yield more than the eight megabytes that the server accepts in one frame."""
    return islice(for_ever(piece), 16 * megabytes)


LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n"
KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "header": lambda: endless(b"GET /a"),
    "headers": lambda: chain([b"GET / HTTP/1.1\r\n"], endless(b"X: a\r\n")),
    "body": lambda: chain([LOGIN + b"Content-Length: 99999999999\r\n\r\n"], endless(b"a", 16)),
    "chunks": lambda: chain([LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"], endless(b"1\r\na\r\n")),
    "requests": lambda: islice(for_ever(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 1),
    "frame-of-2-62": lambda: chain([JSON, frame(BINARY, length=1 << 62)], endless(b"a", 16)),
    "frame-that-stops": lambda: iter([JSON, frame(TEXT, b"{" * (7 << 20), length=8 << 20)]),
    "fragments": lambda: chain([JSON, frame(TEXT, b"{", fin=False)], endless(CONTINUED, 16)),
    "empty-fragments": lambda: chain([JSON, frame(TEXT, b"{", fin=False)], endless(frame(CONTINUATION, fin=False))),
    "compressed-bomb": lambda: iter([JSON, frame(TEXT, bomb(), rsv1=True)]),
    "no-utf-8": lambda: iter([JSON, frame(TEXT, b"\xff\xfe\xfd\x80")]),
    "not-masked": lambda: iter([JSON, any_frame(TEXT, b"{}")]),
    "pings": lambda: chain([JSON], endless(frame(PING, b"a" * 125))),
    "pongs": lambda: chain([JSON], endless(frame(PONG))),
    "auths": lambda: chain([JSON], endless(auth(b"{}"))),
    "close-with-a-novel": lambda: iter([JSON, frame(CLOSE, b"a" * 60_000)]),
    "wide-text": lambda: iter([JSON, auth(b'{"content_text": "' + "\U0001f600".encode() * (7 << 18) + b'"}')]),
    "lists": lambda: iter([JSON, auth(b'{"a": [' + b"[]," * (7 << 18) + b"[]]}")]),
    "objects": lambda: iter([JSON, auth(b'{"a": [' + b"{}," * (7 << 18) + b"{}]}")]),
    "nested": lambda: iter([JSON, auth(b"[" * (7 << 20))]),
    "huge-integer": lambda: iter([JSON, auth(b"1" * (7 << 20))]),
    "lone-surrogate": lambda: iter([JSON, auth(b'{"content_text": "\\ud800"}')]),
    "packed-arrays": lambda: iter([MSGPACK, packed_auth(b"\x81\xa1a" + ARRAYS)]),
    "packed-arrays-elsewhere": lambda: iter([MSGPACK, frame(BINARY, b"\x82\xa4type\xa6append\xa1a" + ARRAYS)]),
    "packed-nested": lambda: iter([MSGPACK, packed_auth(b"\x91" * (7 << 20))]),
    "packed-array-of-2-31": lambda: iter([MSGPACK, packed_auth(b"\xdd\x7f\xff\xff\xff")]),
    "packed-arrays-of-arrays": lambda: iter([MSGPACK, packed_auth(b"\xdc\x3f\xff" * 400)]),
    "packed-nan": lambda: iter([MSGPACK, packed_auth(b"\x81\xa1a\xcb\x7f\xf8\0\0\0\0\0\0")]),
}


class Victim:
    """A `flowpi serve` in a process of its own, on TCP and on a Unix socket.

    Args:
        keys: clients on TCP need `KEY`.
        files: the limit of open file descriptors.
    """

    def __init__(self, directory: Path, *, keys: bool = False, files: int | None = None) -> None:
        self.unix = directory / "asr.sock"
        listen = ["--listen", "127.0.0.1:0", "--listen", f"unix:{self.unix}", "--set", "server.engine=echo"]
        locked = ["--set", "server.api_keys=[{env: FLOWPI_TEST_KEY}]"] if keys else []
        environment = {"FLOWPI_TEST_KEY": KEY}
        self._process = Process(["-m", "flowpi", "serve", *listen, *locked], directory, environment)
        if files is not None:
            resource.prlimit(self._process.process.pid, resource.RLIMIT_NOFILE, (files, files))
        self._process.notice("READY=1")
        match = re.search(r"ws://127\.0\.0\.1:(\d+)", self._process.log.read_text())
        assert match
        self.port = int(match[1])
        self._proc = Path(f"/proc/{self._process.process.pid}")

    def memory_mb(self, field: str) -> float:
        match = re.search(rf"{field}:\s+(\d+) kB", (self._proc / "status").read_text())
        assert match
        return int(match[1]) / 1024

    def forget_peak(self) -> None:
        (self._proc / "clear_refs").write_text("5")

    def suffer(self, kind: str) -> None:
        """Wait until the server has closed the connection, within `PATIENCE_S`."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionError):
                for piece in KINDS[kind]():
                    connection.sendall(piece)
                with contextlib.suppress(OSError):  # it has closed the connection already
                    connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

    def local_text(self) -> str:
        """Return the text that a well-behaved client on the Unix socket gets."""
        return self._text(unix_connect(str(self.unix), "ws://x/api/v1/dash/ws", open_timeout=PATIENCE_S, logger=quiet))

    def text(self) -> str:
        """Return the text that a well-behaved client gets."""
        url = f"ws://127.0.0.1:{self.port}/api/v1/dash/ws?api_key=Bearer%20{KEY}"
        return self._text(connect(url, open_timeout=PATIENCE_S, logger=quiet))

    def lines(self) -> int:
        """Return the number of lines in the log."""
        return len(self._process.log.read_text().splitlines())

    def _text(self, connection: ClientConnection) -> str:
        client = FlowClient(encoding=Encoding.JSON)
        with connection as link:
            client.open()
            for message in client.data_to_send():
                link.send(message)
            client.receive(link.recv(PATIENCE_S))
            client.commit(SOUND)
            for message in client.data_to_send():
                link.send(message)
            while True:
                for event in client.receive(link.recv(PATIENCE_S)):
                    if isinstance(event, FinalText):
                        return event.text

    def close(self) -> None:
        self._process.check()
        self._process.close()


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    victim = Victim(tmp_path_factory.mktemp("serve"))
    assert victim.text() == echo(SOUND)  # all is imported
    yield victim
    victim.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_stands_it_and_hears_the_next_client(victim: Victim, kind: str) -> None:
    victim.forget_peak()
    before_mb = victim.memory_mb("VmRSS")
    for _ in range(TIMES):
        victim.suffer(kind)
    assert victim.text() == echo(SOUND)
    assert victim.memory_mb("VmHWM") - before_mb <= MEMORY_MB


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path, keys=True, files=256)
    assert victim.text() == victim.local_text() == echo(SOUND)
    yield victim
    victim.close()


def test_sixteen_large_frames_without_a_key_cost_little(locked: Victim) -> None:
    locked.forget_peak()
    before_mb = locked.memory_mb("VmRSS")
    large = frame(TEXT, b'{"type": "auth", "context": {"a": "' + b"a" * (8 << 20))
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", locked.port)))
            link.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionError):
                link.sendall(JSON)
                link.sendall(large)
    assert locked.text() == locked.local_text() == echo(SOUND)
    cost_mb = locked.memory_mb("VmHWM") - before_mb
    assert cost_mb < 8


def test_a_crowd_that_only_connects_keeps_nobody_out(locked: Victim) -> None:
    before, began = locked.lines(), time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            for _ in range(300):
                stack.enter_context(socket.create_connection(("127.0.0.1", locked.port)))
            for _ in range(10):
                assert locked.local_text() == echo(SOUND)
            assert locked.text() == echo(SOUND)
    lines, lasted_s = locked.lines() - before, time.monotonic() - began
    assert lines - 33 < 20 + 2 * lasted_s  # 33 dictations, each with its line; of the others, so many a second
