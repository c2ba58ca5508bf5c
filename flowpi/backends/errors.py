"""What failed on the way to a backend, as a `BackendError` that the user understands; keys are cut out of it."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from msgspec import Struct

from flowpi.core.errors import (
    BackendError,
    ClosedError,
    HttpError,
    LinkError,
    NotReached,
    NotResolved,
    ProtocolError,
    TlsError,
)
from flowpi.core.safe_text import printable
from flowpi.host.units import how_to_look_at_recogniser, how_to_start_recogniser

if TYPE_CHECKING:
    import ssl

    from websockets.datastructures import Headers

LEAST_SECRET = 8
"""How many letters of a key are enough to cut it out where the rest of it is missing."""

CLOCK_ERRORS = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Endpoint(Struct, frozen=True):
    """The name of a backend and the keys of the configuration that say how to reach it; makes the errors.

    `url_key`, `secret_key`: dotted keys of the configuration.
    """

    name: str
    url_key: str
    secret_key: str

    def http_error(self, status: int, headers: "Headers | Any", body: bytes) -> HttpError:
        """Return the error for an HTTP status other than success."""
        detail, code = _detail(body)
        hint = {
            401: f"check the key of {self.secret_key}",
            403: f"check the key of {self.secret_key}",
            402: "check the account with the service",
            404: f"check the path in {self.url_key}",
            429: "the service asks to wait",
            **dict.fromkeys((400, 405, 410, 426, 501), f"check {self.url_key}"),
        }.get(status, "")
        if 200 <= status < 400:
            hint = f"check {self.url_key}, and whether this network wants a login first"
        what = f"backend {self.name!r} answered HTTP {status}{f' ({detail})' if detail else ''}"
        retry_after_s = _retry_after_s(headers)
        return HttpError(what, hint, status=status, retry_after_s=retry_after_s, detail=detail, code=code)

    def not_reached(self, error: TimeoutError | OSError, *, unix: bool = False) -> BackendError:
        """Return the error for a connection that could not be made, or ended. `unix`: it was a Unix socket."""
        import ssl

        what = f"backend {self.name!r} is not reached"
        where = how_to_start_recogniser() if unix else f"check the network, {_proxies()}and {self.url_key}"
        if isinstance(error, ssl.SSLCertVerificationError):
            reason, hint = self._explain_certificate(error)
            return TlsError(f"{what} ({reason})", hint, clock=error.verify_code in CLOCK_ERRORS)
        if isinstance(error, ssl.SSLError):
            if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                hint = f"check scheme and port of {self.url_key}"
                return TlsError(f"{what} (it speaks no TLS there)", hint)
            reason = (error.reason or "the handshake failed").replace("_", " ").lower()
            return TlsError(f"{what} (no secure connection: {reason})", "the service must offer TLS 1.2 or newer")
        if isinstance(error, socket.gaierror):
            reason = "its name has no address" if error.errno in NO_SUCH_NAME else "no name server answers"
            return NotResolved(f"{what} ({reason})", where)
        if isinstance(error, TimeoutError) and error.errno is None:
            return LinkError(f"{what} (no answer in time)", where)
        refused = unix or isinstance(error, ConnectionRefusedError)
        return NotReached(f"{what} ({reason_of(error)})", where, refused=refused)

    def no_web_server(self, kind: str, scheme: str, *, unix: bool = False) -> ProtocolError:
        """Return the error for an answer in another protocol. `kind`, `scheme`: the protocol asked for, and its secure
        scheme."""
        where = f"check {self.url_key}" if unix else f"check scheme ({scheme}?), port and path of {self.url_key}"
        return ProtocolError(f"backend {self.name!r} is no {kind} server", where)

    def no_answer(self, *, unix: bool = False) -> ClosedError:
        """Return the error for a connection that ended before the answer to the upgrade."""
        where = how_to_look_at_recogniser() if unix else f"check scheme (wss?) and port of {self.url_key}"
        return ClosedError(None, "no answer to the upgrade", f"if it goes on, {where}")

    def refused_by_proxy(self, error: Exception) -> NotReached:
        return NotReached(
            f"backend {self.name!r} is not reached (the proxy does not let it through: {type(error).__name__})",
            "check http_proxy, https_proxy and no_proxy in the environment of flowpi",
        )

    def no_socks(self, error: ImportError) -> NotReached:
        return NotReached(
            f"backend {self.name!r} is not reached (a SOCKS proxy needs {error.name})",
            "pip install python-socks, or take socks_proxy out of the environment of flowpi",
        )

    def no_name(self) -> NotResolved:
        return NotResolved(
            f"backend {self.name!r} is not reached (its name is none)", f"check the host in {self.url_key}"
        )

    def no_authority(self, error: OSError) -> TlsError:
        import ssl

        reason = "no certificate in it" if isinstance(error, ssl.SSLError) else reason_of(error)
        return TlsError(
            f"backends.{self.name}.ca_file cannot be used ({reason})",
            "name a PEM file that the user of flowpi may read",
        )

    def _explain_certificate(self, error: "ssl.SSLCertVerificationError") -> tuple[str, str]:
        """Return reason and hint, by OpenSSL's X509_V_ERR numbers."""
        year = time.gmtime().tm_year
        match error.verify_code:
            case 9:
                return (
                    f"its certificate is not valid yet; it is {year} here",
                    "wait for the clock to be set, or check it",
                )
            case 10:
                return (
                    f"its certificate has expired; it is {year} here",
                    "the service must renew it, or the clock is wrong",
                )
            case 18 | 19 | 20 | 21:
                hint = f"name its authority in backends.{self.name}.ca_file if you trust it"
                return f"its certificate is not trusted: {error.verify_message}", hint
            case 62 | 64:
                return "its certificate is for another name", f"check the host in {self.url_key}"
            case _:
                return f"its certificate is not trusted: {error.verify_message}", "ask who runs the service"


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
    """Return the text without the secret or a beginning of it: what a peer says may be cut off inside a key."""
    head = secret[:LEAST_SECRET]
    at = text.find(head) if len(secret) >= 4 else -1  # fewer letters are no key, and are part of many words
    while at >= 0:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(text[at:], secret, strict=False))
        text = f"{text[:at]}***{text[at + len(list(same)) :]}"
        at = text.find(head, at + 3)
    return text


def json_or_text(content: bytes) -> Any:
    """Return what an HTTP answer holds: its JSON, else its text, or None if it is empty."""
    try:
        return json.loads(content) if content.strip() else None
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def reason_of(error: OSError) -> str:
    """Return the reason in a few words, without the address."""
    if error.errno and error.errno > 0:  # asyncio's own text would name the address once more
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError):  # asyncio's, in the middle of a handshake
        return "connection reset by peer"
    return (error.strerror or str(error) or type(error).__name__).lower()


def _proxies() -> str:
    """Return words for the hint that name the proxies, if there are any."""
    from urllib.request import getproxies_environment

    return "the proxy in the environment, " if getproxies_environment().keys() - {"no"} else ""


def _retry_after_s(headers: "Headers | Any") -> float | None:
    """Return the seconds of `Retry-After` (RFC 9110), or None.

    A date is compared with the server's own `Date`, because a Pi may have no clock.
    """
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


def _detail(body: bytes) -> tuple[str, int | None]:
    """Return the server's own words and its code, if it answers in JSON with `detail`, `message` or `error`."""
    answer, code = json_or_text(body), None
    for _ in range(2):
        if isinstance(answer, dict):
            code = answer["code"] if isinstance(answer.get("code"), int) else code
            answer = next((answer[name] for name in ("detail", "message", "error") if answer.get(name)), None)
        if isinstance(answer, list) and answer:  # of what is wrong with a request: {"loc", "msg", ...} (A, FastAPI)
            answer = answer[0].get("msg") if isinstance(answer[0], dict) else answer[0]
    if not isinstance(answer, str) or answer.lstrip()[:1] == "<":  # a page for a browser
        return "", code
    return printable(answer).strip(), code
