import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest

from flowpi import __version__
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Problem, Request
from flowpi.publish.socket import LocalSocket
from flowpi.publish.socket_client import MAX_FILTERS, MAX_LINE_BYTES, MAX_QUEUE_BYTES, MAX_REQUESTS
from tests.waiting import PATIENCE_S, ticks, until

HELLO = {"hello": {"flowpi": __version__, "protocol": 1, "device_id": "desk"}}


class SocketHarness:
    """A hub, its socket, and commands that a test can delay."""

    def __init__(self, path: Path) -> None:
        self.hub = Hub()
        self.path = path
        self.commands: list[Request] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.socket = self.another_socket()

    def another_socket(self, group: str | None = None, refused: str = "nobody-here") -> LocalSocket:
        return LocalSocket(self.hub, self.command, path=self.path, group=group, device_id="desk", refused=refused)

    async def command(self, request: Request, user: int | None = None) -> dict[str, Any] | Problem:
        self.commands.append(request)
        await self.go_on.wait()
        match request.command:
            case "break":
                raise ZeroDivisionError
            case "record":
                return {"state": "recording"}
            case _:
                return Problem("unknown_command", "no")

    @property
    def listeners(self) -> int:
        return len(self.hub._subscriptions)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, path: Path) -> Self:
        client = cls(*await asyncio.open_unix_connection(str(path), limit=1 << 24))
        assert await client.read() == HELLO
        return client

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def read(self) -> Any:
        line = await self.read_line()
        assert line, "closed"
        return json.loads(line)

    async def read_line(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readline()

    async def read_all(self) -> list[Any]:
        """Read all messages up to the end of the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return [json.loads(line) for line in (await self._reader.read()).splitlines()]

    async def ask(self, message: Any) -> Any:
        self.send(message)
        return await self.read()

    async def subscribe(self, *filters: str) -> None:
        assert await self.ask({"subscribe": list(filters)}) == {"subscribed": list(filters)}


def pause(client: Client) -> None:
    """Let a client read nothing until `resume`."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]


def resume(client: Client) -> None:
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SocketHarness]:
    harness = SocketHarness(tmp_path / "flowpi.sock")
    await harness.socket.open()
    yield harness
    await harness.socket.close()


@pytest.fixture
async def clients(harness: SocketHarness) -> AsyncIterator["Clients"]:
    clients = Clients(harness)
    yield clients
    for client in clients.all:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()
    await until(lambda: not harness.socket.clients)
    await ticks()


class Clients:
    def __init__(self, harness: SocketHarness) -> None:
        self._house = harness
        self.all: list[Client] = []

    async def connect(self) -> Client:
        client = await Client.connect(self._house.path)
        self.all.append(client)
        return client


@pytest.fixture
async def client(clients: Clients) -> Client:
    return await clients.connect()


class TestSubscribe:
    async def test_messages_in_the_form_of_the_contract(self, harness: SocketHarness, client: Client) -> None:
        harness.hub.publish("state", {"state": "idle"})
        await client.subscribe("transcript/#", "state")
        assert await client.read() == {"topic": "state", "payload": {"state": "idle"}, "retained": True}
        harness.hub.publish("level", {"dbfs": -3.0})
        harness.hub.publish("transcript/final", {"text": "a"})
        assert await client.read() == {"topic": "transcript/final", "payload": {"text": "a"}}

    async def test_a_second_one_adds_to_the_first(self, harness: SocketHarness, client: Client) -> None:
        await client.subscribe("state")
        await client.subscribe("level", "state")
        harness.hub.publish("state", 1)
        harness.hub.publish("level", 2)
        assert [(await client.read())["payload"] for _ in range(2)] == [1, 2]
        assert harness.listeners == 1

    async def test_adding_a_filter_never_looks_like_leaving(self, harness: SocketHarness, client: Client) -> None:
        await client.subscribe("level")
        wanted: list[bool] = []
        harness.hub.watch("level", wanted.append)
        await client.subscribe("state")
        assert set(wanted) == {True}

    @pytest.mark.parametrize(
        ("one", "problem"),
        [
            ("", "'': a filter is at least one character"),
            ("a#", "'a#': '#' stands for whole levels"),
            ("#/a", "'#/a': '#' stands only at the end"),
            ("a+", "'a+': '+' stands for a whole level"),
            ("a\0b", "'a\\x00b': a filter has no NUL and at most 65535 bytes"),
        ],
    )
    async def test_a_bad_filter_changes_nothing(
        self, harness: SocketHarness, client: Client, one: str, problem: str
    ) -> None:
        await client.subscribe("state")
        assert await client.ask({"subscribe": ["level", one]}) == {"error": {"code": "bad_filter", "message": problem}}
        harness.hub.publish("level", 1)
        harness.hub.publish("state", 2)
        assert (await client.read())["payload"] == 2

    async def test_filters_have_a_bound(self, harness: SocketHarness, client: Client) -> None:
        await client.subscribe(*(f"t/{number}" for number in range(MAX_FILTERS)))
        await client.subscribe("t/0")
        error = (await client.ask({"subscribe": ["one more"]}))["error"]
        assert error == {"code": "bad_filter", "message": f"a client has at most {MAX_FILTERS} filters"}

    async def test_who_leaves_is_forgotten(self, harness: SocketHarness, client: Client) -> None:
        await client.subscribe("#")
        client.writer.close()
        await until(lambda: not harness.listeners)
        harness.hub.publish("state", 1)


class TestCommands:
    async def test_an_answer(self, harness: SocketHarness, client: Client) -> None:
        answer = await client.ask({"command": "record", "action": "start", "context": {"a": 1}, "request": 7})
        assert answer == {"response": 7, "ok": True, "state": "recording"}
        assert harness.commands == [Request(command="record", action="start", context={"a": 1}, request=7)]

    async def test_an_error(self, client: Client) -> None:
        answer = await client.ask({"command": "dance", "request": [1, {"any": None}]})
        error = {"code": "unknown_command", "message": "no"}
        assert answer == {"response": [1, {"any": None}], "ok": False, "error": error}

    async def test_without_a_request_number(self, client: Client) -> None:
        assert await client.ask({"command": "record"}) == {"response": None, "ok": True, "state": "recording"}

    async def test_one_that_breaks_does_not_break_the_rest(self, client: Client) -> None:
        error = {"code": "internal", "message": "the command failed: see the journal"}
        assert await client.ask({"command": "break"}) == {"error": error}
        assert (await client.ask({"command": "record"}))["ok"]

    async def test_one_that_waits_does_not_hold_up_the_next_client(
        self, harness: SocketHarness, client: Client, clients: Clients
    ) -> None:
        harness.go_on.clear()
        client.send({"command": "record", "request": 1})
        await until(lambda: harness.commands)
        other = await clients.connect()
        await other.subscribe("state")
        harness.hub.publish("state", 1)
        assert (await other.read())["payload"] == 1
        harness.go_on.set()
        assert (await client.read())["response"] == 1

    async def test_many_in_a_row(self, client: Client) -> None:
        for number in range(300):
            assert (await client.ask({"command": "record", "request": number}))["response"] == number

    async def test_too_many_at_once(self, harness: SocketHarness, client: Client) -> None:
        harness.go_on.clear()
        client.send(*({"command": "record"} for _ in range(MAX_REQUESTS + 1)))
        error = {"code": "too_many_requests", "message": f"{MAX_REQUESTS} are not answered yet"}
        assert await client.read_all() == [{"error": error}]
        client.writer.close()
        harness.go_on.set()

    async def test_who_leaves_takes_its_commands_along(self, harness: SocketHarness, client: Client) -> None:
        harness.go_on.clear()
        client.send({"command": "record"})
        await until(lambda: harness.commands)
        client.writer.close()
        await until(lambda: not harness.socket.clients)


class TestRubbish:
    @pytest.mark.parametrize(
        "line",
        [
            b"{", b"nonsense", b"[]", b"7", b"null", b'"subscribe"', b"\xff\xfe", b"{}x",
            b'{"subscribe": "state"}', b'{"subscribe": [7]}', b'{"subscribe": null}', b'{"command": 7}',
            b'{"unknown": 1}', b'{"request": NaN}', b'{"request": Infinity}',
            b'{"command": "\\ud800"}', b'{"request": "\\udfff"}', b"[" * 60_000, b'{"request":' + b"[" * 60_000,
            b'{"' + b"k" * 60_000 + b'": 1}',
        ],
    )  # fmt: skip
    async def test_it_gets_its_reason_and_the_connection_goes_on(self, client: Client, line: bytes) -> None:
        error = (await client.ask(line + b"\n"))["error"]
        assert error["code"] == "bad_request"
        assert error["message"].startswith("not a request: ")
        assert len(error["message"]) < 300
        assert (await client.ask({"command": "record"}))["ok"]

    @pytest.mark.parametrize("depth", [100, 400, 900, 1100])
    async def test_what_nests_deep_is_answered_somehow(self, client: Client, depth: int) -> None:
        client.send(b'{"command": "record", "request": ' + b"[" * depth + b"]" * depth + b"}\n")
        assert await client.read_line()
        assert (await client.ask({"command": "record"}))["ok"]

    async def test_empty_lines_are_nothing(self, client: Client) -> None:
        client.send(b"\n\r\n  \n\t\n")
        assert (await client.ask({"command": "record"}))["ok"]

    @pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 1 << 20])
    @pytest.mark.parametrize("end", [b"", b"\n"])
    async def test_a_long_line_ends_the_connection_with_a_reason(self, client: Client, size: int, end: bytes) -> None:
        client.send(b"x" * size + end)
        with contextlib.suppress(ConnectionError):
            await client.writer.drain()
        message = f"a line is at most {MAX_LINE_BYTES} bytes"
        assert await client.read_all() == [{"error": {"code": "line_too_long", "message": message}}]

    async def test_a_line_of_the_longest_length_is_read(self, client: Client) -> None:
        line = json.dumps({"command": "record", "context": {"a": ""}}).encode()
        client.send(line.replace(b'""', b'"' + b"x" * (MAX_LINE_BYTES - len(line)) + b'"') + b"\n")
        assert (await client.read())["ok"]

    async def test_in_any_pieces(self, client: Client) -> None:
        for byte in b'{"command": "record", "request": 1}\n{"command": "record", "request": 2}\n':
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert [(await client.read())["response"] for _ in range(2)] == [1, 2]


class TestHalfClose:
    """A client like `printf ... | socat - UNIX-CONNECT:...`, which closes its writing end and goes on reading."""

    @pytest.mark.parametrize("newline", [b"\n", b""])
    async def test_the_answer_still_comes_and_then_the_end(
        self, harness: SocketHarness, client: Client, newline: bytes
    ) -> None:
        harness.go_on.clear()
        client.send(b'{"command": "record", "request": 1}' + newline)
        client.writer.write_eof()
        await until(lambda: harness.commands)
        harness.go_on.set()
        assert await client.read_all() == [{"response": 1, "ok": True, "state": "recording"}]

    async def test_who_leaves_after_that_is_forgotten(self, harness: SocketHarness, client: Client) -> None:
        client.send({"subscribe": ["state"]})
        client.writer.write_eof()
        assert await client.read() == {"subscribed": ["state"]}
        await ticks()
        assert harness.listeners == 1
        client.writer.close()
        await until(lambda: not harness.listeners)

    async def test_a_subscriber_goes_on_listening(self, harness: SocketHarness, client: Client) -> None:
        client.send({"subscribe": ["state"]})
        client.writer.write_eof()
        assert await client.read() == {"subscribed": ["state"]}
        await ticks()
        harness.hub.publish("state", 1)
        assert (await client.read())["payload"] == 1

    async def test_who_says_nothing_at_all_is_let_go(self, client: Client) -> None:
        client.writer.write_eof()
        assert await client.read_all() == []

    async def test_half_a_request_gets_its_reason(self, client: Client) -> None:
        client.send(b'{"command": "rec')
        client.writer.write_eof()
        assert [answer["error"]["code"] for answer in await client.read_all()] == ["bad_request"]


class TestSlowClients:
    async def test_who_does_not_read_is_dropped_and_the_others_go_on(
        self, harness: SocketHarness, client: Client, clients: Clients
    ) -> None:
        await client.subscribe("#")
        pause(client)
        other = await clients.connect()
        await other.subscribe("#")
        text = "x" * 1000
        for number in range(2000):
            harness.hub.publish("transcript/final", {"number": number, "text": text})
            assert (await other.read())["payload"]["number"] == number
        assert harness.listeners == 1
        resume(client)
        heard = await client.read_all()
        message = f"more than {MAX_QUEUE_BYTES} bytes are waiting for you"
        assert heard[-1] == {"error": {"code": "too_slow", "message": message}}
        assert [one["payload"]["number"] for one in heard[:-1]] == list(range(len(heard) - 1))
        assert len(heard) > MAX_QUEUE_BYTES // 1100

    async def test_who_asks_and_does_not_read_leaves_nothing_behind(
        self, harness: SocketHarness, client: Client
    ) -> None:
        """Its further lines wait, and it is dropped once too many messages do."""
        harness.hub.publish("state", "x" * 200_000)
        pause(client)
        for _ in range(100):
            client.send({"subscribe": ["#"]}, {"command": "record"})
        await until(lambda: harness.listeners)
        await ticks()
        assert harness.commands == []
        while harness.socket.clients:
            harness.hub.publish("state", "x" * 200_000)
            await asyncio.sleep(0)
        assert not harness.listeners
        resume(client)
        assert (await client.read_all())[-1]["error"]["code"] == "too_slow"
