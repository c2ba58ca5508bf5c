"""What a failed attempt means: one place decides, so that no `except` does.

Pure: randomness comes in as an argument.
"""

import enum
import re
from collections.abc import Iterable

from flowpi.core.errors import (
    BackendError,
    ClosedError,
    CredentialError,
    HttpError,
    NoText,
    NotReached,
    NotResolved,
    ProtocolError,
    RefusedError,
    TlsError,
)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
"""The bounds of the wait between attempts: a minute is the longest a text may stay away after a fault is mended."""

MAX_RETRY_AFTER_S = 3600.0
"""A service that asks for more patience than this has made a mistake, or its date has."""

KEY_CLOSES = frozenset({3000, 3003, 4001, 4003, 4401, 4403})
"""Close codes by which servers say that a key is wrong or has expired: 3000 and 3003 are registered for it (IANA), the
others are common. Neither service documents its own (assumed)."""

AT_FAULT_CLOSES = frozenset({1002, 1003, 1007, 1009, 1010})
"""Close codes by which a server complains of what this side sent: the same again would end the same way."""

KEY_WORDS = re.compile(
    r"\b(access_token|jwt|api[ _-]?key|client[ _-]?key|credentials?|unauthori[sz]ed|unauthenticated)\b"
    r"|\b(bad|expired|invalid|missing|revoked|unknown|wrong)\b.{0,40}\btoken\b"  # a token alone may be one of JSON
    r"|\btoken\b.{0,40}\b(bad|expired|invalid|missing|revoked|unknown|wrong)\b",
    re.I,
)
WAIT_WORDS = re.compile(
    r"\b(quota|rate|limit|overload(ed)?|busy|too many|try again|temporar\w+|unavailable"
    r"|resource_exhausted|deadline_exceeded|aborted)\b",  # gRPC's words for it
    re.I,
)


class Verdict(enum.Enum):
    RETRY_NOW = "retry now"
    """The same backend at once, by a new connection."""
    RETRY_LATER = "retry later"
    """It may work by itself after a while; the next backend has its turn."""
    OTHER_BACKEND = "other backend"
    """It does not take this utterance; others may."""
    STOP_AND_TELL = "stop and tell"
    """It works again when the owner has changed something. The next backend has its turn."""


def verdict(error: BackendError) -> Verdict:
    if error.healed:
        return Verdict.RETRY_NOW
    if concerns_key(error):
        return Verdict.STOP_AND_TELL
    match error:
        case CredentialError(temporary=temporary):
            return Verdict.RETRY_LATER if temporary else Verdict.STOP_AND_TELL
        case TlsError(clock=clock):  # a Pi has no clock: it comes with the network
            return Verdict.RETRY_LATER if clock else Verdict.STOP_AND_TELL
        case HttpError(status=413 | 415 | 422):
            return Verdict.OTHER_BACKEND
        case HttpError(status=400 | 402 | 404 | 405 | 410 | 426 | 501):
            return Verdict.STOP_AND_TELL
        case HttpError():  # 408, 425, 429, 5xx; and 2xx and 3xx, which a captive portal gives until somebody logs in
            return Verdict.RETRY_LATER
        case ClosedError(code=1001 | 1012 | None):  # it goes away, restarts, or the connection broke
            return Verdict.RETRY_NOW
        case ClosedError(code=1008):
            return Verdict.RETRY_LATER if WAIT_WORDS.search(error.reason) else Verdict.STOP_AND_TELL
        case ClosedError(code=code) if code in AT_FAULT_CLOSES:
            return Verdict.OTHER_BACKEND
        case RefusedError():
            return Verdict.RETRY_LATER if WAIT_WORDS.search(error.message) else Verdict.OTHER_BACKEND
        case ProtocolError():
            return Verdict.OTHER_BACKEND
        case _:  # not reached, not resolved, not in time, closed for reasons of its own
            return Verdict.RETRY_LATER


def concerns_key(error: BackendError) -> bool:
    """Whether the backend did not like the key."""
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
    """Whether it may say something of this utterance: others have their turn before it. A network, a key or a server
    that is down does not, and what waits for these keeps its order."""
    match error:
        case NoText() | RefusedError() | ProtocolError():
            return True
        case _:
            return condemns_utterance(error)


def condemns_utterance(error: BackendError) -> bool:
    """Whether the same utterance would end there like this again, while others might not."""
    return verdict(error) is Verdict.OTHER_BACKEND or type(error) is BackendError  # a bug of ours


def concerns_backend(error: BackendError) -> bool:
    """Whether the next utterance would probably fare no better there. A backend that lets one utterance wait for ever
    (`NoText`) does so to others too, and each of them would lose the time."""
    return not condemns_utterance(error)


def without_network(errors: Iterable[BackendError]) -> bool:
    """Whether these, one a backend that was asked, all come from a network that is not there."""
    found = list(errors)
    return bool(found) and all(
        isinstance(error, NotResolved) or (isinstance(error, NotReached) and not error.refused) for error in found
    )


def _names_key(words: str) -> bool:
    """ "Rate limit exceeded for this API key" is a matter of time, not of the key."""
    return bool(KEY_WORDS.search(words)) and not WAIT_WORDS.search(words)


def rest_s(error: BackendError) -> float:
    """How long to leave the backend alone, whatever there is to send.

    A wrong key costs nothing here: it is not sent again, and another is to be tried at once (`backends/tokens.py`).
    """
    if isinstance(error, CredentialError) or concerns_key(error):
        return 0.0
    rest = LAST_RETRY_S if verdict(error) is Verdict.STOP_AND_TELL else 0.0
    return max(rest, asked_rest_s(error))


def asked_rest_s(error: BackendError) -> float:
    """How long the service itself asked to be left alone: the owner's impatience does not shorten that."""
    if not isinstance(error, HttpError) or error.retry_after_s is None or concerns_key(error):
        return 0.0
    return max(0.0, min(error.retry_after_s, MAX_RETRY_AFTER_S))


def retry_after_s(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row: doubling, with `chance` (0 to 1) spreading the load."""
    longest = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)
