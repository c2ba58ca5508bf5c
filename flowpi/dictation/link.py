"""One attempt to get the text of one utterance from one backend.

The attempt reads the utterance from its first byte and follows its tail, so it does not matter whether its owner is
still speaking, or spoke yesterday. Whatever goes wrong ends it with a `BackendError`; it never retries anything.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from msgspec import Struct

from flowpi.config import FlowBackend
from flowpi.core.errors import BackendError, ConfigError, LinkError, ProtocolError, RefusedError
from flowpi.dictation.utterance import Utterance
from flowpi.wire.codec import MAX_FRAME_BYTES, Encoding
from flowpi.wire.flow import FinalText, FlowClient, Notice, PartialText, SessionReady

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

CLIENT_PATH = "/api/v1/dash/client_ws"
"""What a Unix socket serves the dialect on; the URL of a TCP backend names its own path."""


class Patience(Struct, frozen=True):
    """How long a backend may take, in seconds.

    `connect_s`: TCP, TLS, upgrade; third-party clients wait 8 to 30 s. `auth_s`: from there to an open session.
    `send_s`: a link that takes no second of audio in ten is dead. `final_s`: from the commit to the text.
    """

    connect_s: float = 10.0
    auth_s: float = 10.0
    send_s: float = 10.0
    final_s: float = 20.0
    close_s: float = 2.0


def preload() -> None:
    """Import what the first connection needs, 60 ms and 6 MB. Any thread."""
    import encodings.idna  # noqa: F401  the resolver spells every host name by it

    import websockets.asyncio.client  # noqa: F401


class Timings(Struct):
    """Monotonic seconds at which things happened in an attempt; None until they do."""

    first_packet_at: float | None = None
    committed_at: float | None = None
    final_at: float | None = None


class Attempt(Protocol):
    """A backend, ready to be tried."""

    @property
    def name(self) -> str: ...

    def use_json(self) -> None:
        """From now on: the backend answered MessagePack in text."""

    async def deliver(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        """Get the text. The connection is closed behind it, or behind an error, and nobody waits for that.

        Raises:
            BackendError: no text came of it.
        """

    async def close(self) -> None:
        """Wait for connections that are still being closed."""


class FlowLink:
    """A backend that speaks Flow. One object a backend: it remembers a server that answers only in JSON."""

    def __init__(self, name: str, backend: FlowBackend, context: dict[str, Any], patience: Patience) -> None:
        self.name = name
        self.encoding = Encoding(backend.encoding)
        self._backend = backend
        self._context = context
        self._patience = patience
        self._tls: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def use_json(self) -> None:
        self.encoding = Encoding.JSON

    async def deliver(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        token = self._token()
        client = FlowClient(
            encoding=self.encoding,
            access_token=token,
            language=list(self._backend.language),
            context=self._context | utterance.about.context,
            packet_ms=self._backend.packet_ms,
            wav=self._backend.audio == "wav",
        )
        try:
            async with self._connect(client, token) as socket:
                session = _Session(client, socket, utterance, on_partial, timings, self._patience)
                return await session.run(self._backend.packet_ms, self._backend.append_ms)
        except BackendError as error:
            if token:  # a server may name the key that it does not like
                for form in (token, quote(token)):
                    error.message = error.message.replace(form, "***")
                error.args = (error.message, error.hint)
            raise

    async def close(self) -> None:
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _token(self) -> str | None:
        key = self._backend.client_key or self._backend.api_key
        try:
            return key.resolve() if key else None
        except ConfigError as error:
            raise RefusedError(f"there is no key for backend {self.name!r}: {error.message}", error.hint) from None

    @asynccontextmanager
    async def _connect(self, client: FlowClient, token: str | None) -> "AsyncIterator[ClientConnection]":
        from websockets.asyncio.client import connect, unix_connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

        url = urlsplit(self._backend.url)
        options: dict[str, Any] = {
            "additional_headers": client.headers,
            "compression": None,  # PCM does not compress, and a frame of zeros must not become a gigabyte
            "max_size": MAX_FRAME_BYTES,
            "open_timeout": self._patience.connect_s,
            "close_timeout": self._patience.close_s,
            # Pings keep a path through routers open; a server that is busy with a long text answers none of them.
            "ping_timeout": None,
        }
        if url.scheme == "wss":
            options["ssl"] = self._tls = self._tls or await asyncio.to_thread(_tls_context)
        query = self._credentials(token)
        try:
            if url.scheme == "ws+unix":
                connecting = unix_connect(url.path, f"ws://localhost{CLIENT_PATH}{query}", **options)
            else:
                connecting = connect(url._replace(query=query.lstrip("?") or url.query).geturl(), **options)
            socket = await connecting
        except InvalidStatus as error:
            status = error.response.status_code
            what = f"backend {self.name!r} answered HTTP {status}"
            if status in (401, 403):
                raise RefusedError(what, f"check the key of backends.{self.name}") from None
            if status == 404:
                raise RefusedError(what, f"check the path in backends.{self.name}.url") from None
            raise LinkError(what) from None
        except (InvalidHandshake, WebSocketException) as error:
            raise ProtocolError(f"backend {self.name!r} is no WebSocket server ({type(error).__name__})") from None
        except (TimeoutError, OSError) as error:
            raise LinkError(f"backend {self.name!r} is not reached ({_reason(error)})", self._hint()) from None
        try:
            yield socket
        finally:
            # A text that is there does not wait for a slow goodbye.
            closing = asyncio.create_task(self._close(socket), name=f"close {self.name}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close(self, socket: "ClientConnection") -> None:
        try:
            async with asyncio.timeout(self._patience.close_s):  # its own timeout begins once all audio is sent
                await socket.close()
        except TimeoutError:
            socket.transport.abort()

    def _credentials(self, token: str | None) -> str:
        """The query of the upgrade request (the vendor's page `client_side_auth_basics`)."""
        if token is None:
            return ""
        name = "client_key" if self._backend.client_key else "api_key"
        return f"?{name}={quote(('Bearer ' if self._backend.bearer else '') + token)}"

    def _hint(self) -> str:
        url = self._backend.url
        return "is flowpi-asr.service running?" if url.startswith("ws+unix:") else "check the network, and the url"


class _Session:
    """One connection, from the first frame to the text."""

    def __init__(
        self,
        client: FlowClient,
        socket: "ClientConnection",
        utterance: Utterance,
        on_partial: Callable[[PartialText], None],
        timings: Timings,
        patience: Patience,
    ) -> None:
        self._client = client
        self._socket = socket
        self._utterance = utterance
        self._on_partial = on_partial
        self._timings = timings
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def run(self, packet_ms: int, append_ms: int) -> FinalText:
        began = self._loop.time()
        receiving = asyncio.create_task(self._receive(), name=f"receive {self._utterance.id}")
        sending = asyncio.create_task(self._send(packet_ms, append_ms), name=f"send {self._utterance.id}")
        try:
            # The receiver ends with the text or with an error, which ends the sender too; the sender with the commit.
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
            sending.result()
            # Audio of yesterday goes out in a moment, but a recogniser may take real time to hear it.
            unheard_s = max(0.0, began + self._utterance.duration_s - self._loop.time())
            async with _within(self._patience.final_s + unheard_s, "send the text"):
                return await receiving
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)

    async def _send(self, packet_ms: int, append_ms: int) -> None:
        client, utterance = self._client, self._utterance
        client.open()
        await self._flush()
        async with _within(self._patience.auth_s, "open the session"):
            await self._ready
        packet, append = client.packet_bytes, client.packet_bytes * (append_ms // packet_ms)
        sent, wanted = 0, packet  # the first packet goes as soon as it is there
        while True:
            await utterance.wait(sent + wanted)
            pcm = utterance.read(sent, sent + append)
            if utterance.complete and sent + len(pcm) == utterance.length:
                break
            pcm = pcm[: len(pcm) - len(pcm) % packet]
            client.append(pcm)
            await self._flush()
            if self._timings.first_packet_at is None:
                self._timings.first_packet_at = self._loop.time()
            sent += len(pcm)
            wanted = append
        client.commit(pcm)
        await self._flush()
        self._timings.committed_at = self._loop.time()
        if self._timings.first_packet_at is None:
            self._timings.first_packet_at = self._timings.committed_at

    async def _flush(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for frame in self._client.data_to_send():
                async with _within(self._patience.send_s, "take the audio"):
                    await self._socket.send(frame)
        except ConnectionClosed:
            pass  # the receiver knows why

    async def _receive(self) -> FinalText:
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                frame = await self._socket.recv()
                events = self._client.receive(frame)
            except ConnectionClosed as closed:
                close = closed.rcvd
                events = self._client.receive_close(close.code if close else None, close.reason if close else "")
            for event in events:
                match event:
                    case SessionReady():
                        self._ready.set_result(None)
                    case PartialText():
                        self._on_partial(event)
                    case FinalText():
                        self._timings.final_at = self._loop.time()
                        return event
                    case Notice(what):
                        log.debug("%s < %s", self._utterance.id, what)


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LinkError(f"the backend did not {what} within {seconds:g} s") from None


def _tls_context() -> "ssl.SSLContext":
    """Reads all certificates of the system, 25 ms."""
    import ssl

    return ssl.create_default_context()


def _reason(error: TimeoutError | OSError) -> str:
    if untrusted := getattr(error, "verify_message", None):  # of ssl.SSLCertVerificationError
        return f"its certificate is not trusted: {untrusted}"
    if error.errno and error.errno > 0:  # asyncio's own text would name the address once more
        return os.strerror(error.errno).lower()
    if error.strerror:
        return error.strerror.lower()
    return "no answer in time" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__).lower()
