"""A server that means harm, as a process of its own: every path is one kind of it.

    python -m tests.backends.hostile      prints its port

`/WHEN/KIND`, and what a dialect puts behind it: WHEN is `upgraded` (after the upgrade), `open` (after the session was
opened, in the encoding that the upgrade asks for) or `rest` (instead of the answer to a POST, which else works). The
kinds of `INSTEAD` take the place of the answer to the upgrade. Kinds whose name begins
with `endless` go on until the other side hangs up. Nothing of flowpi is in here, and no WebSocket library: they would
not let it.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import re
import socket
import socketserver
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455."""
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DRIP_S = 0.02


def frame(
    opcode: int,
    content: bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    mask: bool = False,
    length: int | None = None,
) -> bytes:
    """`mask`: as a client must; by zeros, which change nothing. `length`: what it claims to be."""
    first, size = fin << 7 | rsv1 << 6 | opcode, len(content) if length is None else length
    if size < 126:
        head = struct.pack(">BB", first, mask << 7 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, mask << 7 | 126, size)
    else:
        head = struct.pack(">BBQ", first, mask << 7 | 127, size)
    return head + bytes(4 * mask) + content


def for_ever(piece: bytes) -> Iterator[bytes]:
    block = piece * max(1, 65_536 // len(piece))
    while True:
        yield block


def for_ever_in_fragments(piece: bytes) -> Iterator[bytes]:
    return after(frame(TEXT, b"{", fin=False), for_ever(frame(CONTINUATION, piece, fin=False)))


def dripping(content: bytes) -> Iterator[bytes]:
    """It waits before every byte but the first few, which say what it will be."""
    yield content[:10]
    for at in range(10, len(content)):
        time.sleep(DRIP_S)
        yield content[at : at + 1]


def after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def partial(text: str) -> bytes:
    return json.dumps({"status": "text", "final": False, "body": {"text": text, "detected_language": "en"}}).encode()


def info(message: bytes) -> bytes:
    """JSON whose `message` may be anything at all."""
    return b'{"status": "info", "message": ' + message + b"}"


def packed_info(message: bytes) -> bytes:
    """The same in MessagePack."""
    return b"\x82\xa6status\xa4info\xa7message" + message


@cache
def bomb() -> bytes:
    """64 MiB of zeros as half of 128 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]


INSTEAD: dict[str, Callable[[], Iterator[bytes]]] = {
    "endless-header": lambda: after(b"HTTP/1.1 101 X\r\nX: ", for_ever(b"a")),
    "endless-status": lambda: after(b"HTTP/1.1 ", for_ever(b"1")),
    "endless-headers": lambda: after(b"HTTP/1.1 101 X\r\n", for_ever(b"X: a\r\n")),
    "headers-of-8-kb": lambda: iter([b"HTTP/1.1 101 X\r\n", *[b"X: " + b"a" * 8000 + b"\r\n"] * 2000, b"\r\n"]),
    "endless-body": lambda: after(b"HTTP/1.1 200 OK\r\n\r\n", for_ever(b"a")),
    "endless-body-of-2-62": lambda: after(b"HTTP/1.1 503 X\r\nContent-Length: %d\r\n\r\n" % 2**62, for_ever(b"a")),
    "endless-chunks": lambda: after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", for_ever(b"1\r\na\r\n")),
    "redirect-to-itself": lambda: iter([b"HTTP/1.1 307 X\r\nLocation: /upgraded/redirect-to-itself\r\n\r\n"]),
    "retry-after-ages": lambda: iter([b"HTTP/1.1 429 X\r\nRetry-After: " + b"9" * 8000 + b"\r\n\r\n"]),
    "no-accept": lambda: iter([b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"]),
    "endless-not-http": lambda: for_ever(b"\x00\xff"),
    "dripping-header": lambda: dripping(b"HTTP/1.1 101 X\r\nX: " + b"a" * 4000),
    "nothing": lambda: iter([]),
    "reset": lambda: iter([]),
}

UPGRADED: dict[str, Callable[[], Iterator[bytes]]] = {
    "endless-frame-of-2-62": lambda: after(frame(BINARY, length=1 << 62), for_ever(b"a")),
    "frame-of-1-mib": lambda: iter([frame(TEXT, partial("a" * (1 << 20)))]),
    "frame-that-drips": lambda: dripping(frame(TEXT, partial("a" * 10_000))),
    "frame-that-stops": lambda: iter([frame(TEXT, b"{", length=200_000)]),
    "endless-fragments": lambda: after(
        frame(TEXT, b"a", fin=False), for_ever(frame(CONTINUATION, b"a" * 60_000, fin=False))
    ),
    "endless-empty-fragments": lambda: for_ever_in_fragments(b""),
    "compressed-bomb": lambda: iter([frame(TEXT, bomb(), rsv1=True)]),
    "text-no-utf-8": lambda: iter([frame(TEXT, b"\xff\xfe\xfd\x80")]),
    "endless-pings": lambda: for_ever(frame(PING, b"a" * 125)),
    "endless-pongs": lambda: for_ever(frame(PONG)),
    "masked": lambda: iter([b"\x81\x85\x00\x00\x00\x00hello"]),
    "endless-unknown-opcodes": lambda: for_ever(frame(3, b"a")),
    "close-with-a-novel": lambda: iter([frame(CLOSE, struct.pack(">H", 1000) + b"a" * 60_000)]),
    "close-with-escapes": lambda: iter([frame(CLOSE, struct.pack(">H", 4000) + b"\x1b]0;owned\x07\r\n\x00" * 9)]),
    "close-with-no-code": lambda: iter([frame(CLOSE, struct.pack(">H", 999))]),
    "endless-partials": lambda: for_ever(frame(TEXT, partial("it was " * 10))),
    "endless-long-partials": lambda: for_ever(frame(TEXT, partial("\U0001f600" * 20_000))),
    "endless-unknown-statuses": lambda: for_ever(frame(TEXT, b'{"status": "x"}')),
    "endless-auths": lambda: for_ever(frame(TEXT, b'{"status": "auth"}')),
    "error-of-200-kb": lambda: iter([frame(TEXT, b'{"status": "error", "error": "' + b"\\u001b" * 30_000 + b'"}')]),
    "tag-of-200-kb": lambda: iter([frame(TEXT, b'{"status": "' + b"\\u001b" * 30_000 + b'"')]),
    "json-nested": lambda: iter([frame(TEXT, info(b"[" * 200_000))]),
    "endless-json-nested-closed": lambda: for_ever(frame(TEXT, info(b"[" * 900 + b"]" * 900))),
    "endless-json-of-lists": lambda: for_ever(frame(TEXT, info(b"[" + b"[]," * 80_000 + b"[]]"))),
    "endless-json-huge-integer": lambda: for_ever(frame(TEXT, info(b"1" * 200_000))),
    "endless-json-huge-exponent": lambda: for_ever(frame(TEXT, info(b"1e400000"))),
    "json-nan": lambda: iter([frame(TEXT, info(b"NaN"))]),
    "json-lone-surrogate": lambda: iter([frame(TEXT, info(b'"\\ud800"'))]),
    "msgpack-nested": lambda: iter([frame(BINARY, packed_info(b"\x91" * 200_000))]),
    "endless-msgpack-nested-closed": lambda: for_ever(frame(BINARY, packed_info(b"\x91" * 400 + b"\x00"))),
    "endless-msgpack-array-of-2-31": lambda: for_ever(frame(BINARY, packed_info(b"\xdd\x7f\xff\xff\xff"))),
    "endless-msgpack-map-of-2-31": lambda: for_ever(frame(BINARY, packed_info(b"\xdf\x7f\xff\xff\xff"))),
    "endless-msgpack-text-of-2-31": lambda: for_ever(frame(BINARY, packed_info(b"\xdb\x7f\xff\xff\xff"))),
    "endless-msgpack-arrays-of-arrays": lambda: for_ever(frame(BINARY, packed_info(b"\xdc\x3f\xff" * 400))),
    "endless-msgpack-empty-maps": lambda: for_ever(frame(BINARY, packed_info(_empty_maps()))),
    "endless-msgpack-nan": lambda: for_ever(frame(BINARY, packed_info(b"\xcb\x7f\xf8\0\0\0\0\0\0"))),
    "endless-msgpack-times": lambda: for_ever(frame(BINARY, packed_info(b"\xd6\xff\0\0\0\0"))),
    "end-of-stream": lambda: iter([]),
}


def _empty_maps() -> bytes:
    """240 000 maps, in arrays that keep to every limit on one array."""
    return b"\xdc\x00\x0f" + (b"\xdc\x3e\x80" + b"\x80" * 16_000) * 15


def segments(text: str) -> Iterator[bytes]:
    """Suki's: each with an id of its own."""
    for number in itertools.count():
        transcript = {"transcript": text, "is_final": False, "transcript_id": str(number)}
        yield frame(TEXT, json.dumps({"transcript": transcript}).encode())


def nested_results(depth: int) -> bytes:
    return b'{"result": ' * depth + b'{"transcript": "it was"}' + b"}" * depth


WORDS = b'{"transcript": {"transcript": "", "words": [' + b"{}," * 60_000 + b"{}]}}"
SUKI: dict[str, Callable[[], Iterator[bytes]]] = {
    "endless-segments": lambda: segments("it was " * 100),
    "endless-long-segments": lambda: segments("\U0001f600" * 15_000),
    "endless-empty-segments": lambda: segments(""),
    "endless-results-in-results": lambda: for_ever(frame(TEXT, nested_results(900))),
    "results-in-20-000-results": lambda: iter([frame(TEXT, nested_results(20_000))]),
    "endless-words": lambda: for_ever(frame(TEXT, WORDS)),
    "error-of-lists": lambda: iter([frame(TEXT, b'{"error": {"code": [[]], "message": ["a"]}}')]),
}
UPGRADES = UPGRADED | SUKI


class Attack(socketserver.BaseRequestHandler):
    """One connection, on a thread of its own: a victim that takes all that comes must not keep the others waiting."""

    request: socket.socket

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._attack()

    def _attack(self) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):  # a body, if there is one, comes after
            if not (piece := self.request.recv(1)):
                return
            request += piece
        match = re.match(rb"(GET|POST) /(upgraded|open|rest)/([a-z0-9-]+)", request)
        assert match, request
        method, when, kind = match[1], match[2], match[3].decode()
        if method == b"POST" and when != b"rest":
            self._answer(request)
            return
        if kind in INSTEAD:
            self._pour(INSTEAD[kind]())
        else:
            self._upgrade(request)
            if when == b"open" and kind in UPGRADED:
                self.request.recv(1)
                packed = b"encoding: msgpack" in request.lower()
                auth = frame(BINARY, b"\x81\xa6status\xa4auth") if packed else frame(TEXT, b'{"status": "auth"}')
                self.request.sendall(auth)
            self._pour(UPGRADES[kind]())
        if kind == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif kind != "end-of-stream":
            while self.request.recv(65_536):  # until the other side has had enough
                pass

    def _answer(self, request: bytes) -> None:
        """Of Suki's login and of the making of a session, in one."""
        length = re.search(rb"(?i)content-length: *(\d+)", request)
        self.request.recv(int(length[1]) if length else 0, socket.MSG_WAITALL)
        body = b'{"suki_token": "a.b.c", "transcription_session_id": "00000000-0000-0000-0000-000000000000"}'
        self.request.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def _upgrade(self, request: bytes) -> None:
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
        assert key
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        head = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        self.request.sendall(head + accept + b"\r\n\r\n")

    def _pour(self, payload: Iterator[bytes]) -> None:
        for piece in payload:
            self.request.sendall(piece)


class Hostile(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    with Hostile(("127.0.0.1", 0), Attack) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()  # until whoever started it is gone
        server.shutdown()


if __name__ == "__main__":
    main()
