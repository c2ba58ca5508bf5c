"""The middleware: untrusted web pages, size and time limits, the form of errors, the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

import flowpi.server.http
from flowpi.server import middleware
from flowpi.server.app import Server
from tests.server.calling import (
    CHUNK,
    DASH,
    ORG_KEY,
    PARTNER,
    PARTNER_TOKEN,
    ask,
    connect,
    create,
    dictate_flow,
    dictate_suki,
    echo_of,
    http,
    locked,
    log_in,
    refusal,
    serving,
)
from tests.waiting import PATIENCE_S

LOGIN = "/api/v1/auth/login"
FOREIGN = ["https://evil.example", "http://127.0.0.1.evil.example", "http://192.168.1.5", "null", "http://[", ""]
OURS = ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"]


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
async def open_server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with serving(strict=request.param) as server:
        yield server


async def raw(server: Server, request: bytes) -> tuple[int, Any]:
    """Send bytes that no library would send; return status and JSON of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rpartition(":")[2]))
    writer.write(request)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


class TestPages:
    @pytest.mark.parametrize("origin", FOREIGN)
    async def test_of_strangers_cannot_use_an_open_server(self, open_server: Server, origin: str) -> None:
        sent = {"Origin": origin}
        for path in (f"{DASH}/ws?api_key=Bearer%20x", "/ws/transcribe"):
            status, _ = await refusal(open_server, path, additional_headers=sent)
            assert status == 403
        for path in (LOGIN, f"{DASH}/generate_access_token", "/api/v1/transcription/session/create"):
            status, answer = await ask(open_server, "POST", path, {}, headers=sent)
            assert status == 403
            assert "Origin: " in answer.get("detail", answer.get("message"))
        async with aiohttp.ClientSession() as session, session.options(http(open_server) + LOGIN, headers=sent) as got:
            assert got.status == 403
            assert "Access-Control-Allow-Origin" not in got.headers

    @pytest.mark.parametrize("origin", OURS)
    async def test_of_this_machine_can(self, open_server: Server, origin: str) -> None:
        path = f"{DASH}/ws?api_key=Bearer%20x"
        async with connect(open_server, path, additional_headers={"Origin": origin}) as link:
            assert await dictate_flow(link, CHUNK, access_token="x") == echo_of(CHUNK)
        async with aiohttp.ClientSession() as session:
            asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            async with session.options(http(open_server) + LOGIN, headers=asks) as got:
                assert got.status == 204
                assert got.headers["Access-Control-Allow-Origin"] == origin
                assert "sdp_suki_token" in got.headers["Access-Control-Allow-Headers"]
            body = {"partner_id": "any", "partner_token": "any"}
            async with session.post(http(open_server) + LOGIN, json=body, headers={"Origin": origin}) as got:
                assert got.status == 200
                assert got.headers["Access-Control-Allow-Origin"] == origin

    @pytest.mark.parametrize("origin", ["https://house.example", "null"])
    async def test_of_anybody_can_with_a_key(self, origin: str) -> None:
        async with serving(locked()) as server:
            sent = {"Origin": origin}
            assert (await ask(server, "POST", f"{DASH}/generate_access_token", {}, headers=sent))[0] == 401
            async with connect(server, f"{DASH}/ws?api_key={ORG_KEY}", additional_headers=sent) as link:
                assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)


class TestWords:
    @pytest.mark.parametrize("path", ["/", f"{DASH}/api", "/api/v1/dash"])
    async def test_other_paths(self, open_server: Server, path: str) -> None:
        assert await ask(open_server, "GET", path) == (404, {"detail": "path: not a documented one"})

    @pytest.mark.parametrize("path", ["/api/v1/auth/register", "/api/v1/transcription/session/x/status"])
    async def test_other_paths_of_suki(self, open_server: Server, path: str) -> None:
        assert await ask(open_server, "GET", path) == (404, {"code": 5, "message": "path: not a documented one"})

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", f"{DASH}/ws"),
            ("POST", f"{DASH}/warmup_dash"),
            ("GET", f"{DASH}/generate_access_token"),
            ("OPTIONS", f"{DASH}/generate_access_token"),
            ("GET", LOGIN),
            ("PUT", "/ws/transcribe"),
        ],
    )
    async def test_other_methods(self, open_server: Server, method: str, path: str) -> None:
        status, answer = await ask(open_server, method, path)
        assert status == 405
        assert answer.get("detail", answer.get("message")) == "method: not the documented one of this path"

    async def test_no_websocket(self) -> None:
        async with serving() as server:
            status, answer = await ask(server, "GET", f"{DASH}/ws")
            assert (status, answer["detail"][:8]) == (400, "upgrade:")
            _, made = await ask(server, "POST", "/api/v1/transcription/session/create")
            status, answer = await ask(server, "GET", "/ws/transcribe", headers=made)
            assert (status, answer["code"], answer["message"][:8]) == (400, 3, "upgrade:")


class TestLimits:
    @pytest.mark.parametrize("path", [LOGIN, f"{DASH}/generate_access_token"])
    async def test_body(self, open_server: Server, path: str) -> None:
        sent = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        status, answer = await ask(open_server, "POST", path, data=b"x" * 65_537, headers=sent)
        assert status == 413
        assert answer.get("detail", answer.get("message")) == "body: more than 65536 bytes"

    async def test_body_that_is_announced_and_unpacked(self, open_server: Server) -> None:
        packed = {"Content-Encoding": "deflate", "Content-Type": "application/json"}
        import zlib

        assert (await ask(open_server, "POST", LOGIN, data=zlib.compress(bytes(10_000_000)), headers=packed))[0] == 413

    @pytest.mark.parametrize(
        "head",
        [
            f"GET {DASH}/ws?api_key={'x' * 9000} HTTP/1.1\r\n",
            f"GET {DASH}/ws HTTP/1.1\r\nX: {'x' * 9000}\r\n",
            f"GET {DASH}/ws HTTP/1.1\r\n{'X: x' * 1}\r\n" + "X: x\r\n" * 200,
        ],
        ids=["query", "header", "headers"],
    )
    async def test_request(self, open_server: Server, head: str) -> None:
        status, _ = await raw(open_server, f"{head}Host: x\r\n\r\n".encode())
        assert status in (400, 431)

    async def test_no_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flowpi.server.http, "REQUEST_S", 0.01)
        async with serving() as server:
            for begun in (b"", b"GET /"):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rpartition(":")[2]))
                writer.write(begun)
                async with asyncio.timeout(PATIENCE_S):
                    await reader.read()
                writer.close()

    async def test_body_that_does_not_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(middleware, "REQUEST_S", 0.05)
        async with serving() as server:
            request = f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{{"
            status, answer = await raw(server, request.encode())
        assert (status, answer["code"]) == (408, 3)


class Everything(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "aiohttp.client":
            self.lines.append(self.format(record))


async def test_no_key_and_no_word_in_any_line() -> None:
    """Send keys in every wrong and right way: no line of any logger, at DEBUG, contains one."""
    log = Everything()
    root = logging.getLogger()
    root.addHandler(log)
    names = [name for name in ("", *root.manager.loggerDict) if name.startswith("aiohttp")]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    secret = "canary-of-this-test"
    try:
        async with serving(locked()) as server:
            token = await log_in(server)
            session = await create(server, token)
            async with connect(server, "/ws/transcribe", subprotocols=["SukiAmbientAuth", token, session]) as link:
                await dictate_suki(link, CHUNK)
            async with connect(server, f"{DASH}/ws?api_key={ORG_KEY}", subprotocols=[secret]) as link:
                await dictate_flow(link, CHUNK)
            async with connect(server, f"{DASH}/ws") as link:
                await dictate_flow(link, CHUNK, access_token=secret)
            await refusal(server, f"{DASH}/ws?api_key={secret}")
            await refusal(server, "/ws/transcribe", subprotocols=[secret, secret])
            await ask(server, "POST", LOGIN, {"partner_id": PARTNER, "partner_token": secret})
            await ask(server, "GET", f"/?key={secret}")
            sent: Mapping[str, str] = {"Authorization": secret}
            await ask(server, "POST", f"{DASH}/generate_access_token", headers=sent)
            await raw(server, f"GET /{secret} {secret} HTTP/1.1\r\n\r\n".encode())
            await raw(server, f"GET / HTTP/1.1\r\nHost: x\r\n{secret}\r\n\r\n".encode())
    finally:
        root.removeHandler(log)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    text = "\n".join(log.lines)
    assert "final text sent" in text
    for hidden in (secret, ORG_KEY, PARTNER_TOKEN, token, "sha256"):
        assert hidden not in text
