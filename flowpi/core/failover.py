"""What follows from a failed attempt. It is decided in this one place and in no `except`.

Pure: randomness is an argument.
"""

import enum
import re
from collections.abc import Iterable

from flowpi.core.backoff import backoff_s
from flowpi.core.errors import (
    BackendError,
    ClosedError,
    CredentialError,
    HttpError,
    LinkLost,
    NoText,
    NotReached,
    NotResolved,
    ProtocolError,
    RefusedError,
    TlsError,
)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
"""The bounds of the wait between attempts: after a fault is fixed, a text may take a minute longer at most."""

MAX_RETRY_AFTER_S = 3600.0
"""The longest wait that a service may ask for. A longer one is a mistake, or comes from a wrong date."""

KEY_CLOSES = frozenset({3000, 3003, 4001, 4003, 4401, 4403})
"""The close codes for a key that is wrong or has expired: 3000 and 3003 are registered for it (IANA), the others are
common. Neither service documents its own (assumed)."""

AT_FAULT_CLOSES = frozenset({1002, 1003, 1007, 1009, 1010})
"""The close codes for a mistake in what this side sent: sending the same again would end the same way."""

KEY_WORDS = (
    r"(?i)\b(access_token|jwt|api[ _-]?key|client[ _-]?key|credentials?|unauthori[sz]ed|unauthenticated)\b"
    r"|\b(bad|expired|invalid|missing|revoked|unknown|wrong)\b.{0,40}\btoken\b"  # "token" alone may mean one of JSON
    r"|\btoken\b.{0,40}\b(bad|expired|invalid|missing|revoked|unknown|wrong)\b"
)
WAIT_WORDS = (
    r"(?i)\b(quota|rate|limit|overload(ed)?|busy|too many|try again|temporar\w+|unavailable"
    r"|resource_exhausted|deadline_exceeded|aborted|internal)\b"  # gRPC's words for it, or our own server's
)
"""Patterns, compiled by `re` at the first failure and not at the start of the daemon: that takes a millisecond."""


class Verdict(enum.Enum):
    """What to do after a failed attempt."""

    RETRY_NOW = "retry now"
    """Try the same backend at once, on a new connection."""
    RETRY_LATER = "retry later"
    """Try the next backend; this one may work by itself after a while."""
    OTHER_BACKEND = "other backend"
    """Try the next backend; this one does not accept this utterance."""
    STOP_AND_TELL = "stop and tell"
    """Try the next backend, and tell the user, who has to change something before this one works."""


def verdict(error: BackendError) -> Verdict:
    """Return what to do after a failed attempt."""
    if error.healed:
        return Verdict.RETRY_NOW
    if concerns_key(error):
        return Verdict.STOP_AND_TELL
    found = _verdict(error)
    # A server that does not even open a session is out of order, or something on the way to it is. It may work again by
    # itself; the utterance has nothing to do with it.
    return Verdict.RETRY_LATER if found is Verdict.OTHER_BACKEND and error.before_audio else found


def _verdict(error: BackendError) -> Verdict:
    """Return what to do by the kind of the error alone."""
    match error:
        case CredentialError(temporary=temporary):
            return Verdict.RETRY_LATER if temporary else Verdict.STOP_AND_TELL
        case TlsError(clock=clock):  # a Pi has no clock of its own: its time is right once it has a network
            return Verdict.RETRY_LATER if clock else Verdict.STOP_AND_TELL
        case HttpError(status=413 | 415 | 422):
            return Verdict.OTHER_BACKEND
        case HttpError(status=400 | 402 | 404 | 405 | 410 | 426 | 501):
            return Verdict.STOP_AND_TELL
        case HttpError():  # 408, 425, 429, 5xx; and 2xx and 3xx, the answers of a captive portal before the login
            return Verdict.RETRY_LATER
        case LinkLost() | ClosedError(code=1001 | 1012 | None):  # it shuts down, restarts, or the connection broke
            return Verdict.RETRY_NOW
        case ClosedError(code=1008):
            return Verdict.RETRY_LATER if re.search(WAIT_WORDS, error.reason) else Verdict.STOP_AND_TELL
        case ClosedError(code=code) if code in AT_FAULT_CLOSES:
            return Verdict.OTHER_BACKEND
        case RefusedError():
            return Verdict.RETRY_LATER if re.search(WAIT_WORDS, error.message) else Verdict.OTHER_BACKEND
        case ProtocolError():
            return Verdict.OTHER_BACKEND
        case _:  # not reached, not resolved, too late, or closed for reasons of its own
            return Verdict.RETRY_LATER


def concerns_key(error: BackendError) -> bool:
    """Whether the backend refused the key."""
    match error:
        case HttpError(status=401 | 403):
            return True
        case ClosedError(code=1008):
            return _names_key(error.reason)
        case ClosedError(code=code):
            return code in KEY_CLOSES
        case RefusedError():
            return _names_key(error.message)
        case _:
            return False


def concerns_utterance(error: BackendError) -> bool:
    """Whether the cause may lie in this utterance, so that others are sent before it.

    It does not lie there if a network, a key or a server is missing, and what waits for these keeps its order.
    """
    if error.before_audio:
        return False
    match error:
        case NoText() | RefusedError() | ProtocolError():
            return True
        case _:
            return condemns_utterance(error)


def condemns_utterance(error: BackendError) -> bool:
    """Whether this backend would fail again with the same utterance, while it might accept others."""
    return verdict(error) is Verdict.OTHER_BACKEND or type(error) is BackendError  # a bug of ours


def concerns_backend(error: BackendError) -> bool:
    """Whether this backend would probably fail with the next utterance, too.

    A backend that never answers one utterance (`NoText`) does not answer others either, and each would lose the time.
    """
    return not condemns_utterance(error)


def without_network(errors: Iterable[BackendError]) -> bool:
    """Whether a missing network explains all of these errors, one for each backend that was asked."""
    found = list(errors)
    return bool(found) and all(
        isinstance(error, NotResolved) or (isinstance(error, NotReached) and not error.refused) for error in found
    )


def _names_key(words: str) -> bool:
    """Whether a message blames the key. "Rate limit exceeded for this API key" does not: waiting is enough."""
    return bool(re.search(KEY_WORDS, words)) and not re.search(WAIT_WORDS, words)


def rest_s(error: BackendError) -> float:
    """Return the seconds in which the backend must not be asked again, whatever there is to send.

    There is no such pause for a wrong key: it is not sent again, and another one is tried at once
    (`backends/tokens.py`).
    """
    if isinstance(error, CredentialError) or concerns_key(error):
        return 0.0
    rest = LAST_RETRY_S if verdict(error) is Verdict.STOP_AND_TELL else 0.0
    return max(rest, asked_rest_s(error))


def asked_rest_s(error: BackendError) -> float:
    """Return the seconds of the pause that the service itself asked for. `flowpi spool retry` does not shorten it."""
    if not isinstance(error, HttpError) or error.retry_after_s is None or concerns_key(error):
        return 0.0
    return max(0.0, min(error.retry_after_s, MAX_RETRY_AFTER_S))


def retry_after_s(failures: int, chance: float) -> float:
    """Return the seconds to wait after a number of failures in a row.

    The wait doubles from `FIRST_RETRY_S` to `LAST_RETRY_S`; `chance`, from 0 to 1, varies it to spread the load.
    """
    return backoff_s(failures, chance, first_s=FIRST_RETRY_S, longest_s=LAST_RETRY_S)
