"""Proxies from the environment, for WebSockets and for the requests that get keys."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowpi.backends.patience import Patience
from flowpi.backends.proxies import bypasses_proxy
from flowpi.backends.result import Timings
from flowpi.backends.transport import Transport
from flowpi.core.errors import NotReached
from tests.backends.fake_backend import FakeBackend
from tests.backends.test_tokens import Desk
from tests.delivery.test_delivery import make_backend
from tests.sound import echo, noise, spoken

SOUND = noise(0.5)


class Proxy:
    """HTTP CONNECT, and plain GET. `status`: what it answers instead."""

    def __init__(self, status: int = 0) -> None:
        self.asked: list[str] = []
        self._status = status

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        self.asked.append(f"{method} {target}")
        if self._status:
            writer.write(f"HTTP/1.1 {self._status} No\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            _, _, port = target.removeprefix("http://").partition("/")[0].partition(":")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))  # whatever its name
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                far_writer.write(head)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
    except OSError:
        pass


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def far(url: str) -> str:
    """Return the URL of a service of this machine as that of one elsewhere, which only the proxy reaches."""
    return url.replace("127.0.0.1", "service.example")


async def test_a_dictation_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with FakeBackend() as service, proxy.open() as url:
        monkeypatch.setenv("https_proxy", url)
        port = service.port
        backend = make_backend(far(service.url))
        assert (await backend.transcribe(spoken(SOUND), lambda partial: None, Timings())).text == echo(SOUND)
        await backend.close()
    assert proxy.asked == [f"CONNECT service.example:{port}"]


async def test_one_that_is_not_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(status=407)
    async with FakeBackend() as service, proxy.open() as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(NotReached, match=r"the proxy does not let it through.*: check http_proxy, https_proxy"):
            await make_backend(far(service.url)).transcribe(spoken(SOUND), lambda partial: None, Timings())
        assert service.calls == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "here.localhost"])
async def test_loopback_goes_straight(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Somebody who sets a proxy for the cloud does not mean the recogniser on this machine, nor a tunnel."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *_, **__: loopback(port))
    proxy = Proxy()
    async with FakeBackend() as service, Desk() as desk, proxy.open() as url:
        monkeypatch.setenv("https_proxy", url)
        monkeypatch.setenv("http_proxy", url)
        backend = make_backend(service.url.replace("127.0.0.1", name))
        assert (await backend.transcribe(spoken(SOUND), lambda partial: None, Timings())).text == echo(SOUND)
        await backend.close()
        assert await Transport("cloud", Patience()).request("GET", desk.replace("127.0.0.1", name))
    assert proxy.asked == []


def loopback(port: int) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("", "192.168.1.5", False),
        ("192.168.0.0/16", "192.168.1.5", True),
        ("10.0.0.0/8, 192.168.1.0/24,x.example", "192.168.1.5", True),
        ("10.0.0.0/8", "192.168.1.5", False),
        ("fd00::/8", "fd00::1", True),
        ("192.168.1.5", "192.168.1.5", True),
        ("192.168.0.0/16", "pi.example", False),
        ("", "::1", True),
    ],
)
def test_networks_in_no_proxy(monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, direct: bool) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    assert bypasses_proxy(host) is direct


async def test_a_request_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with Desk() as desk, proxy.open() as url:
        monkeypatch.setenv("http_proxy", url)
        answer = await Transport("cloud", Patience()).request("GET", far(desk))
    assert answer == {"access_token": "jwt", "expires_in": 60}
    assert proxy.asked == [f"GET {far(desk)}"]
