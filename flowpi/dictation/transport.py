"""How a backend is reached: one way for all dialects, by WebSocket and by HTTP.

Proxies come from the environment. Certificates are always checked, against the system's and an authority of the
owner's. A redirect is never followed: it would carry the key to a stranger. What goes wrong is a `BackendError` that
says which part of the way failed.

A dead link does not fail by itself: the kernel takes a second and a half of audio and waits for a quarter of an hour.
So there is always something on its way (audio, then pings), and the kernel gives up when none of it is acknowledged.
Nobody waits for a pong: a server that is busy with a long text sends none, but its kernel acknowledges.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from msgspec import Struct

from flowpi.core.errors import (
    BackendError,
    HttpError,
    LinkError,
    NotReached,
    NotResolved,
    ProtocolError,
    TlsError,
)
from flowpi.wire.codec import MAX_FRAME_BYTES

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection, connect
    from websockets.datastructures import Headers

PING_S = 2.0
UNACKNOWLEDGED_MS = 5000
"""With a ping every 2 s a link that is dead is known after 8 s at the latest: the kernel rounds 5 s up to 5.7."""

RECEIVE_BUFFER_BYTES = 16 * 1024
"""The kernel's, which doubles it: as much as the loop may have to take apart at once. A frame can be two bytes, and a
text is under 10 KB; the 256 KiB that asyncio reads at once would hold the loop for a second and take 40 MB."""

HAPPY_EYEBALLS_S = 0.25
"""RFC 8305: how long one address has before the next is tried beside it."""

MAX_ANSWER_BYTES = 64 * 1024
"""Of an HTTP request; a token is a few KB."""

LEAST_SECRET = 8
"""So many letters of a key are cut out where the rest of it is missing."""

_silent = logging.getLogger("flowpi.websockets")
# At DEBUG the library writes down what is said: URLs with keys, keys, and the words of a dictation.
_silent.setLevel(logging.INFO)


class Patience(Struct, frozen=True):
    """How long a backend may take, in seconds.

    `connect_s`: name, TCP, TLS, upgrade; or a whole HTTP request; third-party clients wait 8 to 30 s. `auth_s`: from
    there to an open session. `send_s`: a link that takes no second of audio in ten is dead. `final_s`: from the end
    of the audio to the text.
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


class Transport:
    """The way to one backend. One object a backend: it keeps the certificates that it read."""

    def __init__(
        self, name: str, patience: Patience, ca_file: str | None = None, *, url_key: str = "url", secret_key: str = ""
    ) -> None:
        """`name`: of the backend, for messages. `ca_file`: PEM, trusted beside those of the system.

        `url_key`, `secret_key`: where below the backend the owner wrote what this transport is called with.
        """
        self.name = name
        self._url_key = f"backends.{name}.{url_key}"
        self._secret_key = f"backends.{name}" + (f".{secret_key}" if secret_key else "")
        self.patience = patience
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self, url: str, *, headers: Mapping[str, str], unix: str | None = None) -> "ClientConnection":
        """Open a WebSocket. `url`: ws or wss, with its credentials. `unix`: through the socket of this path.

        Raises:
            BackendError: which part of the way failed.
        """
        from websockets.exceptions import (
            InvalidHandshake,
            InvalidProxy,
            InvalidProxyStatus,
            InvalidStatus,
            ProxyError,
            WebSocketException,
        )

        options: dict[str, Any] = {
            "additional_headers": headers,
            "compression": None,  # PCM does not compress, and a frame of zeros must not become a gigabyte
            "max_size": MAX_FRAME_BYTES,
            "max_queue": 2,  # frames that wait to be read; each may be as large as that
            "open_timeout": self.patience.connect_s,
            "close_timeout": self.patience.close_s,
            "ping_interval": None,  # a session pings while it waits: while it sends, the audio does as well
            "logger": _silent,
        }
        if unix:
            options |= {"unix": True, "path": unix}
        elif not _is_address(urlsplit(url).hostname or ""):
            options["happy_eyeballs_delay"] = HAPPY_EYEBALLS_S
        if urlsplit(url).scheme == "wss":
            options["ssl"] = await self._tls_context()
        try:
            connection = await _connector()(url, **options)
        except InvalidStatus as error:
            response = error.response
            raise self._http_error(response.status_code, response.headers, bytes(response.body or b"")) from None
        except (InvalidProxyStatus, InvalidProxy, ProxyError) as error:
            raise NotReached(
                f"backend {self.name!r} is not reached (the proxy does not let it through: {type(error).__name__})",
                "check http_proxy, https_proxy and no_proxy in the environment of flowpi",
            ) from None
        except ImportError as error:
            raise NotReached(
                f"backend {self.name!r} is not reached (a SOCKS proxy needs {error.name})",
                "pip install python-socks, or take socks_proxy out of the environment of flowpi",
            ) from None
        except UnicodeError:
            raise NotResolved(
                f"backend {self.name!r} is not reached (its name is none)", f"check the host in {self._url_key}"
            ) from None
        except (InvalidHandshake, WebSocketException):
            raise ProtocolError(
                f"backend {self.name!r} is no WebSocket server",
                f"check scheme (wss?), port and path of {self._url_key}",
            ) from None
        except (TimeoutError, OSError) as error:
            raise self._not_reached(error, unix=bool(unix)) from None
        if not unix:
            # Through a proxy this holds for the way to it.
            raw: socket.socket = connection.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        return connection

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        within_s: float | None = None,
    ) -> Any:
        """One HTTP request, with `body` as JSON. Returns the answer's JSON, its text where it is none, None if empty.

        `within_s`: instead of `Patience.connect_s`.

        Raises:
            BackendError: which part of the way failed; HttpError for every status but 2xx.
        """
        context = await self._tls_context() if urlsplit(url).scheme == "https" else None
        if within_s is None:
            within_s = self.patience.connect_s
        ask = (method, url, dict(headers or {}), body, context, within_s)
        opened: list[socket.socket] = []
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.to_thread(self._request, *ask, opened)
        except TimeoutError as error:
            raise self._not_reached(error) from None
        finally:
            # Of a server that sends a byte now and then, the thread would wait for days.
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Any,
        context: "ssl.SSLContext | None",
        within_s: float,
        opened: list[socket.socket],
    ) -> Any:
        """`opened`: takes the sockets, so that another thread can end this."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection
        from urllib.error import HTTPError, URLError
        from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

        class NoRedirect(HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                opened.append(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                opened.append(self.sock)

        class PlainHandler(HTTPHandler):
            def http_open(self, request: Request) -> Any:
                return self.do_open(Plain, request)

        class SecureHandler(HTTPSHandler):
            def https_open(self, request: Request) -> Any:
                return self.do_open(Secure, request, context=context)

        opener = build_opener(NoRedirect, PlainHandler, *([SecureHandler(context=context)] if context else []))
        headers["User-Agent"] = "flowpi"
        data = None
        if body is not None or method == "POST":
            data = b"" if body is None else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            with opener.open(Request(url, data, headers, method=method), timeout=within_s) as answer:
                content = answer.read(MAX_ANSWER_BYTES + 1)
        except HTTPError as error:
            with error:
                try:
                    content = error.read(MAX_ANSWER_BYTES)
                except (OSError, HTTPException):  # it says how it fails, and fails at that
                    content = b""
                raise self._http_error(error.code, error.headers, content) from None
        except URLError as error:
            reason = error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))
            raise self._not_reached(reason) from None
        except OSError as error:
            raise self._not_reached(error) from None
        except (HTTPException, ValueError):
            raise ProtocolError(
                f"backend {self.name!r} is no web server", f"check scheme (https?), port and path of {self._url_key}"
            ) from None
        if len(content) > MAX_ANSWER_BYTES:
            raise ProtocolError(f"backend {self.name!r} answered with more than {MAX_ANSWER_BYTES} bytes")
        return _json_or_text(content)

    def close_soon(self, connection: "ClientConnection") -> None:
        """Close it, and let nobody wait for that: a text that is there does not wait for a slow goodbye."""
        closing = asyncio.create_task(self._close(connection), name=f"close {self.name}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait for connections that are still being closed."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _close(self, connection: "ClientConnection") -> None:
        try:
            async with asyncio.timeout(self.patience.close_s):  # its own timeout begins once all audio is sent
                await connection.close()
        except TimeoutError:
            connection.transport.abort()

    async def _tls_context(self) -> "ssl.SSLContext":
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(_read_certificates, self._ca_file)
            except OSError as error:
                import ssl

                reason = "no certificate in it" if isinstance(error, ssl.SSLError) else _reason(error)
                raise TlsError(
                    f"backends.{self.name}.ca_file cannot be used ({reason})",
                    "name a PEM file that the user of flowpi may read",
                ) from None
        return self._tls

    def _http_error(self, status: int, headers: "Headers | Any", body: bytes) -> HttpError:
        detail, code = _detail(body)
        hint = {
            401: f"check the key of {self._secret_key}",
            403: f"check the key of {self._secret_key}",
            402: "check the account with the service",
            404: f"check the path in {self._url_key}",
            429: "the service asks to wait",
        }.get(status, "")
        if 200 <= status < 400:
            hint = f"check {self._url_key}, and whether this network wants a login first"
        what = f"backend {self.name!r} answered HTTP {status}{f' ({detail})' if detail else ''}"
        retry_after_s = _retry_after_s(headers)
        return HttpError(what, hint, status=status, retry_after_s=retry_after_s, detail=detail, code=code)

    def _not_reached(self, error: TimeoutError | OSError, *, unix: bool = False) -> BackendError:
        import ssl

        what = f"backend {self.name!r} is not reached"
        where = "is flowpi-asr.service running?" if unix else f"check the network, {_proxies()}and {self._url_key}"
        if isinstance(error, ssl.SSLCertVerificationError):
            reason, hint = _explain_certificate(error, self.name)
            return TlsError(f"{what} ({reason})", hint, clock=error.verify_code in CLOCK_ERRORS)
        if isinstance(error, ssl.SSLError):
            if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                hint = f"check scheme and port of {self._url_key}"
                return TlsError(f"{what} (it speaks no TLS there)", hint)
            reason = (error.reason or "the handshake failed").replace("_", " ").lower()
            return TlsError(f"{what} (no secure connection: {reason})", "the service must offer TLS 1.2 or newer")
        if isinstance(error, socket.gaierror):
            reason = "its name has no address" if error.errno in NO_SUCH_NAME else "no name server answers"
            return NotResolved(f"{what} ({reason})", where)
        if isinstance(error, TimeoutError) and error.errno is None:
            return LinkError(f"{what} (no answer in time)", where)
        return NotReached(f"{what} ({_reason(error)})", where)


@contextlib.contextmanager
def masked(*secrets: str | None) -> Iterator[None]:
    """Cut secrets out of the BackendError that leaves the context: a server may name the key that it does not like."""
    try:
        yield
    except BackendError as error:
        for secret in filter(None, secrets):
            for form in {secret, quote(secret), quote_plus(secret), quote(secret, safe="")}:
                for name, value in list(vars(error).items()):
                    if isinstance(value, str):
                        setattr(error, name, _without(value, form))
        error.args = (error.message, error.hint)
        raise


def _without(text: str, secret: str) -> str:
    """Its beginning too: what a peer says is cut to a length before anybody knows that there is a key in it."""
    head = secret[:LEAST_SECRET]
    at = text.find(head) if len(secret) >= 4 else -1  # fewer letters are no key, but in half of all words
    while at >= 0:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(text[at:], secret, strict=False))
        text = f"{text[:at]}***{text[at + len(list(same)) :]}"
        at = text.find(head, at + 3)
    return text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


CLOCK_ERRORS = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def _explain_certificate(error: "ssl.SSLCertVerificationError", name: str) -> tuple[str, str]:
    """Reason and hint, by OpenSSL's X509_V_ERR numbers."""
    year = time.gmtime().tm_year
    match error.verify_code:
        case 9:
            return f"its certificate is not valid yet; it is {year} here", "wait for the clock to be set, or check it"
        case 10:
            return f"its certificate has expired; it is {year} here", "the service must renew it, or the clock is wrong"
        case 18 | 19 | 20 | 21:
            hint = f"name its authority in backends.{name}.ca_file if you trust it"
            return f"its certificate is not trusted: {error.verify_message}", hint
        case 62 | 64:
            return "its certificate is for another name", f"check the host in backends.{name}.url"
        case _:
            return f"its certificate is not trusted: {error.verify_message}", "ask who runs the service"


@cache
def _connector() -> "Callable[..., connect]":
    from websockets.asyncio.client import ClientConnection, connect

    class Connection(ClientConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            super().connection_made(transport)

    class Connect(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    return partial(Connect, create_connection=Connection)


def _read_certificates(ca_file: str | None) -> "ssl.SSLContext":
    """Reads all certificates of the system, 25 ms. Raises OSError for `ca_file`."""
    import ssl

    context = ssl.create_default_context()  # TLS 1.2 or newer
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _proxies() -> str:
    """Said only where there are any."""
    from urllib.request import getproxies_environment

    return "the proxy in the environment, " if getproxies_environment().keys() - {"no"} else ""


def _retry_after_s(headers: "Headers | Any") -> float | None:
    """RFC 9110: seconds, or a date, which is compared with the server's own: a Pi may have no clock."""
    from email.utils import parsedate_to_datetime

    value = headers.get("Retry-After")
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date") or "")).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None


def _json_or_text(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def _detail(body: bytes) -> tuple[str, int | None]:
    """The server's own words, where it answers in JSON as both services do (`detail`, `message`, `error`); its code."""
    answer, code = _json_or_text(body), None
    for _ in range(2):
        if isinstance(answer, dict):
            code = answer["code"] if isinstance(answer.get("code"), int) else code
            answer = next((answer[name] for name in ("detail", "message", "error") if answer.get(name)), None)
    if not isinstance(answer, str) or answer.lstrip()[:1] == "<":  # a page for a browser
        return "", code
    return "".join(c if c.isprintable() else " " for c in answer[:200]).strip(), code


def _reason(error: OSError) -> str:
    if error.errno and error.errno > 0:  # asyncio's own text would name the address once more
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError):  # asyncio's, in the middle of a handshake
        return "connection reset by peer"
    return (error.strerror or str(error) or type(error).__name__).lower()
