"""What a failed attempt means."""

import pytest

from flowpi.core.errors import AnsweredInText, BackendError, LinkError, ProtocolError, RefusedError
from flowpi.core.failover import FIRST_RETRY_S, LAST_RETRY_S, Verdict, retry_after_s, verdict


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AnsweredInText("x"), Verdict.SAME_BACKEND_IN_JSON),
        (LinkError("x"), Verdict.NEXT_BACKEND),
        (ProtocolError("x"), Verdict.NEXT_BACKEND),
        (RefusedError("x"), Verdict.OWNER_MUST_ACT),
    ],
)
def test_verdict(error: BackendError, expected: Verdict) -> None:
    assert verdict(error) is expected


def test_the_wait_doubles_is_spread_and_has_an_end() -> None:
    assert [retry_after_s(n, 1.0) for n in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert retry_after_s(3, 0.0) == 2.0
    assert retry_after_s(10_000, 1.0) == LAST_RETRY_S
    assert retry_after_s(1, 0.0) == FIRST_RETRY_S / 2
