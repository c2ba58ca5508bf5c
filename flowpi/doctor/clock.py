"""The clock: keys and certificates need it, and texts are dated by it."""

import ctypes
import time

from flowpi.doctor.findings import Finding, fine

PART = "clock"

NOT_BEFORE = 1_704_067_200
"""2024: no machine that runs this flowpi is older, and a Pi without a network starts in the past."""

TIME_ERROR = 5
"""Of adjtimex(2): the clock is not synchronised."""

HINT = "`sudo timedatectl set-ntp true`; which time server it must reach: `timedatectl timesync-status`"


def examine() -> list[Finding]:
    return [judge(time.time(), is_synchronised())]


def judge(now: float, synchronised: bool) -> Finding:
    if now < NOT_BEFORE:
        what = f"it is {time.gmtime(now).tm_year} here: secure connections fail, and texts get wrong dates"
        return Finding(PART, "failure", "clock_unset", what, HINT)
    if not synchronised:
        return Finding(PART, "warning", "unsynchronised", "is not set by the network, and drifts", HINT)
    return fine(PART, "is set by the network")


def is_synchronised() -> bool:
    """By the kernel's word, whoever sets it: timesyncd, chrony or ntpd."""
    buffer = ctypes.create_string_buffer(1024)  # struct timex, larger than on any machine; all 0 changes nothing
    code: int = ctypes.CDLL(None).adjtimex(buffer)
    return 0 <= code < TIME_ERROR
