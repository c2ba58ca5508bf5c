"""Whether the clock of this machine is set by the network."""

import ctypes
from pathlib import Path

TIME_ERROR = 5
"""The return value of adjtimex(2) for a clock that is not synchronised."""

TIMESYNCD = Path("/run/systemd/timesync")
"""The directory of systemd-timesyncd, while it runs. `synchronized` is in it once the clock was set since the boot."""


def is_synchronised() -> bool | None:
    """Return whether timesyncd, chrony or ntpd has set the clock; None if that cannot be found out.

    The sandbox of `flowpi.service` allows no call that can set the clock, and adjtimex(2) can. There only timesyncd is
    known.
    """
    buffer = ctypes.create_string_buffer(1024)  # struct timex, with room to spare; zeros change nothing
    code: int = ctypes.CDLL(None).adjtimex(buffer)
    if code >= 0:
        return code < TIME_ERROR
    return (TIMESYNCD / "synchronized").exists() if TIMESYNCD.exists() else None
