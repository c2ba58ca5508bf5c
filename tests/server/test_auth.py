"""Tests of keys and tokens, on a clock with a lever."""

from collections.abc import Callable

import jwt
import pytest

from flowpi.server.auth import Authenticator, KeyRefused
from tests.server.calling import ORG_KEY, PARTNER, PARTNER_TOKEN, Clock, locked


def problem(check: Callable[[], object]) -> str | None:
    try:
        check()
    except KeyRefused as refused:
        return str(refused)
    return None


def test_the_keys_of_organisations() -> None:
    access = locked()
    for key in (ORG_KEY, "fl-canary-other"):
        access.check_api_key(key)
    assert problem(lambda: access.check_api_key(None)) == "API key is missing"
    for key in (ORG_KEY[:-1], ORG_KEY + "x", "\udc80", PARTNER_TOKEN):
        assert problem(lambda key=key: access.check_api_key(key)) == "Invalid API key"  # type: ignore[misc]


@pytest.mark.parametrize(("partner", "token"), [(PARTNER, "x"), (PARTNER, ""), ("other", PARTNER_TOKEN), ("", "")])
def test_partners(partner: str, token: str) -> None:
    locked().check_partner(PARTNER, PARTNER_TOKEN)
    assert problem(lambda: locked().check_partner(partner, token)) == "partner_token: not valid for this partner_id"


def test_a_service_without_keys_accepts_nobody_where_the_other_has_some() -> None:
    assert problem(lambda: Authenticator([ORG_KEY]).check_partner(PARTNER, PARTNER_TOKEN))
    assert problem(lambda: Authenticator([], {PARTNER: PARTNER_TOKEN}).check_api_key(ORG_KEY))


def test_an_open_server_accepts_everybody() -> None:
    access = Authenticator()
    assert access.is_open
    access.check_api_key(None)
    access.check_partner("anybody", "")
    assert access.check_token("flow", None) == {}
    assert access.check_token("suki", "made up") == {}


def test_a_token_lasts_to_the_second() -> None:
    clock = Clock()
    access = locked(clock)
    token = access.issue("flow", 60, {"sub": "desk"})
    clock.now += 59.9
    assert access.check_token("flow", token)["sub"] == "desk"
    clock.now += 0.1
    assert problem(lambda: access.check_token("flow", token)) == "Token has expired"


def test_a_token_is_for_its_service_and_its_server() -> None:
    access = locked()
    token = access.issue("flow", 60, {})
    assert problem(lambda: access.check_token("suki", token)) == "Invalid token"
    assert problem(lambda: locked().check_token("flow", token)) == "Invalid token"
    assert problem(lambda: access.check_token("flow", None)) == "Token is missing"


def test_a_token_with_no_signature() -> None:
    unsigned = jwt.encode({"aud": "flow", "exp": 4_000_000_000}, "", "none")
    assert problem(lambda: locked().check_token("flow", unsigned)) == "Invalid token"
