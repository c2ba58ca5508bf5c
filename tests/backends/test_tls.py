"""P9: `wss://` to servers that are trusted, not trusted, and no servers at all. What is not trusted learns nothing."""

import asyncio
import itertools
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.transport import Transport
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, HttpError, LinkError, NotReached, TlsError
from flowpi.core.failover import Verdict, verdict
from flowpi.core.hints import Hints
from flowpi.wire.roles import FinalText
from tests.backends.fake_backend import FakeBackend, dumb_server
from tests.sound import echo, noise, spoken

SOUND = noise(0.5)
KEY = "canary-9b1d"
PORTAL = b"<html>Welcome to the hotel</html>"


class Certificates:
    """An authority, and what it signs. `of` gives a file with the certificate and its key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self.authority = directory / "ca.crt"
        self._run("req", "-x509", "-days", "3650", "-subj", "/CN=authority", *self._key("ca"), "-out", self.authority)

    def of(self, name: str, *, begins: str = "20200101000000Z", ends: str = "20991231000000Z") -> Path:
        stem = f"{name}-{next(self._numbers)}"
        request, certificate, database = (self._directory / f"{stem}.{part}" for part in ("csr", "crt", "db"))
        self._run("req", "-new", "-subj", f"/CN={name}", *self._key(certificate.stem), "-out", request)
        database.touch()
        config = certificate.with_suffix(".cnf")
        config.write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={database}\nnew_certs_dir={self._directory}\nrand_serial=yes\n"
            f"default_md=sha256\npolicy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:{name}\n"
        )
        authority = ["-cert", str(self.authority), "-keyfile", str(self._directory / "ca.key")]
        dates = ["-startdate", begins, "-enddate", ends]
        self._run("ca", "-batch", "-config", config, *authority, *dates, "-in", request, "-out", certificate)
        return certificate

    def context(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context

    def _key(self, name: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return [*curve, "-keyout", str(self._directory / f"{name}.key")]

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


class Ear:
    """A server that writes down what it hears above TLS, and gives one answer."""

    def __init__(self, answer: bytes = b"", context: ssl.SSLContext | None = None) -> None:
        self.heard = b""
        self.connections = 0
        self._answer = answer
        self._context = context

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._listen, "localhost", 0, ssl=self._context)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.heard += await reader.read(65536)
            writer.write(self._answer)
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass


async def transcribe(port: int, ca_file: Path | None = None, scheme: str = "wss") -> FinalText:
    settings = FlowSettings(
        f"{scheme}://localhost:{port}/api/v1/dash/client_ws",
        client_key=Secret("literal", KEY),
        ca_file=str(ca_file) if ca_file else None,
    )
    backend = FlowBackend("cloud", settings, Hints(), Patience(connect_s=5))
    try:
        return await backend.transcribe(spoken(SOUND), lambda partial: None, Timings())
    finally:
        await backend.close()


async def test_the_systems_authorities_are_trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with FakeBackend(host="localhost", ssl=certificates.context(certificates.of("localhost"))) as service:
        assert (await transcribe(service.port)).text == echo(SOUND)


async def test_an_authority_of_the_owners_is_trusted_too(certificates: Certificates) -> None:
    async with FakeBackend(host="localhost", ssl=certificates.context(certificates.of("localhost"))) as service:
        assert (await transcribe(service.port, certificates.authority)).text == echo(SOUND)


@pytest.mark.parametrize(
    ("name", "dates", "trusted", "reason", "expected"),
    [
        ("localhost", {}, False, "its certificate is not trusted: unable to get local issuer", Verdict.STOP_AND_TELL),
        ("elsewhere.example", {}, True, "its certificate is for another name", Verdict.STOP_AND_TELL),
        ("localhost", {"ends": "20210101000000Z"}, True, "its certificate has expired; it is 20", Verdict.RETRY_LATER),
        ("localhost", {"begins": "20980101000000Z"}, True, "its certificate is not valid yet", Verdict.RETRY_LATER),
    ],
)
async def test_who_is_not_trusted_learns_nothing(
    certificates: Certificates, name: str, dates: dict[str, str], trusted: bool, reason: str, expected: Verdict
) -> None:
    ear = Ear(context=certificates.context(certificates.of(name, **dates)))
    async with ear.open() as port:
        with pytest.raises(TlsError) as caught:
            await transcribe(port, certificates.authority if trusted else None)
    assert reason in str(caught.value)
    assert verdict(caught.value) is expected
    assert ear.heard == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_no_tls(certificates: Certificates) -> None:
    context = certificates.context(certificates.of("localhost"))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    ear = Ear(context=context)
    async with ear.open() as port:
        with pytest.raises((TlsError, NotReached), match=r"is not reached \((no secure connection|connection reset)"):
            await transcribe(port, certificates.authority)
    assert ear.heard == b""


async def test_a_server_that_speaks_no_tls(certificates: Certificates) -> None:
    ear = Ear(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with ear.open() as port:
        with pytest.raises(TlsError, match=r"it speaks no TLS there.*check scheme and port of backends.cloud.url"):
            await transcribe(port)
    assert KEY.encode() not in ear.heard
    assert b"client_ws" not in ear.heard


async def test_a_reset_in_the_middle_of_the_handshake() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async with await asyncio.start_server(reset, "localhost", 0) as server:
        with pytest.raises((NotReached, TlsError)) as caught:
            await transcribe(server.sockets[0].getsockname()[1])
    assert "is not reached (" in str(caught.value)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_redirect_is_not_followed(certificates: Certificates, scheme: str) -> None:
    stranger = Ear()
    async with stranger.open() as there:
        answer = f"HTTP/1.1 302 Found\r\nLocation: ws://localhost:{there}/login\r\nContent-Length: 0\r\n\r\n"
        context = certificates.context(certificates.of("localhost")) if scheme == "wss" else None
        async with Ear(answer.encode(), context).open() as port:
            with pytest.raises(HttpError, match=r"answered HTTP 302: .* whether this network wants a login") as caught:
                await transcribe(port, certificates.authority, scheme)
    assert verdict(caught.value) is Verdict.RETRY_LATER
    assert stranger.connections == 0


async def test_the_page_of_a_captive_portal() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(PORTAL), PORTAL)
    async with Ear(answer).open() as port:
        with pytest.raises(HttpError, match=r"answered HTTP 200: .* whether this network wants a login") as caught:
            await transcribe(port, scheme="ws")
    assert "hotel" not in str(caught.value)


class TestRequests:
    """What holds for a WebSocket holds for the HTTP requests that get keys."""

    async def test_who_is_not_trusted_learns_nothing(self, certificates: Certificates) -> None:
        ear = Ear(context=certificates.context(certificates.of("localhost")))
        async with ear.open() as port:
            with pytest.raises(TlsError, match="not trusted"):
                await request(f"https://localhost:{port}/token")
        assert ear.heard == b""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_not_followed(self, status: int) -> None:
        stranger = Ear()
        async with stranger.open() as there:
            answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://localhost:{there}/\r\nContent-Length: 0\r\n\r\n"
            async with Ear(answer.encode()).open() as port:
                with pytest.raises(HttpError, match=f"HTTP {status}"):
                    await request(f"http://localhost:{port}/token")
        assert stranger.connections == 0

    async def test_an_authority_of_the_owners_is_trusted(self, certificates: Certificates) -> None:
        answer = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"token": "x"}'
        async with Ear(answer, certificates.context(certificates.of("localhost"))).open() as port:
            assert await request(f"https://localhost:{port}/token", certificates.authority) == {"token": "x"}

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", HttpError),
            (b"220 mail.example ESMTP\r\n\r\n", BackendError),
            (b"", BackendError),
            (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nand", HttpError),
            (b"HTTP/1.1 429 Slow\r\nRetry-After: \xc2\xb2\r\nContent-Length: 0\r\n\r\n", HttpError),
            (
                b"HTTP/1.1 429 Slow\r\nRetry-After: Sat, 21 Nov 2026 12:00:00 +99999999999999999\r\n"
                b"Content-Length: 0\r\n\r\n",
                HttpError,
            ),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, BackendError),
        ],
    )
    async def test_answers_that_are_none(self, answer: bytes, kind: type[BackendError]) -> None:
        async with Ear(answer).open() as port:
            with pytest.raises(kind) as caught:
                await request(f"http://localhost:{port}/token")
        if isinstance(caught.value, HttpError):
            assert caught.value.retry_after_s == (7.0 if b"Retry-After: 7" in answer else None)

    async def test_no_answer_in_time(self) -> None:
        async with dumb_server() as port:
            with pytest.raises(LinkError, match="no answer in time"):
                await Transport("cloud", Patience(connect_s=0.2)).request("GET", f"http://127.0.0.1:{port}/")


async def request(url: str, ca_file: Path | None = None) -> object:
    transport = Transport("cloud", Patience(connect_s=5), str(ca_file) if ca_file else None)
    return await transport.request("POST", url, headers={"Authorization": f"Bearer {KEY}"}, body={"a": 1})
