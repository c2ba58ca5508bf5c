"""Suki's endpoints: login, sessions, every way into the socket and every refusal, over real sockets."""

import json
from typing import Any

import aiohttp
import pytest

from flowpi.server.app import Server
from flowpi.server.auth import Authenticator
from tests.server.calling import (
    CHUNK,
    ORG_KEY,
    PARTNER,
    PARTNER_TOKEN,
    Clock,
    ask,
    connect,
    create,
    dictate_suki,
    echo_of,
    hear,
    log_in,
    refusal,
    serving,
)
from tests.waiting import until

LOGIN = "/api/v1/auth/login"
SESSION = "/api/v1/transcription/session"
SOCKET = "/ws/transcribe"


def headers(token: str, session: str) -> dict[str, Any]:
    return {"additional_headers": {"sdp_suki_token": token, "transcription_session_id": session}}


class TestRest:
    @pytest.mark.parametrize("body", [{}, {"partner_id": PARTNER}, {"partner_id": 7, "partner_token": "x"}, [], "x"])
    async def test_login_that_cannot_be_read(self, both: Server, body: Any) -> None:
        status, answer = await ask(both, "POST", LOGIN, body)
        assert (status, answer["code"]) == (400, 3)

    @pytest.mark.parametrize(("partner", "token"), [(PARTNER, "canary-x"), ("other", PARTNER_TOKEN)])
    async def test_wrong_partner(self, both: Server, partner: str, token: str) -> None:
        answer = await ask(both, "POST", LOGIN, {"partner_id": partner, "partner_token": token})
        assert answer == (401, {"code": 16, "message": "partner_token: not valid for this partner_id"})

    async def test_nobody_where_only_organisations_are_known(self) -> None:
        async with serving(Authenticator([ORG_KEY])) as server:
            assert (await ask(server, "POST", LOGIN, {"partner_id": PARTNER, "partner_token": PARTNER_TOKEN}))[0] == 401
            assert (await ask(server, "POST", f"{SESSION}/create"))[0] == 401
            assert (await refusal(server, SOCKET, **headers("a.b.c", "x")))[0] == 401

    @pytest.mark.parametrize(
        ("token", "problem"), [(None, "missing"), ("x", "Invalid token"), ("a.b.c", "Invalid token")]
    )
    @pytest.mark.parametrize("path", [f"{SESSION}/create", f"{SESSION}/x/end"])
    async def test_no_token_no_session(self, both: Server, path: str, token: str | None, problem: str) -> None:
        status, answer = await ask(both, "POST", path, headers={"sdp_suki_token": token} if token else {})
        assert (status, answer["code"]) == (401, 16)
        assert problem in answer["message"]

    async def test_a_token_lasts_an_hour(self, both: Server, clock: Clock) -> None:
        token = await log_in(both)
        clock.now += 3599
        await create(both, token)
        clock.now += 1
        answer = await ask(both, "POST", f"{SESSION}/create", headers={"sdp_suki_token": token})
        assert answer == (401, {"code": 16, "message": "sdp_suki_token: Token has expired"})

    async def test_the_life_of_a_session(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        end = f"{SESSION}/{session}/end"
        assert await ask(both, "POST", end, headers={"sdp_suki_token": token}) == (200, {})
        status, answer = await ask(both, "POST", end, headers={"sdp_suki_token": token})
        assert (status, answer["code"]) == (400, 9)
        status, answer = await refusal(both, SOCKET, **headers(token, session))
        assert (status, answer["code"]) == (400, 9)
        assert "not accepting new speech sessions" in answer["message"]

    async def test_a_session_with_an_id_of_the_client(self, both: Server) -> None:
        token = await log_in(both)
        created = {"transcription_session_id": "01234567-89ab-cdef-0123-456789abcdef"}
        audio = {"audio_encoding": "LINEAR16", "audio_language": "en-US", "sample_rate_hertz": 16000}
        body = {**created, "audio_config": audio}
        sent = {"sdp_suki_token": token}
        assert await ask(both, "POST", f"{SESSION}/create", body, headers=sent) == (201, created)
        assert (await ask(both, "POST", f"{SESSION}/create", body, headers=sent))[0] == 409

    async def test_the_provider_id_of_the_login_belongs_to_every_request(self, lenient: Server) -> None:
        token = await log_in(lenient, provider_id="ada")
        session = await create(lenient, token, sdp_provider_id="ada")
        sent = headers(token, session)
        sent["additional_headers"]["sdp_provider_id"] = "eve"
        status, answer = await refusal(lenient, SOCKET, **sent)
        assert (status, answer["code"]) == (403, 7)
        async with connect(lenient, SOCKET, **headers(token, session)) as link:
            assert await dictate_suki(link, CHUNK) == echo_of(CHUNK)

    async def test_a_strict_server_wants_the_provider_id(self, strict: Server) -> None:
        sent = {"sdp_suki_token": await log_in(strict, provider_id="ada")}
        answer = await ask(strict, "POST", f"{SESSION}/create", headers=sent)
        assert answer == (400, {"code": 3, "message": "sdp_provider_id: is missing"})
        assert (await ask(strict, "POST", f"{SESSION}/create", headers={**sent, "sdp_provider_id": "ada"}))[0] == 201

    async def test_a_strict_server_wants_json(self, strict: Server) -> None:
        body = json.dumps({"partner_id": PARTNER, "partner_token": PARTNER_TOKEN}).encode()
        answer = await ask(strict, "POST", LOGIN, data=body)
        assert answer == (400, {"code": 3, "message": "Content-Type: application/json"})


class TestWayIn:
    async def test_headers(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        for count in (3, 1, 0):  # the same session takes one utterance after the other
            async with connect(both, SOCKET, **headers(token, session)) as link:
                assert await dictate_suki(link, CHUNK * count) == echo_of(CHUNK * count)
                assert link.subprotocol is None
            assert link.close_code == 1000

    async def test_subprotocols_of_a_browser(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        async with connect(both, SOCKET, subprotocols=["SukiAmbientAuth", token, session]) as link:
            assert link.subprotocol == "SukiAmbientAuth"
            assert await dictate_suki(link, CHUNK) == echo_of(CHUNK)

    @pytest.mark.parametrize("form", ["SukiAmbientAuth, {id}, {token}", "SukiAmbientAuth {id} {token}",
                                      "SukiAmbientAuth {token} {id}", "SukiAmbientAuth,{token},{id}"])  # fmt: skip
    async def test_other_orders_and_spaces(self, lenient: Server, form: str) -> None:
        token = await log_in(lenient)
        session = await create(lenient, token)
        offer = {"Sec-WebSocket-Protocol": form.format(id=session, token=token)}
        async with (  # websockets sends only what is legal
            aiohttp.ClientSession() as http,
            http.ws_connect(lenient.urls[0] + SOCKET, headers=offer) as link,
        ):
            await link.send_str('{"type": "EVENT", "event": "AUDIO_END"}')
            said = [json.loads(message.data)["transcript"]["transcript"] async for message in link]
        assert said == [echo_of(b""), "EOF"]

    async def test_an_open_server_takes_any_partner_and_no_token(self) -> None:
        async with serving() as server:
            session = (await ask(server, "POST", f"{SESSION}/create"))[1]["transcription_session_id"]
            async with connect(server, SOCKET, additional_headers={"transcription_session_id": session}) as link:
                assert await dictate_suki(link, CHUNK) == echo_of(CHUNK)
            assert (await ask(server, "POST", LOGIN, {"partner_id": "any", "partner_token": "any"}))[0] == 200

    async def test_a_client_that_vanishes_leaves_an_idle_session(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        async with connect(both, SOCKET, **headers(token, session)) as link:
            link.transport.abort()
        await until(lambda: not both.sessions)
        async with connect(both, SOCKET, **headers(token, session)) as link:
            assert await dictate_suki(link, CHUNK) == echo_of(CHUNK)


class TestRefusals:
    async def test_second_socket_of_a_session(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        async with connect(both, SOCKET, **headers(token, session)):
            status, answer = await refusal(both, SOCKET, **headers(token, session))
        message = "transcript session is not accepting new speech sessions (state RUNNING)"
        assert (status, answer) == (400, {"code": 9, "message": message})

    async def test_unknown_session(self, both: Server) -> None:
        token = await log_in(both)
        answer = await refusal(both, SOCKET, **headers(token, "x"))
        assert answer == (404, {"code": 5, "message": "there is no such transcription session"})

    async def test_session_of_somebody_else(self, clock: Clock) -> None:
        async with serving(Authenticator([], {PARTNER: PARTNER_TOKEN, "eve": "canary-eve"}, clock)) as server:
            session = await create(server, await log_in(server))
            eve = await log_in(server, partner_id="eve", partner_token="canary-eve")
            assert (await refusal(server, SOCKET, **headers(eve, session)))[0] == 404

    async def test_the_old_protocol(self, both: Server) -> None:
        token = await log_in(both)
        session = await create(both, token)
        status, answer = await refusal(both, SOCKET, subprotocols=["SukiTranscriptionAuth", token, session])
        assert (status, answer["code"]) == (401, 16)

    async def test_no_session_id(self, both: Server) -> None:
        sent = {"sdp_suki_token": await log_in(both)}
        answer = await refusal(both, SOCKET, additional_headers=sent)
        assert answer == (400, {"code": 3, "message": "transcription_session_id: is missing"})

    async def test_strict_order(self, strict: Server) -> None:
        token = await log_in(strict)
        session = await create(strict, token)
        status, answer = await refusal(strict, SOCKET, subprotocols=["SukiAmbientAuth", session, token])
        assert (status, answer) == (401, {"code": 16, "message": "sdp_suki_token: Invalid token"})
        both = {"subprotocols": ["SukiAmbientAuth", token, session], **headers(token, session)}
        assert (await refusal(strict, SOCKET, **both))[0] == 400

    async def test_binary(self, both: Server) -> None:
        token = await log_in(both)
        async with connect(both, SOCKET, **headers(token, await create(both, token))) as link:
            await link.send(b"\0\0")
            (answer,) = await hear(link)
        assert answer["error"]["code"] == 3
        assert link.close_code == 1003

    async def test_full(self) -> None:
        async with serving(max_sessions=1) as server:
            ids = [(await ask(server, "POST", f"{SESSION}/create"))[1]["transcription_session_id"] for _ in range(2)]
            one, other = ({"transcription_session_id": each} for each in ids)
            async with connect(server, SOCKET, additional_headers=one):
                answer = await refusal(server, SOCKET, additional_headers=other)
        assert answer == (503, {"code": 14, "message": "all 1 sessions are in use"})
