"""What carries MQTT: TLS, with all that a certificate can get wrong, a Unix socket, a WebSocket."""

import asyncio
import socket
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from flowpi.publish.mqtt import link
from tests.ports import free_port
from tests.publish.mqtt.broker import Broker, Reader, make_certificates
from tests.publish.mqtt.scripted import ACCEPT
from tests.publish.mqtt.station import Broken, Station
from tests.waiting import PATIENCE_S, ticks, until


@pytest.fixture
def secure(tmp_path: Path) -> Path:
    make_certificates(tmp_path / "tls")
    return tmp_path / "tls"


def tls_lines(secure: Path, port: int) -> str:
    """Return a listener with TLS."""
    names = (f"{name} {secure}/{file}" for name, file in (("certfile", "server.pem"), ("keyfile", "server.key")))
    return "\n".join([f"listener {port} 127.0.0.1", *names, ""])


async def test_tls(station: Station, tmp_path: Path, secure: Path) -> None:
    port = free_port()
    lines = tls_lines(secure, port) + f"cafile {secure}/ca.pem\nrequire_certificate true\nuse_identity_as_username true"
    mine = {"ca_file": str(secure / "ca.pem"), "certificate": str(secure / "server.pem")}
    with Broker(tmp_path / "broker", lines) as broker, Reader(broker.port, "#") as reader:
        async with station.run(f"mqtts://localhost:{port}", **mine, key=str(secure / "server.key")):
            await station.ready()
            await station.say(1)
            await until(lambda: reader.of("transcript/final"))


@pytest.mark.parametrize("by", ["flowpi", "broker"])
async def test_the_end_of_tls_is_no_error_of_the_loop(
    station: Station, tmp_path: Path, secure: Path, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    port = free_port()
    with Broker(tmp_path / "broker", tls_lines(secure, port)) as broker:
        async with station.run(f"mqtts://localhost:{port}", ca_file=str(secure / "ca.pem")):
            await station.fed()
            if by == "broker":
                broker.stop()
                await until(lambda: station.fault)
        if by == "flowpi":
            await until(lambda: "Received DISCONNECT from flowpi-desk" in broker.log)
            await until(lambda: "Client flowpi-desk disconnected" in broker.log)
        await ticks()
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("authority", "host", "reason"),
    [
        (
            None,
            "localhost",
            "the certificate of localhost:{port} is not valid (unable to get local issuer certificate): ",
        ),
        ("other", "localhost", "set publish.mqtt.ca_file to its authority"),
        ("tls", "127.0.0.1", "write the name in it into publish.mqtt.url"),
        ("absent", "localhost", "publish.mqtt.ca_file cannot be used (No such file or directory): check the path"),
    ],
    ids=["system", "authority", "name", "no file"],
)
async def test_a_certificate_that_proves_nothing(
    station: Station, broken: Broken, tmp_path: Path, secure: Path, authority: str | None, host: str, reason: str
) -> None:
    make_certificates(tmp_path / "other")
    port = free_port()
    with Broker(tmp_path / "broker", tls_lines(secure, port)):
        ca_file = authority and str(tmp_path / authority / "ca.pem")
        async with station.run(f"mqtts://{host}:{port}", ca_file=ca_file):
            await broken(reason.format(port=port))


async def test_an_expired_certificate(station: Station, broken: Broken, tmp_path: Path) -> None:
    make_certificates(tmp_path / "old", days=-1)
    port = free_port()
    with Broker(tmp_path / "broker", tls_lines(tmp_path / "old", port)):
        async with station.run(f"mqtts://localhost:{port}", ca_file=str(tmp_path / "old" / "ca.pem")):
            await broken("(certificate has expired): renew it, or check the clock of this machine")


async def test_plain_at_a_tls_port(station: Station, broken: Broken, tmp_path: Path, secure: Path) -> None:
    port = free_port()
    with Broker(tmp_path / "broker", tls_lines(secure, port)):
        async with station.run(f"mqtt://localhost:{port}"):
            await broken("closes the connection without an answer: is it an MQTT 5 broker, and does it want mqtts://?")


async def test_tls_at_a_plain_port(station: Station, broken: Broken, broker: Broker) -> None:
    async with station.run(f"mqtts://localhost:{broker.port}"):
        await broken("ended the connection before it was secure: does it speak TLS at all?")


async def test_a_handshake_that_never_ends(station: Station, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "OPEN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts for it
        async with station.run(f"mqtts://127.0.0.1:{silent.getsockname()[1]}"):
            await broken("does not answer: check publish.mqtt.url and the network")


# Other carriers


async def test_a_unix_socket_and_a_websocket(station: Station, tmp_path: Path) -> None:
    port = free_port()
    lines = f"listener 0 {tmp_path}/mq.sock\nlistener {port} 127.0.0.1\nprotocol websockets"
    with Broker(tmp_path / "broker", lines) as broker, Reader(broker.port, "#") as reader:
        for number, url in enumerate((f"unix://{tmp_path}/mq.sock", f"ws://127.0.0.1:{port}/mqtt")):
            async with station.run(url):
                await station.ready()
                await station.say(number, text="long " * 10_000)
                await until(lambda many=number + 1: len(reader.of("transcript/final")) == many)  # type: ignore[misc]
        assert not station.said


async def test_a_websocket_of_something_else(station: Station, broken: Broken) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with station.run(f"ws://127.0.0.1:{port}/x"):
            await broken("is no WebSocket for MQTT (HTTP status 404): check the path in publish.mqtt.url")


async def test_mqtt_is_in_binary_frames_whose_borders_mean_nothing(station: Station) -> None:
    kinds: set[type] = set()

    async def broker(websocket: ServerConnection) -> None:
        assert websocket.subprotocol == "mqtt"
        async for message in websocket:
            kinds.add(type(message))
            if isinstance(message, bytes) and message[0] == 0x10:
                await websocket.send(ACCEPT[:1])
                await websocket.send(iter([ACCEPT[1:3], ACCEPT[3:]]))  # in fragments
            elif isinstance(message, bytes) and message[0] >> 4 == 8:
                await websocket.ping(b"alive?")
                subscribed.set_result(websocket.request and websocket.request.path)

    subscribed = asyncio.get_running_loop().create_future()
    async with serve(broker, "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with station.run(f"ws://127.0.0.1:{port}/mqtt?a=b"):
            assert await asyncio.wait_for(subscribed, PATIENCE_S) == "/mqtt?a=b"
    assert kinds == {bytes}
