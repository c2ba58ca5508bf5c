"""How a backend is reached: one way for all dialects, by WebSocket and by HTTP.

Proxies come from the environment. Certificates are always checked, against the authorities of the system and one that
the user may name. A redirect is never followed: it would carry the key to somebody else. Every failure is a
`BackendError` that shows which part of the way failed.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowpi.backends.errors import Endpoint, json_or_text
from flowpi.backends.patience import Patience
from flowpi.backends.proxies import bypasses_proxy
from flowpi.backends.stream import Stream
from flowpi.backends.websocket import connect_websocket
from flowpi.core.errors import ProtocolError

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPConnection
    from urllib.request import OpenerDirector

MAX_ANSWER_BYTES = 64 * 1024
"""The longest answer to an HTTP request; a token is a few KB."""


def preload() -> None:
    """Import what the first connection needs, 60 ms and 6 MB. Safe in any thread."""
    import encodings.idna  # noqa: F401  the resolver spells every host name by it

    import websockets.asyncio.client  # noqa: F401


class Transport:
    """The way to one backend. One object for each backend: it keeps the certificates that it read."""

    def __init__(
        self, name: str, patience: Patience, ca_file: str | None = None, *, url_key: str = "url", secret_key: str = ""
    ) -> None:
        """`name`: of the backend, for messages. `ca_file`: PEM, an authority beside those of the system.

        `url_key`, `secret_key`: the keys below the backend that hold its URL and its secret, for messages.
        """
        self.name = name
        self._endpoint = Endpoint(
            name, f"backends.{name}.{url_key}", f"backends.{name}" + (f".{secret_key}" if secret_key else "")
        )
        self.patience = patience
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self, url: str, *, headers: Mapping[str, str], unix: str | None = None) -> Stream:
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

        tls = await self._tls_context() if urlsplit(url).scheme == "wss" else None
        try:
            return await connect_websocket(url, headers=headers, unix=unix, tls=tls, patience=self.patience)
        except InvalidStatus as error:
            response = error.response
            raise self._endpoint.http_error(
                response.status_code, response.headers, bytes(response.body or b"")
            ) from None
        except (InvalidProxyStatus, InvalidProxy, ProxyError) as error:
            raise self._endpoint.refused_by_proxy(error) from None
        except ImportError as error:
            raise self._endpoint.no_socks(error) from None
        except UnicodeError:
            raise self._endpoint.no_name() from None
        except (InvalidHandshake, WebSocketException) as error:
            if isinstance(error.__cause__, EOFError):  # no answer at all: the connection broke in the upgrade
                raise self._endpoint.no_answer(unix=bool(unix)) from None
            raise self._endpoint.no_web_server("WebSocket", "wss", unix=bool(unix)) from None
        except (TimeoutError, OSError) as error:
            raise self._endpoint.not_reached(error, unix=bool(unix)) from None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        within_s: float | None = None,
    ) -> Any:
        """Send an HTTP request with `body` as JSON. Return the answer's JSON, or its text, or None if it is empty.

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
            raise self._endpoint.not_reached(error) from None
        finally:
            # If the server sends a byte now and then, the thread would wait for days: end its connection.
            for connection in opened:
                with connection, contextlib.suppress(OSError):
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
        """Do a request in a thread. `opened`: receives copies of the sockets, by which another thread can end it."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        headers["User-Agent"] = "flowpi"
        data = None
        if body is not None or method == "POST":
            data = b"" if body is None else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            opener = _opener(urlsplit(url).hostname or "", context, opened)
            with opener.open(Request(url, data, headers, method=method), timeout=within_s) as answer:
                content = answer.read(MAX_ANSWER_BYTES + 1)
        except HTTPError as error:
            with error:
                try:
                    content = error.read(MAX_ANSWER_BYTES)
                except (OSError, HTTPException):  # the connection broke in the middle of the explanation
                    content = b""
                raise self._endpoint.http_error(error.code, error.headers, content) from None
        except URLError as error:
            reason = error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))
            raise self._endpoint.not_reached(reason) from None
        except OSError as error:
            raise self._endpoint.not_reached(error) from None
        except (HTTPException, ValueError):
            raise self._endpoint.no_web_server("web", "https") from None
        finally:
            for connection in opened:  # who waited may have gone before there was one
                connection.close()
        if len(content) > MAX_ANSWER_BYTES:
            raise ProtocolError(f"backend {self.name!r} answered with more than {MAX_ANSWER_BYTES} bytes")
        return json_or_text(content)

    def close_soon(self, stream: Stream) -> None:
        """Close a stream in the background: a text that has come must not wait for a slow goodbye."""
        closing = asyncio.create_task(stream.close(), name=f"close {self.name}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait for connections that are still being closed."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _tls_context(self) -> "ssl.SSLContext":
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(_read_certificates, self._ca_file)
            except OSError as error:
                raise self._endpoint.no_authority(error) from None
        return self._tls


def _read_certificates(ca_file: str | None) -> "ssl.SSLContext":
    """Read all certificates of the system, 25 ms. Raises OSError for `ca_file`."""
    import ssl

    context = ssl.create_default_context()  # TLS 1.2 or newer
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _opener(host: str, context: "ssl.SSLContext | None", opened: list[socket.socket]) -> "OpenerDirector":
    """Return an opener that follows no redirect and adds copies of its sockets to `opened`. `context`: for https."""
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    def create(*args: Any, **options: Any) -> socket.socket:
        # Noted before anything is read from it: a proxy, too, may send a byte now and then for ever. A copy, because
        # TLS takes the socket itself over.
        connection = socket.create_connection(*args, **options)
        opened.append(connection.dup())
        return connection

    def noting(kind: "type[HTTPConnection]") -> "type[HTTPConnection]":
        class Noting(kind):  # type: ignore[valid-type,misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self._create_connection = create

        return Noting

    class Plain(HTTPHandler):
        def http_open(self, request: Request) -> Any:
            return self.do_open(noting(HTTPConnection), request)

    class Secure(HTTPSHandler):
        def https_open(self, request: Request) -> Any:
            return self.do_open(noting(HTTPSConnection), request, context=context)

    secure = [Secure(context=context)] if context else []
    direct = [ProxyHandler({})] if bypasses_proxy(host) else []
    return build_opener(NoRedirect, Plain, *secure, *direct)
