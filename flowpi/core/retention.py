"""Retention of files on a machine whose clock may be wrong.

A Pi has no clock of its own: its time may begin in 1970, and leap by 40 days when the network comes up. So nothing is
deleted because of its age alone.
"""

from collections.abc import Mapping

DAY_S = 86_400.0

CLOCK_SET_S = 1_577_836_800.0
"""The year 2020. An earlier date comes from a clock that was never set, and the age of the file is unknown."""


def overdue(
    born: Mapping[str, float], noted: Mapping[str, float], *, keep_s: float, unix_s: float, monotonic_s: float
) -> tuple[list[str], dict[str, float]]:
    """Return what may be deleted: what is older than `keep_s` now, and was so at each call for a day of uptime.

    A clock that leaps ahead can be corrected within a day before anything is deleted.

    Args:
        born: the Unix seconds at which each file was made, by name.
        noted: the second result of the last call; empty at first, and only of this process.
        unix_s: the wall clock, in seconds.
        monotonic_s: a clock that does not leap, in seconds.

    Returns:
        The names to delete, oldest first, and the `noted` of the next call.
    """
    old = [name for name, born_s in born.items() if CLOCK_SET_S <= born_s < unix_s - keep_s]
    since = {name: noted.get(name, monotonic_s) for name in old}
    due = sorted((name for name in old if monotonic_s - since[name] >= DAY_S), key=lambda name: (born[name], name))
    return due, {name: at for name, at in since.items() if name not in due}
