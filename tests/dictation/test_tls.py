"""`wss://`: a real TLS server, trusted and not trusted."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from flowpi.config import Config, Dictation, FlowBackend
from flowpi.core.errors import TlsError
from flowpi.dictation.backends import make_backends
from flowpi.dictation.utterance import About, Utterance
from flowpi.wire.flow import FlowServer
from flowpi.wire.roles import AudioCommitted, SessionRequested


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For localhost, signed by itself; the key is in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    command = ["openssl", "req", "-x509", "-days", "2", *curve, *name, *files]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@asynccontextmanager
async def flow_server(certificate: Path) -> AsyncIterator[int]:
    async def talk(socket: ServerConnection) -> None:
        assert socket.request
        flow = FlowServer(encoding=FlowServer.encoding_for(socket.request.headers.get("Encoding")))
        async for frame in socket:
            for event in flow.receive(frame):
                if isinstance(event, SessionRequested):
                    flow.accept()
                elif isinstance(event, AudioCommitted):
                    flow.final("over TLS", "en")
            for answer in flow.data_to_send():
                await socket.send(answer)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with serve(talk, "localhost", 0, ssl=context, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def text_over(port: int) -> str:
    url = f"wss://localhost:{port}/api/v1/dash/client_ws"
    config = Config(dictation=Dictation(backends=("cloud",)), backends={"cloud": FlowBackend(url)})
    utterance = Utterance(About("0" * 26, 0.0), pcm=bytes(32_000), complete=True)
    backends = make_backends(config)
    async with asyncio.timeout(20):
        text, _, _ = await backends.text_of(utterance, lambda partial, backend: None)
    return text.text


async def test_a_trusted_server_gives_the_text(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    async with flow_server(certificate) as port:
        assert await text_over(port) == "over TLS"


async def test_an_unknown_server_gets_nothing_and_the_owner_a_reason(certificate: Path) -> None:
    async with flow_server(certificate) as port:
        with pytest.raises(TlsError, match=r"is not reached \(its certificate is not trusted: self-signed"):
            await text_over(port)
