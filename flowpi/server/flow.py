"""Wispr Flow's endpoints, below /api/v1/dash: two WebSockets, tokens, the warm-up.

    GET  /ws?api_key=Bearer%20KEY            a dictation, with the key of an organisation (W1)
    GET  /client_ws?client_key=Bearer%20JWT  the same, with a token of this server (W1, W2)
    POST /generate_access_token              a token for an organisation (W3)
    GET  /warmup_dash                        {"status": "warmed"} (W7): the engine is loaded before the server listens

A lenient server also accepts the key without `Bearer`, in an `Authorization` header, or, if the request has no key, in
`access_token` of the first message. A strict server accepts the key only where the service documents it.
"""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from flowpi.server.auth import Authenticator, KeyRefused
from flowpi.server.connections import Connections
from flowpi.server.middleware import FlowRefusal, json_response, read_body
from flowpi.wire.codec import DecodeError, decode
from flowpi.wire.flow import FlowServer

ROOT = "/api/v1/dash"
ENCODINGS = "json", "msgpack"


class TokenRequest(Struct):
    """The request for a token (W3). `duration_secs` has no documented range: this one is ours."""

    client_id: Annotated[str, Meta(min_length=1, max_length=256)]
    duration_secs: Annotated[int, Meta(ge=1, le=86_400)]
    metadata: dict[str, Any] = {}


class TokenAnswer(Struct):
    """The answer with a token (W3). `expires_in` is in seconds."""

    access_token: str
    expires_in: int


class FlowEndpoints:
    def __init__(self, access: Authenticator, sockets: Connections, *, strict: bool) -> None:
        self._access = access
        self._sockets = sockets
        self._strict = strict

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{ROOT}/ws", self._org_socket, allow_head=False),
            web.get(f"{ROOT}/client_ws", self._client_socket, allow_head=False),
            web.post(f"{ROOT}/generate_access_token", self._generate_access_token),
            web.get(f"{ROOT}/warmup_dash", self._warm_up, allow_head=False),
        ]

    async def _org_socket(self, request: web.Request) -> web.StreamResponse:
        return await self._run(request, "api_key")

    async def _client_socket(self, request: web.Request) -> web.StreamResponse:
        return await self._run(request, "client_key")

    async def _run(self, request: web.Request, parameter: str) -> web.StreamResponse:
        key = self._key_of(request, parameter)
        if key is not None and (problem := self._problem(parameter, key)):
            raise FlowRefusal(401, problem)
        encoding = request.headers.get("Encoding")
        if self._strict and encoding is not None and encoding not in ENCODINGS:
            raise FlowRefusal(400, "Encoding: json or msgpack")
        known = key is not None or self._access.is_open
        if why := self._sockets.why_full(request, known=known):
            raise FlowRefusal(503, why)

        def authorize(access_token: str | None) -> str | None:
            if key is not None and (access_token is None or not self._strict):
                return None
            token = access_token if access_token is None or self._strict else _without_bearer(access_token)
            problem = self._problem(parameter, token)
            return problem and f"access_token: {problem}"

        dialect = FlowServer(encoding=FlowServer.encoding_for(encoding), strict=self._strict)
        return await self._sockets.run(request, dialect, authorize, known=known)

    def _key_of(self, request: web.Request, parameter: str) -> str | None:
        """Return the key in the request without its prefix, or None if the request has no key.

        Raises:
            FlowRefusal: the server is strict, and the key is not where the service documents it.
        """
        key = request.query.get(parameter)
        if self._strict:
            if set(request.query) - {parameter}:
                raise FlowRefusal(400, f"query: {parameter} is the only parameter")
            if key is None:
                raise FlowRefusal(401, f"{parameter}: is missing in the query")
            if not key.startswith("Bearer "):
                raise FlowRefusal(401, f"{parameter}: 'Bearer ' goes before the key")
        if key is None:
            key = request.headers.get("Authorization")
        return None if not key else _without_bearer(key)

    def _problem(self, parameter: str, key: str | None) -> str | None:
        try:
            if parameter == "api_key":
                self._access.check_api_key(key)
            else:
                self._access.check_token("flow", key)
        except KeyRefused as refused:
            return str(refused)
        return None

    async def _generate_access_token(self, request: web.Request) -> web.Response:
        header = request.headers.get("Authorization", "")
        if self._strict and not header.startswith("Bearer "):
            raise FlowRefusal(401, "Authorization: 'Bearer ' and the key")
        try:
            self._access.check_api_key(_without_bearer(header))
        except KeyRefused as refused:
            raise FlowRefusal(401, str(refused)) from None
        if self._strict and request.content_type != "application/json":
            raise FlowRefusal(422, "Content-Type: application/json")
        body = await read_body(request)
        try:
            asked: TokenRequest = decode(body.decode("utf-8", "replace"), TokenRequest)
            if self._strict and (unknown := set(msgspec.json.decode(body)) - set(TokenRequest.__struct_fields__)):
                raise FlowRefusal(422, f"body: {len(unknown)} undocumented members")
        except DecodeError as error:
            raise FlowRefusal(422, f"body: {error}") from None
        token = self._access.issue("flow", asked.duration_secs, {"sub": asked.client_id})
        return json_response(TokenAnswer(token, asked.duration_secs))

    async def _warm_up(self, request: web.Request) -> web.Response:
        return json_response({"status": "warmed"})


def _without_bearer(key: str) -> str:
    scheme, _, rest = key.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else key.strip()
