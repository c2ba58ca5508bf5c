"""Sends one request to the receiver of a webhook, and reports what came of it. What that means is in `verdict.py`."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from flowpi.config.webhooks import MAKE_SECRET, WebhookSettings, signing_key
from flowpi.core.errors import ConfigError, SinkError
from flowpi.publish.webhook.request import headers_of
from flowpi.publish.webhook.verdict import Answer, NoAnswer

CONNECT_S = 10.0
"""The longest time from the name of the receiver to a connection, with TLS where the url wants it."""

TRY_S = 15.0
"""The longest time from the name of the receiver to the status of its answer."""


class Sender:
    """Sends requests, each on a connection of its own, between `open` and `close`.

    Attributes:
        where: host and port of the receiver. The rest of its url may be a key, and is shown nowhere.
        signs: whether the requests are signed.
    """

    def __init__(self, settings: WebhookSettings, unix_time: Callable[[], float]) -> None:
        """`unix_time` returns the time of this machine."""
        self.where = urlsplit(settings.url).netloc
        self.signs = settings.secret is not None
        self._settings = settings
        self._unix_time = unix_time
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Read the certificates. Raises SinkError."""
        # A connection for each request: one that was kept may be closed by the receiver while the next text is being
        # sent, and nobody could tell whether it has that.
        tls: ssl.SSLContext | bool = True
        if self._settings.url.startswith("https:"):
            tls = await asyncio.to_thread(_read_certificates, self._settings.ca_file)
        # The resolver of the system, which knows the names of the house. No proxy: to use that of the environment,
        # `trust_env` would also read ~/.netrc.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, ssl=tls, resolver=aiohttp.ThreadedResolver()),
            timeout=aiohttp.ClientTimeout(connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """End what is being sent. Harmless if it is not open."""
        if self._session is not None:
            await self._session.close()

    async def send(self, message_id: str, body: bytes) -> Answer | NoAnswer:
        """Send a message once, signed as of now.

        Raises:
            SinkError: there is no secret to sign it with.
        """
        assert self._session is not None
        keys = await asyncio.to_thread(self._keys)
        headers = headers_of(message_id, body, keys, self._unix_time())
        try:
            async with asyncio.timeout(TRY_S):
                response = await self._session.post(
                    self._settings.url, data=body, headers=headers, allow_redirects=False
                )
            response.close()  # its body is not read: it may have no end, and what it says may quote the text
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _explained(error)
        return Answer(response.status, response.headers.get("Retry-After"), response.headers.get("Date"))

    def _keys(self) -> list[bytes]:
        """Return the keys to sign with. They are read each time, so that a file may change. Raises SinkError."""
        keys = []
        for name, secret in (("secret", self._settings.secret), ("old_secret", self._settings.old_secret)):
            if secret is not None:
                try:
                    keys.append(signing_key(secret.resolve()))
                except ConfigError as error:
                    raise SinkError(f"its {name} cannot be used: {error.message}", error.hint) from error
                except ValueError as error:
                    raise SinkError(f"its {name} {error}", MAKE_SECRET) from None
        return keys


def _explained(error: Exception) -> NoAnswer:
    """Return what went wrong and what to do. Never the words of the library: they hold the URL, which may be a key."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer("its certificate is not trusted", "name its authority in ca_file if you trust it", False)
        case aiohttp.ClientSSLError():
            return NoAnswer("no secure connection", "check that https:// is right for this port", False)
        case aiohttp.ClientConnectorError(os_error=socket.gaierror()):
            return NoAnswer("its name has no address", "check the name in url, and the network", False)
        case aiohttp.ClientConnectorError(os_error=OSError(errno=number)):
            reason = os.strerror(number) if number else "no connection"
            return NoAnswer(f"it is not reached ({reason})", "check that it runs, and the network", False)
        case aiohttp.ConnectionTimeoutError():
            hint = "check that it runs, and the network"
            return NoAnswer(f"it is not reached within {CONNECT_S:.0f} s", hint, False)
        case TimeoutError():
            return NoAnswer(f"no answer within {TRY_S:.0f} s", "", True)
        case aiohttp.ClientConnectionError() | OSError():
            return NoAnswer("the connection broke", "", True)
        case aiohttp.InvalidURL() | ValueError():
            return NoAnswer("its url is not valid", "correct it", False)
    return NoAnswer("it does not answer in HTTP", "check the port in url", True)


def _read_certificates(ca_file: str | None) -> ssl.SSLContext:
    """Read all certificates of the system, 25 ms. Raises SinkError for `ca_file`."""
    context = ssl.create_default_context()  # TLS 1.2 or newer
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            reason = error.strerror or "not a PEM file"
            raise SinkError(f"{ca_file!r} cannot be used ({reason})", "correct ca_file") from error
    return context
