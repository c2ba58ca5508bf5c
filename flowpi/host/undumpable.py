"""Keeps the other processes of the same user out of this one."""

import ctypes

PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Make this process undumpable, with all its threads.

    From then on only root may read or write its memory, trace it, or follow its links below /proc, and it leaves no
    core dump. What it reads of itself below /proc/self/fd stays possible. A program that it starts is dumpable again.
    """
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
