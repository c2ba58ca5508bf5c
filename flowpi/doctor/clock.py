"""The check of the clock, which keys, certificates and the dates of texts depend on."""

import time

from flowpi.doctor.findings import Finding, fine
from flowpi.host.clock import is_synchronised

PART = "clock"

NOT_BEFORE = 1_704_067_200
"""The start of 2024. An earlier time is wrong: a Pi without a network starts with a clock in the past."""

HINT = "`sudo timedatectl set-ntp true`; which time server it must reach: `timedatectl timesync-status`"


def examine() -> list[Finding]:
    return [judge(time.time(), is_synchronised() is True)]


def judge(now: float, synchronised: bool) -> Finding:
    if now < NOT_BEFORE:
        what = f"it is {time.gmtime(now).tm_year} here: secure connections fail, and texts get wrong dates"
        return Finding(PART, "failure", "clock_unset", what, HINT)
    if not synchronised:
        return Finding(PART, "warning", "unsynchronised", "is not set by the network, and drifts", HINT)
    return fine(PART, "is set by the network")
