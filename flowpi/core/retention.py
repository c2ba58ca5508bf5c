"""How long something is kept, on a machine whose clock may be wrong.

A Pi has no clock: its time may stand in 1970, and leap 40 days when the network comes. So age alone deletes nothing.
"""

from collections.abc import Mapping

DAY_S = 86_400.0

CLOCK_SET_S = 1_577_836_800.0
"""The year 2020. What is dated before that was dated by a clock that nobody had set; its age is unknown."""


def overdue(
    born: Mapping[str, float], noted: Mapping[str, float], *, keep_s: float, unix_s: float, monotonic_s: float
) -> tuple[list[str], dict[str, float]]:
    """What may be deleted: older than `keep_s` now, and already found so a day of uptime ago and ever since.

    A clock that leaps ahead has a day to be put right before it costs anything.

    Args:
        born: names, and Unix seconds of when each was made.
        noted: what the last call gave, empty at first. Not to outlive the process.

    Returns:
        The names, oldest first; and what to give as `noted` next time, without them.
    """
    old = [name for name, born_s in born.items() if CLOCK_SET_S <= born_s < unix_s - keep_s]
    since = {name: noted.get(name, monotonic_s) for name in old}
    due = sorted((name for name in old if monotonic_s - since[name] >= DAY_S), key=lambda name: (born[name], name))
    return due, {name: at for name, at in since.items() if name not in due}
