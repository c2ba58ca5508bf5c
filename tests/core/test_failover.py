"""What follows from a failed attempt."""

import pytest

from flowpi.core.errors import (
    AnsweredInText,
    BackendError,
    ClosedError,
    CredentialError,
    HttpError,
    LinkError,
    LinkLost,
    NoText,
    NotReached,
    NotResolved,
    ProtocolError,
    RefusedError,
    TlsError,
)
from flowpi.core.failover import (
    FIRST_RETRY_S,
    LAST_RETRY_S,
    MAX_RETRY_AFTER_S,
    Verdict,
    asked_rest_s,
    concerns_backend,
    concerns_key,
    concerns_utterance,
    condemns_utterance,
    rest_s,
    retry_after_s,
    verdict,
    without_network,
)

NOW, LATER = Verdict.RETRY_NOW, Verdict.RETRY_LATER
OTHER, STOP = Verdict.OTHER_BACKEND, Verdict.STOP_AND_TELL


def http(status: int, retry_after_s: float | None = None) -> HttpError:
    return HttpError("x", status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BackendError("x"), LATER),
        (LinkError("no answer in time"), LATER),
        (NotResolved("x"), LATER),
        (NotReached("x"), LATER),
        (TlsError("self-signed"), STOP),
        (TlsError("not valid yet", clock=True), LATER),
        (CredentialError("no such file"), STOP),
        (CredentialError("the command failed", temporary=True), LATER),
        (ProtocolError("x"), OTHER),
        (AnsweredInText("x"), OTHER),
        *((http(status), LATER) for status in (200, 302, 408, 425, 429, 500, 502, 503, 504)),
        *((http(status), STOP) for status in (400, 401, 402, 403, 404, 405, 426)),
        *((http(status), OTHER) for status in (413, 415, 422)),
        (LinkLost("x"), NOW),
        *((ClosedError(code), NOW) for code in (None, 1001, 1012)),
        *((ClosedError(code), LATER) for code in (1000, 1005, 1011, 1013, 4000, 4999)),
        *((ClosedError(code), OTHER) for code in (1002, 1003, 1007, 1009)),
        *((ClosedError(code), STOP) for code in (1008, 3000, 4001, 4003, 4401)),
        (RefusedError("the server refused: token has expired"), STOP),
        (RefusedError("the server refused: invalid access_token"), STOP),
        (RefusedError("the server refused: the quota is used up"), LATER),
        (RefusedError("the server refused: RESOURCE_EXHAUSTED: no"), LATER),
        (RefusedError("the server refused: DEADLINE_EXCEEDED: no"), LATER),
        (RefusedError("the server refused: UNAVAILABLE"), LATER),
        (RefusedError("the server refused: UNAUTHENTICATED: no"), STOP),
        (RefusedError("the server refused: INVALID_ARGUMENT: audioData: half a sample"), OTHER),
        (RefusedError("the server refused: language: this server understands en"), OTHER),
    ],
)
def test_verdict(error: BackendError, expected: Verdict) -> None:
    assert verdict(error) is expected


@pytest.mark.parametrize(
    "error", [AnsweredInText("x"), http(401), ClosedError(4001), RefusedError("token has expired")]
)
def test_what_was_healed_is_tried_again_at_once(error: BackendError) -> None:
    error.healed = True
    assert verdict(error) is NOW
    assert rest_s(error) == 0
    error.healed = False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (http(401), True),
        (http(403), True),
        (http(404), False),
        (ClosedError(4001), True),
        (ClosedError(1008), False),
        (ClosedError(1008, "invalid API key"), True),
        (ClosedError(1011, "token"), False),
        (RefusedError("the jwt has expired"), True),
        (RefusedError("tokens per minute: try again"), False),
        (RefusedError("rate limit exceeded for this API key"), False),
        (RefusedError("Unexpected token u in JSON"), False),
        (RefusedError("the token is invalid"), True),
        (ClosedError(1008, "too many requests for this client_key"), False),
        (LinkError("token"), False),
    ],
)
def test_whether_it_is_the_key(error: BackendError, expected: bool) -> None:
    assert concerns_key(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LinkError("no answer in time"), False),
        (NotReached("x"), False),
        (LinkLost("x"), False),
        (ClosedError(None), False),
        (ClosedError(1009), True),
        (NoText("x"), True),
        (RefusedError("x"), True),
        (ProtocolError("x"), True),
        (BackendError("x"), True),
        (http(413), True),
        (http(503), False),
        (http(401), False),
        (TlsError("x"), False),
    ],
)
def test_whether_it_is_the_utterance(error: BackendError, expected: bool) -> None:
    assert concerns_utterance(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (http(503), 0.0),
        (http(429, 7.0), 7.0),
        (http(404, 0.0), LAST_RETRY_S),
        (http(503, 1e9), MAX_RETRY_AFTER_S),
        (http(503, -5.0), 0.0),
        (http(401), 0.0),
        (http(404), LAST_RETRY_S),
        (LinkError("x"), 0.0),
        (TlsError("x"), LAST_RETRY_S),
    ],
)
def test_how_long_a_backend_is_left_alone(error: BackendError, expected: float) -> None:
    assert rest_s(error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NoText("x"), False),  # a server that hangs does so for everyone
        (RefusedError("the server refused: the quota is used up"), False),
        (RefusedError("the token is invalid"), False),
        (RefusedError("language: this server understands en"), True),
        (ProtocolError("x"), True),
        (BackendError("x"), True),
        (http(413), True),
        (http(503), False),
        (LinkError("x"), False),
    ],
)
def test_whether_nothing_but_the_utterance_or_the_backend_is_to_blame(error: BackendError, expected: bool) -> None:
    assert condemns_utterance(error) is expected
    assert concerns_backend(error) is not expected


@pytest.mark.parametrize(
    ("error", "expected"), [(http(404), 0.0), (http(429, 7.0), 7.0), (http(404, 7.0), 7.0), (http(401, 7.0), 0.0)]
)
def test_how_much_of_a_rest_the_service_asked_for(error: BackendError, expected: float) -> None:
    assert asked_rest_s(error) == expected


def test_the_wait_doubles_is_spread_and_has_an_end() -> None:
    assert [retry_after_s(n, 1.0) for n in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert retry_after_s(3, 0.0) == 2.0
    assert retry_after_s(10_000, 1.0) == LAST_RETRY_S
    assert retry_after_s(1, 0.0) == FIRST_RETRY_S / 2


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], False),
        ([NotResolved("x")], True),
        ([NotReached("x"), NotResolved("x")], True),
        ([NotReached("x", refused=True)], False),
        ([NotReached("x"), LinkError("no answer in time")], False),
        ([NotReached("x"), HttpError("x", status=503)], False),
    ],
)
def test_it_is_the_network_only_where_no_backend_was_reached(errors: list[BackendError], expected: bool) -> None:
    assert without_network(errors) is expected


@pytest.mark.parametrize(
    "error", [ProtocolError("x"), RefusedError("x"), ClosedError(1007), HttpError("x", status=422)]
)
def test_what_fails_before_any_audio_is_not_the_utterances_fault(error: BackendError) -> None:
    assert condemns_utterance(error)
    error.before_audio = True
    assert not condemns_utterance(error)
    assert not concerns_utterance(error)
    assert verdict(error) is Verdict.RETRY_LATER


def test_a_key_is_the_users_to_change_before_audio_as_well() -> None:
    error = HttpError("x", status=401)
    error.before_audio = True
    assert verdict(error) is Verdict.STOP_AND_TELL
