"""How many CPUs this process may use: those it is allowed to run on, and the quota of its control groups."""

import contextlib
import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cpus(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return the number of CPUs to have threads for, at least 1; a part of a CPU counts as one.

    `os.cpu_count()` is the number of CPUs of the machine, also in a container or a slice that may use one of them.

    Args:
        cgroups: where the control groups (version 2) are mounted.
        own: the file with the control group of the process: cgroups(7).
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _quota(cgroups, own))))


def _quota(cgroups: Path, own: Path) -> float:
    """Return the least `cpu.max` of the process's control group and those around it, in CPUs."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                group = cgroups / path.lstrip("/")
                return min(_cpu_max(one) for one in (group, *group.parents) if one.is_relative_to(cgroups))
    return math.inf


def _cpu_max(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):  # the root of all has none
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)
