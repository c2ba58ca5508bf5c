"""Suki's endpoints: the login, the sessions of a partner, and the WebSocket of a dictation.

    POST /api/v1/auth/login                             exchange a partner token for a `suki_token`, valid 1 h (K8)
    POST /api/v1/transcription/session/create           201 and an id (K4)
    POST /api/v1/transcription/session/{id}/end         {} (K5)
    GET  /ws/transcribe                                 a dictation in a session (K0)

The socket accepts token and id in headers, or, from browsers, which cannot set headers, as sub-protocols (K0):

    Sec-WebSocket-Protocol: SukiAmbientAuth, TOKEN, ID

A lenient server also accepts them in the order of /ws/stream (the token is the one with two dots), and separated by
spaces. The rules of the sessions are in `flowpi.wire.suki_sessions`.
"""

import asyncio
import os
import re
import time
import uuid

from aiohttp import web

from flowpi.core.ulid import UlidFactory
from flowpi.server.auth import Authenticator, KeyRefused
from flowpi.server.connections import Connections
from flowpi.server.middleware import json_response, read_body
from flowpi.wire.suki import SukiServer
from flowpi.wire.suki_messages import CreateSession, GrpcCode, LoggedIn, Login, Refusal, SessionCreated, SessionEnded
from flowpi.wire.suki_messages import read_body as read_message
from flowpi.wire.suki_sessions import Partner, SukiSessions

TOKEN_S = 3600
"""The validity of a token (K8, K9)."""

PROTOCOL = "SukiAmbientAuth"
OLD_PROTOCOL = "SukiTranscriptionAuth"
"""The sub-protocol of K10, which the service no longer accepts (K0)."""

TOKEN_HEADER = "sdp_suki_token"
SESSION_HEADER = "transcription_session_id"
PROVIDER_HEADER = "sdp_provider_id"


class SukiEndpoints:
    def __init__(self, access: Authenticator, sockets: Connections, *, strict: bool) -> None:
        self._access = access
        self._sockets = sockets
        self._strict = strict
        self._sessions = SukiSessions()
        self._ulids = UlidFactory()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/auth/login", self._login),
            web.post("/api/v1/transcription/session/create", self._create),
            web.post("/api/v1/transcription/session/{id}/end", self._end),
            web.get("/ws/transcribe", self._transcribe, allow_head=False),
        ]

    async def _login(self, request: web.Request) -> web.Response:
        login = read_message(await self._body(request), Login)
        try:
            self._access.check_partner(login.partner_id, login.partner_token)
        except KeyRefused as refused:
            raise Refusal(GrpcCode.UNAUTHENTICATED, str(refused)) from None
        claims = {"partner_id": login.partner_id, "provider_id": login.provider_id}
        return json_response(LoggedIn(self._access.issue("suki", TOKEN_S, claims)))

    async def _create(self, request: web.Request) -> web.Response:
        owner = self._owner(request, request.headers.get(TOKEN_HEADER))
        asked = read_message(await self._body(request), CreateSession)
        session_id = self._sessions.create(owner, asked, str(uuid.uuid4()), _now())
        return json_response(SessionCreated(session_id), 201)

    async def _end(self, request: web.Request) -> web.Response:
        owner = self._owner(request, request.headers.get(TOKEN_HEADER))
        self._sessions.end(owner, request.match_info["id"], _now())
        return json_response(SessionEnded())

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        token, session_id, protocol = self._credentials(request)
        owner = self._owner(request, token)
        if session_id is None:
            raise Refusal(GrpcCode.INVALID_ARGUMENT, f"{SESSION_HEADER}: is missing")
        if why := self._sockets.why_full(request):
            raise Refusal(GrpcCode.UNAVAILABLE, why)
        self._sessions.open(owner, session_id, _now())
        try:
            transcript_id = self._ulids.make(time.time_ns() // 1_000_000, os.urandom(10))
            dialect = SukiServer(transcript_id=transcript_id, strict=self._strict)
            return await self._sockets.run(request, dialect, lambda _: None, protocol=protocol)
        finally:
            self._sessions.drop(session_id, _now())

    async def _body(self, request: web.Request) -> bytes:
        body = await read_body(request)
        if self._strict and body and request.content_type != "application/json":
            raise Refusal(GrpcCode.INVALID_ARGUMENT, "Content-Type: application/json")
        return body

    def _owner(self, request: web.Request, token: str | None) -> Partner:
        """Return the partner of the token; the provider id is checked too if the login named one."""
        if self._strict and token is None:
            raise Refusal(GrpcCode.UNAUTHENTICATED, f"{TOKEN_HEADER}: is missing")
        try:
            claims = self._access.check_token("suki", token)
        except KeyRefused as refused:
            raise Refusal(GrpcCode.UNAUTHENTICATED, f"{TOKEN_HEADER}: {refused}") from None
        owner = Partner(claims.get("partner_id", ""), claims.get("provider_id"))
        provider_id = request.headers.get(PROVIDER_HEADER)
        browser = "Sec-WebSocket-Protocol" in request.headers
        if owner.provider_id is not None and provider_id is None and self._strict and not browser:
            raise Refusal(GrpcCode.INVALID_ARGUMENT, f"{PROVIDER_HEADER}: is missing")
        if owner.provider_id is not None and provider_id not in (None, owner.provider_id):
            raise Refusal(GrpcCode.PERMISSION_DENIED, f"{PROVIDER_HEADER}: not the one that logged in")
        return owner

    def _credentials(self, request: web.Request) -> tuple[str | None, str | None, str | None]:
        """Return the token, the session id and the sub-protocol to answer with, each None if absent."""
        headers = request.headers
        offered = headers.get("Sec-WebSocket-Protocol")
        if offered is None:
            return headers.get(TOKEN_HEADER), headers.get(SESSION_HEADER), None
        if self._strict:
            if TOKEN_HEADER in headers or SESSION_HEADER in headers:
                raise Refusal(GrpcCode.INVALID_ARGUMENT, "Sec-WebSocket-Protocol: or headers, not both")
            protocol, *rest = [word.strip() for word in offered.split(",")]
        else:
            protocol, *rest = re.split(r"[,\s]+", offered.strip())
        if protocol == OLD_PROTOCOL:
            raise Refusal(GrpcCode.UNAUTHENTICATED, f"Sec-WebSocket-Protocol: {PROTOCOL}, not {OLD_PROTOCOL}")
        if protocol != PROTOCOL:
            raise Refusal(GrpcCode.UNAUTHENTICATED, f"Sec-WebSocket-Protocol: {PROTOCOL}, token, session id")
        if self._strict and len(rest) != 2:
            raise Refusal(GrpcCode.UNAUTHENTICATED, f"Sec-WebSocket-Protocol: {PROTOCOL}, token, session id")
        token, session_id = (*rest, None, None)[:2]
        if not self._strict and session_id and session_id.count(".") == 2:
            token, session_id = session_id, token
        # A value that is missing in the sub-protocols may be in a header.
        return token or headers.get(TOKEN_HEADER), session_id or headers.get(SESSION_HEADER), PROTOCOL


def _now() -> float:
    return asyncio.get_running_loop().time()
