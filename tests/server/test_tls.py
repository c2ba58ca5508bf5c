"""The server's certificate: the TLS that it offers, and the errors for files that cannot be used."""

import asyncio
import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest
import websockets

from flowpi.cli.main import main
from flowpi.config.schema import TlsSettings
from flowpi.core.errors import ConfigError
from flowpi.server import app
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine
from flowpi.server.tls import load_tls
from tests.server.calling import CHUNK, DASH, ORG_KEY, connect, dictate_flow, echo_of, locked, quiet
from tests.waiting import PATIENCE_S


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate and key for localhost, another key, and one with a password."""
    directory = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", directory / "key.pem", "-out", directory / "certificate.pem")
    openssl("req", "-x509", "-days", "2", *curve, *name, *files)
    other = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl(*other, "-out", directory / "other.pem")
    openssl(*other, "-aes256", "-pass", "pass:canary", "-out", directory / "locked.pem")
    mangled = (directory / "certificate.pem").read_text().splitlines()
    (directory / "mangled.pem").write_text("\n".join([mangled[0], "x" * 64, *mangled[2:]]))
    return directory


def tls(pem: Path) -> TlsSettings:
    return TlsSettings(str(pem / "certificate.pem"), str(pem / "key.pem"))


def trusting(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pem / "certificate.pem"))


async def test_tcp_speaks_tls_and_unix_does_not(pem: Path, tmp_path: Path) -> None:
    listen = ["localhost:0", f"unix:{tmp_path}/asr.sock"]
    async with Server(listen, EchoEngine(), access=locked(), tls=load_tls(tls(pem))) as server:
        tcp, unix = server.urls
        assert tcp.startswith("wss://localhost:")
        assert unix == f"ws+unix://{tmp_path}/asr.sock"
        path = f"{DASH}/ws?api_key=Bearer%20{ORG_KEY}"
        async with connect(server, path, ssl=trusting(pem)) as link:
            assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)
        async with websockets.unix_connect(unix.removeprefix("ws+unix://"), f"ws://flowpi{path}", logger=quiet) as link:
            assert await dictate_flow(link, CHUNK) == echo_of(CHUNK)


def test_nothing_older_than_1_2(pem: Path) -> None:
    context = load_tls(tls(pem))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_plain_http_to_it_ends_the_connection(pem: Path) -> None:
    async with Server(["localhost:0"], EchoEngine(), tls=load_tls(tls(pem))) as server:
        with pytest.raises(websockets.InvalidMessage):
            await websockets.connect(f"{server.urls[0].replace('wss', 'ws')}{DASH}/ws")


async def test_a_client_that_never_speaks_tls_is_disconnected(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "REQUEST_S", 0.2)
    async with Server(["localhost:0"], EchoEngine(), tls=load_tls(tls(pem))) as server, asyncio.timeout(PATIENCE_S):
        address = server.urls[0].removeprefix("wss://").rpartition(":")
        reader, writer = await asyncio.open_connection(address[0], int(address[2]))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


def test_none_is_none() -> None:
    assert load_tls(TlsSettings()) is None


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        ("none.pem", "key.pem", "server.tls.certificate cannot read {}/none.pem (No such file or directory)"),
        ("certificate.pem", ".", "server.tls.key cannot read {} (Is a directory)"),
        ("certificate.pem", "\0", "server.tls.key cannot read {}/\0 (not a path)"),
        ("key.pem", "key.pem", "server.tls.certificate {}/key.pem has no certificate"),
        ("certificate.pem", "certificate.pem", "server.tls.key {}/certificate.pem has no private key"),
        ("certificate.pem", "other.pem", "server.tls.key is not the key of {}/certificate.pem"),
        ("certificate.pem", "locked.pem", "server.tls.key {}/locked.pem has a password"),
        ("mangled.pem", "key.pem", "server.tls.certificate and server.tls.key cannot be used"),
    ],
)
def test_files_that_cannot_be_used(pem: Path, certificate: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_tls(TlsSettings(str(pem / certificate), str(pem / key)))
    assert str(caught.value).startswith("configuration: " + problem.format(pem))
    assert caught.value.hint


def test_the_command_ends_with_a_fault_of_the_configuration(
    pem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = f"server.tls={{certificate: {pem}/none.pem, key: {pem}/key.pem}}"
    listen = ["--listen", f"unix:{tmp_path}/asr.sock"]
    assert main(["serve", *listen, "-o", "server.engine=echo", "-o", settings]) == 78
    assert "server.tls.certificate cannot read" in capsys.readouterr().err
