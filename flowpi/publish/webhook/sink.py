"""The sink of one webhook: sends each final text as a POST, one after the other, and counts the tries of the first.

How often a text was tried is known in memory only. After a restart of the daemon it has all its tries again, and the
first is at once; a receiver that was gone for good is asked once more. What was parked stays parked.
"""

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiohttp

from flowpi.config.webhooks import MAKE_SECRET, WebhookSettings, signing_key
from flowpi.core.errors import ConfigError, SinkError, SinkRefusedError
from flowpi.host.clock import is_synchronised
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final, TextId
from flowpi.publish.webhook.request import body_of, headers_of, id_of
from flowpi.publish.webhook.verdict import Accepted, Answer, Later, Refused, Verdict, failed, judge

TRY_S = 15.0
"""The longest time from the name of the receiver to the status of its answer."""

JITTER = 0.2
"""The waits differ by so much, so that many appliances do not come back to a receiver at the same moment."""


class WebhookSink:
    """The sink of one webhook."""

    filters: Sequence[str] = ()
    durable = True

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        unix_time: Callable[[], float] = time.time,
        synchronised: Callable[[], bool | None] = is_synchronised,
    ) -> None:
        """
        Args:
            unix_time: returns the time of this machine.
            synchronised: returns whether that is right; None if it cannot be found out.
        """
        self._settings = settings
        self._unix_time = unix_time
        self._synchronised = synchronised
        self._where = urlsplit(settings.url).netloc
        self._session: aiohttp.ClientSession | None = None
        self._text: TextId | None = None
        """The text that was tried last, to which the next two belong."""
        self._failures = 0
        self._due_s = 0.0
        """The time of the loop before which a try is an extra one, asked for by an operator."""
        self._refused: set[TextId] = set()
        """The texts that were refused for good: one more try is enough if they are sent again."""

    async def open(self) -> None:
        # A connection for each request: one that was kept may be closed by the receiver while the next text is being
        # sent, and nobody could tell whether it has that.
        tls: ssl.SSLContext | bool = True
        if self._settings.url.startswith("https:"):
            tls = await asyncio.to_thread(_read_certificates, self._settings.ca_file)
        # The resolver of the system, which knows the names of the house. No proxy: to use that of the environment,
        # `trust_env` would also read ~/.netrc.
        connector = aiohttp.TCPConnector(force_close=True, ssl=tls, resolver=aiohttp.ThreadedResolver())
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )

    def receive(self, message: Message, retained: bool) -> None:
        pass

    async def write(self, final: Final) -> None:
        text = TextId(final.id, final.part)
        if text != self._text:
            self._text, self._failures, self._due_s = text, 0, 0.0
        now_s = asyncio.get_running_loop().time()
        verdict = await self._send(final)
        early_s = self._due_s - now_s
        if isinstance(verdict, Later) and not verdict.counts:
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=verdict.wait_s)
        if isinstance(verdict, Accepted):
            self._refused.discard(text)
        elif (isinstance(verdict, Refused) and early_s <= 0) or text in self._refused:
            self._refused.add(text)
            raise SinkRefusedError(self._said(verdict.problem), verdict.hint)
        elif isinstance(verdict, Later) and early_s <= 0:
            self._failures += 1
            self._due_s = asyncio.get_running_loop().time() + verdict.wait_s
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=verdict.wait_s)
        else:
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=early_s)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, final: Final) -> Verdict:
        """Send a text once."""
        assert self._session is not None
        keys = await asyncio.to_thread(self._keys)
        body = body_of(final)
        headers = headers_of(id_of(final), body, keys, self._unix_time())
        jitter = random.uniform(1 - JITTER, 1 + JITTER)
        try:
            async with asyncio.timeout(TRY_S):
                response = await self._session.post(
                    self._settings.url, data=body, headers=headers, allow_redirects=False
                )
            response.close()  # its body is not read: it may have no end, and what it says may quote the text
        except TimeoutError:
            return failed(f"no answer within {TRY_S:.0f} s", "", self._failures, jitter)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failed(*_explained(error), self._failures, jitter)
        answer = Answer(response.status, response.headers.get("Retry-After"), response.headers.get("Date"))
        synchronised = self._synchronised() if answer.status in (400, 401) else None
        return judge(answer, self._failures, self._unix_time(), jitter, synchronised=synchronised, signed=bool(keys))

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

    def _said(self, problem: str) -> str:
        return f"{self._where}: {problem}"


def _explained(error: Exception) -> tuple[str, str]:
    """Return what went wrong and what to do. Never the words of the library: they hold the URL, which may be a key."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted", "name its authority in ca_file if you trust it"
        case aiohttp.ClientSSLError():
            return "no secure connection", "check that https:// is right for this port"
        case aiohttp.ClientConnectorError(os_error=socket.gaierror()):
            return "its name has no address", "check the name in url, and the network"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=number)):
            reason = os.strerror(number) if number else "no connection"
            return f"it is not reached ({reason})", "check that it runs, and the network"
        case aiohttp.ClientConnectionError() | OSError():
            return "the connection broke", ""
        case aiohttp.InvalidURL() | ValueError():
            return "its url is not valid", "correct it"
    return "it does not answer in HTTP", "check the port in url"


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
