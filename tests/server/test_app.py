"""The server over real sockets, with a client library that is not ours."""

import asyncio
import contextlib
import hashlib
import json
import logging
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from flowpi.core.errors import (
    AlreadyRunning,
    CannotCreateError,
    FlowpiError,
    NoPermissionError,
    RefusedError,
    UsageError,
)
from flowpi.server.app import Server, serve
from flowpi.server.auth import Authenticator
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected, Recognition, load_engine
from flowpi.wire.codec import Encoding
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText, Notice, PartialText, SessionReady
from tests.speech import two_cities, word_error_rate
from tests.waiting import PATIENCE_S, until

PCM = bytes(range(256)) * 425  # 3.4 s
AUTH = '{"type": "auth"}'


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that listens on TCP and on a Unix socket, in this order."""
    async with Server(["127.0.0.1:0", f"unix:{tmp_path}/asr.sock"], EchoEngine()) as server:
        yield server


def connected(url: str, encoding: Encoding = Encoding.JSON, path: str = "/api/v1/dash/ws") -> websockets.connect:
    headers = {"Encoding": encoding.value}
    if url.startswith("ws+unix://"):
        return websockets.unix_connect(url.removeprefix("ws+unix://"), f"ws://flowpi{path}", additional_headers=headers)
    return websockets.connect(url + path, additional_headers=headers)


async def dictate(link: ClientConnection, client: FlowClient, pcm: bytes, append_bytes: int = 32_000) -> list[Any]:
    """Send the speech as fast as possible; return the messages that the client received, in order."""

    async def flush() -> None:
        for frame in client.data_to_send():
            await link.send(frame)

    client.open()
    await flush()
    assert client.receive(await link.recv()) == [SessionReady()]
    whole = len(pcm) // append_bytes * append_bytes
    for at in range(0, whole, append_bytes):
        client.append(pcm[at : at + append_bytes])
        await flush()
    client.commit(pcm[whole:])
    await flush()
    return [event async for frame in link for event in client.receive(frame)]


async def talk(link: ClientConnection) -> FlowClient:
    """Send two seconds in MessagePack, without a commit."""
    client = FlowClient()
    client.open()
    await link.send(client.data_to_send()[0])
    assert client.receive(await link.recv()) == [SessionReady()]
    client.append(PCM[:64_000])
    await link.send(client.data_to_send()[0])
    return client


def echo_of(pcm: bytes) -> str:
    return f"echo {len(pcm) / 32_000:.3f} s, {len(pcm) // 2} samples, sha256 {hashlib.sha256(pcm).hexdigest()}"


async def answers(link: ClientConnection) -> list[dict[str, Any]]:
    """Return all messages that the server sends until it closes."""
    said = []
    with contextlib.suppress(websockets.ConnectionClosedError):
        async for frame in link:
            said.append(json.loads(frame))
    return said


async def free(server: Server) -> None:
    """Wait until no session is left."""
    async with asyncio.timeout(PATIENCE_S):
        while server.sessions:  # noqa: ASYNC110 - the server has no use for an event of this
            await asyncio.sleep(0)


async def test_who_may_open_the_unix_socket_needs_no_key(tmp_path: Path) -> None:
    access = Authenticator(["key"])
    async with Server([f"unix:{tmp_path}/asr.sock", "127.0.0.1:0"], EchoEngine(), access=access) as server:
        async with connected(server.urls[0]) as link:
            assert (await dictate(link, FlowClient(encoding=Encoding.JSON), PCM))[-1] == FinalText(echo_of(PCM), "en")
        with pytest.raises(websockets.InvalidStatus, match="401"):
            await connected(server.urls[1], path="/api/v1/dash/ws?api_key=Bearer%20x")


class TestDictation:
    @pytest.mark.parametrize("path", ["/api/v1/dash/ws?api_key=Bearer%20x", "/api/v1/dash/client_ws?client_key=x"])
    @pytest.mark.parametrize("transport", [0, 1], ids=["tcp", "unix"])
    @pytest.mark.parametrize("encoding", list(Encoding))
    async def test_every_sample_arrives(self, echo: Server, transport: int, encoding: Encoding, path: str) -> None:
        async with connected(echo.urls[transport], encoding, path) as link:
            events = await dictate(link, FlowClient(encoding=encoding, access_token="any"), PCM)
        *interim, final = events
        assert final == FinalText(echo_of(PCM), "en")
        assert Notice("info") in interim
        assert link.close_code == 1000
        assert link.protocol.extensions == []  # no compression, though the client offered it

    @pytest.mark.parametrize("wav", [True, False], ids=["wav", "bare"])
    async def test_packets_of_both_kinds(self, echo: Server, wav: bool) -> None:
        async with connected(echo.urls[0], Encoding.MSGPACK) as link:
            events = await dictate(link, FlowClient(wav=wav), PCM)
        assert events[-1] == FinalText(echo_of(PCM), "en")

    async def test_three_minutes_in_one_frame(self, echo: Server) -> None:
        pcm = PCM * 60
        async with connected(echo.urls[0], Encoding.MSGPACK) as link:
            events = await dictate(link, FlowClient(wav=False), pcm, append_bytes=len(pcm))
        assert events[-1] == FinalText(echo_of(pcm), "en")

    async def test_many_minutes_faster_than_they_are_heard(self, echo: Server) -> None:
        pcm = PCM * 100
        async with connected(echo.urls[1], Encoding.MSGPACK) as link:
            events = await dictate(link, FlowClient(wav=False), pcm)
        assert events[-1] == FinalText(echo_of(pcm), "en")

    async def test_nothing_said(self, echo: Server) -> None:
        async with connected(echo.urls[0]) as link:
            events = await dictate(link, FlowClient(encoding=Encoding.JSON), b"")
        assert events[-1] == FinalText(echo_of(b""), "en")

    async def test_interim_texts_before_the_commit(self, echo: Server) -> None:
        async with connected(echo.urls[0], Encoding.MSGPACK) as link:
            client = await talk(link)
            assert client.receive(await link.recv()) == [PartialText("echo 2 s", "en")]

    async def test_sixteen_at_once(self, echo: Server) -> None:
        async def one(number: int) -> list[Any]:
            async with connected(echo.urls[number % 2], Encoding.MSGPACK) as link:
                return await dictate(link, FlowClient(), bytes([number]) * 96_000)

        said = await asyncio.gather(*(one(number) for number in range(16)))
        assert [events[-1].text for events in said] == [echo_of(bytes([number]) * 96_000) for number in range(16)]

    async def test_words(self) -> None:
        pcm = two_cities().part(0.7, 10.8)
        async with (
            Server(["127.0.0.1:0"], load_engine("moonshine")) as server,
            connected(server.urls[0], Encoding.MSGPACK) as link,
        ):
            events = await dictate(link, FlowClient(language=["en-US"]), pcm)
        reference = " ".join(two_cities().text.split()[:30])
        assert word_error_rate(reference, events[-1].text) <= 0.1


class TestRefusals:
    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ("garbage", "message: not JSON (DecodeError)"),
            ("x" * 1_000_000, "message: not JSON (DecodeError)"),
            (b"\x81" * 1_000_000, "frame: a session in json takes no such frame"),
            ('{"type": 7}', "type: auth, append or commit"),
            ('{"type": "commit", "total_packets": 0}', "commit: auth comes first"),
            ('{"type": "auth", "access_token": 7}', "auth.access_token: Expected `str | null`, got `int`"),
        ],
        ids=["garbage", "megabyte", "binary", "tag", "commit", "token"],
    )
    async def test_not_the_dialect(self, echo: Server, frame: str | bytes, reason: str) -> None:
        async with connected(echo.urls[0]) as link:
            await link.send(frame)
            (answer,) = await answers(link)
        assert answer["status"] == "error"
        assert answer["error"] == reason
        assert link.close_code == 1002

    async def test_garbage_in_msgpack(self, echo: Server) -> None:
        async with connected(echo.urls[0], Encoding.MSGPACK) as link:
            await link.send(b"\x91" * 1_000_000)
            assert isinstance(await link.recv(), bytes)
            await link.wait_closed()
        assert link.close_code == 1002

    async def test_frame_over_the_limit(self, echo: Server) -> None:
        async with connected(echo.urls[0]) as link:
            with contextlib.suppress(websockets.ConnectionClosed):
                await link.send("x" * (8 * 1024 * 1024 + 1))
            await link.wait_closed()
        assert link.close_code == 1009

    async def test_lost_packets(self, echo: Server) -> None:
        async with connected(echo.urls[0]) as link:
            await link.send(AUTH)
            await link.send('{"type": "commit", "total_packets": 3}')
            *_, answer = await answers(link)
        assert answer["error"] == "commit.total_packets: 3, but 0 arrived"

    async def test_language_that_it_does_not_understand(self, echo: Server) -> None:
        async with connected(echo.urls[0]) as link:
            await link.send('{"type": "auth", "language": ["de", "fr-CA"]}')
            (answer,) = await answers(link)
        assert answer["error"] == "language: this server understands en"
        assert link.close_code == 1008

    async def test_other_paths(self, echo: Server) -> None:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with connected(echo.urls[0], path="/"):
                pass
        assert caught.value.response.status_code == 404

    async def test_plain_http(self, echo: Server) -> None:
        host, port = echo.urls[0].removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /api/v1/dash/ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()
        await free(echo)

    async def test_seventeenth_session(self, echo: Server) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for url in echo.urls:  # each door has sixteen places of its own
                for _ in range(16):
                    await stack.enter_async_context(connected(url))
                with pytest.raises(websockets.InvalidStatus) as caught:
                    await stack.enter_async_context(connected(url))
                assert caught.value.response.status_code == 503
                assert json.loads(caught.value.response.body or b"") == {"detail": "all 16 sessions are in use"}
        await free(echo)
        async with connected(echo.urls[1]) as link:
            assert (await dictate(link, FlowClient(encoding=Encoding.JSON), PCM))[-1].text == echo_of(PCM)

    async def test_client_that_vanishes_frees_its_place(self, echo: Server) -> None:
        async with connected(echo.urls[0]) as link:
            await link.send(AUTH)
            await link.recv()
            assert echo.sessions == 1
            link.transport.abort()
        await free(echo)

    async def test_client_that_says_nothing_frees_its_place(self) -> None:
        async with Server(["127.0.0.1:0"], EchoEngine(), idle_s=0.01) as server:
            async with connected(server.urls[0]) as link:
                (answer,) = await answers(link)
            assert answer["error"] == "idle: no message came"
            assert link.close_code == 1008

    async def test_pings_do_not_keep_a_place(self) -> None:
        async with Server(["127.0.0.1:0"], EchoEngine(), idle_s=2) as server:
            async with connected(server.urls[0]) as link:
                pinging = asyncio.create_task(ping(link))
                (answer,) = await answers(link)
                assert await pinging > 1
            assert answer["error"] == "idle: no message came"

    @pytest.mark.parametrize("append_bytes", [3200, 35_200])
    async def test_an_utterance_without_end(self, append_bytes: int) -> None:
        async with Server(["127.0.0.1:0"], EchoEngine(), max_utterance_s=1) as server:
            async with connected(server.urls[0], Encoding.MSGPACK) as link:
                with pytest.raises(RefusedError, match=r"refused: audio: more than 1 s in one utterance$"):
                    await dictate(link, FlowClient(), PCM[:35_200], append_bytes)
                await link.wait_closed()
                assert link.close_code == 1008
            async with connected(server.urls[0], Encoding.MSGPACK) as link:
                assert (await dictate(link, FlowClient(), PCM[:32_000]))[-1].text == echo_of(PCM[:32_000])

    @pytest.mark.parametrize("where", ["feed", "finish"])
    async def test_a_client_that_reads_nothing_frees_its_place(self, where: str) -> None:
        class Verbose(EchoRecognition):
            def feed(self, pcm: bytes) -> str | None:
                return "x" * 20_000_000 if where == "feed" else None

            def finish(self) -> str:
                return "x" * 20_000_000

        class VerboseEngine(EchoEngine):
            def recognition(self, expected: Expected) -> EchoRecognition:
                return Verbose()

        async with Server(["127.0.0.1:0"], VerboseEngine(), idle_s=0.1) as server, plain_socket(server) as (_, writer):
            packets = '"packets":["AAA="],"volumes":[0],"packet_duration":0.1'
            writer.write(frame(AUTH) + frame('{"type":"append","position":0,"audio_packets":{' + packets + "}}"))
            if where == "finish":
                writer.write(frame('{"type": "commit", "total_packets": 1}'))
            await until(lambda: server.sessions)
            await until(lambda: not server.sessions)


@contextlib.asynccontextmanager
async def plain_socket(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket that does not read, answer or close by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.urls[0].rpartition(":")[2]), limit=4096)
    head = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"GET /api/v1/dash/ws HTTP/1.1\r\n{head}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def frame(text: str) -> bytes:
    """Return a text frame of a client (RFC 6455), up to 64 KB."""
    return bytes([0x81, 0x80 | 126, *len(text).to_bytes(2, "big"), 0, 0, 0, 0]) + text.encode()


async def ping(link: ClientConnection) -> int:
    """Send pings until the socket is closed; return the number of answers."""
    count = 0
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await (await link.ping())
            count += 1
    return count


class Broken(EchoRecognition):
    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def feed(self, pcm: bytes) -> str | None:
        assert self._where != "feed", "broken"
        return None

    @property
    def preview_due(self) -> bool:
        return self._where == "preview"

    def preview(self) -> str | None:
        raise AssertionError("broken")

    def finish(self) -> str:
        assert self._where != "finish", "broken"
        return "fine"


class BrokenEngine:
    """An engine with a lever: `where` it breaks next."""

    languages = ("en",)
    where = ""

    def recognition(self, expected: Expected) -> Recognition:
        assert self.where != "recognition", "broken"
        return Broken(self.where)


class TestEngineFailure:
    @pytest.mark.parametrize("where", ["feed", "preview"])
    async def test_before_the_commit(self, where: str) -> None:
        engine = BrokenEngine()
        engine.where = where
        async with Server(["127.0.0.1:0"], engine) as server, connected(server.urls[0], Encoding.MSGPACK) as link:
            client = await talk(link)
            with pytest.raises(RefusedError, match="internal"):
                client.receive(await link.recv())
            await link.wait_closed()
            assert link.close_code == 1011

    async def test_while_the_client_is_far_ahead(self) -> None:
        engine = BrokenEngine()
        engine.where = "recognition"
        async with Server(["127.0.0.1:0"], engine) as server, connected(server.urls[0], Encoding.MSGPACK) as link:
            with pytest.raises(RefusedError, match="internal"):
                await dictate(link, FlowClient(wav=False), PCM * 60, append_bytes=len(PCM) * 30)
            await free(server)

    @pytest.mark.parametrize("where", ["recognition", "feed", "finish"])
    async def test_ends_the_session_and_not_the_server(self, where: str, caplog: pytest.LogCaptureFixture) -> None:
        engine = BrokenEngine()
        async with Server(["127.0.0.1:0"], engine) as server:
            engine.where = where
            async with connected(server.urls[0]) as link:
                await link.send(AUTH)
                await link.send('{"type": "commit", "total_packets": 0}')
                *_, answer = await answers(link)
            assert (answer["status"], answer["error"]) == ("error", "internal")
            assert link.close_code == 1011
            engine.where = ""
            async with connected(server.urls[0]) as link:
                assert (await dictate(link, FlowClient(encoding=Encoding.JSON), PCM))[-1].text == "fine"
        assert "AssertionError: broken" in caplog.text


class Slow(EchoRecognition):
    """An engine whose interim work lasts until `hurry`."""

    def __init__(self) -> None:
        super().__init__()
        self._hurried = threading.Event()

    def feed(self, pcm: bytes) -> str | None:
        self._hurried.wait()
        return super().feed(pcm)

    def hurry(self) -> None:
        self._hurried.set()


class SlowEngine(EchoEngine):
    def recognition(self, expected: Expected) -> Slow:
        return Slow()


class Endless(EchoEngine):
    """An engine whose final texts are not ready until the lever `end` is set."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def recognition(self, expected: Expected) -> EchoRecognition:
        recognition = EchoRecognition()
        recognition.finish = self._finish  # type: ignore[method-assign]
        return recognition

    def _finish(self) -> str:
        self.end.wait()
        return ""


class TestOrderOfWork:
    async def test_commit_ends_interim_work(self) -> None:
        async with Server(["127.0.0.1:0"], SlowEngine()) as server, connected(server.urls[0]) as link:
            events = await dictate(link, FlowClient(encoding=Encoding.JSON), PCM)
        assert events[-1].text == echo_of(PCM)

    async def test_final_waits_for_no_interim_work_of_others(self) -> None:
        async with Server(["127.0.0.1:0"], SlowEngine()) as server, contextlib.AsyncExitStack() as stack:
            for _ in range(15):  # each holds a worker, or waits for one
                await talk(await stack.enter_async_context(connected(server.urls[0], Encoding.MSGPACK)))
            async with connected(server.urls[0], Encoding.MSGPACK) as link:
                events = await dictate(link, FlowClient(), PCM)
            assert events[-1].text == echo_of(PCM)

    async def test_client_that_vanishes_in_the_middle_of_work(self) -> None:
        async with Server(["127.0.0.1:0"], SlowEngine()) as server:
            async with connected(server.urls[0], Encoding.MSGPACK) as link:
                await talk(link)
                link.transport.abort()
            await free(server)


IDLE_S = 0.5
"""Less, and a busy machine would be idle for so long before it has asked for a text."""


class TestWhileAFinalIsMade:
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Endless]:
        engine = Endless()
        yield engine
        engine.end.set()

    async def waiting(self, link: ClientConnection) -> None:
        await link.send(AUTH)
        await link.send('{"type": "commit", "total_packets": 0}')
        assert [json.loads(await link.recv())["status"] for _ in range(2)] == ["auth", "info"]

    async def test_pings_are_answered(self, engine: Endless) -> None:
        async with Server(["127.0.0.1:0"], engine, idle_s=IDLE_S) as server, connected(server.urls[0]) as link:
            await self.waiting(link)
            over = asyncio.get_running_loop().time() + 2 * IDLE_S
            while asyncio.get_running_loop().time() < over:
                async with asyncio.timeout(PATIENCE_S):
                    await (await link.ping())
            engine.end.set()
            assert [answer["final"] for answer in await answers(link)] == [True]
            assert link.close_code == 1000

    async def test_a_client_that_need_not_say_anything_is_not_idle(self, engine: Endless) -> None:
        async with Server(["127.0.0.1:0"], engine, idle_s=IDLE_S) as server, connected(server.urls[0]) as link:
            await self.waiting(link)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * IDLE_S):
                    await link.recv()
            engine.end.set()
            assert json.loads(await link.recv())["final"] is True

    @pytest.mark.parametrize("how", ["close", "abort"])
    async def test_a_client_that_leaves_frees_its_place(self, engine: Endless, how: str) -> None:
        async with Server(["127.0.0.1:0"], engine) as server, connected(server.urls[0]) as link:
            await self.waiting(link)
            if how == "close":
                await link.close()
            else:
                link.transport.abort()
            await free(server)
            assert "final text" not in {task.get_name() for task in asyncio.all_tasks()}

    async def test_the_goodbye_is_waited_for(self, engine: Endless) -> None:
        """Closing at once would reset the connection before the client has read the text."""
        engine.end.set()
        async with Server(["127.0.0.1:0"], engine) as server, plain_socket(server) as (reader, writer):
            writer.write(frame(AUTH) + frame('{"type": "commit", "total_packets": 0}'))
            await reader.readuntil(b"\x88\x02\x03\xe8")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.read(1)
            writer.write(b"\x88\x82" + bytes(4) + b"\x03\xe8")
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read(1) == b""

    async def test_a_client_that_says_more_is_refused(self, engine: Endless) -> None:
        async with Server(["127.0.0.1:0"], engine) as server, connected(server.urls[0]) as link:
            await self.waiting(link)
            await link.send('{"type": "commit", "total_packets": 0}')
            (answer,) = await answers(link)
            assert answer["error"] == "commit: only once"
            await free(server)


class TestLife:
    async def test_serve_is_ready_when_it_answers_and_ends_when_cancelled(self, tmp_path: Path) -> None:
        ready = asyncio.Event()
        path = tmp_path / "asr.sock"
        serving = asyncio.create_task(serve([f"unix:{path}"], "echo", ready=ready.set))
        await ready.wait()
        async with asyncio.timeout(PATIENCE_S), connected(f"ws+unix://{path}") as link:
            await link.send(AUTH)
            await link.recv()
            serving.cancel()
            assert await answers(link) == []
            assert link.close_code == 1001
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert not path.exists()

    async def test_stop_in_the_middle_of_a_final(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "flowpi")
        engine = Endless()
        try:
            async with asyncio.timeout(PATIENCE_S), Server(["127.0.0.1:0"], engine) as server:
                link = await connected(server.urls[0])
                await link.send(AUTH)
                await link.send('{"type": "commit", "total_packets": 0}')
                assert [json.loads(await link.recv())["status"] for _ in range(2)] == ["auth", "info"]
        finally:
            engine.end.set()
        await link.wait_closed()
        await free(server)
        assert caplog.messages[0].startswith("session 1: server stopped, ")

    async def test_one_line_a_session_and_no_secret(self, echo: Server, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "flowpi")
        async with connected(echo.urls[0], path="/api/v1/dash/ws?api_key=hunter2") as link:
            await dictate(link, FlowClient(encoding=Encoding.JSON, access_token="hunter2"), PCM)
        await free(echo)
        (line,) = (record.message for record in caplog.records if record.name.startswith("flowpi."))
        assert line.startswith("session 1: final text sent, 3.4 s of audio in ")
        assert "sha256" not in caplog.text

    async def test_unknown_engine(self) -> None:
        with pytest.raises(UsageError):
            await serve(["127.0.0.1:0"], "vosk")


class TestListening:
    async def refused(self, *listen: str) -> FlowpiError:
        with pytest.raises(FlowpiError) as caught:
            async with Server(listen, EchoEngine()):
                pass
        return caught.value

    async def test_mode_of_the_unix_socket(self, echo: Server, tmp_path: Path) -> None:
        assert stat.S_IMODE((tmp_path / "asr.sock").stat().st_mode) == 0o660

    async def test_stale_socket_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "asr.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with Server([f"unix:{path}"], EchoEngine()) as server, connected(server.urls[0]) as link:
            await link.send(AUTH)
            assert json.loads(await link.recv()) == {"status": "auth"}

    async def test_second_server(self, echo: Server, tmp_path: Path) -> None:
        error = await self.refused(f"unix:{tmp_path}/asr.sock")
        assert isinstance(error, AlreadyRunning)
        assert str(error) == f"another server listens on unix:{tmp_path}/asr.sock: stop it, or listen elsewhere"
        async with connected(echo.urls[1]):
            pass

    async def test_file_in_the_way(self, tmp_path: Path) -> None:
        path = tmp_path / "asr.sock"
        path.write_text("precious")
        error = await self.refused(f"unix:{path}")
        assert str(error) == f"{path} exists and is no socket: remove it, or listen elsewhere"
        assert path.read_text() == "precious"

    async def test_socket_of_a_successor_is_left(self, tmp_path: Path) -> None:
        path = tmp_path / "asr.sock"
        async with Server([f"unix:{path}"], EchoEngine()):
            path.rename(tmp_path / "old.sock")
            path.write_text("another's")
        assert path.read_text() == "another's"

    async def test_no_directory(self, tmp_path: Path) -> None:
        error = await self.refused(f"unix:{tmp_path}/none/asr.sock")
        assert isinstance(error, CannotCreateError)
        assert str(error) == (
            f"cannot listen on unix:{tmp_path}/none/asr.sock (No such file or directory): "
            f"create {tmp_path}/none first, or choose another path"
        )

    async def test_port_in_use_leaves_nothing_behind(self, echo: Server, tmp_path: Path) -> None:
        address = echo.urls[0].removeprefix("ws://")
        error = await self.refused(f"unix:{tmp_path}/other.sock", address)
        assert isinstance(error, CannotCreateError)
        assert str(error) == f"cannot listen on {address} (Address already in use): `ss -ltnp` shows who has it"
        assert not (tmp_path / "other.sock").exists()

    async def test_no_permission(self) -> None:
        error = await self.refused("unix:/sys/asr.sock")  # where not even root may make one
        assert isinstance(error, NoPermissionError)
        assert str(error) == "no permission to listen on unix:/sys/asr.sock: choose another address, or another user"

    @pytest.mark.parametrize("listen", ["", "8000", "localhost", "localhost:", "localhost:http", "[::1]:99999", ":80"])
    async def test_unreadable_address(self, listen: str) -> None:
        error = await self.refused(listen)
        assert isinstance(error, UsageError)
        assert str(error) == f"listen address {listen!r} cannot be read: write HOST:PORT or unix:PATH"

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "pi.local"])
    async def test_address_that_others_reach(self, host: str) -> None:
        assert str(await self.refused(f"{host}:8000")) == (
            f"listen address '{host}:8000' is open to other machines, and no keys are set: "
            "set server.api_keys or server.partners, or listen on 127.0.0.1:8000 or unix:PATH"
        )

    async def test_address_that_others_reach_with_keys(self) -> None:
        async with Server(["0.0.0.0:0"], EchoEngine(), access=Authenticator(["key"])) as server:
            port = server.urls[0].rpartition(":")[2]
            with pytest.raises(websockets.InvalidStatus, match="401"):
                await connected(f"ws://127.0.0.1:{port}", path="/api/v1/dash/ws?api_key=x")

    async def test_localhost_by_name(self) -> None:
        async with Server(["localhost:0"], EchoEngine()) as server, connected(server.urls[0]):
            pass
