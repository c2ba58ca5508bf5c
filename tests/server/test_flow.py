"""Flow's endpoints: every way in, and every refusal, over real sockets."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from flowpi.server.app import Server
from flowpi.server.auth import Authenticator
from tests.server.calling import (
    CHUNK,
    DASH,
    ORG_KEY,
    PARTNER,
    PARTNER_TOKEN,
    Clock,
    ask,
    connect,
    dictate_flow,
    echo_of,
    refusal,
    serving,
)
from tests.waiting import PATIENCE_S

TOKENS = f"{DASH}/generate_access_token"
WANTED = {"client_id": "desk", "duration_secs": 60}
BEARER = {"Authorization": f"Bearer {ORG_KEY}"}


async def token_of(server: Server, seconds: int = 60) -> str:
    _, answer = await ask(server, "POST", TOKENS, {**WANTED, "duration_secs": seconds}, headers=BEARER)
    return str(answer["access_token"])


async def text(server: Server, path: str, headers: dict[str, str] | None = None, **auth: Any) -> str:
    async with connect(server, path, additional_headers=headers) as link:
        return await dictate_flow(link, CHUNK * 3, **auth)


class TestTokens:
    async def test_as_the_page_shows(self, both: Server) -> None:
        status, answer = await ask(both, "POST", TOKENS, {**WANTED, "metadata": {"room": 3}}, headers=BEARER)
        assert (status, set(answer), answer["expires_in"]) == (200, {"access_token", "expires_in"}, 60)
        assert jwt.get_unverified_header(answer["access_token"])["alg"] == "HS256"

    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer fl-canary-x"}, {"Authorization": "Bearer "}])
    async def test_wrong_key(self, both: Server, header: dict[str, str]) -> None:
        status, answer = await ask(both, "POST", TOKENS, WANTED, headers=header)
        assert status == 401
        assert list(answer) == ["detail"]
        assert "fl-" not in answer["detail"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "client_id"),
            ({"client_id": "desk"}, "duration_secs"),
            ({"client_id": "", "duration_secs": 60}, "client_id"),
            ({"client_id": 7, "duration_secs": 60}, "client_id"),
            ({**WANTED, "duration_secs": 0}, "duration_secs"),
            ({**WANTED, "duration_secs": 86_401}, "duration_secs"),
            ({**WANTED, "duration_secs": "60"}, "duration_secs"),
            ({**WANTED, "metadata": []}, "metadata"),
            ([], "array"),
        ],
    )
    async def test_wrong_body(self, both: Server, body: Any, field: str) -> None:
        status, answer = await ask(both, "POST", TOKENS, body, headers=BEARER)
        assert status == 422
        assert field in answer["detail"]

    async def test_no_json(self, both: Server) -> None:
        headers = {**BEARER, "Content-Type": "application/json"}
        status, answer = await ask(both, "POST", TOKENS, data=b"\xff{", headers=headers)
        assert (status, answer) == (422, {"detail": "body: not JSON (DecodeError)"})

    async def test_the_bare_key_is_enough_for_a_lenient_server(self, lenient: Server) -> None:
        assert (await ask(lenient, "POST", TOKENS, WANTED, headers={"Authorization": ORG_KEY}))[0] == 200

    @pytest.mark.parametrize(
        ("body", "headers", "answer"),
        [
            (WANTED, {"Authorization": ORG_KEY}, (401, "Authorization: 'Bearer ' and the key")),
            ({**WANTED, "x": 1}, BEARER, (422, "body: 1 undocumented members")),
            (WANTED, {**BEARER, "Content-Type": "text/plain"}, (422, "Content-Type: application/json")),
        ],
        ids=["bare", "member", "type"],
    )
    async def test_strictly(self, strict: Server, body: Any, headers: dict[str, str], answer: tuple[int, str]) -> None:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        assert await ask(strict, "POST", TOKENS, data=data, headers=headers) == (answer[0], {"detail": answer[1]})

    async def test_nobody_where_only_partners_are_known(self) -> None:
        async with serving(Authenticator([], {PARTNER: PARTNER_TOKEN})) as server:
            assert (await ask(server, "POST", TOKENS, WANTED, headers=BEARER))[0] == 401
            assert (await refusal(server, f"{DASH}/ws?api_key=Bearer%20x"))[0] == 401

    async def test_warm_up_needs_no_key(self, both: Server) -> None:
        assert await ask(both, "GET", f"{DASH}/warmup_dash") == (200, {"status": "warmed"})


class TestWayIn:
    @pytest.mark.parametrize("space", ["%20", "+"])
    async def test_the_documented_ones(self, both: Server, space: str) -> None:
        token = await token_of(both)
        for path, key in ((f"ws?api_key=Bearer{space}", ORG_KEY), (f"client_ws?client_key=Bearer{space}", token)):
            assert await text(both, f"{DASH}/{path}{key}", access_token=key) == echo_of(CHUNK * 3)

    @pytest.mark.parametrize("prefix", ["", "bearer%20", "BEARER+"])
    async def test_other_prefixes(self, lenient: Server, prefix: str) -> None:
        assert await text(lenient, f"{DASH}/ws?api_key={prefix}{ORG_KEY}") == echo_of(CHUNK * 3)

    async def test_authorization_header(self, lenient: Server) -> None:
        assert await text(lenient, f"{DASH}/ws", BEARER) == echo_of(CHUNK * 3)

    @pytest.mark.parametrize("prefix", ["", "Bearer "])
    async def test_access_token_alone(self, lenient: Server, prefix: str) -> None:
        token = await token_of(lenient)
        assert await text(lenient, f"{DASH}/ws", access_token=prefix + ORG_KEY) == echo_of(CHUNK * 3)
        assert await text(lenient, f"{DASH}/client_ws", access_token=prefix + token) == echo_of(CHUNK * 3)

    async def test_a_session_outlives_its_token(self, lenient: Server, clock: Clock) -> None:
        token = await token_of(lenient, 1)
        async with connect(lenient, f"{DASH}/client_ws?client_key={token}") as link:
            clock.now += 2
            assert await dictate_flow(link, CHUNK, access_token=token) == echo_of(CHUNK)

    @pytest.mark.parametrize("key", ["", "?api_key=", "?api_key=any"])
    async def test_an_open_server_takes_any_key_and_none(self, key: str) -> None:
        async with serving() as server:
            assert await text(server, f"{DASH}/ws{key}") == echo_of(CHUNK * 3)
            assert await text(server, f"{DASH}/client_ws{key}", access_token="any") == echo_of(CHUNK * 3)


class TestRefusals:
    @pytest.mark.parametrize("path", ["ws?api_key", "client_ws?client_key"])
    async def test_wrong_key_in_the_url(self, both: Server, path: str) -> None:
        status, answer = await refusal(both, f"{DASH}/{path}=Bearer%20fl-canary-x")
        assert status == 401
        assert answer == {"detail": "Invalid API key" if "api" in path else "Invalid token"}

    async def test_the_key_of_the_other_socket(self, both: Server) -> None:
        token = await token_of(both)
        assert (await refusal(both, f"{DASH}/ws?api_key=Bearer%20{token}"))[0] == 401
        assert (await refusal(both, f"{DASH}/client_ws?client_key=Bearer%20{ORG_KEY}"))[0] == 401

    async def test_expired(self, both: Server, clock: Clock) -> None:
        token = await token_of(both, 1)
        clock.now += 1
        answer = await refusal(both, f"{DASH}/client_ws?client_key=Bearer%20{token}")
        assert answer == (401, {"detail": "Token has expired"})

    @pytest.mark.parametrize(
        ("auth", "problem"),
        [({}, "API key is missing"), ({"access_token": "fl-canary-x"}, "Invalid API key")],
        ids=["missing", "wrong"],
    )
    async def test_in_the_first_message(self, lenient: Server, auth: dict[str, str], problem: str) -> None:
        async with connect(lenient, f"{DASH}/ws") as link:
            assert await dictate_flow(link, CHUNK, **auth) == f"access_token: {problem}"
            await link.wait_closed()
        assert link.close_code == 1008

    @pytest.mark.parametrize(
        ("path", "headers", "answer"),
        [
            (f"ws?api_key={ORG_KEY}", {}, (401, "api_key: 'Bearer ' goes before the key")),
            (f"ws?api_key=bearer%20{ORG_KEY}", {}, (401, "api_key: 'Bearer ' goes before the key")),
            ("ws", BEARER, (401, "api_key: is missing in the query")),
            ("client_ws", {}, (401, "client_key: is missing in the query")),
            (f"ws?api_key=Bearer%20{ORG_KEY}&x=1", {}, (400, "query: api_key is the only parameter")),
            (f"ws?api_key=Bearer%20{ORG_KEY}", {"Encoding": "cbor"}, (400, "Encoding: json or msgpack")),
        ],
    )
    async def test_strictly(self, strict: Server, path: str, headers: dict[str, str], answer: tuple[int, str]) -> None:
        got = await refusal(strict, f"{DASH}/{path}", additional_headers=headers)
        assert got == (answer[0], {"detail": answer[1]})

    async def test_a_strict_server_looks_at_both_keys(self, strict: Server) -> None:
        path = f"{DASH}/ws?api_key={quote('Bearer ' + ORG_KEY)}"
        assert await text(strict, path, access_token="fl-canary-x") == "access_token: Invalid API key"

    async def test_a_strict_open_server_wants_the_form_too(self) -> None:
        async with serving(strict=True) as server:
            assert (await refusal(server, f"{DASH}/client_ws"))[0] == 401
            path = f"{DASH}/client_ws?client_key=Bearer%20any"
            assert await text(server, path, access_token="any") == echo_of(CHUNK * 3)

    async def test_full(self) -> None:
        async with serving(max_sessions=1) as server, connect(server, f"{DASH}/ws"):
            async with asyncio.timeout(PATIENCE_S):
                assert await refusal(server, f"{DASH}/ws") == (503, {"detail": "all 1 sessions are in use"})
