"""How many CPUs there are to use: in a real affinity, and with the control groups of a scripted machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.host.cpus import usable_cpus

MANY = 64


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)))


class Machine:
    """Control groups as the kernel shows them, below a directory."""

    def __init__(self, directory: Path, own: str) -> None:
        self.groups, self.own = directory / "cgroup", directory / "own"
        self.groups.mkdir()
        self.own.write_text(own)

    def limit(self, group: str, cpu_max: str) -> None:
        path = self.groups / group
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.max").write_text(f"{cpu_max}\n")

    def cpus(self) -> int:
        return usable_cpus(self.groups, self.own)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("own", "limits", "cpus"),
    [
        ("0::/system.slice/flowpi-asr.service", {}, MANY),
        ("0::/system.slice/flowpi-asr.service", {"system.slice/flowpi-asr.service": "max 100000"}, MANY),
        ("0::/system.slice/flowpi-asr.service", {"system.slice/flowpi-asr.service": "200000 100000"}, 2),
        ("0::/system.slice/flowpi-asr.service", {"system.slice/flowpi-asr.service": "150000 100000"}, 2),
        ("0::/system.slice/flowpi-asr.service", {"system.slice/flowpi-asr.service": "10000 100000"}, 1),
        ("0::/system.slice/flowpi-asr.service", {"system.slice/flowpi-asr.service": "30000 10000"}, 3),
        ("0::/system.slice/flowpi-asr.service", {"system.slice": "100000 100000"}, 1),
        ("0::/a/b", {"a": "300000 100000", "a/b": "400000 100000"}, 3),
        ("0::/a/b", {"a/c": "100000 100000"}, MANY),
        ("0::/", {"": "400000 100000"}, 4),  # in a container, whose own group is its root
        ("0::/", {}, MANY),
        ("0::/a", {"a": "9900000 100000"}, MANY),
        ("4:memory:/a\n1:cpu,cpuacct:/b\n0::/a", {"a": "200000 100000", "b": "100000 100000"}, 2),
        ("", {}, MANY),
        ("0::/a", {"a": "rubbish"}, MANY),
    ],
)
def test_quota_of_control_groups(tmp_path: Path, own: str, limits: dict[str, str], cpus: int) -> None:
    machine = Machine(tmp_path, own)
    for group, limit in limits.items():
        machine.limit(group, limit)
    assert machine.cpus() == cpus


@pytest.mark.usefixtures("many")
def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "own") == MANY


MOST_AT_ONCE = """
import asyncio, threading
from flowpi.host.cpus import usable_cpus
from flowpi.server.workers import Lane, Workers

together = threading.Barrier(2)

async def main():
    workers = Workers()

    def work():
        try:
            together.wait(1)
        except threading.BrokenBarrierError:
            return "alone"
        return "together"

    both = await asyncio.gather(*(workers.run(Lane.FINAL, work, local=False) for _ in range(2)))
    print(usable_cpus(), *both)

asyncio.run(main())
"""


def test_affinity_decides_how_many_threads_there_are() -> None:
    (cpu, *_) = sorted(os.sched_getaffinity(0))
    command = ["taskset", "--cpu-list", str(cpu), sys.executable, "-c", MOST_AT_ONCE]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["1", "alone", "alone"]
