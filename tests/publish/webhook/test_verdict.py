"""What an answer means, without a connection."""

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.publish.webhook.verdict import (
    LONGEST_RETRY_AFTER_S,
    WAITS_S,
    Accepted,
    Answer,
    Later,
    NoAnswer,
    NotReached,
    Refused,
    Verdict,
    failed,
    judge,
)

NOW = 1_800_000_000.0


def judged(
    answer: Answer | NoAnswer,
    failures: int = 0,
    *,
    jitter: float = 1.0,
    synchronised: bool | None = True,
    signed: bool = True,
) -> Verdict:
    return judge(answer, failures, NOW, jitter, synchronised=synchronised, signed=signed)


def wait_of(verdict: Verdict) -> float:
    assert isinstance(verdict, Later)
    return verdict.wait_s


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_accepted(status: int) -> None:
    assert judged(Answer(status)) == Accepted()


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 429, 500, 502, 503, 504, 599])
def test_the_waits_and_their_end(status: int) -> None:
    assert [wait_of(judged(Answer(status), number)) for number in range(6)] == list(WAITS_S)
    assert isinstance(judged(Answer(status), 6), Refused)


def test_no_answer_counts_only_if_the_receiver_may_have_seen_the_text() -> None:
    assert [wait_of(judged(NoAnswer("it broke", "", True), number)) for number in range(6)] == list(WAITS_S)
    assert judged(NoAnswer("it broke", "look", True), 6) == Refused("it broke", "look")
    for number in range(9):
        assert judged(NoAnswer("nobody is there", "look", False), number) == NotReached("nobody is there", "look")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 413, 422, 451])
def test_a_bad_request(status: int) -> None:
    assert [wait_of(judged(Answer(status), number)) for number in range(2)] == list(WAITS_S[:2])
    assert isinstance(judged(Answer(status), 2), Refused)


def test_gone() -> None:
    verdict = judged(Answer(410), 5)
    assert wait_of(verdict) == math.inf
    assert isinstance(verdict, Later)
    assert not verdict.counts


@pytest.mark.parametrize("jitter", [0.8, 1.2])
def test_the_waits_differ(jitter: float) -> None:
    assert wait_of(failed("", "", 5, jitter)) == 36_000 * jitter


@pytest.mark.parametrize(
    ("retry_after", "date", "wait_s"),
    [
        ("0", None, 1),
        (" 7 ", None, 7),
        ("9" * 5000, None, LONGEST_RETRY_AFTER_S),
        (formatdate(NOW + 60, usegmt=True), None, 60),
        (formatdate(NOW + 600 + 60, usegmt=True), formatdate(NOW + 600, usegmt=True), 60),
        (formatdate(NOW - 60, usegmt=True), None, 1),
        ("Fri, 15 Jan 2027 08:01:00", None, 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None, LONGEST_RETRY_AFTER_S),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_it_asks_to_wait(status: int, retry_after: str, date: str | None, wait_s: float) -> None:
    verdict = judged(Answer(status, retry_after, date), 6)
    assert isinstance(verdict, Later)
    assert (verdict.wait_s, verdict.counts) == (wait_s, False)


@pytest.mark.parametrize(("jitter", "wait_s"), [(0.8, 120), (0.9, 110), (1.0, 100), (1.2, 120)])
def test_it_is_never_asked_sooner_than_it_asks_for(jitter: float, wait_s: float) -> None:
    assert wait_of(judged(Answer(503, "100"), 0, jitter=jitter)) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5", "\u0663", "Fri, 99 Foo 2026", "Fri, 31 Dec 99999 23:59:59 GMT"]
)
def test_what_is_no_time_to_wait(text: str) -> None:
    assert wait_of(judged(Answer(503, text))) == WAITS_S[0]


def test_who_else_asks_is_not_heard() -> None:
    assert wait_of(judged(Answer(500, "3000"))) == WAITS_S[0]


FAR, NEAR = (formatdate(NOW + seconds, usegmt=True) for seconds in (600, 200))


@pytest.mark.parametrize(
    ("synchronised", "date", "signed", "off"),
    [
        (False, NEAR, True, True),
        (True, FAR, True, False),
        (None, FAR, True, True),
        (None, NEAR, True, False),
        (None, None, True, False),
        (None, "?", True, False),
        (False, FAR, False, False),
    ],
)
@pytest.mark.parametrize("status", [400, 401])
def test_a_clock_that_is_off(status: int, synchronised: bool | None, date: str | None, signed: bool, off: bool) -> None:
    verdict = judged(Answer(status, None, date), 1, synchronised=synchronised, signed=signed)
    assert isinstance(verdict, Later)
    assert verdict.counts is not off


@given(
    st.integers(100, 999),
    st.text() | st.none(),
    st.text() | st.none(),
    st.integers(0, 6),
    st.sampled_from([True, None]),
)
def test_any_answer_has_a_meaning(
    status: int, retry_after: str | None, date: str | None, failures: int, synchronised: bool | None
) -> None:
    verdict = judged(Answer(status, retry_after, date), failures, synchronised=synchronised)
    assert not isinstance(verdict, Later) or verdict.wait_s >= 1
