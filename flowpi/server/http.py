"""One HTTP connection of a client, from its acceptance to its end, upgraded to a WebSocket or not."""

import asyncio
from typing import Any, cast

import msgspec
from aiohttp import web

from flowpi.server.acceptor import Seat
from flowpi.server.connection import CLOSE_S
from flowpi.server.frames import FrameGate
from flowpi.server.untrusted import log

MAX_LINE_BYTES = 8190
"""The limit of the request line, which includes the key in its query, and of each header."""
MAX_HEADERS = 100
REQUEST_S = 10.0
"""The time limit from the connection, TLS included, to the request, and again for the body of the request."""
KEEP_ALIVE_S = 75.0
"""The keep-alive time: longer than the 60 s for which clients keep a connection (W7)."""

SERVER = "flowpi"
"""The header `Server` of every answer: no version, neither our own nor that of a library."""


class HttpConnection(web.RequestHandler):
    """One HTTP connection.

    aiohttp's own answer to a request that it cannot parse quotes the request, which may hold a key, and names the
    versions of the libraries; the answers of this class do neither. The connection is closed unless a request follows
    its acceptance in time.

    Attributes:
        gate: checks the frames once the connection is upgraded; set it before the upgrade.
        seat: the connection's claim to be open.
    """

    __slots__ = ("_timer", "gate", "seat")

    def __init__(self, server: web.Server, seat: Seat) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast(Any, None),  # it would log the keys in the query
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=CLOSE_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )
        self.seat = seat
        self.gate: FrameGate | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin_request(self) -> None:
        """Stop waiting for the first request: it is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.seat.transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(REQUEST_S, self.force_close)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.begin_request()
        self.seat.leave()
        super().connection_lost(exc)

    def set_parser(self, parser: Any, *more: Any, **options: Any) -> None:
        assert self.gate is not None
        super().set_parser(cast(Any, self.gate.watch(parser)), *more, **options)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be parsed, or that failed outside of the endpoints."""
        log.info("refused a client: HTTP %d for a request that cannot be read", status)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        response = _refusal(status)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # from aiohttp itself: its text may quote a header
            resp = _refusal(resp.status)
        if not resp.prepared:
            resp.headers["Server"] = SERVER
        return await super().finish_response(request, resp, start_time)


def _refusal(status: int) -> web.Response:
    detail = "internal" if status == 500 else "request: not one that this server can read"
    body = msgspec.json.encode({"detail": detail})
    return web.Response(body=body, status=status, content_type="application/json")
