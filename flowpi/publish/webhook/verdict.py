"""What an answer to a webhook means for the text: it is accepted, is sent again later, or is refused for good.

Everything here is a function of its arguments. `sink.py` sends, counts and waits.
"""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

WAITS_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""The waits between the tries of one text; after the try behind the last one it is refused for good."""

TRIES_OF_A_BAD_REQUEST = 3
"""How often a text is sent to a receiver that answers 4xx, which the same request hardly ever changes."""

LONGEST_RETRY_AFTER_S = 3600.0
"""The longest wait that a receiver may ask for. One that asks for a day by mistake is asked again much sooner."""

CLOCK_WAIT_S = 60.0
"""The wait for a clock that is not set yet."""

CLOCK_TOLERANCE_S = 240.0
"""How far two clocks may be apart: receivers refuse 300 s, and a request is under way for a while."""


class Answer(NamedTuple):
    """The answer of a receiver. `retry_after`, `date`: the values of these headers, None if absent."""

    status: int
    retry_after: str | None = None
    date: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has what was sent."""
        return 200 <= self.status < 300


class NoAnswer(NamedTuple):
    """There is no answer that can be read.

    `reached`: whether there was a connection, so that the receiver may have seen the text.
    """

    problem: str
    hint: str
    reached: bool


class Accepted(NamedTuple):
    """The receiver has the text."""


class NotReached(NamedTuple):
    """The receiver has seen nothing of the text, so this was none of the tries that a text has.

    It is tried again after the waits that the publisher has for all sinks: they begin with a second, and stay short
    enough for a receiver that is back to be found soon.
    """

    problem: str
    hint: str


class Later(NamedTuple):
    """The text is sent again after a wait; infinity: when an operator asks for it.

    `counts`: whether this was one of the tries that a text has.
    """

    problem: str
    hint: str
    wait_s: float
    counts: bool = True


class Refused(NamedTuple):
    """The text will not be sent again by itself."""

    problem: str
    hint: str


Verdict = Accepted | NotReached | Later | Refused


def judge(
    answer: Answer | NoAnswer,
    failures: int,
    unix_s: float,
    jitter: float,
    *,
    synchronised: bool | None,
    signed: bool,
) -> Verdict:
    """Return what an answer means, or that there is none.

    Args:
        failures: how many tries of this text have failed before.
        unix_s: the time of this machine.
        jitter: the factor of the waits, about 1.
        synchronised: whether the clock of this machine is set; None if nobody knows.
        signed: whether the request was signed, so that the receiver may have judged its time.
    """
    if isinstance(answer, NoAnswer):
        if not answer.reached:
            return NotReached(answer.problem, answer.hint)
        return failed(answer.problem, answer.hint, failures, jitter)
    if answer.accepted:
        return Accepted()
    status = answer.status
    if status == 410:
        return Later(
            "it says that it is gone for good (410)", "correct the url, or remove the webhook", math.inf, False
        )
    problem = f"it answers {status}"
    if status in (429, 503) and (asked_s := _retry_after_s(answer, unix_s)) is not None:
        # All appliances that it refused at one moment come back at another one each, and none sooner than it asked for.
        return Later(f"{problem} and asks to wait", "", asked_s * (1 + abs(jitter - 1)), False)
    if status in (400, 401) and signed and _clock_is_off(answer, unix_s, synchronised):
        hint = "see `timedatectl timesync-status`; if the time is right, check the secret"
        return Later(f"{problem} while the clock of this machine is not set", hint, CLOCK_WAIT_S, False)
    if 400 <= status < 500 and status != 429:
        return failed(problem, _HINTS.get(status, ""), failures, jitter, tries=TRIES_OF_A_BAD_REQUEST)
    if 300 <= status < 400:
        return failed(f"it redirects ({status})", "set url to where that leads", failures, jitter)
    return failed(problem, "", failures, jitter)


def failed(problem: str, hint: str, failures: int, jitter: float, tries: int = len(WAITS_S) + 1) -> Later | Refused:
    """Return what becomes of a text after another failure: the next of the growing waits, or the end after `tries`."""
    if failures + 1 >= tries:
        return Refused(problem, hint)
    return Later(problem, hint, WAITS_S[failures] * jitter)


_HINTS = {
    400: "its log may say what it does not like",
    401: "check that its secret is the one of publish.webhooks",
    403: "check that its secret is the one of publish.webhooks",
    404: "check the path in url",
    405: "check the path in url: it accepts no POST there",
    413: "let it accept larger requests",
}


def _retry_after_s(answer: Answer, unix_s: float) -> float | None:
    """Return how long the receiver asks to wait, within bounds; None if it does not say that."""
    text = (answer.retry_after or "").strip()
    wait_s: float | None
    if text.isascii() and text.isdigit():
        wait_s = float(text[:9])
    else:
        # Its date is compared with its own clock, if it shows that: the clock here may be wrong.
        until, now = _unix_s(text), _unix_s(answer.date)
        wait_s = None if until is None else until - (unix_s if now is None else now)
    return None if wait_s is None else min(max(wait_s, 1.0), LONGEST_RETRY_AFTER_S)


def _clock_is_off(answer: Answer, unix_s: float, synchronised: bool | None) -> bool:
    """Return whether the receiver may have refused the time of the request. If nobody knows, its clock decides."""
    if synchronised is not None:
        return not synchronised
    theirs = _unix_s(answer.date)
    return theirs is not None and abs(theirs - unix_s) > CLOCK_TOLERANCE_S


def _unix_s(date: str | None) -> float | None:
    """Return the time of an HTTP date, which is in UTC whatever it says, or None if it is none."""
    try:
        return parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
