"""Many clients, or rude ones, on the local socket: each has its share of the loop, the memory and the descriptors."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.publish import shares, socket_client
from flowpi.publish import socket as local_socket
from flowpi.publish.socket_client import LINES_A_TURN, MAX_REQUEST_BYTES
from tests.publish.test_socket import Client, SocketHarness, pause, resume
from tests.waiting import ticks, until


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SocketHarness]:
    harness = SocketHarness(tmp_path / "flowpi.sock")
    await harness.socket.open()
    yield harness
    await harness.socket.close()


@contextlib.asynccontextmanager
async def connected(harness: SocketHarness) -> AsyncIterator[Client]:
    client = await Client.connect(harness.path)
    try:
        yield client
    finally:
        client.writer.transport.abort()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


class TestTurns:
    @pytest.mark.parametrize(
        ("line", "lines"), [(b"\n", 500_000), (b'{"subscribe":["zz"]}\n', 20_000), (b"rubbish\n", 20_000)]
    )
    async def test_a_flood_delays_another_client_by_a_few_turns(
        self, harness: SocketHarness, line: bytes, lines: int
    ) -> None:
        """The other one is answered long before the flood is worked off."""
        async with connected(harness) as flood, connected(harness) as other:
            flood.send(line * lines, {"command": "last"})
            for _ in range(5):
                assert (await other.ask({"command": "record"}))["ok"]
            assert "last" not in [request.command for request in harness.commands]
            await until(lambda: harness.commands[-1].command == "last")

    async def test_a_turn_of_the_loop_is_short_however_many_have_something_to_say(
        self, harness: SocketHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With no time at all for clients, one of them has its turn, and then the rest of the loop."""
        monkeypatch.setattr(shares, "TURN_S", 0.0)
        handled: list[bytes] = []
        receive = socket_client.SocketClient._receive

        def counted(self: socket_client.SocketClient, line: bytes) -> None:
            handled.append(line)
            receive(self, line)

        monkeypatch.setattr(socket_client.SocketClient, "_receive", counted)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                (await stack.enter_async_context(connected(harness))).send(b"x\n" * 100)
            most = 0
            while len(handled) < 2000:
                before = len(handled)
                await asyncio.sleep(0)
                most = max(most, len(handled) - before)
        assert most == LINES_A_TURN

    async def test_a_bug_met_by_one_client_ends_no_turn_of_the_others(
        self, harness: SocketHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receive = socket_client.SocketClient._receive

        def breaks(self: socket_client.SocketClient, line: bytes) -> None:
            if line == b"break":
                raise ZeroDivisionError
            receive(self, line)

        monkeypatch.setattr(socket_client.SocketClient, "_receive", breaks)
        async with connected(harness) as unlucky, connected(harness) as other:
            unlucky.send(b"break\n")
            other.send({"command": "record"})
            assert (await unlucky.read_all())[-1]["error"]["code"] == "internal"
            assert (await other.read())["ok"]
            assert (await other.ask({"command": "record"}))["ok"]


class TestQueues:
    async def test_of_partials_only_the_newest_waits_and_costs_no_final(self, harness: SocketHarness) -> None:
        async with connected(harness) as slow:
            await slow.subscribe("transcript/#", "level")
            pause(slow)
            for number in range(500):
                harness.hub.publish("level", {"number": number})
                harness.hub.publish("transcript/partial", {"number": number, "text": "x" * 100_000})
                await asyncio.sleep(0)
            harness.hub.publish("transcript/final", {"text": "whole"})
            harness.hub.publish("transcript/partial", {"number": 500, "text": "next"})
            resume(slow)
            heard: list[Any] = []
            while not heard or heard[-1]["payload"].get("text") != "next":
                heard.append(await slow.read())
            topics = [message["topic"] for message in heard if message["topic"] != "level"]
            assert topics[-2:] == ["transcript/final", "transcript/partial"]
            assert len(topics) < 20
            assert [one["payload"]["number"] for one in heard if one["topic"] == "level"][-1] == 499

    async def test_one_bound_for_all(self, harness: SocketHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one with the longest queue is dropped, and the others go on."""
        monkeypatch.setattr(shares, "MAX_QUEUES_BYTES", 200_000)
        async with contextlib.AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(connected(harness)) for _ in range(4)]
            for number, client in enumerate(slow):
                await client.subscribe("state", *["event/button"] * (number == 0))
                pause(client)
            harness.hub.publish("event/button", "x" * 200_000)  # for one of them
            while harness.socket.clients == 4:
                harness.hub.publish("state", "x" * 5000)
                await asyncio.sleep(0)
            assert harness.socket.clients == 3
            resume(slow[0])
            error = {"code": "too_slow", "message": "more than 200000 bytes are waiting for all clients"}
            assert (await slow[0].read_all())[-1]["error"] == error

    async def test_who_reads_late_gets_all_in_order(self, harness: SocketHarness) -> None:
        async with connected(harness) as slow:
            await slow.subscribe("event/button")
            pause(slow)
            for number in range(200):
                harness.hub.publish("event/button", [number, "x" * 1000])
                await asyncio.sleep(0)
            resume(slow)
            assert [(await slow.read())["payload"][0] for _ in range(200)] == list(range(200))


class TestBounds:
    async def test_one_more_is_refused_and_leaves_no_descriptor(
        self, harness: SocketHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(local_socket, "MAX_CLIENTS", 1)
        async with connected(harness):
            await ticks()
            before = len(os.listdir("/proc/self/fd"))
            reader, writer = await asyncio.open_unix_connection(str(harness.path))
            error = {"error": {"code": "too_many_clients", "message": "1 are connected"}}
            assert json.loads(await reader.readline()) == error
            assert await reader.read() == b""
            await until(lambda: len(os.listdir("/proc/self/fd")) == before + 1)  # the test's own end
            writer.close()
        await until(lambda: not harness.socket.clients)
        async with connected(harness):
            pass

    async def test_a_request_is_bounded(self, harness: SocketHarness) -> None:
        async with connected(harness) as client:
            long = "x" * MAX_REQUEST_BYTES
            error = {"code": "bad_request", "message": f"request is longer than {MAX_REQUEST_BYTES} bytes"}
            assert await client.ask({"command": "record", "request": long}) == {"error": error}
            assert await client.ask({"command": 7, "request": long})
            assert (await client.ask({"command": "record", "request": long[:-2]}))["response"] == long[:-2]

    async def test_a_bad_line_is_answered_by_its_request(self, harness: SocketHarness) -> None:
        async with connected(harness) as client:
            for line in ({"command": 7}, {"subscribe": ["a#"]}, {"subscribe": ["a"], "command": "record"}, {"x": 1}):
                answer = await client.ask({**line, "request": 5})
                assert (answer["response"], answer["ok"]) == (5, False), line
            assert not harness.commands

    async def test_nothing_is_sent_to_who_is_gone(
        self, harness: SocketHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with connected(harness) as rude:
            rude.send(b'{"subscribe":["#"]}\n' + b"rubbish\n" * 2000)
            await rude.writer.drain()
            rude.writer.transport.abort()
        await until(lambda: not harness.socket.clients)
        for number in range(100):
            harness.hub.publish("state", number)
        assert "socket.send() raised" not in caplog.text
