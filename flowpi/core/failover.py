"""What a failed attempt means: one place decides, so that no `except` does.

Pure: randomness comes in as an argument.
"""

import enum

from flowpi.core.errors import AnsweredInText, BackendError

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
"""The bounds of the wait between attempts: a minute is the longest a text may stay away after a fault is mended."""


class Verdict(enum.Enum):
    SAME_BACKEND_IN_JSON = "same backend in JSON"
    NEXT_BACKEND = "next backend"
    OWNER_MUST_ACT = "owner must act"
    """The next backend has its turn; the owner is told, since this one will not mend itself."""


def verdict(error: BackendError) -> Verdict:
    if isinstance(error, AnsweredInText):
        return Verdict.SAME_BACKEND_IN_JSON
    return Verdict.OWNER_MUST_ACT if error.permanent else Verdict.NEXT_BACKEND


def retry_after_s(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row: doubling, with `chance` (0 to 1) spreading the load."""
    longest = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)
