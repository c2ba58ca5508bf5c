"""What the sender reports when there is no answer: above all whether the receiver may have seen the text."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.config.webhooks import WebhookSettings
from flowpi.publish.webhook.sender import CONNECT_S, TRY_S, Sender
from flowpi.publish.webhook.verdict import NoAnswer
from tests.clock import SkippingLoop
from tests.publish.webhook import receiver as receivers
from tests.publish.webhook.receiver import receiver
from tests.publish.webhook.test_sink import certificate
from tests.waiting import ticks


@contextlib.asynccontextmanager
async def sender(url: str) -> AsyncIterator[Sender]:
    one = Sender(WebhookSettings(url), lambda: 0.0)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


async def sent(url: str) -> object:
    async with sender(url) as one:
        return await one.send("id", b"{}")


async def test_nobody_listens(unused_tcp_port: int) -> None:
    said = NoAnswer("it is not reached (Connection refused)", "check that it runs, and the network", False)
    assert await sent(f"http://127.0.0.1:{unused_tcp_port}") == said


async def test_no_name_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    said = NoAnswer("its name has no address", "check the name in url, and the network", False)
    assert await sent("http://desk.example") == said


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    key, chain = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    async with receiver(tls=context) as one:
        said = NoAnswer("its certificate is not trusted", "name its authority in ca_file if you trust it", False)
        assert await sent(one.url.replace("http:", "https:")) == said
    assert one.requests == []


async def test_a_port_without_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        said = NoAnswer("no secure connection", "check that https:// is right for this port", False)
        assert await sent(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") == said


@pytest.mark.parametrize(
    ("scheme", "limit_s", "said"),
    [
        ("https", CONNECT_S, NoAnswer("it is not reached within 10 s", "check that it runs, and the network", False)),
        ("http", TRY_S, NoAnswer("no answer within 15 s", "", True)),
    ],
    ids=["before_tls", "after_the_request"],
)
async def test_one_that_accepts_connections_and_says_nothing(
    skipping_clock: SkippingLoop, scheme: str, limit_s: float, said: NoAnswer
) -> None:
    came: list[bytes] = []
    over = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1))
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, sender(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}") as one:
        sending = asyncio.ensure_future(one.send("id", b"{}"))
        await skipping_clock.until(lambda: came)
        skipping_clock.skip(limit_s / 2)
        await ticks(50)
        assert not sending.done()
        skipping_clock.skip(limit_s / 2 + 1)
        assert await sending == said
        over.set()


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (receivers.reset, "the connection broke"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it does not answer in HTTP"),
    ],
    ids=["reset", "not_http"],
)
async def test_one_that_was_reached(behaviour: receivers.Behaviour, problem: str) -> None:
    async with receiver() as one:
        one.script = [behaviour]
        answer = await sent(one.url)
    assert isinstance(answer, NoAnswer)
    assert (answer.problem, answer.reached) == (problem, True)
    assert len(one.requests) == 1
