"""The middleware of every request: checks the origin, limits size and time, and formats errors.

Origin. An untrusted web page, open in a browser, can send requests to this machine, also to 127.0.0.1. Where keys are
set they keep such a page out, as no browser adds them by itself. An open server accepts requests of a page only if the
page came from this machine; programs send no `Origin`. `null` is refused too: a page loaded from a file sends it, but
so does any sandboxed frame of an untrusted page. CORS preflights of accepted pages are answered.

Errors have the form of the service that the path belongs to: `{"detail": ...}` for Flow (W2), `{"code": ...,
"message": ...}` for Suki (grpc-gateway, assumed). Neither errors nor the log quote the request, which may hold keys.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from flowpi.config.addresses import is_loopback
from flowpi.server.http import REQUEST_S, HttpConnection
from flowpi.server.untrusted import log as untrusted
from flowpi.wire.suki_messages import GrpcCode, Refusal, Status

log = logging.getLogger(__name__)

for name in ("aiohttp.server", "aiohttp.web", "aiohttp.websocket"):
    # These log parts of requests, which may hold keys. This module logs the essential facts itself.
    logging.getLogger(name).disabled = True

MAX_BODY_BYTES = 64 * 1024
ENCODINGS = "", "identity", "gzip", "deflate"
"""The encodings of a body that can be read (RFC 9110, 8.4)."""

SUKI_PATHS = "/api/v1/auth/", "/api/v1/transcription/", "/ws/transcribe"

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, sdp_suki_token, sdp_provider_id",
    "Access-Control-Max-Age": "600",
}


class BodyRefusal(Exception):
    """An error answer for a body that cannot be read, of either service; `str()` says what is wrong with it."""

    def __init__(self, http_status: int, problem: str) -> None:
        super().__init__(problem)
        self.http_status = http_status


class FlowRefusal(Exception):
    """An error answer of Flow's endpoints; `str()` is its detail."""

    def __init__(self, http_status: int, detail: str) -> None:
        super().__init__(detail)
        self.http_status = http_status


def json_response(body: object, status: int = 200) -> web.Response:
    """Return a JSON response; `body` is any value that msgspec encodes."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


async def read_body(request: web.Request) -> bytes:
    """Return the body of the request.

    Raises:
        BodyRefusal: the body is not encoded as its header says, or its encoding is not supported.
        web.HTTPException: the body is too large, or was not complete in time.
    """
    if request.headers.get("Content-Encoding", "").strip().lower() not in ENCODINGS:
        raise BodyRefusal(415, "Content-Encoding: gzip or deflate")
    try:
        async with asyncio.timeout(REQUEST_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, ContentEncodingError):
        raise BodyRefusal(400, "body: not what Content-Encoding or Transfer-Encoding says") from None


class Middleware:
    """The origin check and the error answers.

    Args:
        is_open: whether the server accepts any key.
    """

    def __init__(self, *, is_open: bool) -> None:
        self._is_open = is_open

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        cast(HttpConnection, request.protocol).begin_request()
        origin = request.headers.get("Origin")
        if origin is not None and not self._lets_in(origin):
            _tell(request, 403)
            return _refused(request, 403, "Origin: this server takes no requests of pages from elsewhere")
        if origin is not None and _is_preflight(request):
            response: web.StreamResponse = web.Response(status=204, headers=PREFLIGHT)
        else:
            response = await _answer(request, handler)
        if response.status >= 400 and not response.prepared:
            _tell(request, response.status)
        if origin is not None and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    def _lets_in(self, origin: str) -> bool:
        if not self._is_open:
            return True
        try:
            return is_loopback(urlsplit(origin).hostname or "")
        except ValueError:
            return False


def _tell(request: web.Request, status: int) -> None:
    """Log a refusal, without the path and query, which may hold anything."""
    resource = request.match_info.route.resource
    untrusted.info("refused a client: HTTP %d for %s", status, resource.canonical if resource else "another path")


def _is_preflight(request: web.Request) -> bool:
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return asks and isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed)


async def _answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except FlowRefusal as refusal:
        return _refused(request, refusal.http_status, str(refusal))
    except BodyRefusal as refusal:
        return _refused(request, refusal.http_status, str(refusal))
    except Refusal as refusal:
        return json_response(refusal.status, refusal.http_status)
    except web.HTTPNotFound:
        return _refused(request, 404, "path: not a documented one")
    except web.HTTPMethodNotAllowed as error:
        response = _refused(request, 405, "method: not the documented one of this path")
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except web.HTTPRequestEntityTooLarge:
        return _refused(request, 413, f"body: more than {MAX_BODY_BYTES} bytes")
    except web.HTTPRequestTimeout:
        return _refused(request, 408, f"body: not complete within {REQUEST_S:g} s")
    except web.HTTPBadRequest:
        return _refused(request, 400, "upgrade: not the handshake of a WebSocket (RFC 6455)")
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        # Without its message, which may quote the request.
        log.error("a request failed: %s in %s, line %s", type(error).__name__, where.filename, where.lineno)
        return _refused(request, 500, "internal")


def _refused(request: web.Request, status: int, text: str) -> web.Response:
    if not request.path.startswith(SUKI_PATHS):
        return json_response({"detail": text}, status)
    codes = {401: GrpcCode.UNAUTHENTICATED, 403: GrpcCode.PERMISSION_DENIED, 404: GrpcCode.NOT_FOUND}
    codes |= {405: GrpcCode.UNIMPLEMENTED, 500: GrpcCode.INTERNAL}
    return json_response(Status(codes.get(status, GrpcCode.INVALID_ARGUMENT), text), status)
