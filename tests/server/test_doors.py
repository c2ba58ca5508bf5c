"""The doors of the server: clients without a key keep no place, no connection and no memory from those with one."""

import asyncio
import contextlib
import gzip
import json
import logging
import resource
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server import acceptor, connection, connections
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from tests.backends.hostile import TEXT
from tests.backends.hostile import frame as any_frame
from tests.clock import SkippingLoop
from tests.server.calling import (
    CHUNK,
    DASH,
    ORG_KEY,
    connect,
    dictate_flow,
    echo_of,
    hear,
    locked,
    quiet,
    refusal,
    serving,
)
from tests.waiting import PATIENCE_S, until

WITH_KEY = f"{DASH}/ws?api_key=Bearer%20{ORG_KEY}"
KEYLESS = f"{DASH}/ws"


@pytest.fixture
async def both_doors(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with keys, with one place at each door; it listens on TCP and on a Unix socket, in this order."""
    listen = ["127.0.0.1:0", f"unix:{tmp_path}/asr.sock"]
    async with Server(listen, EchoEngine(), access=locked(), max_sessions=1) as server:
        yield server


def locally(server: Server) -> websockets.connect:
    return websockets.unix_connect(server.urls[1].removeprefix("ws+unix://"), f"ws://x{KEYLESS}", logger=quiet)


async def speak(link: ClientConnection, message: str = '{"type": "x"}') -> None:
    """Send a message that the dialect passes over, again and again until the server closes."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await link.send(message)
            await asyncio.sleep(0.02)


class TestPlaces:
    async def test_sixteen_without_a_key_hold_none(self, both_doors: Server, skipping_clock: SkippingLoop) -> None:
        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
            links = []
            for _ in range(16):
                with contextlib.suppress(websockets.InvalidStatus):
                    links.append(await stack.enter_async_context(connect(both_doors, KEYLESS)))
            speaking = [asyncio.create_task(speak(link)) for link in links]
            async with locally(both_doors) as link:
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)
            async with connect(both_doors, WITH_KEY) as link:
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)
            assert len(links) == connections.MAX_KEYLESS_OF_ADDRESS
            for _ in range(4):
                skipping_clock.skip(connection.FIRST_S / 4)
                await asyncio.sleep(0.1)  # in which they speak
            await until(lambda: not both_doors.sessions)
            said = [await hear(link) for link in links]
            await asyncio.gather(*speaking)
        assert all([answer["error"] for answer in each] == ["idle: no message came"] for each in said)

    async def test_those_with_a_key_hold_none_of_the_unix_socket(self, both_doors: Server) -> None:
        async with connect(both_doors, WITH_KEY), asyncio.timeout(PATIENCE_S):
            assert (await refusal(both_doors, WITH_KEY))[0] == 503
            async with locally(both_doors) as link:
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)

    async def test_a_key_in_the_first_message_takes_a_place(self, both_doors: Server) -> None:
        async with connect(both_doors, KEYLESS) as early, connect(both_doors, KEYLESS) as late:
            await early.send(json.dumps({"type": "auth", "access_token": ORG_KEY}))
            assert json.loads(await early.recv())["status"] == "auth"
            assert await dictate_flow(late, CHUNK, access_token=ORG_KEY) == "all 1 sessions are in use"
            await late.wait_closed()
            assert late.close_code == 1013
            status, answer = await refusal(both_doors, WITH_KEY)
            assert (status, answer) == (503, {"detail": "all 1 sessions are in use"})

    async def test_too_many_without_a_key(self, both_doors: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_KEYLESS_OF_ADDRESS", 1)
        async with connect(both_doors, KEYLESS):
            answer = await refusal(both_doors, KEYLESS)
        assert answer == (503, {"detail": "too many clients have not shown a key yet"})

    @pytest.mark.parametrize("message", ['{"type": "x"}', '{"type": "append", "position": 0, "audio": ""}'])
    async def test_messages_that_are_passed_over_keep_none(self, message: str) -> None:
        async with serving(idle_s=0.5) as server, connect(server, KEYLESS) as link, asyncio.timeout(PATIENCE_S):
            await link.send('{"type": "auth"}')
            assert json.loads(await link.recv())["status"] == "auth"
            speaking = asyncio.create_task(speak(link, message))
            (answer,) = await hear(link)
            await speaking
        assert "error" in answer


class TestFrames:
    async def test_before_the_key_they_are_small(self, both_doors: Server) -> None:
        async with connect(both_doors, KEYLESS) as link:
            with contextlib.suppress(websockets.ConnectionClosed):
                await link.send("x" * 65_537)
            await link.wait_closed()
        assert link.close_code == 1009

    async def test_with_the_key_they_may_be_large(self, both_doors: Server) -> None:
        async with connect(both_doors, KEYLESS) as link:
            assert await dictate_flow(link, CHUNK * 100, access_token=ORG_KEY) == echo_of(CHUNK * 100)

    @pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
    @pytest.mark.parametrize("at_once", [False, True], ids=["after the answer", "with the request"])
    async def test_without_a_mask_none_is_taken(self, strict: bool, at_once: bool) -> None:
        async with serving(strict=strict) as server, asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rpartition(":")[2]))
            head = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            request = f"GET {DASH}/ws?api_key=Bearer%20x HTTP/1.1\r\n{head}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n"
            hello = any_frame(TEXT, b'{"type": "auth", "access_token": "x"}')
            writer.write(request.encode() + hello * at_once)
            assert b"101" in await reader.readuntil(b"\r\n\r\n")
            writer.write(hello)
            answer = await reader.read()
            writer.close()
        assert answer[:1] == b"\x88"
        assert answer[2:4] == (1002).to_bytes(2, "big")

    async def test_the_log_says_why(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "flowpi")
        async with serving() as server, connect(server, KEYLESS) as link:
            with contextlib.suppress(websockets.ConnectionClosed):
                await link.send("x" * (8 * 1024 * 1024 + 1))
            await link.wait_closed()
            await until(lambda: not server.sessions)
        assert "refused (message: more than 8388608 bytes)" in caplog.text


class TestConnections:
    async def test_the_one_that_waited_longest_makes_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acceptor, "MAX_CONNECTIONS", 4)
        async with serving(locked()) as server, asyncio.timeout(PATIENCE_S):
            port = int(server.urls[0].rpartition(":")[2])
            async with connect(server, WITH_KEY) as talking:
                idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
                for reader, _ in idle[:17]:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                assert not any(reader.at_eof() for reader, _ in idle[17:])
                async with connect(server, WITH_KEY) as link:
                    assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)
                assert await dictate_flow(talking, CHUNK) == echo_of(CHUNK)
            for _, writer in idle:
                writer.close()

    async def test_none_that_shows_a_key_is_closed_for_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acceptor, "MAX_CONNECTIONS", 2)
        async with (
            asyncio.timeout(PATIENCE_S),
            serving(locked()) as server,
            connect(server, WITH_KEY) as one,
            connect(server, WITH_KEY) as other,
        ):
            with pytest.raises((ConnectionError, websockets.InvalidMessage, EOFError)):
                await connect(server, WITH_KEY)
            for link in (one, other):
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)

    async def test_no_descriptor_left_is_one_line_and_passes(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
        accept, failures = socket.socket.accept, iter(range(5))

        def failing(listener: socket.socket) -> Any:
            if next(failures, None) is not None:
                raise OSError(24, "Too many open files")
            return accept(listener)

        async with serving() as server, asyncio.timeout(PATIENCE_S):
            monkeypatch.setattr(socket.socket, "accept", failing)
            async with connect(server, KEYLESS) as link:
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)
        assert next(failures, None) is None
        lines = [line for line in caplog.messages if "no connection can be accepted" in line]
        assert lines == ["no connection can be accepted (Too many open files): more are tried each second"]

    def test_the_limit_leaves_descriptors_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for files, limit in ((256, 96), (1024, 256), (-1, 256), (64, 1)):
            monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
            assert acceptor.connection_limit() == limit


async def raw(server: Server, request: bytes) -> bytes:
    """Send bytes that no library would send; return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rpartition(":")[2]))
    writer.write(request)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    return answer


LOGIN = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


class TestAnswers:
    @pytest.mark.parametrize(
        "request_text",
        [
            "GET / HTTP/1.1\r\nHost: x\r\nhunter2\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nX: hunter2{'x' * 9000}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2, hunter2\r\n\r\n",
            "hunter2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nExpect: hunter2\r\nConnection: close\r\n\r\n",
            f"{LOGIN}Expect: hunter2\r\n\r\n",
            "GET /hunter2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            f"{LOGIN}Content-Length: 0\r\n\r\n",
            f"{LOGIN}Content-Length: 2\r\nContent-Encoding: hunter2\r\n\r\n{{}}",
        ],
    )
    async def test_they_quote_nothing_and_name_no_library(self, request_text: str) -> None:
        async with serving() as server:
            answer = await raw(server, request_text.encode())
        assert answer.split()[1].startswith(b"4")
        assert b"hunter2" not in answer
        assert b"Server: flowpi\r\n" in answer
        assert not any(word in answer.lower() for word in (b"aiohttp", b"python"))
        assert json.loads(answer.partition(b"\r\n\r\n")[2])

    async def test_that_of_an_upgrade_names_no_library(self) -> None:
        async with serving() as server, connect(server, KEYLESS) as link:
            assert link.response is not None
            assert link.response.headers["Server"] == "flowpi"

    @pytest.mark.parametrize(
        ("encoding", "body", "status"),
        [
            ("gzip", b"not gzip", [400]),
            ("deflate", b"\xff\xfe", [400]),
            ("gzip", gzip.compress(b"{}" * 100)[:-12], [400]),
            ("br", b"\x0b\x00", [400, 415]),
            ("gzip, gzip", b"x", [415]),
        ],
        ids=["gzip", "deflate", "cut", "brotli", "twice"],
    )
    async def test_bad_encodings(
        self, encoding: str, body: bytes, status: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        head = f"{LOGIN}Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        async with serving() as server:
            answer = await raw(server, head.encode() + body)
        assert int(answer.split()[1]) in status
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    async def test_a_good_encoding_is_read(self) -> None:
        body = gzip.compress(b'{"partner_id": "a", "partner_token": "b"}')
        head = f"{LOGIN}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        async with serving() as server:
            assert (await raw(server, head.encode() + body)).startswith(b"HTTP/1.1 200")


async def test_what_untrusted_clients_cause_is_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """At most one line a second of each kind; the others are counted."""
    caplog.set_level(logging.INFO, "flowpi")
    began_s = asyncio.get_running_loop().time()
    async with serving(locked()) as server, asyncio.timeout(PATIENCE_S):
        for _ in range(40):
            async with connect(server, KEYLESS) as link:
                await dictate_flow(link, CHUNK)
            await refusal(server, f"{KEYLESS}?api_key=x")
    lasted_s = asyncio.get_running_loop().time() - began_s
    assert len(caplog.messages) <= 2 * (lasted_s + 1)


class Gated(EchoEngine):
    """An engine that recognises nothing until the lever `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def recognition(self, expected: Expected) -> EchoRecognition:
        recognition, feed = EchoRecognition(), EchoRecognition.feed

        def wait(pcm: bytes) -> str | None:
            self.go.wait()
            return feed(recognition, pcm)

        recognition.feed = wait  # type: ignore[method-assign]
        return recognition


async def test_a_client_far_ahead_is_not_read() -> None:
    """A client sends as fast as it can to an engine that stands still: only some minutes of sound are taken from it."""
    engine = Gated()
    packet = CHUNK * 10
    append = {"packets": [packet], "volumes": [0.1], "packet_duration": 1.0}
    sent = 0

    async def send(link: ClientConnection) -> None:
        nonlocal sent
        for position in range(600):
            audio = {**append, "audio_encoding": "wav", "byte_encoding": "binary"}
            await link.send(msgpack.packb({"type": "append", "position": position, "audio_packets": audio}))
            sent += 1
        await link.send(msgpack.packb({"type": "commit", "total_packets": 600}))

    async with (
        Server(["127.0.0.1:0"], engine) as server,
        connect(server, KEYLESS, additional_headers={"Encoding": "msgpack"}) as link,
        asyncio.timeout(PATIENCE_S),
    ):
        try:
            await link.send(msgpack.packb({"type": "auth"}))
            await link.recv()
            sending = asyncio.create_task(send(link))
            before = -1
            while before != sent:  # until it no longer gets on
                before = sent
                await asyncio.sleep(0.5)
            assert not sending.done()
            assert sent * len(packet) < 6 * connection.MAX_WAITING_BYTES
        finally:
            engine.go.set()
        await sending
        *_, last = [msgpack.unpackb(frame) async for frame in link]
    assert last["body"]["text"] == echo_of(packet * 600)
    assert len(packet) == RATE_HZ * FRAME_BYTES
