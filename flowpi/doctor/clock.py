"""The check of the clock, which keys, certificates and the dates of texts depend on."""

import ctypes
import time

from flowpi.doctor.findings import Finding, fine

PART = "clock"

NOT_BEFORE = 1_704_067_200
"""The start of 2024. An earlier time is wrong: a Pi without a network starts with a clock in the past."""

TIME_ERROR = 5
"""The return value of adjtimex(2) for a clock that is not synchronised."""

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
    """Whether the kernel reports the clock as synchronised, by timesyncd, chrony or ntpd alike."""
    buffer = ctypes.create_string_buffer(1024)  # struct timex, with room to spare; zeros change nothing
    code: int = ctypes.CDLL(None).adjtimex(buffer)
    return 0 <= code < TIME_ERROR
